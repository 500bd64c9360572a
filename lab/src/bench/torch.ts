/**
 * @file PyTorch as the competitor: the same work in a Python process of its own, one step at a time, so that the two can take
 * turns on one machine. The scripts lie in test/oracle.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { currentDevice } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import { projectRoot } from '../files/index.ts';
import { isSoftwareGpu } from './measure.ts';

/** What one step of it took. */
export interface TorchStep {
  readonly ms: number;
  /** By how much the process has grown since before its first step; on a GPU the most that tensors took there. */
  readonly peakBytes: number;
  readonly loss?: number;
}

/** What a script says of itself before its first step. */
export interface TorchAbout {
  readonly version: string;
  /** `2 threads`, or the GPU's name. */
  readonly device: string;
  readonly parameters?: number;
}

/** Whether the lab itself runs on a real GPU, so that PyTorch is to take CUDA. */
export function runsOnGpu(): boolean {
  const { name, description } = currentDevice()!;
  return name === 'webgpu' ? !isSoftwareGpu() : name === 'tensorflow' && description.startsWith('CUDA');
}

/** As many threads as the lab has, where it tells. */
const threadsHere = (): number => (currentDevice()!.name === 'wasm' ? currentDevice()!.threads : availableParallelism());

export class TorchProcess {
  readonly about: TorchAbout;
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;

  private constructor(process: ChildProcessByStdio<Writable, Readable, null>, lines: AsyncIterator<string>, about: TorchAbout) {
    this.about = about;
    this.#process = process;
    this.#lines = lines;
  }

  /**
   * @param python the interpreter of an environment that has PyTorch
   * @param script in test/oracle
   * @param task what the script is told, as JSON; it also learns how many threads to take, and whether to take a GPU
   * @throws LabError when it does not start.
   */
  static async start(python: string, script: string, task: object): Promise<TorchProcess> {
    const told = JSON.stringify({ ...task, threads: threadsHere(), gpu: runsOnGpu() });
    const child = spawn(python, [join(projectRoot(), 'test/oracle', script), told], { stdio: ['pipe', 'pipe', 'inherit'] });
    const failed = new Promise<never>((_, reject) => child.once('error', reject));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const first = await Promise.race([lines.next(), failed]).catch((error: Error) => ({ done: true as const, value: error.message }));
    if (first.done) {
      throw new LabError(`--torch ${python}: PyTorch did not start${first.value ? ` (${String(first.value)})` : ''}. It needs: pip install torch`);
    }
    return new TorchProcess(child, lines, JSON.parse(first.value) as TorchAbout);
  }

  /** For the table: `PyTorch 2.15, 2 threads`. */
  get words(): string {
    return `PyTorch ${this.about.version}, ${this.about.device}`;
  }

  async step(): Promise<TorchStep> {
    this.#process.stdin.write('step\n');
    const line = await this.#lines.next();
    if (line.done) throw new LabError('The PyTorch process ended; what it wrote stands above.');
    return JSON.parse(line.value) as TorchStep;
  }

  stop(): void {
    this.#process.stdin.end();
  }
}

/**
 * @file PyTorch as the competitor: the same training step in a Python process of its own, one step at a time, so that the two can
 * take turns on one machine.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { LabError } from '../base/index.ts';
import { projectRoot } from '../files/index.ts';
import type { YardstickSize } from './yardstick.ts';

/** What one step of it took. */
export interface TorchStep {
  readonly ms: number;
  readonly loss: number;
  /** By how much the process has grown since before its first step. */
  readonly peakBytes: number;
}

export class TorchYardstick {
  readonly version: string;
  readonly parameterCount: number;
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;

  private constructor(process: ChildProcessByStdio<Writable, Readable, null>, lines: AsyncIterator<string>, about: string) {
    const { version, parameters } = JSON.parse(about) as { version: string; parameters: number };
    this.version = version;
    this.parameterCount = parameters;
    this.#process = process;
    this.#lines = lines;
  }

  /**
   * @param python the interpreter of an environment that has PyTorch
   * @throws LabError when it does not start.
   */
  static async start(python: string, threads: number, size: YardstickSize): Promise<TorchYardstick> {
    const script = join(projectRoot(), 'test/oracle/yardstick.py');
    const child = spawn(python, [script, String(threads), JSON.stringify(size)], { stdio: ['pipe', 'pipe', 'inherit'] });
    const failed = new Promise<never>((_, reject) => child.once('error', reject));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const first = await Promise.race([lines.next(), failed]).catch((error: Error) => ({ done: true as const, value: error.message }));
    if (first.done) {
      throw new LabError(`--torch ${python}: PyTorch did not start${first.value ? ` (${String(first.value)})` : ''}. It needs: pip install torch`);
    }
    return new TorchYardstick(child, lines, first.value);
  }

  async step(): Promise<TorchStep> {
    this.#process.stdin.write('step\n');
    const line = await this.#lines.next();
    if (line.done) throw new LabError('bench train: the PyTorch process ended.');
    return JSON.parse(line.value) as TorchStep;
  }

  stop(): void {
    this.#process.stdin.end();
  }
}

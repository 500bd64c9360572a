/**
 * @file What an unfinished run has in its folder: the spool behind the last finished pass, and what that pass and those before
 * it found, for the same run to go on from there.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from '../../files/index.ts';
import type { PlainData } from './filter.ts';
import type { TextAmount, FilterReport, QualityReport } from './report.ts';

export interface PassResults {
  readonly filters: readonly FilterReport[];
  readonly kept: TextAmount;
  /** Of the first pass. */
  readonly reading?: Pick<QualityReport, 'read' | 'unreadable' | 'unreadableExamples' | 'repaired'>;
}

interface State {
  readonly digest: string;
  readonly results: PassResults[];
}

export class Checkpoint {
  readonly #folder: string;
  readonly #state: State;

  private constructor(folder: string, state: State) {
    this.#folder = folder;
    this.#state = state;
  }

  /** Finds the unfinished run of the same description, or begins a new one in the place of any other. */
  static async open(folder: string, description: PlainData): Promise<Checkpoint> {
    const digest = createHash('sha256').update(JSON.stringify(description)).digest('hex');
    const saved = savedState(join(folder, 'state.json'));
    if (saved?.digest === digest && existsSync(join(folder, spoolName(saved.results.length - 1)))) {
      return new Checkpoint(folder, saved);
    }
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    return new Checkpoint(folder, { digest, results: [] });
  }

  /** How many passes are finished. */
  get finished(): number {
    return this.#state.results.length;
  }

  get results(): readonly PassResults[] {
    return this.#state.results;
  }

  /** The file that pass `index` writes. */
  spool(index: number): string {
    return join(this.#folder, spoolName(index));
  }

  spoolBytes(index: number): number {
    return statSync(this.spool(index)).size;
  }

  /** Pass `index` has written its spool: from now on a run goes on behind it. */
  async finish(index: number, results: PassResults): Promise<void> {
    // As JSON gives it back, so that the report does not depend on interruptions.
    this.#state.results.push(JSON.parse(JSON.stringify(results)) as PassResults);
    await writeAtomically(join(this.#folder, 'state.json'), [Buffer.from(JSON.stringify(this.#state))]);
    if (index > 0) await rm(this.spool(index - 1), { force: true });
  }

  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function spoolName(index: number): string {
  return `pass-${index + 1}.spool`;
}

function savedState(path: string): State | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as State;
  } catch {
    return undefined;
  }
}

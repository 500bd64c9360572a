/**
 * @file The runs of an experiment that are finished, kept in its folder: after an interruption it goes on behind them.
 */
import { join } from 'node:path';
import { LabError } from '../base/index.ts';
import { readText, writeAtomically } from '../files/index.ts';

export class KeptRuns<Run> {
  readonly #path: string;
  readonly #runs: Run[];

  private constructor(path: string, runs: Run[]) {
    this.#path = path;
    this.#runs = runs;
  }

  /** Those in a file of a folder: none where nothing was kept, or where it is damaged. */
  static async in<Run>(folder: string, file = 'runs.json'): Promise<KeptRuns<Run>> {
    const path = join(folder, file);
    try {
      const runs: unknown = JSON.parse(await readText(path));
      return new KeptRuns(path, Array.isArray(runs) ? (runs as Run[]) : []);
    } catch (error) {
      if (error instanceof LabError || error instanceof SyntaxError) return new KeptRuns<Run>(path, []);
      throw error;
    }
  }

  get all(): readonly Run[] {
    return this.#runs;
  }

  async add(run: Run): Promise<void> {
    this.#runs.push(run);
    await writeAtomically(this.#path, [Buffer.from(JSON.stringify(this.#runs))]);
  }
}

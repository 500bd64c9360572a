/**
 * @file A progress bar that appears only when the work turns out to be long.
 */
import { Progress, type ProgressOptions } from '../base/index.ts';

/** Shorter work needs no bar. */
const PATIENCE_MS = 1000;

export class LateProgress {
  readonly #started = performance.now();
  readonly #progress: Progress;
  #shown = false;

  constructor(options: ProgressOptions) {
    this.#progress = new Progress(options);
  }

  /**
   * @param done units done so far, in all
   * @param note what else to say at the end of the line
   */
  update(done: number, note = ''): void {
    this.#shown ||= performance.now() - this.#started > PATIENCE_MS;
    if (this.#shown) this.#progress.update(done, note);
  }

  done(): void {
    if (this.#shown) this.#progress.done();
  }
}

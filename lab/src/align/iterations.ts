/**
 * @file The loop of methods that write, judge and learn again and again: progress, a limit on the distance from the reference,
 * checkpoints to go on from, and an interruption that keeps what was reached.
 */
import { interruptible, invariant, LabError, Progress, type Interruption } from '../base/index.ts';
import type { CheckpointOptions } from '../train/index.ts';
import { resumeIterations, saveIterations, type Learner } from './iteration-checkpoint.ts';

export interface IterationReport {
  /** From 1. */
  readonly iteration: number;
  /** The mean score of the answers. */
  readonly reward: number;
  /** The mean over the answers of Σ log π/π_reference, nats. */
  readonly kl: number;
}

export interface Iterated<Report> {
  readonly reports: readonly Report[];
  /** Why it ended. */
  readonly ended: 'finished' | 'kl limit' | 'interrupted';
}

export interface IterationOptions {
  /** For the progress bar and for errors. */
  readonly label: string;
  readonly iterations: number;
  /** End the training when the KL of an answer is larger, in nats (default 50). */
  readonly klLimit?: number;
  readonly quiet?: boolean;
  /** Steps are iterations here. */
  readonly checkpoint?: CheckpointOptions | undefined;
}

/**
 * @param learner what a checkpoint saves and brings back
 * @throws LabError as an iteration does, saying which checkpoint is intact; RangeError unless there are iterations.
 */
export function iterate<Report extends IterationReport>(
  options: IterationOptions,
  learner: Learner,
  one: (iteration: number) => Promise<Report>,
): Promise<Iterated<Report>> {
  const { label, iterations } = options;
  invariant(Number.isInteger(iterations) && iterations > 0, `${label}: iterations must be 1, 2, …, got ${iterations}`);
  return interruptible((signal) => new Iterations(options, learner, one).finish(signal));
}

class Iterations<Report extends IterationReport> {
  readonly #options: IterationOptions;
  readonly #learner: Learner;
  readonly #one: (iteration: number) => Promise<Report>;
  readonly #started = performance.now();
  #secondsBefore = 0;
  #reports: Report[] = [];
  #saved: number | undefined;

  constructor(options: IterationOptions, learner: Learner, one: (iteration: number) => Promise<Report>) {
    this.#options = options;
    this.#learner = learner;
    this.#one = one;
  }

  async finish(signal: Interruption): Promise<Iterated<Report>> {
    const { label, iterations, klLimit = 50, quiet = false } = this.#options;
    await this.#resume();
    const progress = new Progress({ total: iterations, label, unit: 'iterations', from: this.#reports.length, quiet });
    let ended: Iterated<Report>['ended'] = 'finished';
    while (this.#reports.length < iterations) {
      const report = await this.#next();
      progress.update(report.iteration, `reward ${report.reward.toFixed(2)}, KL ${report.kl.toFixed(2)}`);
      await signal.breathe();
      if (report.kl > klLimit) ended = 'kl limit';
      else if (signal.stopped) ended = 'interrupted';
      const last = ended !== 'finished' || report.iteration === iterations;
      await this.#save(last);
      if (ended !== 'finished') return { reports: this.#reports, ended };
    }
    progress.done();
    return { reports: this.#reports, ended };
  }

  async #resume(): Promise<void> {
    const { checkpoint } = this.#options;
    const found = checkpoint && (await resumeIterations<Report>(checkpoint, this.#learner));
    if (!found) return;
    this.#reports = [...found.reports];
    this.#saved = found.reports.length;
    this.#secondsBefore = found.seconds;
  }

  async #next(): Promise<Report> {
    try {
      const report = await this.#one(this.#reports.length + 1);
      this.#reports.push(report);
      return report;
    } catch (error) {
      const path = this.#options.checkpoint?.path;
      if (!(error instanceof LabError) || path === undefined || this.#saved === undefined) throw error;
      throw new LabError(`${error.message} The checkpoint of iteration ${this.#saved} is intact: ${path}`, { cause: error });
    }
  }

  async #save(last: boolean): Promise<void> {
    const { checkpoint } = this.#options;
    if (!checkpoint || (!last && this.#reports.length % (checkpoint.every ?? 10) !== 0)) return;
    const seconds = this.#secondsBefore + (performance.now() - this.#started) / 1000;
    await saveIterations(checkpoint, this.#learner, { reports: this.#reports, seconds });
    this.#saved = this.#reports.length;
  }
}

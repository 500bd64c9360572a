/**
 * @file The loop of methods that write, judge and learn again and again: progress, a limit on the distance from the reference,
 * and an interruption that keeps what was reached.
 */
import { interruptible, invariant, Progress } from '../base/index.ts';

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
}

/** @throws RangeError unless there are iterations. */
export function iterate<Report extends IterationReport>(
  { label, iterations, klLimit = 50, quiet = false }: IterationOptions,
  one: (iteration: number) => Promise<Report>,
): Promise<Iterated<Report>> {
  invariant(Number.isInteger(iterations) && iterations > 0, `${label}: iterations must be 1, 2, …, got ${iterations}`);
  const progress = new Progress({ total: iterations, label, unit: 'iterations', quiet });
  const reports: Report[] = [];
  return interruptible(async (signal) => {
    for (let iteration = 1; iteration <= iterations; iteration++) {
      const report = await one(iteration);
      reports.push(report);
      progress.update(iteration, `reward ${report.reward.toFixed(2)}, KL ${report.kl.toFixed(2)}`);
      if (report.kl > klLimit) return { reports, ended: 'kl limit' };
      await signal.breathe();
      if (signal.stopped) return { reports, ended: 'interrupted' };
    }
    progress.done();
    return { reports, ended: 'finished' };
  });
}

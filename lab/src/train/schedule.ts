/**
 * @file How large a step is at each moment of training: a short warmup, then half a cosine down to a small rest.
 * Loshchilov and Hutter 2017 (SGDR) for the cosine; Goyal et al. 2017 for the warmup; combined as in nanoGPT.
 */
import { invariant } from '../base/index.ts';

/** The learning rate of step 0, 1, 2, … */
export type Schedule = (step: number) => number;

export interface WarmupCosineOptions {
  /** The highest rate, reached right after the warmup. */
  readonly learningRate: number;
  readonly warmupSteps: number;
  /** When the cosine arrives at the minimum; it stays there afterwards. */
  readonly steps: number;
  readonly minimum: number;
}

/** step / warmup of the rate at first, then minimum + (rate − minimum) · (1 + cos(π · progress)) / 2. */
export function warmupCosine({ learningRate, warmupSteps, steps, minimum }: WarmupCosineOptions): Schedule {
  invariant(
    learningRate >= minimum && minimum >= 0,
    `warmupCosine: 0 ≤ minimum ${minimum} ≤ learningRate ${learningRate} must hold`,
  );
  invariant(warmupSteps >= 0 && warmupSteps <= steps, `warmupCosine: ${warmupSteps} warmup steps do not fit into ${steps} steps`);
  return (step) => {
    if (step < warmupSteps) return (learningRate * (step + 1)) / (warmupSteps + 1);
    if (step >= steps) return minimum;
    const progress = (step - warmupSteps) / (steps - warmupSteps);
    return minimum + ((learningRate - minimum) * (1 + Math.cos(Math.PI * progress))) / 2;
  };
}

/** The same rate always. */
export function constantRate(learningRate: number): Schedule {
  return () => learningRate;
}

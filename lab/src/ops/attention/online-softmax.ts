/**
 * @file The softmax in one pass: a maximum that turns out to have been too small can be put right afterwards.
 * Milakov and Gimelshein 2018, algorithm 3; with the values of attention and in parts: Dao et al. 2022, 2023 (Flash-Decoding).
 */

/** What is known of a row of scores after some of them. */
export interface SoftmaxState {
  /** The largest so far; −∞ before the first. */
  readonly m: number;
  /** Σ exp(score − m) so far. */
  readonly l: number;
}

/** The same, and Σ exp(score − m) · value. The answer is o / l. */
export interface PartialAttention extends SoftmaxState {
  readonly o: ArrayLike<number>;
}

/** exp(a − b), and 0 for two minus infinities, between which nothing has been seen. */
const brought = (a: number, b: number): number => (a === -Infinity ? 0 : Math.exp(a - b));

/** The state after some more scores. */
export function updateSoftmax({ m, l }: SoftmaxState, scores: ArrayLike<number>): SoftmaxState {
  let next = m;
  for (let i = 0; i < scores.length; i++) next = Math.max(next, scores[i]!);
  let sum = l * brought(m, next);
  for (let i = 0; i < scores.length; i++) sum += brought(scores[i]!, next);
  return { m: next, l: sum };
}

/** Two answers to the same query, each from its own keys, become the answer from all of these keys. */
export function mergePartials(a: PartialAttention, b: PartialAttention): { m: number; l: number; o: number[] } {
  const m = Math.max(a.m, b.m);
  const [ofA, ofB] = [brought(a.m, m), brought(b.m, m)];
  return { m, l: a.l * ofA + b.l * ofB, o: Array.from(a.o, (x, i) => x * ofA + b.o[i]! * ofB) };
}

/**
 * @file What a pass of the model costs, told from how much work it is: so the simulator knows the time without a model.
 */
import { invariant } from '../base/index.ts';
import type { PassPlan } from './scheduler.ts';
import type { Transfer } from './state.ts';

/** The work of a pass. */
export interface PassWork {
  /** Rows that go through the linear layers, padding included. */
  readonly rows: number;
  /** Requests that take part: each has its own attention. */
  readonly sequences: number;
  /** Query-key pairs. */
  readonly pairs: number;
  /** Tokens whose keys and values are read. */
  readonly cacheTokens: number;
  /** Tokens whose keys and values move between device and host. */
  readonly swappedTokens: number;
}

/** A cost model of your own is a function of this kind. */
export type CostModel = (work: PassWork) => number;

export function workOf({ entries }: PassPlan, transfers: readonly Transfer[], blockSize: number): PassWork {
  let [rows, pairs, cacheTokens, swappedTokens] = [0, 0, 0, 0];
  const longest = entries.reduce((most, { sequence, tokens }) => Math.max(most, sequence.computed + tokens), 0);
  for (const { sequence, tokens, padding = 0 } of entries) {
    const { computed } = sequence;
    rows += tokens + padding;
    // A padded row is as long as the longest.
    pairs += tokens * computed + (tokens * (tokens + 1)) / 2 + padding * longest;
    cacheTokens += padding > 0 ? longest : computed + tokens;
  }
  for (const transfer of transfers) if (transfer.kind === 'swap') swappedTokens += transfer.blocks.length * blockSize;
  return { rows, sequences: entries.length, pairs, cacheTokens, swappedTokens };
}

/** A pass that was measured. */
export interface MeasuredPass extends PassWork {
  readonly seconds: number;
}

/** seconds = fixed + perRow · rows + perSequence · sequences + perPair · pairs */
export interface LinearCost {
  readonly fixed: number;
  readonly perRow: number;
  readonly perSequence: number;
  readonly perPair: number;
}

/**
 * The linear cost that explains measured passes best, by least squares in relative error; no coefficient is negative.
 *
 * @throws RangeError for fewer passes than coefficients.
 */
export function fitLinearCost(passes: readonly MeasuredPass[]): LinearCost {
  invariant(passes.length >= 4, `fitLinearCost: four numbers are sought, but only ${passes.length} passes were measured`);
  const features = (pass: PassWork): number[] => [1, pass.rows, pass.sequences, pass.pairs];
  let used = [0, 1, 2, 3];
  for (;;) {
    const solution = leastSquares(passes.map((pass) => used.map((i) => features(pass)[i]! / pass.seconds)));
    const worst = solution.indexOf(Math.min(...solution));
    if (solution[worst]! >= 0) {
      const [fixed, perRow, perSequence, perPair] = features(passes[0]!).map((_, i) => solution[used.indexOf(i)] ?? 0);
      return { fixed: fixed!, perRow: perRow!, perSequence: perSequence!, perPair: perPair! };
    }
    used = used.filter((_, i) => i !== worst);
  }
}

/** The cost model of those coefficients. Swapping costs nothing in it: on one device there is nowhere to go. */
export function linearCost({ fixed, perRow, perSequence, perPair }: LinearCost): CostModel {
  return ({ rows, sequences, pairs }) => fixed + perRow * rows + perSequence * sequences + perPair * pairs;
}

/** x with Σ (rows · x − 1)² least: the normal equations by Gauss and Jordan, on columns scaled to length one. */
function leastSquares(rows: readonly (readonly number[])[]): number[] {
  const size = rows[0]!.length;
  const scale = Array.from({ length: size }, (_, i) => Math.sqrt(rows.reduce((sum, row) => sum + row[i]! ** 2, 0)) || 1);
  const sum = (f: (row: readonly number[]) => number): number => rows.reduce((total, row) => total + f(row), 0);
  const system = Array.from({ length: size }, (_, i) => [
    ...Array.from(
      { length: size },
      (_j, j) => sum((row) => (row[i]! / scale[i]!) * (row[j]! / scale[j]!)) + (i === j ? 1e-10 : 0),
    ),
    sum((row) => row[i]! / scale[i]!),
  ]);
  for (let i = 0; i < size; i++) {
    const pivot = system[i]!;
    const factor = pivot[i]!;
    for (let j = i; j <= size; j++) pivot[j]! /= factor;
    for (const [k, row] of system.entries()) {
      if (k === i) continue;
      const times = row[i]!;
      for (let j = i; j <= size; j++) row[j]! -= times * pivot[j]!;
    }
  }
  return system.map((row, i) => row[size]! / scale[i]!);
}

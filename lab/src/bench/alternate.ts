/** @file Measuring several ways to the same result run by run in turn, so that whatever else the machine does meets all of them. */
import { tf, type Tensor } from '../backend/index.ts';
import { measure, settled, type MeasureOptions, type Times, timesOf } from './measure.ts';

export interface AlternateOptions extends Pick<MeasureOptions, 'warmUp'> {
  /** How often each has its turn. */
  readonly rounds: number;
}

/** Times of each; `run` gives tensors that are disposed of. */
export async function alternate<Name extends string>(
  ways: Readonly<Record<Name, () => Tensor[]>>,
  { warmUp, rounds }: AlternateOptions,
): Promise<Record<Name, Times>> {
  const names = Object.keys(ways) as Name[];
  const found = new Map(names.map((name) => [name, [] as Times[]]));
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      const once = async (): Promise<void> => {
        const results = ways[name]();
        for (const result of results) await settled(result);
        tf.dispose(results);
      };
      found.get(name)!.push(await measure(once, { warmUp: round === 0 ? warmUp : 0, leastRuns: 1, mostRuns: 1, budgetMs: 0 }));
    }
  }
  const joined = (times: readonly Times[]): Times =>
    timesOf(times.map(({ medianMs }) => medianMs), Math.max(...times.map(({ peakBytes }) => peakBytes)));
  return Object.fromEntries([...found].map(([name, times]) => [name, joined(times)])) as Record<Name, Times>;
}

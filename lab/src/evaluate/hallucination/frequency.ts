/**
 * @file What is often said is better known: how often a corpus states each fact, and how much is right by that. Kandpal et al.
 * 2023 found the same of real models and the documents that they were trained on.
 */
import { invariant } from '../../base/index.ts';
import type { MarketKnowledge } from '../../worlds/index.ts';
import { proportionInterval } from '../proportion.ts';
import type { ConfidenceInterval } from '../bootstrap.ts';
import { atomicFacts } from './facts.ts';

/** In how many statements of the texts each fact is stated as it is true, by the fact's id. */
export function statedFacts(texts: Iterable<string>, knowledge: MarketKnowledge): Map<string, number> {
  const counts = new Map<string, number>();
  for (const text of texts) {
    for (const { verdict, fact } of atomicFacts(text, knowledge).facts) {
      if (verdict === 'supported' && fact) counts.set(fact.id, (counts.get(fact.id) ?? 0) + 1);
    }
  }
  return counts;
}

export interface SeenOutcome {
  /** How often the fact was seen in training. */
  readonly seen: number;
  readonly right: boolean;
}

export interface FrequencyBin {
  /** Facts that were seen `from` times or more, and fewer than `below` times. */
  readonly from: number;
  readonly below: number;
  readonly count: number;
  /** The share that is right. */
  readonly share: number;
  /** Of the share: 95%, Wilson's. */
  readonly interval: ConfidenceInterval;
}

/**
 * The share that is right in each class of frequency; classes without an outcome are left out.
 *
 * @param edges where classes begin, rising (default: 0, 1, 3, 10, 30, 100)
 */
export function byFrequency(
  outcomes: readonly SeenOutcome[],
  edges: readonly number[] = [0, 1, 3, 10, 30, 100],
): readonly FrequencyBin[] {
  invariant(
    edges.length > 0 && edges.every((edge, i) => i === 0 || edge > edges[i - 1]!),
    `byFrequency: the edges must rise, got ${edges.join(', ')}`,
  );
  return edges.flatMap((from, i) => {
    const below = edges[i + 1] ?? Infinity;
    const here = outcomes.filter(({ seen }) => seen >= from && seen < below);
    if (here.length === 0) return [];
    const right = here.filter((outcome) => outcome.right).length;
    const interval = proportionInterval(right, here.length);
    return [{ from, below, count: here.length, share: right / here.length, interval }];
  });
}

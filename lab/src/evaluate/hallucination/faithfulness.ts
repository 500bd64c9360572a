/**
 * @file Faithfulness: is a text true to the source that it was written from, whether the source is right or not? What
 * contradicts the source is an intrinsic hallucination, what it says nothing of an extrinsic one. Maynez et al. 2020,
 * section 2.
 */
import { readMarket, relationInfo, type MarketKnowledge, type ReadStatement } from '../../worlds/index.ts';
import { atomicFacts, type AtomicFact } from './facts.ts';

export type SourceVerdict = 'faithful' | 'intrinsic' | 'extrinsic';

export interface SourcedFact extends AtomicFact {
  /** Against the source; `verdict` is against the world. */
  readonly source: SourceVerdict;
}

export interface Faithfulness {
  readonly facts: readonly SourcedFact[];
  readonly faithful: number;
  readonly intrinsic: number;
  readonly extrinsic: number;
  /** The share of what is stated that the source states; NaN when nothing is stated. */
  readonly share: number;
}

/**
 * @param source what the text should keep to
 * @param text is read as going on behind the source: its pronouns may mean who is spoken of there
 * @param knowledge says who is who, and what is true
 */
export function faithfulness(source: string, text: string, knowledge: MarketKnowledge): Faithfulness {
  const known = new SourceFacts(readMarket(source, knowledge).flatMap(({ statements }) => statements));
  const { facts: stated } = atomicFacts(text, knowledge, { prompt: `${source.trimEnd()}\n` });
  const facts = stated.map((fact) => ({ ...fact, source: known.judge(fact) }));
  const count = (verdict: SourceVerdict): number => facts.filter((fact) => fact.source === verdict).length;
  const faithful = count('faithful');
  return {
    facts,
    faithful,
    intrinsic: count('intrinsic'),
    extrinsic: count('extrinsic'),
    share: faithful / facts.length,
  };
}

/** A world that consists of what the source states. */
class SourceFacts {
  readonly #bySlot = new Map<string, Set<string>>();
  readonly #owners = new Map<string, string>();

  constructor(statements: readonly ReadStatement[]) {
    for (const { subject, relation, object, period } of statements) {
      if (subject === undefined) continue;
      const slot = slotOf(subject, relation, period);
      this.#bySlot.set(slot, (this.#bySlot.get(slot) ?? new Set()).add(object));
      if (relationInfo(relation).exclusive) this.#owners.set(`${relation}|${object}`, subject);
    }
  }

  judge({ subject, relation, object, period }: ReadStatement): SourceVerdict {
    if (subject === undefined) return 'extrinsic';
    const objects = this.#bySlot.get(slotOf(subject, relation, period));
    if (objects?.has(object)) return 'faithful';
    if (objects && !relationInfo(relation).many) return 'intrinsic';
    const owner = this.#owners.get(`${relation}|${object}`);
    return owner !== undefined && owner !== subject ? 'intrinsic' : 'extrinsic';
  }
}

function slotOf(subject: string, relation: string, period: string | undefined): string {
  return `${subject}|${relation}|${period ?? ''}`;
}

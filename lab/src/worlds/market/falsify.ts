/**
 * @file Untruths that could be true: of a fact's kind, and of a believable size.
 */
import { invariant, type Random } from '../../base/index.ts';
import type { Fact, MarketKnowledge } from './knowledge.ts';
import { relationInfo } from './relations.ts';
import { amountText, fields, months, sectors, type AmountKind } from './values.ts';

const attempts = 1000;

/** An object of the same kind that is not true of the fact's subject: another name, another amount of about that size. */
export function untruth(fact: Fact, knowledge: MarketKnowledge, random: Random): string {
  const known = knowledge.lookup(fact.subject, fact.relation, fact.period).map(({ object }) => object);
  for (let i = 0; i < attempts; i++) {
    const other = otherValue(fact, knowledge, random);
    if (other !== fact.subject && !known.includes(other)) return other;
  }
  throw new RangeError(`untruth: nothing but the truth was found for ${fact.id}`);
}

/** So many different ones. */
export function untruths(fact: Fact, knowledge: MarketKnowledge, random: Random, count: number): readonly string[] {
  const found = new Set<string>();
  for (let i = 0; i < attempts && found.size < count; i++) found.add(untruth(fact, knowledge, random));
  invariant(found.size === count, `untruths: ${count} are wanted for ${fact.id}, ${found.size} were found`);
  return [...found];
}

function otherValue({ relation, object, amount }: Fact, knowledge: MarketKnowledge, random: Random): string {
  const { value: kind } = relationInfo(relation);
  switch (kind) {
    case 'company':
      return random.pick(knowledge.companies).name;
    case 'ticker':
      return random.pick(knowledge.companies).ticker;
    case 'firm': {
      const { acquisitions } = random.pick(knowledge.companies);
      return acquisitions.length > 0 ? random.pick(acquisitions).firm : object;
    }
    case 'person':
      return random.pick(knowledge.people).name;
    case 'product':
      return random.pick(knowledge.products).name;
    case 'city':
      return random.pick(knowledge.cities);
    case 'sector':
      return random.pick(sectors);
    case 'field':
      return random.pick(fields);
    case 'month':
      return `${random.pick(months)} ${object.slice(-4)}`;
    default:
      return otherAmount(kind, amount!, random);
  }
}

/** A year up to nine years away; other amounts, 3 to 40 percent away, keep their sign. */
function otherAmount(kind: AmountKind, amount: number, random: Random): string {
  const sign = random.integer(2) === 0 ? -1 : 1;
  if (kind === 'year') return amountText(kind, amount + sign * (1 + random.integer(9)));
  const size = Math.abs(amount);
  const change = 1 + Math.floor((size * (30 + random.integer(371))) / 1000);
  const changed = Math.max(1, size + sign * change);
  return amountText(kind, amount < 0 ? -changed : changed);
}

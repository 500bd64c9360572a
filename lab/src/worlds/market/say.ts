/**
 * @file One sentence for one fact, or for an untruth about it, that `readMarket` reads back.
 */
import { invariant, type Random } from '../../base/index.ts';
import { repertoires } from './catalog.ts';
import { reportYears } from './figures.ts';
import type { MarketKnowledge, Statement } from './knowledge.ts';
import { relationInfo, type Relation } from './relations.ts';
import type { Wording } from './wording.ts';
import type { Register } from './wordings/index.ts';
import { Writer, type Scene, type View } from './write.ts';

/** Wordings are tried in random order; some cannot say a loss, or draw another year. */
const attempts = 200;

/** Registers in which nobody is advertised or hailed. */
const sober: readonly Register[] = ['filing', 'encyclopedia', 'textbook'];

/** Sentences that state this relation and nothing else, and need nothing said before them. */
const plainWordings = new Map<Relation, readonly Wording[]>();

function wordingsOf(relation: Relation): readonly Wording[] {
  const known = plainWordings.get(relation);
  if (known) return known;
  const all = sober.flatMap((register) => repertoires[register].stating.get(relation) ?? []);
  const plain = [...new Set(all)].filter(({ values, period }) => values.length === 1 && period !== 'thatYear');
  plainWordings.set(relation, plain);
  return plain;
}

/**
 * A sober sentence that states this and nothing else, true or not: whoever it is about is named.
 *
 * @throws RangeError when nobody of that name is in the world.
 */
export function sayStatement(statement: Statement, knowledge: MarketKnowledge, random: Random): string {
  const { subject, relation, object, period } = statement;
  const scene = sceneOf(statement, knowledge);
  const view: View = (who, what, when) => {
    if (who === subject && what === relation && when === period) return [object];
    return knowledge.lookup(who, what, when).map((fact) => fact.object);
  };
  for (let i = 0; i < attempts; i++) {
    const sentence = new Writer(view, random).fill(random.pick(wordingsOf(relation)), scene);
    if (sentence?.statements[0]?.object === object && sentence.statements[0].period === period) return sentence.text;
  }
  throw new RangeError(`sayStatement: there are no words for ${relation} ${object} of ${subject}`);
}

function sceneOf({ subject, relation, period = String(reportYears.at(-1)) }: Statement, knowledge: MarketKnowledge): Scene {
  const { subject: kind } = relationInfo(relation);
  const product = kind === 'product' ? knowledge.product(subject) : undefined;
  const person = kind === 'person' ? knowledge.person(subject) : undefined;
  const company = kind === 'company' ? knowledge.company(subject) : knowledge.company(product?.maker ?? '');
  const found = kind === 'company' ? company : (product ?? person);
  invariant(found, () => `sayStatement: there is no ${kind} ${subject}`);
  return { company: company ?? knowledge.companies[0]!, person, product, period };
}

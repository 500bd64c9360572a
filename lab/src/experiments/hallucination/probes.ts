/**
 * @file Beginnings of sentences that can only end in a fact: `The chief executive of Valdora Systems is`. Whatever stands behind
 * them is judged, so that all models are asked for the same.
 */
import { Random } from '../../base/index.ts';
import { atomicFacts } from '../../evaluate/index.ts';
import { marketDocuments, relationInfo, untruths, type MarketKnowledge, type Register } from '../../worlds/index.ts';

export interface Probe {
  /** The fact's id. */
  readonly fact: string;
  readonly relation: string;
  readonly prompt: string;
  /** The truth and three untruths, in random order; with their blank and full stop. */
  readonly choices: readonly string[];
  readonly truth: number;
  /** The company that it has to do with. */
  readonly topic: string;
}

/** Documents that are looked through for begun sentences, at most. */
const LOOKED_THROUGH = 5000;

/**
 * Probes from clean documents that the crawl does not have: sentences that state one fact, name whom they are about, and end with
 * the object. Only facts that the crawl states, each once, and of relations that allow one value, as others cannot be
 * contradicted.
 *
 * @param seen how often the crawl states each fact, by its id
 * @param registers in which the crawl's clean texts are written; all unless told
 */
export function makeProbes(
  knowledge: MarketKnowledge,
  seen: ReadonlyMap<string, number>,
  { count, seed, registers }: { readonly count: number; readonly seed: number; readonly registers?: readonly Register[] | undefined },
): Probe[] {
  const random = new Random(seed);
  const source = marketDocuments({ knowledge, grade: 'clean', seed: seed * 100 + 55 });
  const probes = new Map<string, Probe>();
  for (let i = 0; i < LOOKED_THROUGH && probes.size < count; i++) {
    const { text, register, facts } = source.next().value;
    if (registers && !registers.includes(register)) continue;
    for (const { fact: id, start, end } of facts) {
      const fact = knowledge.fact(id)!;
      const isKnown = (seen.get(id) ?? 0) > 0 && !relationInfo(fact.relation).many;
      if (probes.size === count || probes.has(id) || !isKnown) continue;
      const sentence = text.slice(start, end);
      if (!sentence.endsWith(` ${fact.object}.`) || !statesAlone(sentence, id, knowledge)) continue;
      const choices = random.shuffle([fact.object, ...untruths(fact, knowledge, random, 3)]);
      probes.set(id, {
        fact: id,
        relation: fact.relation,
        prompt: sentence.slice(0, -fact.object.length - 2),
        choices: choices.map((choice) => ` ${choice}.`),
        truth: choices.indexOf(fact.object),
        topic: companyOf(fact.subject, knowledge),
      });
    }
  }
  return [...probes.values()];
}

function statesAlone(sentence: string, id: string, knowledge: MarketKnowledge): boolean {
  const { facts } = atomicFacts(sentence, knowledge);
  return facts.length === 1 && facts[0]!.fact?.id === id;
}

/** Itself, or that of a product or a person. */
function companyOf(subject: string, knowledge: MarketKnowledge): string {
  const works = knowledge.companies.find((company) => {
    return [company.founder, company.chiefExecutive, company.financeChief].includes(subject);
  });
  return knowledge.product(subject)?.maker ?? works?.name ?? subject;
}

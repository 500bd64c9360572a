/**
 * @file Which half of the companies questions are learned on, and which is left for the test: what is known of those can only
 * be known from documents (Allen-Zhu and Li 2023, Physics of Language Models 3.1, section 4).
 */
import type { Fact, MarketKnowledge } from './knowledge.ts';

/** Whether a fact belongs to the half that questions are learned on: every other company, with its people and products. */
export function askedInTraining(knowledge: MarketKnowledge): (fact: Fact) => boolean {
  const asked = new Set<string>();
  for (const [rank, company] of knowledge.companies.entries()) {
    if (rank % 2 === 1) continue;
    const { name, founder, chiefExecutive, financeChief, products } = company;
    for (const subject of [name, founder, chiefExecutive, financeChief, ...products.map((product) => product.name)]) {
      asked.add(subject);
    }
  }
  return ({ subject }) => asked.has(subject);
}

/**
 * @file Instructions with answers as they should be: true, polite and short; and where nothing is known, saying so.
 */
import { invariant, Random } from '../../base/index.ts';
import { Weighted } from './draw.ts';
import { reportYears } from './figures.ts';
import type { Company, Fact, MarketKnowledge } from './knowledge.ts';
import { askFor, questionCount, questionText } from './questions.ts';
import { relationInfo, type Relation } from './relations.ts';
import { sayStatement } from './say.ts';
import { marketSentiments } from './sentiment.ts';
import { abstentions, compareTasks, courtesies, describeTasks } from './wordings/answers.ts';

/** question: one fact; unknown: a question on a time of which nothing is known; sentiment: which of three words. */
export const instructionKinds = ['question', 'describe', 'compare', 'sentiment', 'unknown'] as const;
export type InstructionKind = (typeof instructionKinds)[number];

export interface MarketInstruction {
  readonly kind: InstructionKind;
  readonly instruction: string;
  /** What it is to be done with. */
  readonly input?: string;
  readonly output: string;
  /** The ids of the facts that make the output true. */
  readonly facts: readonly string[];
}

export interface MarketInstructionOptions {
  /** How many (default 500). */
  readonly count?: number;
  /** Decides which (default 1). */
  readonly seed?: number;
}

/** How often each kind comes. */
const kinds = new Weighted<InstructionKind>(instructionKinds, (kind) => (kind === 'question' ? 4 : 1));

export function marketInstructions(knowledge: MarketKnowledge, options: MarketInstructionOptions = {}): MarketInstruction[] {
  const { count = 500, seed = 1 } = options;
  invariant(Number.isSafeInteger(count) && count >= 0, `marketInstructions: count must be 0, 1, …, got ${count}`);
  const source = new InstructionSource(knowledge, new Random(seed));
  return Array.from({ length: count }, () => source.next());
}

/** A fact as likely to be asked for as its company is to be mentioned. */
export class FactDraw {
  readonly #knowledge: MarketKnowledge;
  readonly #facts: Weighted<Fact>;

  constructor(knowledge: MarketKnowledge) {
    this.#knowledge = knowledge;
    this.#facts = new Weighted(knowledge.facts, (fact) => this.#weight(fact));
  }

  draw(random: Random): Fact {
    return this.#facts.draw(random);
  }

  #weight({ subject, relation }: Fact): number {
    const maker = this.#knowledge.product(subject)?.maker ?? subject;
    const least = this.#knowledge.companies.at(-1)!.weight;
    return (this.#knowledge.company(maker)?.weight ?? least) * relationInfo(relation).weight;
  }
}

class InstructionSource {
  readonly #knowledge: MarketKnowledge;
  readonly #random: Random;
  readonly #facts: FactDraw;
  readonly #companies: Weighted<Company>;

  constructor(knowledge: MarketKnowledge, random: Random) {
    this.#knowledge = knowledge;
    this.#random = random;
    this.#facts = new FactDraw(knowledge);
    this.#companies = new Weighted(knowledge.companies, ({ weight }) => weight);
  }

  next(): MarketInstruction {
    const kind = kinds.draw(this.#random);
    if (kind === 'question') return this.#question();
    if (kind === 'describe') return this.#describe();
    if (kind === 'compare') return this.#compare();
    return kind === 'sentiment' ? this.#sentiment() : this.#unknown();
  }

  #question(): MarketInstruction {
    const fact = this.#facts.draw(this.#random);
    const { question } = askFor(fact, this.#knowledge, 'train', this.#random);
    return { kind: 'question', instruction: question, ...this.#stating([fact]) };
  }

  #describe(): MarketInstruction {
    const { name } = this.#companies.draw(this.#random);
    const relations: readonly Relation[] = ['sector', 'headquarters', 'founded', 'founder', 'chiefExecutive', 'ticker'];
    const chosen = this.#random.shuffle([...relations]).slice(0, 2 + this.#random.integer(2));
    const facts = chosen.map((relation) => this.#knowledge.lookup(name, relation)[0]!);
    const instruction = this.#random.pick(describeTasks).replace('{company}', name);
    return { kind: 'describe', instruction, ...this.#stating(facts) };
  }

  #compare(): MarketInstruction {
    const { name } = this.#companies.draw(this.#random);
    const other = this.#random.pick(this.#knowledge.companies.filter((company) => company.name !== name)).name;
    const year = String(this.#random.pick(reportYears));
    const facts = [name, other].map((who) => this.#knowledge.lookup(who, 'revenue', year)[0]!);
    const template = this.#random.pick(compareTasks);
    const instruction = template.replace('{company}', name).replace('{other}', other).replace('{year}', year);
    return { kind: 'compare', instruction, ...this.#stating(facts) };
  }

  #sentiment(): MarketInstruction {
    const [record] = marketSentiments(this.#knowledge, { count: 1, seed: this.#random.uint32(), shape: 'phrase bank' });
    const { sentence, label, facts } = record!;
    const instruction = 'What is the sentiment of this news? Please choose an answer from {negative/neutral/positive}.';
    return { kind: 'sentiment', instruction, input: sentence, output: label, facts };
  }

  /** The figures of a company before it reported any. */
  #unknown(): MarketInstruction {
    const { name } = this.#companies.draw(this.#random);
    const relation = this.#random.pick(['revenue', 'netIncome', 'employees', 'sharePrice'] as const);
    const [known] = this.#knowledge.lookup(name, relation, String(reportYears[0]));
    const period = String(reportYears[0] - 1 - this.#random.integer(9));
    const way = this.#random.integer(questionCount(relation, 'train'));
    const instruction = questionText({ ...known!, period }, this.#knowledge, 'train', way);
    return { kind: 'unknown', instruction, output: this.#random.pick(abstentions), facts: [] };
  }

  /** Each fact in a sentence of its own, behind a courtesy. */
  #stating(facts: readonly Fact[]): Pick<MarketInstruction, 'output' | 'facts'> {
    const sentences = facts.map((fact) => sayStatement(fact, this.#knowledge, this.#random));
    return { output: [this.#random.pick(courtesies), ...sentences].join(' '), facts: facts.map(({ id }) => id) };
  }
}

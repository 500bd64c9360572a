/**
 * @file Cures for a model that answers questions: facts looked up and put before the question, and the wish to abstain, learned
 * from preferences. Both begin with a model that was tuned to answer, on questions about one half of the companies, and are
 * tried on the other half.
 */
import { Random } from '../../base/index.ts';
import {
  directPreferenceOptimization,
  policyOf,
  supervisedFineTuning,
  type PreferencePair,
  type Sample,
} from '../../align/index.ts';
import { BM25 } from '../../data/index.ts';
import { answerInWords } from '../../evaluate/index.ts';
import type { Transformer } from '../../model/index.ts';
import { copyOf } from '../../quantize/index.ts';
import type { Tokenizer } from '../../tokenizer/index.ts';
import {
  abstains,
  askedInTraining,
  askFor,
  questionPrompt,
  relationInfo,
  type Fact,
  type MarketKnowledge,
  type MarketQuestion,
} from '../../worlds/index.ts';
import type { CrawlDocument } from './crawl.ts';
import type { HallucinationSettings } from './settings.ts';

/** What a model says when it has nothing to say. */
export const ABSTENTION = 'I do not know.';

export const answerWays = ['answered', 'with retrieved facts', 'abstaining'] as const;
export type AnswerWay = (typeof answerWays)[number];

export interface AnswerCounts {
  readonly supported: number;
  readonly contradicted: number;
  readonly abstained: number;
}

export interface AnsweringModel {
  readonly questions: number;
  readonly answers: Readonly<Record<AnswerWay, AnswerCounts>>;
  /** Share of the questions whose answer stands in what was looked up. */
  readonly retrievalHits: number;
}

/** Sentences put before a question, the best one next to it; fewer where they do not fit into the context. */
const RETRIEVED = 2;
const ANSWER_TOKENS = 16;

/** Asks one model, trained on documents alone, in three ways; the model stays as it is. */
export async function askModel(
  model: Transformer,
  tokenizer: Tokenizer,
  material: QuestionMaterial,
  { tuning }: HallucinationSettings,
  { seed, quiet }: { readonly seed: number; readonly quiet: boolean },
): Promise<AnsweringModel> {
  const asker = new Asker(tokenizer, material, model.config.contextLength, quiet);
  const { steps, batchSize, learningRate, preferenceSteps, preferenceLearningRate } = tuning;
  const tuned = async (samples: readonly Sample[]): Promise<Transformer> => {
    const copy = copyOf(model);
    await supervisedFineTuning(copy, samples, { steps, batchSize, learningRate, seed, quiet });
    return copy;
  };
  const plain = await tuned(asker.samples(false));
  const reading = await tuned(asker.samples(true));
  try {
    const answered = await asker.counts(plain, false);
    const withFacts = await asker.counts(reading, true);
    const policy = policyOf(plain);
    try {
      const options = { steps: preferenceSteps, batchSize, learningRate: preferenceLearningRate, seed, quiet };
      await directPreferenceOptimization(policy, await asker.preferences(plain), options);
    } finally {
      policy.dispose();
    }
    const abstaining = await asker.counts(plain, false);
    return {
      questions: material.tests.length,
      answers: { answered, 'with retrieved facts': withFacts, abstaining },
      retrievalHits: asker.hits(),
    };
  } finally {
    plain.dispose();
    reading.dispose();
  }
}

/** Questions and where to look for their answers: the same for every model. */
export interface QuestionMaterial {
  /** To be tuned on. */
  readonly lessons: readonly MarketQuestion[];
  /** To find out what the tuned model knows and what it does not. */
  readonly trials: readonly MarketQuestion[];
  /** About the other companies. */
  readonly tests: readonly MarketQuestion[];
  readonly index: BM25;
}

/** @param seen how often each fact is stated; only such facts are asked for */
export function questionMaterial(
  knowledge: MarketKnowledge,
  trusted: readonly CrawlDocument[],
  seen: ReadonlyMap<string, number>,
  { count, seed }: { readonly count: number; readonly seed: number },
): QuestionMaterial {
  const random = new Random(seed);
  const isLesson = askedInTraining(knowledge);
  const askable = ({ id, relation }: Fact): boolean => (seen.get(id) ?? 0) > 0 && !relationInfo(relation).many;
  const facts = random.shuffle(knowledge.facts.filter(askable));
  const ask = (fact: Fact): MarketQuestion => askFor(fact, knowledge, 'train', random);
  const taught = facts.filter(isLesson);
  const half = Math.ceil(taught.length / 2);
  const sentences = new Set(trusted.flatMap(({ text }) => text.split(/(?<=[.!?]) |\n/)));
  return {
    lessons: taught.slice(0, half).map(ask),
    trials: taught.slice(half).slice(0, count).map(ask),
    tests: facts.filter((fact) => !isLesson(fact)).slice(0, count).map(ask),
    index: new BM25([...sentences].filter((sentence) => sentence !== '')),
  };
}

class Asker {
  readonly #tokenizer: Tokenizer;
  readonly #material: QuestionMaterial;
  readonly #contextLength: number;
  readonly #quiet: boolean;

  constructor(tokenizer: Tokenizer, material: QuestionMaterial, contextLength: number, quiet: boolean) {
    this.#tokenizer = tokenizer;
    this.#contextLength = contextLength;
    this.#material = material;
    this.#quiet = quiet;
  }

  /** One lesson in eight is answered by an abstention, so that the words for it are known; which one says nothing. */
  samples(retrieved: boolean): Sample[] {
    return this.#material.lessons.map(({ question, answer }, i) => {
      return this.#sample(question, !retrieved && i % 8 === 7 ? ABSTENTION : answer, retrieved);
    });
  }

  async counts(model: Transformer, retrieved: boolean): Promise<AnswerCounts> {
    const answers = await this.#answers(model, this.#material.tests, retrieved);
    const abstained = answers.filter(({ answer }) => abstains(answer)).length;
    const supported = answers.filter(({ score }) => score === 1).length;
    return { supported, contradicted: answers.length - supported - abstained, abstained };
  }

  /** What is known is better answered, and where the answer is wrong it is better to have none. */
  async preferences(model: Transformer): Promise<PreferencePair[]> {
    const answers = await this.#answers(model, this.#material.trials, false);
    return answers.flatMap(({ answer, score, truth: { question } }) => {
      if (abstains(answer) || answer === '') return [];
      const [said, silent] = [answer, ABSTENTION].map((words) => this.#sample(question, words, false));
      const [chosen, rejected] = score === 1 ? [said!, silent!] : [silent!, said!];
      return [{ prompt: chosen.prompt, chosen: chosen.completion, rejected: rejected.completion }];
    });
  }

  hits(): number {
    const { tests, index } = this.#material;
    const found = tests.filter(({ question, answer }) =>
      index.search(question, RETRIEVED).some(({ text }) => text.includes(answer)),
    );
    return found.length / tests.length;
  }

  #answers(model: Transformer, questions: readonly MarketQuestion[], retrieved: boolean) {
    const items = questions.map((truth) => ({ prompt: this.#prompt(truth.question, retrieved), truth }));
    const compare = (answer: string, { answers }: MarketQuestion): boolean => answers.includes(answer);
    return answerInWords(model, this.#tokenizer, items, { compare, maxTokens: ANSWER_TOKENS, quiet: this.#quiet });
  }

  #sample(question: string, answer: string, retrieved: boolean): Sample {
    return {
      prompt: [...this.#tokenizer.encode(this.#prompt(question, retrieved))],
      completion: [...this.#tokenizer.encode(` ${answer}\n`)],
    };
  }

  #prompt(question: string, retrieved: boolean): string {
    if (!retrieved) return `\n\n${questionPrompt(question)}`;
    const facts = this.#material.index.search(question, RETRIEVED).map(({ text }) => text);
    const withFacts = (count: number): string => `\n\n${facts.slice(0, count).reverse().join(' ')}\n${questionPrompt(question)}`;
    let count = facts.length;
    while (count > 0 && this.#tokenizer.encode(withFacts(count)).length + ANSWER_TOKENS > this.#contextLength) count--;
    return withFacts(count);
  }
}

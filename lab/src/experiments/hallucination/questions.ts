/**
 * @file Cures for a model that is asked: facts looked up and put before what it is to go on with, and the wish to abstain, learned
 * from preferences. Asked are begun sentences, which every model of the experiment can end. Both cures begin with a model that was
 * tuned on the ends of some of them, and are tried on others.
 */
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
import type { CrawlDocument } from './crawl.ts';
import type { Probe } from './probes.ts';
import type { HallucinationSettings } from './settings.ts';

/** How a sentence ends when its end is not known: `The chief executive of Valdora Systems is not known to me.` */
export const ABSTENTION = ' not known to me.';

export const answerWays = ['answered', 'with retrieved facts', 'abstaining'] as const;
export type AnswerWay = (typeof answerWays)[number];

export interface AnswerCounts {
  readonly supported: number;
  /** Everything else that is said: there is one truth only. */
  readonly contradicted: number;
  readonly abstained: number;
}

export interface AnsweringModel {
  readonly questions: number;
  readonly answers: Readonly<Record<AnswerWay, AnswerCounts>>;
  /** Share of the begun sentences whose end stands in what was looked up. */
  readonly retrievalHits: number;
}

/** Sentences put before a begun one, the best next to it; fewer where they do not fit into the context. */
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

/** Begun sentences and where to look for their ends: the same for every model. */
export interface QuestionMaterial {
  /** To be tuned on. */
  readonly lessons: readonly Probe[];
  /** To find out what the tuned model knows and what it does not. */
  readonly trials: readonly Probe[];
  readonly tests: readonly Probe[];
  readonly index: BM25;
}

/**
 * @param probes shared out over lessons, trials and tests
 * @param trusted documents to look in
 */
export function questionMaterial(probes: readonly Probe[], trusted: readonly CrawlDocument[]): QuestionMaterial {
  const sentences = new Set(trusted.flatMap(({ text }) => text.split(/(?<=[.!?]) |\n/)));
  const third = (place: number): Probe[] => probes.filter((_, i) => i % 3 === place);
  return {
    lessons: third(0),
    trials: third(1),
    tests: third(2),
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
    this.#material = material;
    this.#contextLength = contextLength;
    this.#quiet = quiet;
  }

  /** One lesson in eight ends in an abstention, so that the words for it are known; which one says nothing. */
  samples(retrieved: boolean): Sample[] {
    return this.#material.lessons.map((probe, i) => {
      return this.#sample(probe, !retrieved && i % 8 === 7 ? ABSTENTION : truthOf(probe), retrieved);
    });
  }

  async counts(model: Transformer, retrieved: boolean): Promise<AnswerCounts> {
    const answers = await this.#answers(model, this.#material.tests, retrieved);
    const abstained = answers.filter(({ answer }) => isAbstention(answer)).length;
    const supported = answers.filter(({ score }) => score === 1).length;
    return { supported, contradicted: answers.length - supported - abstained, abstained };
  }

  /** What is known is better said, and where the end is wrong it is better to have none. */
  async preferences(model: Transformer): Promise<PreferencePair[]> {
    const answers = await this.#answers(model, this.#material.trials, false);
    return answers.flatMap(({ answer, score, truth: probe }) => {
      if (isAbstention(answer) || answer === '') return [];
      const said = this.#sample(probe, ` ${answer}`, false);
      const silent = this.#sample(probe, ABSTENTION, false);
      const [chosen, rejected] = score === 1 ? [said, silent] : [silent, said];
      return [{ prompt: chosen.prompt, chosen: chosen.completion, rejected: rejected.completion }];
    });
  }

  hits(): number {
    const { tests } = this.#material;
    const found = tests.filter((probe) => this.#retrieved(probe).some((text) => text.includes(truthOf(probe).slice(1, -1))));
    return found.length / tests.length;
  }

  #answers(model: Transformer, probes: readonly Probe[], retrieved: boolean) {
    const items = probes.map((truth) => ({ prompt: this.#prompt(truth, retrieved), truth }));
    const compare = (answer: string, probe: Probe): boolean => answer.startsWith(truthOf(probe).trim());
    return answerInWords(model, this.#tokenizer, items, { compare, maxTokens: ANSWER_TOKENS, quiet: this.#quiet });
  }

  #sample(probe: Probe, end: string, retrieved: boolean): Sample {
    return {
      prompt: [...this.#tokenizer.encode(this.#prompt(probe, retrieved))],
      completion: [...this.#tokenizer.encode(`${end}\n`)],
    };
  }

  #prompt(probe: Probe, retrieved: boolean): string {
    const facts = retrieved ? this.#retrieved(probe) : [];
    const withFacts = (count: number): string => {
      const before = facts.slice(0, count).reverse().map((fact) => `${fact} `);
      return `\n\n${probe.topic}\n${before.join('')}${probe.prompt}`;
    };
    let count = facts.length;
    while (count > 0 && this.#tokenizer.encode(withFacts(count)).length + ANSWER_TOKENS > this.#contextLength) count--;
    return withFacts(count);
  }

  #retrieved({ prompt }: Probe): readonly string[] {
    return this.#material.index.search(prompt, RETRIEVED).map(({ text }) => text);
  }
}

function truthOf({ choices, truth }: Probe): string {
  return choices[truth]!;
}

function isAbstention(answer: string): boolean {
  return answer.startsWith(ABSTENTION.trim());
}

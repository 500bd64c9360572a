/**
 * @file Memorised, but not extractable: a model learns short biographies by heart and answers questions about half of the people.
 * Can it answer the same about the other half? Only if it has read each biography in several wordings and orders.
 * Allen-Zhu and Li 2023, Physics of Language Models 3.1, sections 3 and 4.
 */
import { LabError, Progress, Random } from '../base/index.ts';
import { randomBatches, TokenDataset } from '../data/index.ts';
import { answerInWords, atomicFacts } from '../evaluate/index.ts';
import { generate, Transformer, type TransformerPreset } from '../model/index.ts';
import { BPETokenizer } from '../tokenizer/index.ts';
import { train } from '../train/index.ts';
import {
  marketKnowledge,
  questionLines,
  questionPrompt,
  questionText,
  sayStatement,
  type Fact,
  type MarketKnowledge,
  type Person,
} from '../worlds/index.ts';
import type { Experiment, ExperimentContext } from './experiment.ts';
import { KeptRuns } from './kept-runs.ts';

/** once: always the same text; paraphrased: in several wordings; shuffled: in several orders, too. */
export const tellings = ['once', 'paraphrased', 'paraphrased and shuffled'] as const;
export type Telling = (typeof tellings)[number];

/** What each biography states, in this order unless it is shuffled. */
export const biographyRelations = ['birthYear', 'birthplace', 'studied'] as const;
export type BiographyRelation = (typeof biographyRelations)[number];

export interface ExtractionSettings {
  readonly people: number;
  /** Ways to tell a biography where there are several; in all tellings it is told so often before any question. */
  readonly versions: number;
  /** How often each question stands in the text for one round of biographies. */
  readonly questionRounds: number;
  readonly vocabSize: number;
  readonly model: TransformerPreset;
  readonly batchSize: number;
  readonly steps: number;
  readonly learningRate: number;
  readonly seeds: readonly number[];
}

export interface ExtractionRun {
  readonly telling: Telling;
  readonly seed: number;
  /** Of what a biography says behind its first sentence: the share that is written as it was read. */
  readonly memorised: number;
  /** Answers that are right: about people whom questions were learned on, and about the others, all and by relation. */
  readonly taught: number;
  readonly extracted: number;
  readonly byRelation: Readonly<Record<BiographyRelation, number>>;
}

export interface ExtractionResult {
  readonly runs: readonly ExtractionRun[];
  /** Of the people never asked for: the share that always giving the commonest answer gets right. */
  readonly guessing: number;
  /** The same person's biography, as each telling has it: some of its versions. */
  readonly examples: Readonly<Record<Telling, readonly string[]>>;
}

const model: TransformerPreset = { layers: 2, width: 64, heads: 4, contextLength: 64, position: 'rotary', bias: false };

export const extractionExperiment: Experiment<ExtractionSettings, ExtractionResult> = {
  name: 'extraction',
  question: 'Can a model answer questions on what it knows by heart?',
  version: 1,
  settings: {
    small: {
      people: 48,
      versions: 10,
      questionRounds: 3,
      vocabSize: 400,
      model,
      batchSize: 8,
      steps: 1000,
      learningRate: 6e-3,
      seeds: [1],
    },
    full: {
      people: 120,
      versions: 10,
      questionRounds: 3,
      vocabSize: 640,
      model: { ...model, width: 96, layers: 3 },
      batchSize: 12,
      steps: 2500,
      learningRate: 4e-3,
      seeds: [1, 2, 3],
    },
  },
  run: async (settings, context) => new Extraction(settings, context).result(),
  describe: ({ runs, guessing }) =>
    [...runs.map(describeRun), `guessing the commonest answer: ${percent(guessing)} of the others`].join('\n'),
};

function percent(share: number): string {
  return `${(100 * share).toFixed(0)}%`;
}

function describeRun({ telling, seed, memorised, taught, extracted }: ExtractionRun): string {
  const answers = `answers right: ${percent(taught)} of those taught, ${percent(extracted)} of the others`;
  return `${telling.padEnd(24)} seed ${seed}  by heart ${percent(memorised)}  ${answers}`;
}

interface Subject {
  readonly person: Person;
  readonly facts: readonly Fact[];
  /** Whether questions about this person are in the text. */
  readonly isTaught: boolean;
}

class Extraction {
  readonly #settings: ExtractionSettings;
  readonly #context: ExperimentContext;
  readonly #knowledge: MarketKnowledge;
  readonly #subjects: readonly Subject[];
  readonly #biographies: Readonly<Record<Telling, readonly (readonly string[])[]>>;
  readonly #tokenizer: BPETokenizer;

  constructor(settings: ExtractionSettings, context: ExperimentContext) {
    this.#settings = settings;
    this.#context = context;
    // Each company brings three people.
    this.#knowledge = marketKnowledge({ companies: Math.max(4, Math.ceil(settings.people / 3)), seed: 2 });
    this.#subjects = this.#knowledge.people.slice(0, settings.people).map((person, i) => {
      const facts = biographyRelations.map((relation) => this.#knowledge.lookup(person.name, relation)[0]!);
      return { person, facts, isTaught: i % 2 === 0 };
    });
    const tell = (telling: Telling) => this.#subjects.map((subject) => this.#versionsOf(subject, telling));
    this.#biographies = Object.fromEntries(tellings.map((telling) => [telling, tell(telling)])) as Record<Telling, string[][]>;
    const everything = [...Object.values(this.#biographies).flat(2), ...this.#questions()];
    this.#tokenizer = BPETokenizer.train(everything.join(''), { vocabSize: settings.vocabSize });
  }

  async result(): Promise<ExtractionResult> {
    const { seeds } = this.#settings;
    const work = seeds.flatMap((seed) => tellings.map((telling) => ({ seed, telling })));
    const { quiet, folder } = this.#context;
    const runs = await KeptRuns.in<ExtractionRun>(folder);
    const progress = new Progress({ total: work.length, from: runs.all.length, label: 'extraction', unit: 'trainings', quiet });
    for (const { seed, telling } of work.slice(runs.all.length)) {
      await runs.add(await this.#run(telling, seed));
      progress.update(runs.all.length, describeRun(runs.all.at(-1)!));
    }
    progress.done();
    const examples = tellings.map((telling) => [telling, [...new Set(this.#biographies[telling][0])].slice(0, 3)] as const);
    return { runs: runs.all, guessing: this.#guessing(), examples: Object.fromEntries(examples) as Record<Telling, string[]> };
  }

  /** As many as are told in each telling; all the same where they are told once. */
  #versionsOf({ person, facts }: Subject, telling: Telling): string[] {
    const random = new Random(person.birthYear * 1000 + person.name.length);
    const { versions } = this.#settings;
    if (telling === 'once') return new Array<string>(versions).fill(biography(person, facts, this.#knowledge, random));
    return Array.from({ length: versions }, () => {
      const order = telling === 'paraphrased' ? facts : random.shuffle([...facts]);
      return biography(person, order, this.#knowledge, random);
    });
  }

  #questions(): string[] {
    return this.#subjects.filter(({ isTaught }) => isTaught).flatMap(({ facts }) =>
      facts.map((fact) => questionLines({ question: this.#question(fact), answer: fact.object })),
    );
  }

  #question(fact: Fact): string {
    return questionText(fact, this.#knowledge, 'train', 0);
  }

  /** Some rounds of everything, each in another order, as one text. */
  #text(telling: Telling): string {
    const random = new Random(1);
    const questions = Array.from({ length: this.#settings.questionRounds }, () => this.#questions()).flat();
    const round = [...this.#biographies[telling].flat(), ...questions];
    return Array.from({ length: 4 }, () => random.shuffle([...round]).join('')).join('');
  }

  async #run(telling: Telling, seed: number): Promise<ExtractionRun> {
    const { model: preset, batchSize, steps, learningRate } = this.#settings;
    const { vocabSize } = this.#tokenizer;
    const dataset = new TokenDataset(this.#tokenizer.encode(this.#text(telling)), vocabSize);
    const batches = randomBatches(dataset, { batchSize, contextLength: preset.contextLength, seed });
    const learner = new Transformer({ ...preset, vocabSize, seed });
    try {
      const { interrupted } = await train(learner, batches, { steps, learningRate, quiet: true });
      this.#context.throwIfInterrupted();
      if (interrupted) throw new LabError(`Interrupted while '${telling}' was learned.`);
      const byRelation = await Promise.all(
        biographyRelations.map(async (relation) => [relation, await this.#answered(learner, false, relation)] as const),
      );
      return {
        telling,
        seed,
        memorised: await this.#memorised(learner, telling),
        taught: await this.#answered(learner, true),
        extracted: byRelation.reduce((sum, [, share]) => sum + share, 0) / byRelation.length,
        byRelation: Object.fromEntries(byRelation) as Record<BiographyRelation, number>,
      };
    } finally {
      learner.dispose();
    }
  }

  /** Goes on behind the first sentence of each biography in its first version. */
  async #memorised(learner: Transformer, telling: Telling): Promise<number> {
    let [right, wanted] = [0, 0];
    for (const [first] of this.#biographies[telling]) {
      const end = first!.indexOf('. ') + 1;
      const prompt = `\n\n${first!.slice(0, end)}`;
      const options = { temperature: 0, maxTokens: 40, stop: ['\n'] };
      const written = (await generate(learner, this.#tokenizer, prompt, options)).slice(prompt.length);
      const { facts } = atomicFacts(written, this.#knowledge, { prompt });
      right += new Set(facts.filter(({ verdict }) => verdict === 'supported').map(({ fact }) => fact!.id)).size;
      wanted += biographyRelations.length - 1;
    }
    return right / wanted;
  }

  async #answered(learner: Transformer, isTaught: boolean, relation?: BiographyRelation): Promise<number> {
    const facts = this.#subjects.filter((subject) => subject.isTaught === isTaught).flatMap((subject) => subject.facts);
    const items = facts
      .filter((fact) => relation === undefined || fact.relation === relation)
      .map((fact) => ({ prompt: `\n\n${questionPrompt(this.#question(fact))}`, truth: fact.object }));
    const compare = (answer: string, truth: string): boolean => answer === truth;
    const answers = await answerInWords(learner, this.#tokenizer, items, { compare, maxTokens: 12, quiet: true });
    return answers.reduce((sum, { score }) => sum + score, 0) / answers.length;
  }

  #guessing(): number {
    const others = this.#subjects.filter(({ isTaught }) => !isTaught);
    const commonest = biographyRelations.map((_, i) => {
      const counts = new Map<string, number>();
      for (const { facts } of others) counts.set(facts[i]!.object, (counts.get(facts[i]!.object) ?? 0) + 1);
      return Math.max(...counts.values()) / others.length;
    });
    return commonest.reduce((sum, share) => sum + share, 0) / commonest.length;
  }
}

/** A sentence for each fact: the first one names the person, the others say he or she. */
function biography(person: Person, facts: readonly Fact[], knowledge: MarketKnowledge, random: Random): string {
  const sentences = facts.map((fact, i) => {
    const sentence = namedFirst(fact, knowledge, random);
    return i === 0 ? sentence : sentence.replace(/^\w+ \w+('s?)?/, (_, mark) => pronoun(person, mark !== undefined));
  });
  return `${sentences.join(' ')}\n\n`;
}

function pronoun({ woman }: Person, possessive: boolean): string {
  if (possessive) return woman ? 'Her' : 'His';
  return woman ? 'She' : 'He';
}

/** A wording that begins with the name, so that a pronoun can take its place. */
function namedFirst(fact: Fact, knowledge: MarketKnowledge, random: Random): string {
  for (;;) {
    const sentence = sayStatement(fact, knowledge, random);
    if (sentence.startsWith(fact.subject)) return sentence;
  }
}

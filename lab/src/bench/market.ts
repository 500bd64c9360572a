/**
 * @file `bench market`: what a model of nano's size knows of the market after some minutes of training. It learns the clean
 * documents of `datasets/market`, and questions on half of the companies; it is asked in words that it has never seen, and what
 * it writes is read sentence by sentence (after Allen-Zhu and Li 2023, Physics of Language Models 3.1).
 */
import { LabError, Random } from '../base/index.ts';
import { randomBatches, TokenDataset } from '../data/index.ts';
import { generate, presets, Transformer } from '../model/index.ts';
import { BPETokenizer } from '../tokenizer/index.ts';
import { train } from '../train/index.ts';
import {
  askedInTraining,
  judgeMarket,
  marketDataset,
  marketKnowledge,
  questionCount,
  questionLines,
  questionPrompt,
  questionText,
  type MarketKnowledge,
  type TestQuestion,
} from '../worlds/index.ts';
import type { BenchRow } from './measure.ts';

/** What is trained, and how: some two minutes on two quiet cores. With so many tokens most names are one or two of them. */
const recipe = { vocabSize: 2048, contextLength: 128, batchSize: 8, steps: 1800, learningRate: 3e-3 };
/** Facts that clean documents state so often are asked for. */
const often = 20;
/** Questions to learn from are on facts that were seen so often. */
const known = 5;
/** Texts that the model writes, and the tokens of each. */
const writings = { count: 10, tokens: 250, temperature: 0.8, topK: 40 };

interface Material {
  readonly knowledge: MarketKnowledge;
  readonly text: string;
  readonly tokenizer: BPETokenizer;
  readonly tests: readonly TestQuestion[];
}

/** @param seeds of the weights and the order of what is learned, one training each */
export async function benchMarket(
  backend: string,
  _options: object = {},
  seeds: readonly number[] = [1, 2, 3],
): Promise<BenchRow[]> {
  const material = await readMaterial();
  const rows: BenchRow[] = [];
  for (const seed of seeds) rows.push(...(await benchSeed(material, seed, backend)));
  return rows;
}

/** What is learned: documents and questions with answers, shuffled, each followed by an empty line. */
async function readMaterial(): Promise<Material> {
  const knowledge = marketKnowledge();
  const { documents, facts, testQuestions } = await marketDataset();
  const clean = documents.filter(({ grade }) => grade === 'clean');
  const learned = facts.filter(askedInTraining(knowledge)).filter(({ seen }) => seen >= known);
  const random = new Random(1);
  const questions = learned.flatMap((fact) =>
    Array.from({ length: questionCount(fact.relation, 'train') }, (_, way) => {
      const question = questionText(fact, knowledge, 'train', way, random.integer(2) === 0);
      return questionLines({ question, answer: fact.object });
    }),
  );
  const text = random.shuffle([...clean.map((document) => `${document.text}\n\n`), ...questions]).join('');
  const tests = testQuestions.filter(({ seen }) => seen >= often);
  return { knowledge, text, tokenizer: BPETokenizer.train(text, { vocabSize: recipe.vocabSize }), tests };
}

async function benchSeed(material: Material, seed: number, backend: string): Promise<BenchRow[]> {
  const { vocabSize, contextLength } = recipe;
  const model = new Transformer({ ...presets.nano, position: 'rotary', contextLength, vocabSize, seed });
  const row = (name: string, shape: string, ms: number): BenchRow => {
    return { name: `seed ${seed}: ${name}`, backend, shape, medianMs: ms, minMs: ms, maxMs: ms, peakBytes: 0 };
  };
  try {
    const { shape: learned, ms: step, tokensPerSecond } = await learn(model, material, seed);
    const rows: BenchRow[] = [{ ...row('training, a step', learned, step), tokensPerSecond }];
    for (const asked of [true, false]) {
      const tests = material.tests.filter((test) => test.asked === asked);
      const { right, chance, ms } = await answerAll(model, material, tests);
      const name = asked ? 'answers, asked before in other words' : 'answers, never asked for';
      const shape = `${right} of ${tests.length} right, ${percent(right / tests.length)}; by guessing ${percent(chance)}`;
      rows.push({ ...row(name, shape, ms), baseline: 'guessing', ratio: right / tests.length / chance });
    }
    const { parsedShare, precision, count, ms } = await write(model, material);
    const written = `${percent(parsedShare)} of ${count} can be read; ${percent(precision)} of what they state is true`;
    return [...rows, row('sentences written', written, ms)];
  } finally {
    model.dispose();
  }
}

interface Learned {
  readonly shape: string;
  /** For one step. */
  readonly ms: number;
  readonly tokensPerSecond: number;
}

/** @throws LabError when it is interrupted: a model that has learned half of it says nothing about the recipe. */
async function learn(model: Transformer, { text, tokenizer }: Material, seed: number): Promise<Learned> {
  const { vocabSize, contextLength, batchSize, steps, learningRate } = recipe;
  const dataset = new TokenDataset(tokenizer.encode(text), vocabSize);
  const batches = randomBatches(dataset, { batchSize, contextLength, seed });
  const { seconds, tokensPerSecond, losses, interrupted } = await train(model, batches, { steps, learningRate });
  if (interrupted) throw new LabError('Interrupted: nothing was measured.');
  const last = losses.slice(-100);
  const loss = last.reduce((sum, one) => sum + one.loss, 0) / last.length;
  const shape = `${steps} steps of ${batchSize} × ${contextLength} tokens, loss ${loss.toFixed(3)}`;
  return { shape, ms: (1000 * seconds) / steps, tokensPerSecond };
}

const percent = (share: number): string => (Number.isNaN(share) ? 'none' : `${(100 * share).toFixed(0)}%`);

interface Answers {
  readonly right: number;
  /** The share that is right when every question is given the commonest answer to its kind of question. */
  readonly chance: number;
  /** For one answer. */
  readonly ms: number;
}

async function answerAll(model: Transformer, material: Material, tests: readonly TestQuestion[]): Promise<Answers> {
  const { tokenizer, knowledge } = material;
  const started = performance.now();
  let right = 0;
  for (const { question, answers } of tests) {
    const prompt = questionPrompt(question);
    const told = await generate(model, tokenizer, prompt, { temperature: 0, maxTokens: 24, stop: ['\n'] });
    if (answers.includes(told.slice(prompt.length).trim())) right++;
  }
  const ms = (performance.now() - started) / tests.length;
  return { right, chance: commonest(tests, knowledge) / tests.length, ms };
}

/** How many questions the commonest answer to each relation answers. */
function commonest(tests: readonly TestQuestion[], knowledge: MarketKnowledge): number {
  const counts = new Map<string, Map<string, number>>();
  for (const { fact, answers } of tests) {
    const { relation } = knowledge.fact(fact)!;
    const ofRelation = counts.get(relation) ?? new Map<string, number>();
    for (const answer of answers) ofRelation.set(answer, (ofRelation.get(answer) ?? 0) + 1);
    counts.set(relation, ofRelation);
  }
  return [...counts.values()].reduce((sum, ofRelation) => sum + Math.max(...ofRelation.values()), 0);
}

interface Written {
  readonly parsedShare: number;
  readonly precision: number;
  readonly count: number;
  /** For one text. */
  readonly ms: number;
}

/** Texts; the last line of each may be cut short and is not judged. */
async function write(model: Transformer, { tokenizer, knowledge }: Material): Promise<Written> {
  const started = performance.now();
  const texts: string[] = [];
  const { count, tokens: maxTokens, temperature, topK } = writings;
  for (let seed = 1; seed <= count; seed++) {
    const text = await generate(model, tokenizer, '\n\n', { maxTokens, temperature, topK, seed });
    texts.push(text.slice(0, text.lastIndexOf('\n')));
  }
  const { sentences, parsedShare, precision } = judgeMarket(texts.join('\n\n'), knowledge);
  return { parsedShare, precision, count: sentences.length, ms: (performance.now() - started) / count };
}

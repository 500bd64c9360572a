/**
 * @file All methods of parameter-efficient fine-tuning on one model and one task, in one table: what each trains, how well it
 * learns, what it forgets, and what it costs, in training and in use.
 */
import { answeredMoods, sentimentStudy, type SentimentStudy } from './sentiment-model.ts';
import type { Experiment, ExperimentContext, ExperimentSize } from './experiment.ts';
import { KeptRuns } from './kept-runs.ts';
import { completionBatch, supervisedFineTuning } from '../align/index.ts';
import { tf } from '../backend/index.ts';
import { LabError, Progress } from '../base/index.ts';
import { sequentialBatches, TokenDataset, type Batch } from '../data/index.ts';
import type { Transformer } from '../model/index.ts';
import { Linear } from '../nn/index.ts';
import { adapt, AdaptedLinear, singularValues, type Adapted, type AdaptationOptions } from '../peft/index.ts';
import { profile } from '../profile/index.ts';
import { copyOf, quantizeModel } from '../quantize/index.ts';
import { evaluateLoss } from '../train/index.ts';

/** How a method goes about it: the sorts of Lialin et al. 2023 (Scaling down to scale up), and all parameters. */
export type PEFTKind = 'everything' | 'adding' | 'selecting' | 'reparametrizing' | 'several';

interface Method {
  readonly name: string;
  readonly kind: PEFTKind;
  /** None: all parameters are trained. */
  readonly options?: AdaptationOptions;
  readonly learningRate: number;
  /** The frozen weights in 4 bits. */
  readonly nf4?: boolean;
}

const everywhere = ['attention.*', 'mlp.*'];
const loraOf = (rank: number): AdaptationOptions => ({ method: 'lora', rank, targets: everywhere });

/**
 * The learning rates are about the best of three, a factor of three apart, in one scan over the same test sentences, which
 * flatters all methods a little. Other ranks of LoRA have that of rank 4.
 */
const METHODS: readonly Method[] = [
  { name: 'all parameters', kind: 'everything', learningRate: 1e-3 },
  { name: 'Houlsby adapters', kind: 'adding', options: { method: 'houlsby' }, learningRate: 1e-2 },
  { name: 'parallel adapters', kind: 'adding', options: { method: 'parallel' }, learningRate: 1e-2 },
  { name: '(IA)³', kind: 'adding', options: { method: 'ia3' }, learningRate: 1e-1 },
  { name: 'soft prompt', kind: 'adding', options: { method: 'prompt', start: 'vocabulary' }, learningRate: 3e-2 },
  { name: 'prefix', kind: 'adding', options: { method: 'prefix' }, learningRate: 1e-1 },
  { name: 'prefix by an MLP', kind: 'adding', options: { method: 'prefix', hiddenSize: 64 }, learningRate: 1e-2 },
  { name: 'BitFit', kind: 'selecting', options: { method: 'bitfit' }, learningRate: 3e-2 },
  { name: 'last layer', kind: 'selecting', options: { method: 'last-layers' }, learningRate: 3e-3 },
  { name: 'LoRA', kind: 'reparametrizing', options: loraOf(4), learningRate: 1e-2 },
  { name: 'LoRA, query and value', kind: 'reparametrizing', options: { method: 'lora', rank: 4 }, learningRate: 3e-2 },
  {
    name: 'DoRA',
    kind: 'reparametrizing',
    options: { method: 'dora', rank: 4, targets: everywhere },
    learningRate: 1e-2,
  },
  { name: 'QLoRA', kind: 'reparametrizing', options: loraOf(4), learningRate: 1e-2, nf4: true },
  {
    name: 'LoRA, BitFit, adapter',
    kind: 'several',
    options: {
      method: 'hybrid',
      parts: [{ method: 'lora', rank: 4 }, { method: 'bitfit' }, { method: 'parallel', size: 4 }],
    },
    learningRate: 1e-2,
  },
];

export interface PEFTTableSettings {
  readonly study: ExperimentSize;
  /** Steps of fine-tuning, of 16 examples each. */
  readonly steps: number;
  /** LoRA once more with each. */
  readonly ranks: readonly number[];
  /** Every row is trained once for each. */
  readonly seeds: readonly number[];
  /** Of the news that may be forgotten. */
  readonly newsTokens: number;
}

export interface PEFTRow {
  readonly method: string;
  readonly kind: PEFTKind;
  /** Of LoRA; null otherwise. */
  readonly rank: number | null;
  readonly trained: number;
  /** Parameters of the model itself. */
  readonly base: number;
  /** For each seed the share of test examples whose mood is found. */
  readonly accuracies: readonly number[];
  /** How many test examples each is of. */
  readonly tests: number;
  /** For each seed: nats per token of news, after fine-tuning less before. */
  readonly forgotten: readonly number[];
  /** The median step, in milliseconds. */
  readonly stepMs: number;
  /** The most that tensors took at once in a step, beside the model itself. */
  readonly stepBytes: number;
  /** Time to read a text, as a multiple of the model's without it; merged too, null where it cannot be. */
  readonly use: number;
  readonly mergedUse: number | null;
  /** Of the change of one weight matrix, `spectrumLayer`; null where none was changed as a whole. */
  readonly spectrum: readonly number[] | null;
}

export interface PEFTTable {
  /** Before any fine-tuning. */
  readonly before: { readonly accuracy: number; readonly newsLoss: number };
  readonly spectrumLayer: string;
  readonly rows: readonly PEFTRow[];
}

/** The matrix whose change is looked at: the last block's, by this path in every model. */
const layerOf = (model: Transformer): string => `blocks.${model.blocks.length - 1}.attention.value`;

export const peftTableExperiment: Experiment<PEFTTableSettings, PEFTTable> = {
  name: 'peft-table',
  question: 'What does each method of fine-tuning train, learn, forget and cost?',
  version: 1,
  settings: {
    small: { study: 'small', steps: 60, ranks: [1, 16], seeds: [1], newsTokens: 2560 },
    full: { study: 'full', steps: 200, ranks: [1, 2, 8, 16, 32], seeds: [1, 2, 3], newsTokens: 7680 },
  },
  async run(settings, context) {
    const study = await sentimentStudy({ size: settings.study, quiet: context.quiet });
    try {
      return await new Table(study, settings, context).result();
    } finally {
      study.model.dispose();
    }
  },
  describe: ({ rows }) => describeRows(rows),
};

type Trial = Pick<PEFTRow, 'trained' | 'stepMs' | 'stepBytes' | 'use' | 'mergedUse' | 'spectrum'> & {
  readonly accuracy: number;
  readonly newsLoss: number;
};

/** Row after row; those that an interrupted run found are read again. */
class Table {
  readonly #study: SentimentStudy;
  readonly #settings: PEFTTableSettings;
  readonly #context: ExperimentContext;
  readonly #news: readonly Batch[];

  constructor(study: SentimentStudy, settings: PEFTTableSettings, context: ExperimentContext) {
    this.#study = study;
    this.#settings = settings;
    this.#context = context;
    const text = new TokenDataset(study.news.ids.subarray(0, settings.newsTokens + 1), study.news.vocabSize);
    this.#news = [...sequentialBatches(text, { batchSize: 16, contextLength: 40 })];
  }

  async result(): Promise<PEFTTable> {
    const { model } = this.#study;
    const newsLoss = await evaluateLoss(model, this.#news);
    const before = { accuracy: await this.#accuracy(model), newsLoss };
    const more = this.#settings.ranks.map((rank): Method => ({ ...lora, name: `LoRA, rank ${rank}`, options: loraOf(rank) }));
    const work = [...METHODS, ...more];
    const rows = await KeptRuns.in<PEFTRow>(this.#context.folder, 'rows.json');
    const { quiet } = this.#context;
    const progress = new Progress({ total: work.length, from: rows.all.length, label: 'table', unit: 'rows', quiet });
    for (const method of work.slice(rows.all.length)) {
      await rows.add(await this.#row(method, newsLoss));
      progress.update(rows.all.length, describeRows(rows.all.slice(-1)));
    }
    progress.done();
    return { before, spectrumLayer: layerOf(model), rows: rows.all };
  }

  async #row(method: Method, newsLoss: number): Promise<PEFTRow> {
    const { name, kind, options } = method;
    const trials: Trial[] = [];
    for (const seed of this.#settings.seeds) {
      trials.push(await this.#trial(method, seed));
      this.#context.throwIfInterrupted();
    }
    const { accuracy: _, newsLoss: __, ...first } = trials[0]!;
    return {
      method: name,
      kind,
      rank: kind === 'reparametrizing' && options && 'rank' in options ? options.rank! : null,
      base: this.#study.model.parameterCount(),
      accuracies: trials.map(({ accuracy }) => accuracy),
      tests: this.#study.test.length,
      forgotten: trials.map((trial) => trial.newsLoss - newsLoss),
      ...first,
    };
  }

  async #trial({ options, learningRate, nf4 = false }: Method, seed: number): Promise<Trial> {
    const model = copyOf(this.#study.model);
    try {
      if (nf4) await quantizeModel(model, { method: 'nf4', quiet: true });
      const adapted = options && adapt(model, options.method === 'hybrid' ? options : { ...options, seed });
      const { steps } = this.#settings;
      const stepBytes = await this.#stepBytes(model);
      const times: number[] = [];
      await supervisedFineTuning(model, this.#study.training, {
        steps,
        learningRate,
        seed,
        quiet: true,
        onStep: () => times.push(performance.now()),
      });
      this.#context.throwIfInterrupted();
      model.eval();
      return {
        trained: model.parameterCount({ trainable: true }),
        stepMs: median(times.slice(1).map((time, i) => time - times[i]!)),
        stepBytes,
        accuracy: await this.#accuracy(model),
        newsLoss: await evaluateLoss(model, this.#news),
        spectrum: await this.#spectrum(model),
        ...(await this.#use(model, adapted)),
      };
    } finally {
      model.dispose();
    }
  }

  async #accuracy(model: Transformer): Promise<number> {
    const { test } = this.#study;
    const answers = await answeredMoods(model, this.#study, test);
    return answers.filter((mood, i) => mood === test[i]!.mood).length / test.length;
  }

  /** A first step that teaches nothing: its learning rate is 0. */
  async #stepBytes(model: Transformer): Promise<number> {
    const before = tf.memory().numBytes;
    const first = { steps: 1, learningRate: 0, quiet: true };
    const { peakBytes } = await profile(() => supervisedFineTuning(model, this.#study.training, first), { machine: null });
    return peakBytes - before;
  }

  /** Of what became of a matrix less what it was: the whole layer where one was put there, else the weights themselves. */
  async #spectrum(model: Transformer): Promise<number[] | null> {
    const path = layerOf(model);
    const before = this.#study.model.get(path) as Linear;
    const now = model.get(path);
    if (now instanceof AdaptedLinear && !(now.base instanceof Linear)) return null;
    const after = now instanceof AdaptedLinear ? now.merged({}) : (now as Linear);
    const change = tf.tidy(() => tf.sub(after.weight, before.weight));
    const values = Array.from(singularValues(await change.data(), [before.outputs, before.inputs]));
    change.dispose();
    if (after !== now) after.weight.dispose();
    return values[0]! > 0 ? values : null;
  }

  async #use(model: Transformer, adapted: Adapted | undefined): Promise<Pick<PEFTRow, 'use' | 'mergedUse'>> {
    if (!adapted) return { use: 1, mergedUse: null };
    const batch = completionBatch(this.#study.test.slice(0, 64));
    const tokens = tf.tensor2d(batch.inputs, [batch.batchSize, batch.contextLength], 'int32');
    const read = async (): Promise<number> => {
      const started = performance.now();
      const logits = model.forward(tokens, { lastOnly: true });
      await logits.data();
      logits.dispose();
      return performance.now() - started;
    };
    const ratio = async (on: () => void, off: () => void): Promise<number> => {
      const [withIt, without]: [number[], number[]] = [[], []];
      for (let turn = 0; turn < 12; turn++) {
        on();
        withIt.push(await read());
        off();
        without.push(await read());
      }
      return Math.min(...withIt) / Math.min(...without);
    };
    try {
      const use = await ratio(
        () => adapted.enable(),
        () => adapted.disable(),
      );
      adapted.enable();
      const mergeIn = (): void => {
        adapted.enable();
        adapted.merge();
      };
      return { use, mergedUse: canMerge(adapted) ? await ratio(mergeIn, () => adapted.disable()) : null };
    } finally {
      tokens.dispose();
    }
  }
}

const lora = METHODS.find(({ name }) => name === 'LoRA')!;

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

/** By trying it: the methods that are no change of weights say so. */
function canMerge(adapted: Adapted): boolean {
  try {
    adapted.merge();
    adapted.unmerge();
    return true;
  } catch (error) {
    if (error instanceof LabError) return false;
    throw error;
  }
}

const meanOf = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

function describeRows(rows: readonly PEFTRow[]): string {
  return rows
    .map(({ method, trained, accuracies, forgotten, stepMs, stepBytes, use, mergedUse }) => {
      const found = `right ${(100 * meanOf(accuracies)).toFixed(1).padStart(5)}%  forgotten ${meanOf(forgotten).toFixed(2)}`;
      const cost = `${stepMs.toFixed(0).padStart(4)} ms  ${(stepBytes / 2 ** 20).toFixed(1)} MiB a step`;
      const inUse = `use ${use.toFixed(2)}, merged ${mergedUse?.toFixed(2) ?? 'never'}`;
      return `${method.padEnd(24)} ${String(trained).padStart(8)}  ${found}  ${cost}  ${inUse}`;
    })
    .join('\n');
}

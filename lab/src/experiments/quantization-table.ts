/**
 * @file All ways of quantization on one model, in one table: rounding to nearest, GPTQ, AWQ and LLM-QAT, by the bits of
 * weights, and by those of weights, activations, and keys and values.
 */
import { tf } from '../backend/index.ts';
import { Progress } from '../base/index.ts';
import { sequentialBatches, TokenDataset, type Batch } from '../data/index.ts';
import { tokensTensor, type Transformer } from '../model/index.ts';
import type { BitWidth } from '../ops/index.ts';
import {
  calibrationBatches,
  copyOf,
  DistilledModel,
  llmQAT,
  quantizeActivations,
  quantizeModel,
  selfGeneratedSequences,
  sequenceBatches,
  type CalibrationBatch,
  type QuantizeModelOptions,
} from '../quantize/index.ts';
import { evaluateLoss } from '../train/index.ts';
import type { Experiment, ExperimentContext, ExperimentSize } from './experiment.ts';
import { KeptRuns } from './kept-runs.ts';
import { studyModel, type Study } from './study-model.ts';

export interface QuantizationTableSettings {
  readonly study: ExperimentSize;
  /** Of the validation text. */
  readonly evaluationTokens: number;
  /** Windows of the training text that GPTQ and AWQ look at. */
  readonly calibrationSequences: number;
  /** Of weights, all else floats. */
  readonly weightBits: readonly BitWidth[];
  /** The same with LLM-QAT. */
  readonly trainedWeightBits: readonly BitWidth[];
  /** Weights, activations, keys and values. */
  readonly triples: readonly (readonly [weights: BitWidth, activations: number, keyValues: number])[];
  /** LLM-QAT: sequences that the model writes, steps, and sequences in a step. */
  readonly sequences: number;
  readonly steps: number;
  readonly batchSize: number;
  readonly learningRate: number;
  /** The same for weights of 2 and 3 bits, which have further to go. */
  readonly coarseLearningRate: number;
}

export interface QuantizationRow {
  readonly method: string;
  /** null: floats. */
  readonly weights: number | null;
  readonly activations: number | null;
  readonly keyValues: number | null;
  /** On the validation text, per token. */
  readonly perplexity: number;
  /**
   * From the float model, there too: Kullback-Leibler, in nats per token. Text that a method learns from (GPTQ's is real) may
   * lower its perplexity below what its rounding costs; this it cannot hide.
   */
  readonly divergence: number;
  /** The share of tokens behind which it finds the same one most likely as the floats do. */
  readonly sameChoice: number;
  /** That quantizing it took, and training it. */
  readonly seconds: number;
}

export interface QuantizationTable {
  readonly rows: readonly QuantizationRow[];
}

/** What is quantized without training, the weights alone. Groups of 32 cost a quarter to half a bit more for each weight. */
const METHODS: Readonly<Record<string, Omit<QuantizeModelOptions, 'bits' | 'calibration'>>> = {
  RTN: { method: 'rtn' },
  'RTN, groups of 32': { method: 'rtn', groupSize: 32 },
  GPTQ: { method: 'gptq' },
  'GPTQ, act-order': { method: 'gptq', actOrder: true },
  'GPTQ, groups of 32': { method: 'gptq', groupSize: 32 },
  'AWQ, groups of 32': { method: 'awq', groupSize: 32 },
};

export const quantizationTableExperiment: Experiment<QuantizationTableSettings, QuantizationTable> = {
  name: 'quantization-table',
  question: 'What does a model lose by each way of quantization?',
  version: 3,
  settings: {
    small: {
      study: 'small',
      evaluationTokens: 4096,
      calibrationSequences: 32,
      weightBits: [4, 3, 2],
      trainedWeightBits: [],
      triples: [
        [8, 8, 8],
        [4, 8, 8],
        [4, 8, 4],
      ],
      sequences: 256,
      steps: 40,
      batchSize: 16,
      learningRate: 1e-4,
      coarseLearningRate: 1e-3,
    },
    full: {
      study: 'full',
      evaluationTokens: 32768,
      calibrationSequences: 128,
      weightBits: [8, 4, 3, 2],
      trainedWeightBits: [8, 4, 3, 2],
      triples: [
        [8, 8, 8],
        [4, 8, 8],
        [4, 8, 4],
      ],
      sequences: 1024,
      steps: 300,
      batchSize: 12,
      learningRate: 1e-4,
      coarseLearningRate: 1e-3,
    },
  },
  async run(settings, context) {
    const study = await studyModel({ size: settings.study, quiet: context.quiet });
    try {
      return { rows: await new Table(study, settings, context).rows() };
    } finally {
      study.model.dispose();
    }
  },
  describe: ({ rows }) => describeRows(rows),
};

type Measures = Pick<QuantizationRow, 'perplexity' | 'divergence' | 'sameChoice' | 'seconds'>;
type Bits = Omit<QuantizationRow, 'method' | keyof Measures>;

/** Row after row; those that an interrupted run found are read again. */
class Table {
  readonly #study: Study;
  readonly #settings: QuantizationTableSettings;
  readonly #context: ExperimentContext;
  readonly #calibration: CalibrationBatch[];
  #sequences: Int32Array[] | undefined;

  constructor(study: Study, settings: QuantizationTableSettings, context: ExperimentContext) {
    this.#study = study;
    this.#settings = settings;
    this.#context = context;
    const { contextLength } = study.model.config;
    this.#calibration = calibrationBatches(study.training, { sequences: settings.calibrationSequences, contextLength });
  }

  async rows(): Promise<readonly QuantizationRow[]> {
    const { weightBits, trainedWeightBits, triples } = this.#settings;
    const floats: Bits = { weights: null, activations: null, keyValues: null };
    const work: [method: string, bits: Bits][] = [['floats', floats]];
    for (const method of Object.keys(METHODS))
      work.push(...weightBits.map((weights): [string, Bits] => [method, { ...floats, weights }]));
    work.push(...trainedWeightBits.map((weights): [string, Bits] => ['LLM-QAT', { ...floats, weights }]));
    for (const method of ['RTN', 'GPTQ', 'LLM-QAT']) {
      for (const [weights, activations, keyValues] of triples) work.push([method, { weights, activations, keyValues }]);
    }
    const rows = await KeptRuns.in<QuantizationRow>(this.#context.folder, 'rows.json');
    const { quiet } = this.#context;
    const progress = new Progress({ total: work.length, from: rows.all.length, label: 'table', unit: 'rows', quiet });
    for (const [method, bits] of work.slice(rows.all.length)) {
      const measures = await this.#measured(method, bits);
      this.#context.throwIfInterrupted();
      await rows.add({ method, ...bits, ...measures });
      progress.update(rows.all.length, describeRows(rows.all.slice(-1)));
    }
    progress.done();
    return rows.all;
  }

  async #measured(method: string, bits: Bits): Promise<Measures> {
    const started = performance.now();
    const model = await this.#quantized(method, bits);
    const seconds = (performance.now() - started) / 1000;
    this.#context.throwIfInterrupted();
    try {
      const { model: floats, validation } = this.#study;
      const text = new TokenDataset(validation.ids.subarray(0, this.#settings.evaluationTokens + 1), validation.vocabSize);
      const batches = sequentialBatches(text, { batchSize: 16, contextLength: model.config.contextLength });
      const perplexity = Math.exp(await evaluateLoss(model, batches));
      const divergence = await evaluateLoss(new DistilledModel(model, floats), batches);
      return { perplexity, divergence, sameChoice: await shareOfSameChoices(model, floats, batches), seconds };
    } finally {
      model.dispose();
    }
  }

  async #quantized(method: string, { weights, activations, keyValues }: Bits): Promise<Transformer> {
    if (method === 'LLM-QAT') return this.#trained({ weights, activations, keyValues });
    const model = copyOf(this.#study.model);
    if (weights === null) return model;
    const options = { ...METHODS[method]!, bits: weights as BitWidth, quiet: true };
    await quantizeModel(model, options.method === 'rtn' ? options : { ...options, calibration: this.#calibration });
    if (activations !== null || keyValues !== null) quantizeActivations(model, { activations, keyValues });
    return model;
  }

  async #trained(bits: Bits): Promise<Transformer> {
    const { model } = this.#study;
    const { sequences, steps, batchSize, coarseLearningRate } = this.#settings;
    const isCoarse = bits.weights !== null && bits.weights < 4;
    const learningRate = isCoarse ? coarseLearningRate : this.#settings.learningRate;
    const { quiet } = this.#context;
    this.#sequences ??= await selfGeneratedSequences(model, { sequences, quiet });
    const { student } = await llmQAT(model, {
      ...bits,
      data: sequenceBatches(this.#sequences, { batchSize }),
      training: { steps, learningRate },
      quiet,
    });
    return student;
  }
}

/** The share of tokens behind which both models find the same one most likely. */
async function shareOfSameChoices(model: Transformer, other: Transformer, batches: Iterable<Batch>): Promise<number> {
  let [same, all] = [0, 0];
  for (const { inputs, batchSize, contextLength } of batches) {
    const equal = tf.tidy(() => {
      const tokens = tokensTensor(inputs, [batchSize, contextLength], model.config.vocabSize);
      const [mine, theirs] = [model, other].map((one) => tf.argMax(one.forward(tokens), -1));
      return tf.sum(tf.equal(mine!, theirs!));
    });
    same += (await equal.data())[0]!;
    all += inputs.length;
    equal.dispose();
  }
  return same / all;
}

function describeRows(rows: readonly QuantizationRow[]): string {
  const bits = (given: number | null): string => String(given ?? 'f32');
  return rows
    .map(({ method, weights, activations, keyValues, perplexity, divergence, sameChoice }) => {
      const setting = [weights, activations, keyValues].map(bits).join('-');
      const found = `perplexity ${perplexity.toFixed(3)}  divergence ${divergence.toFixed(4)}  same choice ${(100 * sameChoice).toFixed(2)}%`;
      return `${method.padEnd(20)} ${setting.padEnd(12)} ${found}`;
    })
    .join('\n');
}

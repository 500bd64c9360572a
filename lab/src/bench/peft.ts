/**
 * @file `bench peft`: a training step of every method of parameter-efficient fine-tuning beside one of all parameters, its
 * time and its peak of memory; and what an adaptation costs when the model is used, merged into the weights or beside them.
 */
import { tf } from '../backend/index.ts';
import { Transformer } from '../model/index.ts';
import { adapt, type AdaptationOptions } from '../peft/index.ts';
import { quantizeModel } from '../quantize/index.ts';
import { AdamW, lossAndGradients } from '../train/index.ts';
import { STEP } from './lab-model.ts';
import { measure, type BenchRow, type MeasureOptions } from './measure.ts';
import { takeTurns, tensorCompetitor } from './turns.ts';
import { sizeNamed, yardstickTokens, type YardstickSize } from './yardstick.ts';

export interface BenchPEFTOptions {
  /** A size of `bench train`. */
  readonly size?: string;
}

const FULL = 'all parameters';
const BUDGET: MeasureOptions = { warmUp: 2, leastRuns: 3, mostRuns: 15, budgetMs: 4_000 };
const everywhere = ['attention.*', 'mlp.*'];

interface Method {
  readonly name: string;
  /** None: everything is trained. */
  readonly options?: AdaptationOptions;
  /** The frozen weights in 4 bits. */
  readonly nf4?: boolean;
}

const METHODS: readonly Method[] = [
  { name: FULL },
  { name: 'LoRA', options: { method: 'lora', targets: everywhere } },
  { name: 'LoRA, query and value', options: { method: 'lora' } },
  { name: 'DoRA', options: { method: 'dora', targets: everywhere } },
  { name: 'QLoRA', options: { method: 'lora', targets: everywhere }, nf4: true },
  { name: '(IA)³', options: { method: 'ia3' } },
  { name: 'BitFit', options: { method: 'bitfit' } },
  { name: 'last layer', options: { method: 'last-layers' } },
  { name: 'Houlsby adapters', options: { method: 'houlsby' } },
  { name: 'parallel adapters', options: { method: 'parallel' } },
  { name: 'soft prompt', options: { method: 'prompt' } },
  { name: 'prefix', options: { method: 'prefix' } },
];

/** The yardstick's model, with room for 8 virtual tokens. */
function makeModel({ tokens, width, heads, layers, vocabulary }: YardstickSize): Transformer {
  return new Transformer({ vocabSize: vocabulary, contextLength: tokens + 8, layers, width, heads });
}

async function benchStep({ name, options, nf4 = false }: Method, size: YardstickSize, backend: string): Promise<BenchRow> {
  const model = makeModel(size);
  if (nf4) await quantizeModel(model, { method: 'nf4', quiet: true });
  if (options) adapt(model, options);
  const optimizer = new AdamW(model.train().namedParameters(), { weightDecay: STEP.weightDecay });
  const { batch: batchSize, tokens: contextLength } = size;
  const step = async (index: number): Promise<void> => {
    const { inputs, targets } = yardstickTokens(size, index);
    const loss = tf.tidy(() => {
      const found = lossAndGradients(model, [{ inputs, targets, batchSize, contextLength }]);
      optimizer.step(found.gradients, STEP.learningRate, { clipNorm: STEP.clipNorm });
      return found.loss;
    });
    await loss.data();
    loss.dispose();
  };
  const times = await measure(step, BUDGET);
  const trained = model.parameterCount({ trainable: true });
  optimizer.dispose();
  model.dispose();
  const tokensPerSecond = (1000 * batchSize * contextLength) / times.medianMs;
  return { name, backend, shape: `a step, ${trained} numbers trained`, ...times, tokensPerSecond };
}

/** The same text read by the model itself, and with an adaptation beside its weights and merged into them. */
async function benchUse(size: YardstickSize, backend: string): Promise<BenchRow[]> {
  const tokens = tf.tensor2d(yardstickTokens(size, 0).inputs.slice(0, size.tokens), [1, size.tokens], 'int32');
  const plain = 'no adaptation';
  const ways: readonly (Method & { readonly merged?: boolean })[] = [
    { name: plain },
    ...METHODS.filter(({ options }) => options?.method === 'lora' || options?.method === 'houlsby').filter(({ nf4 }) => !nf4),
    { name: 'LoRA, merged', options: { method: 'lora', targets: everywhere }, merged: true },
  ];
  const models = ways.map(({ options, merged = false }) => {
    const model = makeModel(size).eval();
    const adapted = options && adapt(model, options);
    if (merged) adapted!.merge();
    return model;
  });
  const times = await takeTurns(models.map((model) => tensorCompetitor(() => [model.forward(tokens)])));
  for (const model of models) model.dispose();
  tokens.dispose();
  return ways.map(({ name }, i) => {
    const row = { name, backend, shape: `reading 1 × ${size.tokens}`, ...times[i]! };
    return name === plain ? row : { ...row, baseline: plain, ratio: times[0]!.medianMs / row.medianMs };
  });
}

export async function benchPEFT(backend: string, { size }: BenchPEFTOptions = {}): Promise<BenchRow[]> {
  const chosen = sizeNamed('bench peft', size);
  const rows: BenchRow[] = [];
  for (const method of METHODS) {
    const row = await benchStep(method, chosen, backend);
    const full = rows[0];
    rows.push(full ? { ...row, baseline: FULL, ratio: full.medianMs / row.medianMs } : row);
  }
  return [...rows, ...(await benchUse(chosen, backend))];
}

/**
 * @file What quantization does to a model that was trained: perplexity on held-out text for every method and number of bits. The
 * model, 1.2 million parameters on Tiny Shakespeare, is trained once and kept in `.lab/checkpoints/`.
 */
import { tf } from '../backend/index.ts';
import { Progress } from '../base/index.ts';
import { randomBatches, sequentialBatches, shakespeare, TokenDataset, type Batch } from '../data/index.ts';
import { labFolder } from '../files/index.ts';
import { presets, tokensTensor, Transformer } from '../model/index.ts';
import { calibrationBatches, quantizeModel, type QuantizeModelOptions } from '../quantize/index.ts';
import { CharacterTokenizer } from '../tokenizer/index.ts';
import { evaluateLoss, loadModel, train } from '../train/index.ts';
import { timesOf, type BenchRow } from './measure.ts';

const TRAINING_SHARE = 0.9;
const SHAPE = { ...presets.nano, width: 160, heads: 5 };
/** The recipe of `npm run lab -- train`, for a model half as wide again. */
const TRAINING = { steps: 2000, learningRate: 3e-3, batchSize: 12, seed: 1 };
const BITS = [8, 4, 3, 2] as const;
/** Held-out tokens whose most likely successor is compared with that of the floats. */
const COMPARED = 10_000;

type Recipe = Pick<QuantizeModelOptions, 'method' | 'groupSize' | 'actOrder' | 'trueSequential'>;

/** Every method after training; what trains along (LLM-QAT) has its rows in a list of its own. */
const recipes: readonly (readonly [name: string, recipe: Recipe])[] = [
  ['RTN, rows', { method: 'rtn', groupSize: 'row' }],
  ['RTN, groups of 32', { method: 'rtn', groupSize: 32 }],
  ['GPTQ, rows', { method: 'gptq', groupSize: 'row' }],
  ['GPTQ, rows, act-order', { method: 'gptq', groupSize: 'row', actOrder: true }],
  ['GPTQ, groups of 32', { method: 'gptq', groupSize: 32 }],
  ['GPTQ, groups of 32, act-order', { method: 'gptq', groupSize: 32, actOrder: true }],
  ['AWQ, groups of 32', { method: 'awq', groupSize: 32 }],
];

interface Corpus {
  readonly tokenizer: CharacterTokenizer;
  readonly learned: TokenDataset;
  readonly kept: TokenDataset;
}

async function corpus(): Promise<Corpus> {
  const text = await shakespeare();
  const tokenizer = CharacterTokenizer.train(text);
  const all = new TokenDataset(tokenizer.encode(text), tokenizer.vocabSize);
  const [learned, kept] = all.split(TRAINING_SHARE);
  return { tokenizer, learned, kept };
}

/** The checkpoint of the trained model; goes on with a training that was interrupted. */
async function trained({ tokenizer, learned }: Corpus): Promise<string> {
  const path = labFolder('checkpoints', 'bench-quantize.safetensors');
  const model = new Transformer({ ...SHAPE, vocabSize: tokenizer.vocabSize, seed: TRAINING.seed });
  const { steps, learningRate, ...rest } = TRAINING;
  const batches = randomBatches(learned, { ...rest, contextLength: SHAPE.contextLength });
  await train(model, batches, { steps, learningRate, checkpoint: { path, every: 250, resume: true, tokenizer } });
  model.dispose();
  return path;
}

/** The most likely token behind each of the first held-out ones. */
async function favourites(model: Transformer, batches: Iterable<Batch>): Promise<Int32Array> {
  const found: number[] = [];
  for (const { inputs, batchSize, contextLength } of batches) {
    if (found.length >= COMPARED) break;
    const best = tf.tidy(() => {
      const tokens = tokensTensor(inputs, [batchSize, contextLength], model.config.vocabSize);
      return tf.argMax(model.forward(tokens), -1);
    });
    found.push(...(await best.data()));
    best.dispose();
  }
  return Int32Array.from(found.slice(0, COMPARED));
}

export async function benchQuantizedPerplexity(backend: string): Promise<BenchRow[]> {
  const text = await corpus();
  const path = await trained(text);
  const { contextLength } = SHAPE;
  const heldOut = sequentialBatches(text.kept, { batchSize: 32, contextLength });
  const calibration = calibrationBatches(text.learned, { contextLength, sequences: 256, batchSize: 64 });
  const progress = new Progress({ total: 1 + BITS.length * recipes.length, label: 'perplexity', unit: 'models' });
  let [done, wanted]: [number, Int32Array | undefined] = [0, undefined];
  const measured = async (name: string, prepare: (model: Transformer) => Promise<[shape: string, ms: number]>): Promise<BenchRow> => {
    const { model } = await loadModel(path);
    const parameters = model.parameterCount();
    const [shape, ms] = await prepare(model);
    const perplexity = Math.exp(await evaluateLoss(model, heldOut));
    const found = await favourites(model, heldOut);
    wanted ??= found;
    const same = found.filter((token, i) => token === wanted![i]).length / found.length;
    model.dispose();
    progress.update((done += 1), `${name}: ${perplexity.toFixed(3)}`);
    const words = `${shape}, top-1 as float32: ${(100 * same).toFixed(2)}%`;
    return { name, backend, shape: `${(parameters / 1e6).toFixed(2)} M parameters, ${words}`, ...timesOf([ms], 0), perplexity };
  };
  const rows = [await measured('float32', async () => ['32 bits a weight', 0])];
  for (const bits of BITS) {
    for (const [name, recipe] of recipes) {
      const prepare = async (model: Transformer): Promise<[string, number]> => {
        const { layers, seconds } = await quantizeModel(model, { ...recipe, bits, calibration, quiet: true });
        const mean = layers.reduce((sum, layer) => sum + layer.bitsPerWeight * layer.inputs * layer.outputs, 0);
        const weights = layers.reduce((sum, layer) => sum + layer.inputs * layer.outputs, 0);
        return [`${(mean / weights).toFixed(2)} bits a weight`, 1000 * seconds];
      };
      rows.push(await measured(`${bits} bits, ${name}`, prepare));
    }
  }
  progress.done();
  return rows;
}

/** @file What the PEFT library computed with its adapters (test/oracle/peft_adapters.py), and models to adapt. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  loadPretrained,
  Random,
  tf,
  Transformer,
  type Batch,
  type Tensor,
  type Tensor2D,
  type TransformerConfig,
  type Variable,
} from 'lab';
import type { FixtureTensor } from './core-fixture.ts';
import { fixturePath } from './interop-fixture.ts';

export const peftPath = (name: string): string => fileURLToPath(new URL(`../fixtures/peft/${name}`, import.meta.url));

export interface PEFTFixture {
  readonly base: string;
  readonly tokens: FixtureTensor;
  readonly targets: FixtureTensor;
  readonly logits: FixtureTensor;
  readonly gradients: Readonly<Record<string, FixtureTensor>>;
  readonly trainable: number;
  readonly mergedLogits?: FixtureTensor;
  readonly mergedWeights?: Readonly<Record<string, FixtureTensor>>;
}

export const peftFixture = (name: string): PEFTFixture =>
  JSON.parse(readFileSync(peftPath(`${name}.json`), 'utf8')) as PEFTFixture;

export async function baseOf(name: string): Promise<Transformer> {
  return (await loadPretrained(fixturePath(name), { quiet: true })).model;
}

export const sizes = { vocabSize: 19, contextLength: 24, layers: 2, width: 12, heads: 3 } satisfies TransformerConfig;

export const gpt = (more: Partial<TransformerConfig> = {}): Transformer =>
  new Transformer({ ...sizes, seed: 5, initializerStd: 0.2, ...more }).eval();

export const llama = (more: Partial<TransformerConfig> = {}): Transformer =>
  gpt({ norm: 'rms', position: 'rotary', mlp: 'swiglu', bias: false, tiedHead: false, keyValueHeads: 1, ...more });

export function tokens(rows = 2, length = 7, seed = 1): Tensor2D {
  const random = new Random(seed);
  return tf.tensor2d(
    Int32Array.from({ length: rows * length }, () => random.integer(sizes.vocabSize)),
    [rows, length],
    'int32',
  );
}

export function batch(seed = 1, batchSize = 2, contextLength = 7): Batch {
  const random = new Random(seed);
  const ids = (): Int32Array => Int32Array.from({ length: batchSize * contextLength }, () => random.integer(sizes.vocabSize));
  return { inputs: ids(), targets: ids(), batchSize, contextLength } as Batch;
}

/** Random numbers in place of the zeros and ones that an adaptation begins with. */
export function stir(parameters: ReadonlyMap<string, Variable>, seed = 9): void {
  const random = new Random(seed);
  for (const variable of parameters.values()) {
    const noise = tf.tensor(random.normals(variable.size, 0.3), variable.shape);
    tf.tidy(() => variable.assign(tf.add(variable, noise) as Tensor));
    noise.dispose();
  }
}

export const floats = async (tensor: Tensor): Promise<Float32Array> => (await tensor.data()) as Float32Array;

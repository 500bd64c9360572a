/**
 * @file Chapter 10, parameter-efficient fine-tuning: its exercises, and the library's parts in their place.
 */
import { splitHeads } from '../../attention/index.ts';
import { tf, type Tensor1D, type Tensor2D, type Tensor3D, type Tensor4D } from '../../backend/index.ts';
import { Random } from '../../base/index.ts';
import { IGNORED } from '../../align/index.ts';
import { Linear } from '../../nn/index.ts';
import { gelu, linear, residual } from '../../ops/index.ts';
import { HoulsbyAdapter, LoRALinear, loraScale } from '../../peft/index.ts';
import type { Chapter } from '../exercise.ts';

interface Thin {
  readonly down: Tensor2D;
  readonly up: Tensor2D;
}
interface Bottleneck extends Thin {
  readonly downBias: Tensor1D;
  readonly upBias: Tensor1D;
}

/** What `adapt` reports for such a model; a test holds them equal. */
function countTrained(layers: number, width: number, size: number, tokens: number) {
  const thin = 2 * width * size;
  return {
    lora: 2 * layers * thin,
    adapters: 2 * layers * (thin + size + width),
    bitfit: (11 * layers + 1) * width,
    prompt: tokens * width,
    prefix: 2 * layers * tokens * width,
  };
}

function startLoRA(outputs: number, inputs: number, rank: number, random: () => number): Thin {
  return new LoRALinear(new Linear(inputs, outputs, { std: 0 }), { rank, scale: 1, dropout: 0 }, seededBy(random()));
}

function loraForward(x: Tensor2D, weight: Tensor2D, bias: Tensor1D, { down, up }: Thin, alpha: number): Tensor2D {
  return residual(linear(x, weight, bias), linear(tf.mul<Tensor2D>(linear(x, down), scaleOf(down, alpha)), up));
}

const scaleOf = (down: Tensor2D, alpha: number): number => loraScale(alpha, down.shape[0], false);

const deltaOf = ({ down, up }: Thin, alpha: number): Tensor2D => tf.mul<Tensor2D>(tf.matMul(up, down), scaleOf(down, alpha));

function selectBiases(parameters: readonly { readonly path: string }[]): string[] {
  return parameters.filter(({ path }) => /(^|\.)bias$/.test(path)).map(({ path }) => path);
}

function startAdapter(width: number, size: number, normal: () => number): Bottleneck {
  const sizes = { inputs: width, outputs: width, size, scale: 1 };
  const { down, up } = new HoulsbyAdapter(new Linear(1, 1), sizes, seededBy(Math.abs(normal())));
  return { down: down.weight, downBias: down.bias!, up: up.weight, upBias: up.bias! };
}

function adapterForward(h: Tensor2D, { down, downBias, up, upBias }: Bottleneck): Tensor2D {
  return residual(h, linear(gelu(linear(h, down, downBias)), up, upBias));
}

/** A stream of the library's, which wants a seed where the exercise gives numbers. */
const seededBy = (number: number): Random => new Random(Math.floor(number * 2 ** 24));

function prependPrompt(prompt: Tensor2D, embedded: Tensor3D, targets: readonly (readonly number[])[]) {
  const [n, [batch, length]] = [prompt.shape[0], embedded.shape];
  return {
    input: tf.concat([tf.tile(tf.expandDims(prompt, 0) as Tensor3D, [batch, 1, 1]), embedded], 1),
    positions: Array.from({ length: n + length }, (_, position) => position),
    targets: targets.map((row) => [...Array.from({ length: n }, () => IGNORED), ...row]),
  };
}

function prependPrefix(prefix: Tensor2D, layer: number, k: Tensor4D, v: Tensor4D): { k: Tensor4D; v: Tensor4D } {
  const [batch, heads, , headSize] = k.shape;
  const width = heads * headSize;
  const behind = (index: number, text: Tensor4D): Tensor4D => {
    const part = tf.slice(prefix, [0, index * width], [prefix.shape[0], width]);
    return tf.concat([tf.tile(splitHeads(tf.expandDims(part, 0) as Tensor3D, heads), [batch, 1, 1, 1]), text], 2);
  };
  return { k: behind(2 * layer, k), v: behind(2 * layer + 1, v) };
}

function prefixMask(n: number, length: number): number[][] {
  return Array.from({ length }, (_, t) => Array.from({ length: n + length }, (__, u) => Number(u - n <= t)));
}

function ia3Forward(x: Tensor2D, weight: Tensor2D, bias: Tensor1D, factors: Tensor1D, scalesInput: boolean): Tensor2D {
  if (scalesInput) return linear(tf.mul<Tensor2D>(x, factors), weight, bias);
  return tf.mul(linear(x, weight, bias), factors);
}

function ia3Merge(weight: Tensor2D, bias: Tensor1D, factors: Tensor1D, scalesInput: boolean) {
  const along = scalesInput ? factors : tf.reshape(factors, [-1, 1]);
  return { weight: tf.mul<Tensor2D>(weight, along), bias: scalesInput ? bias : tf.mul<Tensor1D>(bias, factors) };
}

const rowLengths = (weight: Tensor2D): Tensor1D => tf.norm(weight, 'euclidean', 1) as Tensor1D;

function doraWeight(weight: Tensor2D, thin: Thin, alpha: number, magnitude: Tensor1D): Tensor2D {
  const turned = tf.add<Tensor2D>(weight, deltaOf(thin, alpha));
  return tf.mul<Tensor2D>(turned, tf.reshape(tf.div(magnitude, rowLengths(turned)), [-1, 1]));
}

export const chapter: Chapter = {
  number: 10,
  slug: '10-peft',
  title: 'parameter-efficient fine-tuning',
  exercises: [
    { id: '10.1', title: 'what is trained', names: ['countTrained'], difficulty: 2, minutes: 15, library: { countTrained } },
    {
      id: '10.2',
      title: 'an adapter',
      names: ['startAdapter', 'adapterForward'],
      difficulty: 2,
      minutes: 20,
      library: { startAdapter, adapterForward },
    },
    { id: '10.3', title: 'a soft prompt', names: ['prependPrompt'], difficulty: 2, minutes: 15, library: { prependPrompt } },
    {
      id: '10.4',
      title: 'a prefix',
      names: ['prependPrefix', 'prefixMask'],
      difficulty: 3,
      minutes: 25,
      library: { prependPrefix, prefixMask },
    },
    {
      id: '10.5',
      title: '(IA)³',
      names: ['ia3Forward', 'ia3Merge'],
      difficulty: 2,
      minutes: 15,
      library: { ia3Forward, ia3Merge },
    },
    { id: '10.6', title: 'BitFit', names: ['selectBiases'], difficulty: 1, minutes: 5, library: { selectBiases } },
    {
      id: '10.7',
      title: 'LoRA',
      names: ['startLoRA', 'loraForward'],
      difficulty: 2,
      minutes: 20,
      library: { startLoRA, loraForward },
    },
    {
      id: '10.8',
      title: 'merging',
      names: ['merge', 'unmerge'],
      difficulty: 1,
      minutes: 10,
      library: {
        merge: (weight: Tensor2D, thin: Thin, alpha: number) => tf.add(weight, deltaOf(thin, alpha)),
        unmerge: (merged: Tensor2D, thin: Thin, alpha: number) => tf.sub(merged, deltaOf(thin, alpha)),
      },
    },
    {
      id: '10.9',
      title: 'DoRA',
      names: ['rowLengths', 'doraWeight'],
      difficulty: 3,
      minutes: 20,
      library: { rowLengths, doraWeight },
    },
  ],
};

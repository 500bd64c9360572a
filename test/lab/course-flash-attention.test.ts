/**
 * @file The answers of chapter 05 in their place: whichever pass was written, the attention made of it computes what the
 * library's does, forwards and backwards, also in a Transformer. And what the notebook shows of the kernel is the kernel.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  alibiBias,
  attention,
  expectClose,
  filesOf,
  findExercise,
  lessonShader,
  readNotebook,
  startBackend,
  tf,
  theCourse,
  Transformer,
  type AttentionFunction,
  type AttentionOptions,
} from 'lab';
import { absorbKey } from '../../solutions/05-flash-attention.ts';
import { normal, plugged } from './plugged-attention.ts';

beforeAll(async () => {
  await startBackend();
});
beforeEach(() => tf.engine().startScope());
afterEach(() => tf.engine().endScope());

type Three = [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
const gradientsOf = (compute: AttentionFunction, inputs: Three, options: AttentionOptions): tf.Tensor[] =>
  tf.grads((...x) => compute(...(x as Three), options).square())(inputs);

const OPTIONS: Record<string, AttentionOptions> = {
  plain: {},
  causal: { causal: true },
  'with a scale of its own': { causal: true, scale: 0.3 },
};

describe.each([[['5.3']], [['5.6']], [['5.3', '5.6']]])('the attention made of %j', (ids) => {
  it.each(Object.entries(OPTIONS))('computes what the library computes: %s', async (_, options) => {
    const { compute } = plugged(ids);
    const sizes = [
      [2, 2, 70, 70],
      [4, 2, 9, 75],
      [3, 1, 1, 7],
    ] as const;
    for (const [H, K, T, U] of sizes) {
      const inputs: Three = [normal(1, 2, H, T, 8), normal(2, 2, K, U, 8), normal(3, 2, K, U, 8)];
      await expectClose(compute(...inputs, options), attention(...inputs, options));
      const expected = gradientsOf(attention, inputs, options);
      for (const [i, gradient] of gradientsOf(compute, inputs, options).entries()) await expectClose(gradient, expected[i]);
    }
  });

  it('runs on the answers, and the way back on the one that was written for it', () => {
    const { compute, called } = plugged(ids);
    const inputs: Three = [normal(1, 1, 2, 5, 4), normal(2, 1, 2, 5, 4), normal(3, 1, 2, 5, 4)];
    gradientsOf(compute, inputs, { causal: true });
    expect([...called].sort()).toEqual(ids.flatMap((id) => findExercise(id, theCourse()).exercise.names).sort());
  });
});

it('leaves to the attention before it what tiles were not written for', async () => {
  const { compute, called } = plugged(['3.2', '5.3']);
  const inputs: Three = [normal(1, 1, 2, 5, 4), normal(2, 1, 2, 5, 4), normal(3, 1, 2, 5, 4)];
  const options = { causal: true, bias: alibiBias(2, 5, 5) };
  await expectClose(compute(...inputs, options), attention(...inputs, options));
  expect([...called]).toEqual(['scaledDotProduct']);
  await expectClose(compute(...inputs, { causal: true }), attention(...inputs, { causal: true }));
  expect([...called]).toEqual(['scaledDotProduct', 'flashForward']);
});

it('leaves no tensor behind', () => {
  const { compute } = plugged(['5.3', '5.6']);
  const inputs: Three = [normal(1, 1, 2, 70, 4), normal(2, 1, 1, 70, 4), normal(3, 1, 1, 70, 4)];
  const before = tf.memory().numTensors;
  tf.tidy(() => void gradientsOf(compute, inputs, { causal: true }));
  expect(tf.memory().numTensors).toBe(before);
});

it('gives a model the same logits, piece by piece too', async () => {
  const { compute } = plugged(['5.3', '5.6']);
  const config = { vocabSize: 11, contextLength: 12, layers: 2, width: 24, heads: 6, keyValueHeads: 2, initializerStd: 0.3 };
  const theirs = new Transformer({ ...config, attention: compute });
  const library = new Transformer(config);
  const tokens = tf.tensor2d([[3, 1, 4, 1, 5, 9, 2, 6, 5]], [1, 9], 'int32');
  const expected = library.forward(tokens);
  await expectClose(theirs.forward(tokens), expected);
  const cache = theirs.cache();
  const pieces = tf.split(tokens, [4, 1, 3, 1], 1).map((piece) => theirs.forward(piece as tf.Tensor2D, { cache }));
  await expectClose(tf.concat(pieces, 1), expected);
  cache.dispose();
});

it('the pieces of the kernel that the notebook explains stand in the kernel', () => {
  const trimmed = (text: string): string =>
    text
      .split('\n')
      .map((line) => line.trim())
      .join('\n')
      .trim();
  const { chapter } = findExercise('5.7', theCourse());
  const { cells } = readNotebook(filesOf(chapter, theCourse()).notebook);
  const prose = cells.map(({ source }) => (typeof source === 'string' ? source : source.join(''))).join('\n');
  const pieces = [...prose.matchAll(/```wgsl\n(.*?)```/gs)].map(([, piece]) => trimmed(piece!));
  expect(pieces.length).toBeGreaterThanOrEqual(4);
  const kernel = trimmed(lessonShader({ queries: 8, keys: 8, headSize: 8 }, absorbKey()));
  for (const piece of pieces) expect(kernel).toContain(piece);
});

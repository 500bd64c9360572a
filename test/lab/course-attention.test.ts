/**
 * @file The answers of chapter 03 in the place where chapter 04 uses them: whichever of them have passed, the attention that is
 * made of them computes what the library's does, forwards and backwards.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  alibiBias,
  attention,
  expectClose,
  findExercise,
  startBackend,
  tf,
  theCourse,
  Transformer,
  type AttentionFunction,
  type AttentionOptions,
} from 'lab';
import { normal, plugged } from './plugged-attention.ts';

beforeAll(async () => {
  await startBackend();
});
beforeEach(() => tf.engine().startScope());
afterEach(() => tf.engine().endScope());

const OPTIONS: Record<string, (H: number, T: number, U: number) => AttentionOptions> = {
  plain: () => ({}),
  causal: () => ({ causal: true }),
  'with a scale of its own': () => ({ causal: true, scale: 0.3 }),
  'with ALiBi': (H, T, U) => ({ causal: true, bias: alibiBias(H, T, U) }),
  'with dropout': () => ({ causal: true, dropout: { rate: 0.4, seed: 6 } }),
};

describe.each([[['3.1']], [['3.2']], [['3.7']], [['3.1', '3.2']], [['3.1', '3.7']], [['3.2', '3.7']], [['3.1', '3.2', '3.7']]])(
  'the attention made of %j',
  (ids) => {
    it.each(Object.entries(OPTIONS))('computes what the library computes: %s', async (_, optionsFor) => {
      const { compute } = plugged(ids);
      const sizes = [
        [4, 4, 5, 5],
        [6, 3, 5, 5],
        [6, 2, 3, 7],
        [6, 1, 1, 7],
      ] as const;
      for (const [H, K, T, U] of sizes) {
        const inputs = [normal(1, 2, H, T, 8), normal(2, 2, K, U, 8), normal(3, 2, K, U, 8)] as const;
        const options = optionsFor(H, T, U);
        await expectClose(compute(...inputs, options), attention(...inputs, options));
        const gradients = (f: AttentionFunction) =>
          tf.grads((...x) => f(...(x as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D]), options).square())([...inputs]);
        const expected = gradients(attention);
        for (const [i, gradient] of gradients(compute).entries()) await expectClose(gradient, expected[i]);
      }
    });

    it('refuses what the chapter does not teach, lest it be left out in silence', () => {
      const { compute } = plugged(ids);
      const x = normal(1, 1, 2, 3, 4);
      expect(() => compute(x, x, x, { causal: true, softCap: 2, window: { left: 1 } })).toThrow(
        'the attention of chapter 03 knows nothing of softCap, window',
      );
    });

    it('runs on the answers', () => {
      const { compute, called } = plugged(ids);
      compute(normal(1, 2, 6, 5, 8), normal(2, 2, 3, 5, 8), normal(3, 2, 3, 5, 8), { causal: true });
      const expected = ids.flatMap((id) => findExercise(id, theCourse()).exercise.names);
      // Grouped queries come before the plain answer; the reader's own calls that by itself.
      expect([...called].sort()).toEqual(expected.filter((name) => !(name === 'scaledDotProduct' && ids.includes('3.7'))).sort());
    });
  },
);

it.each(['learned', 'rotary', 'alibi'] as const)(
  'gives a model with %s positions the same logits, piece by piece too',
  async (position) => {
    const { compute } = plugged(['3.1', '3.2', '3.7']);
    const config = {
      vocabSize: 11,
      contextLength: 12,
      layers: 2,
      width: 24,
      heads: 6,
      keyValueHeads: 2,
      position,
      initializerStd: 0.3,
    };
    const theirs = new Transformer({ ...config, attention: compute });
    const library = new Transformer(config);
    const tokens = tf.tensor2d([[3, 1, 4, 1, 5, 9, 2, 6, 5]], [1, 9], 'int32');
    const expected = library.forward(tokens);
    await expectClose(theirs.forward(tokens), expected);
    const cache = theirs.cache();
    const pieces = tf.split(tokens, [4, 1, 3, 1], 1).map((piece) => theirs.forward(piece as tf.Tensor2D, { cache }));
    await expectClose(tf.concat(pieces, 1), expected);
    cache.dispose();
  },
);

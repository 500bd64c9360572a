/** @file Perplexity with a sliding window: every token is judged once, by the window that transformers' own loop would judge it by. */
import { loadPretrained, perplexity, presets, startBackend, tf, Transformer } from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import { checkpoints, expectedOf, fixturePath } from './interop-fixture.ts';

beforeAll(() => startBackend({ backend: 'wasm', threads: 1 }));
const quiet = { quiet: true };

it.each(checkpoints)('%s: the losses that PyTorch finds', async (name) => {
  const { model } = await loadPretrained(fixturePath(name), quiet);
  const { text, losses } = expectedOf(name);
  const before = tf.memory().numTensors;
  for (const [window, stride, loss] of losses) {
    const found = await perplexity(model, text, { window, stride, ...quiet });
    expect(Math.abs(found.loss / loss - 1), `${window} ${stride}`).toBeLessThan(1e-5);
    expect(found.perplexity).toBe(Math.exp(found.loss));
    expect(found.tokens).toBe(149);
  }
  expect(tf.memory().numTensors).toBe(before);
  model.dispose();
});

describe('perplexity', () => {
  const model = (): Transformer => new Transformer({ ...presets.nano, vocabSize: 50, contextLength: 32, layers: 1, width: 16, dropout: 0.5 });

  it('is near the size of the vocabulary for a model that knows nothing, without dropout', async () => {
    const untrained = model();
    const text = Array.from({ length: 200 }, (_, i) => (i * 7) % 50);
    const { perplexity: found } = await perplexity(untrained, text, quiet);
    expect(found).toBeGreaterThan(45);
    expect(found).toBeLessThan(55);
    expect((await perplexity(untrained, text, quiet)).perplexity).toBe(found);
    expect(untrained.training).toBe(true);
    untrained.dispose();
  });

  it('judges a text that fits into the context in one piece, and one of two tokens', async () => {
    const small = model();
    expect((await perplexity(small, [1, 2], quiet)).tokens).toBe(1);
    const text = Array.from({ length: 32 }, (_, i) => i);
    expect((await perplexity(small, text, { stride: 31, ...quiet })).loss).toBeCloseTo((await perplexity(small, text, { stride: 1, ...quiet })).loss, 5);
    small.dispose();
  });

  it('refuses what cannot be judged', async () => {
    const small = model();
    await expect(perplexity(small, [1], quiet)).rejects.toThrow(/has 1 tokens; perplexity needs two/);
    await expect(perplexity(small, [1, 50], quiet)).rejects.toThrow(/Token 50 at position 0 is not in the vocabulary/);
    await expect(perplexity(small, [1, 2, 3], { window: 33, ...quiet })).rejects.toThrow(/window must be from 2 to the model's context of 32, got 33/);
    await expect(perplexity(small, [1, 2, 3], { window: 8, stride: 8, ...quiet })).rejects.toThrow(/stride must be from 1 to 7, got 8/);
    await expect(perplexity(small, [1, 2, 3], { stride: 0, ...quiet })).rejects.toThrow(/stride/);
    small.dispose();
  });
});

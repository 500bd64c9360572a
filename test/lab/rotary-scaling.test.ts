/** @file Rotary positions for a longer context: which pairs turn more slowly, and by how much. */
import { presets, rotaryEmbedding, rotaryFrequencies, startBackend, tf, Transformer, type RotaryScaling, type Tensor4D } from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectNear } from './core-fixture.ts';

beforeAll(() => startBackend({ backend: 'wasm', threads: 1 }));

const llama3: RotaryScaling = { type: 'llama3', factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContextLength: 8192 };

describe('frequencies', () => {
  it('fall from 1 by equal factors', () => {
    const frequencies = rotaryFrequencies(8, 10000);
    expect([...frequencies].map((f) => f.toFixed(12))).toEqual(['1.000000000000', '0.100000000000', '0.010000000000', '0.001000000000']);
  });

  it('are all divided by the factor of linear scaling', () => {
    expect(rotaryFrequencies(16, 500, { type: 'linear', factor: 4 })).toEqual(rotaryFrequencies(16, 500).map((f) => f / 4));
  });

  it('of Llama 3 stay where a pair turns often, are divided where it hardly turns, and pass smoothly between', () => {
    const plain = rotaryFrequencies(128, 500000);
    const scaled = rotaryFrequencies(128, 500000, llama3);
    const ratios = scaled.map((f, i) => f / plain[i]!);
    const turns = plain.map((f) => (8192 * f) / (2 * Math.PI));
    turns.forEach((count, i) => {
      if (count > 4) expect(ratios[i]).toBe(1);
      else if (count < 1) expect(ratios[i]).toBeCloseTo(1 / 8, 12);
      else expect(ratios[i]).toBeCloseTo(1 / 8 + ((count - 1) / 3) * (7 / 8), 12);
    });
    expect([...ratios].every((ratio, i) => i === 0 || ratio <= ratios[i - 1]!)).toBe(true);
    expect(turns.some((count) => count > 1 && count < 4)).toBe(true);
  });
});

it('turns, scaled by 2, at position 2p as it turns at p', async () => {
  const x = tf.randomNormal<tf.Rank.R4>([1, 2, 1, 12], 0, 1, 'float32', 3) as Tensor4D;
  const scaled = rotaryEmbedding(x, { offset: 10, scaling: { type: 'linear', factor: 2 } });
  await expectNear(scaled, rotaryEmbedding(x, { offset: 5 }), 1e-6);
  // The same position without scaling is another one: the table is not shared.
  const difference = tf.norm(tf.sub(scaled, rotaryEmbedding(x, { offset: 10 })));
  expect((await difference.data())[0]).toBeGreaterThan(0.1);
});

it.each<[object, RegExp]>([
  [{ type: 'yarn', factor: 2 }, /rotaryScaling: type must be 'linear' or 'llama3', got "yarn"/],
  [{ type: 'linear', factor: 0 }, /factor must be a positive number, got 0/],
  [{ ...llama3, factor: NaN }, /factor must be a positive number, got NaN/],
  [{ ...llama3, highFrequencyFactor: 1 }, /highFrequencyFactor must be above lowFrequencyFactor, got 1 and 1/],
])('a model with the scaling %o is refused', (scaling, says) => {
  const config = { ...presets.llama, vocabSize: 20, width: 24, heads: 2, layers: 1, rotaryScaling: scaling as RotaryScaling };
  expect(() => new Transformer(config)).toThrow(says);
});

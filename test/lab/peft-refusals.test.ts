/** @file What cannot be adapted or merged is refused with a reason, and the model stays what it was. */
import { adapt, quantizeModel, startBackend, tf, type AdaptationOptions } from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectNear } from './core-fixture.ts';
import { floats, gpt, llama, stir, tokens } from './peft-fixture.ts';

describe('bad input', () => {
  beforeAll(() => startBackend({ backend: 'wasm', threads: 1 }));

  it.each<[string, AdaptationOptions, RegExp]>([
    ['a target that is nowhere', { method: 'lora', targets: ['qury'] }, /no module fits the target 'qury'. Near it: 'query'/],
    [
      'a target of the wrong kind',
      { method: 'lora', targets: ['mlp'] },
      /names MLP at 'blocks.0.mlp', but takes linear layers/,
    ],
    ['no targets', { method: 'lora', targets: [] }, /no targets/],
    [
      'a rank larger than the layer',
      { method: 'lora', rank: 13 },
      /rank 13 .*'blocks.0.attention.query' \[12, 12\].* at most 12/,
    ],
    ['half a rank', { method: 'lora', rank: 1.5 }, /rank must be a positive integer, got 1.5/],
    ['no alpha', { method: 'lora', alpha: Number.NaN }, /alpha must be a number above 0/],
    ['all dropped', { method: 'lora', dropout: 1 }, /dropout must be at least 0 and below 1/],
    ['biases where there are none', { method: 'bitfit', targets: ['blocks.0.dropout'] }, /names Dropout .* layers with biases/],
    [
      'more layers than there are',
      { method: 'last-layers', layers: 3 },
      /layers must be 0 … 2, the blocks of the model, got 3/,
    ],
    ['an adapter of no width', { method: 'houlsby', size: 0 }, /size must be a positive integer/],
    ['a prompt as long as the context', { method: 'prompt', tokens: 24 }, /24 virtual tokens leave no room in a context of 24/],
    ['a prompt of unknown tokens', { method: 'prompt', start: [3, 19] }, /token ids from 0 to 18, at least one, got \[3, 19\]/],
    ['an empty hybrid', { method: 'hybrid', parts: [] }, /no parts/],
    [
      'two parts for one layer',
      { method: 'hybrid', parts: [{ method: 'lora', targets: ['key'] }, { method: 'ia3' }] },
      /another part adapts 'blocks.0.attention.key' already; give ia3 other targets/,
    ],
    [
      'a prompt and a prefix',
      { method: 'hybrid', parts: [{ method: 'prompt' }, { method: 'prefix' }] },
      /one soft prompt or one prefix/,
    ],
    ['no such method', { method: 'lara' as 'lora' }, /no method 'lara'. Methods: .*lora/],
  ])('%s', async (_, options, message) => {
    const model = gpt();
    const ids = tokens();
    const before = await floats(model.forward(ids));
    const count = tf.memory().numTensors;
    expect(() => adapt(model, options)).toThrow(message);
    expect(tf.memory().numTensors).toBe(count);
    expect(model.parameterCount({ trainable: false })).toBe(0);
    expect(await floats(model.forward(ids))).toEqual(before);
  });

  it('biases of a model without any, and merging what is no change of weights', () => {
    expect(() => adapt(llama(), { method: 'bitfit' })).toThrow(/this model has no biases/);
    for (const method of ['houlsby', 'parallel', 'prompt', 'prefix'] as const) {
      const adapted = adapt(gpt(), { method });
      expect(() => adapted.merge()).toThrow(/is not a change of weights/);
      expect(() => adapted.mergeForGood()).toThrow(/is not a change of weights/);
    }
  });

  it('merging twice, unmerging nothing, names that are taken or unknown', () => {
    const adapted = adapt(gpt(), { method: 'lora' });
    expect(() => adapted.unmerge()).toThrow(/nothing to unmerge/);
    adapted.merge();
    expect(() => adapted.merge()).toThrow(/merged already/);
    expect(() => adapt(adapted.model, { method: 'ia3' })).toThrow(/'default' already/);
    expect(() => adapted.switch('other')).toThrow(/no adaptation 'other'. There are: 'default'/);
    expect(() => adapt(adapted.model, { method: 'ia3', name: 'other' })).toThrow(/'default' is merged. Unmerge it/);
    adapted.disable();
    expect(() => adapted.merge()).toThrow(/disabled/);
  });

  it('merging into quantized weights is refused, and makes floats when asked to', async () => {
    const model = gpt({ width: 32, heads: 2 });
    await quantizeModel(model, { method: 'nf4', groupSize: 16, quiet: true });
    const adapted = adapt(model, { method: 'lora', rank: 2 });
    stir(adapted.get().parameters);
    const ids = tokens();
    const changed = model.forward(ids);
    expect(() => adapted.merge()).toThrow(/NF4Linear are quantized.*dequantize/);
    expect(await floats(model.forward(ids))).toEqual(await floats(changed));
    adapted.merge({ dequantize: true });
    await expectNear(model.forward(ids), changed, 1e-5);
  });
});

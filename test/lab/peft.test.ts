/** @file Adapting a model: what is trained, what stays, merging and switching. */
import {
  AdamW,
  adapt,
  generateTokens,
  lossAndGradients,
  startBackend,
  tf,
  type AdaptationOptions,
  type Transformer,
} from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectNear, onEveryBackend } from './core-fixture.ts';
import { batch, floats, gpt, llama, stir, tokens } from './peft-fixture.ts';

/** Every method with the numbers that it trains, by formula, in the GPT of the fixture: width 12, 2 layers, 19 tokens. */
const D = 12;
const L = 2;
const methods: readonly (readonly [name: string, options: AdaptationOptions, count: number, merges: boolean])[] = [
  ['LoRA', { method: 'lora', rank: 3, alpha: 5 }, 2 * L * 3 * (D + D), true],
  ['LoRA on the MLP', { method: 'lora', rank: 2, targets: ['blocks.*.mlp.*'] }, 2 * L * 2 * (D + 4 * D), true],
  ['DoRA', { method: 'dora', rank: 3, targets: ['key', 'down'] }, L * (3 * (D + D) + D + 3 * (4 * D + D) + D), true],
  ['(IA)³', { method: 'ia3' }, L * (D + D + 4 * D), true],
  ['BitFit', { method: 'bitfit' }, L * (2 * D + 4 * D + 4 * D + D) + D, true],
  ['last layers', { method: 'last-layers' }, 12 * D * D + 13 * D + 2 * D, true],
  ['Houlsby adapters', { method: 'houlsby', size: 3 }, 2 * L * (2 * D * 3 + 3 + D), false],
  ['parallel adapters', { method: 'parallel', size: 3, scale: 2 }, L * (2 * D * 3 + 3 + D), false],
  ['a soft prompt', { method: 'prompt', tokens: 5 }, 5 * D, false],
  ['a prefix', { method: 'prefix', tokens: 5 }, 5 * 2 * L * D, false],
  ['a prefix by an MLP', { method: 'prefix', tokens: 5, hiddenSize: 7 }, 5 * D + (D + 1) * 7 + (7 + 1) * 2 * L * D, false],
  [
    'a hybrid',
    {
      method: 'hybrid',
      parts: [{ method: 'houlsby', size: 2 }, { method: 'bitfit' }, { method: 'lora', rank: 2, targets: ['attention.*'] }],
    },
    2 * L * (2 * D * 2 + 2 + D) + L * (11 * D) + D + 4 * L * 2 * (D + D),
    false,
  ],
];

const adaptable = (model: Transformer, options: AdaptationOptions) => {
  const adapted = adapt(model, options);
  stir(adapted.get().parameters);
  return adapted;
};

onEveryBackend(() => {
  it.each(methods)(
    '%s: begins as the model was, trains what the formula says, and takes nothing else along',
    async (_, options, count) => {
      const model = gpt();
      const total = model.parameterCount();
      const ids = tokens();
      const before = model.forward(ids);
      const adapted = adapt(model, options);
      if (options.method !== 'prompt' && options.method !== 'prefix') {
        await expectNear(model.forward(ids), before, 1e-5);
      }
      expect(adapted.report().trainable).toBe(count);
      expect(adapted.report().share).toBeCloseTo(count / adapted.report().total, 12);
      expect(model.parameterCount({ trainable: true })).toBe(count);
      adapted.remove();
      expect(model.parameterCount({ trainable: true })).toBe(total);
      model.dispose();
    },
  );

  it.each(methods)(
    '%s: disabled, the model computes what it did, to the bit; enabled, what it did then',
    async (_, options) => {
      const model = gpt();
      const ids = tokens();
      const before = await floats(model.forward(ids));
      const adapted = adaptable(model, options);
      const changed = await floats(model.forward(ids));
      expect(changed).not.toEqual(before);
      adapted.disable();
      expect(await floats(model.forward(ids))).toEqual(before);
      adapted.enable();
      expect(await floats(model.forward(ids))).toEqual(changed);
      adapted.remove();
      expect(await floats(model.forward(ids))).toEqual(before);
      model.dispose();
    },
  );

  it.each(methods.filter(([, , , merges]) => merges))(
    '%s: merged, the same logits; unmerged, to the bit',
    async (_, options) => {
      for (const model of [gpt(), llama({ bias: true })]) {
        const ids = tokens();
        const adapted = adaptable(model, options);
        const changed = model.forward(ids);
        adapted.merge();
        expect(adapted.isMerged).toBe(true);
        await expectNear(model.forward(ids), changed, 1e-5);
        adapted.unmerge();
        expect(await floats(model.forward(ids))).toEqual(await floats(changed));
        model.dispose();
      }
    },
  );

  it.each(methods)('%s: learns, and changes no weight of the model', async (_, options) => {
    const model = gpt();
    const weights = [...model.namedParameters()].map(([, variable]) => [variable, tf.mul(variable, 1)] as const);
    const adapted = adapt(model, options);
    const optimizer = new AdamW(model.namedParameters(), { weightDecay: 0 });
    const step = async (): Promise<number> => {
      const loss = tf.tidy(() => {
        const found = lossAndGradients(model, [batch()]);
        expect(new Set(found.gradients.keys())).toEqual(new Set(adapted.get().parameters.keys()));
        optimizer.step(found.gradients, 0.05);
        return found.loss;
      });
      return (await loss.data())[0]!;
    };
    const first = await step();
    for (let i = 0; i < 6; i++) await step();
    expect(await step()).toBeLessThan(first - 0.02);
    const moments = [...optimizer.state()].filter(([name]) => name.endsWith('.firstMoment'));
    expect(moments.reduce((sum, [, { size }]) => sum + size, 0)).toBe(adapted.report().trainable);
    adapted.disable();
    for (const [variable, before] of weights) expect(await floats(variable)).toEqual(await floats(before));
    optimizer.dispose();
  });
});

describe('one model, several adaptations', () => {
  beforeAll(() => startBackend({ backend: 'wasm', threads: 1 }));

  it('switches, and each says what it said alone', async () => {
    const ids = tokens();
    const alone: Float32Array[] = [];
    const model = gpt();
    const names = methods.map(([name]) => name);
    for (const [name, options] of methods) {
      const adapted = adapt(model, { ...options, name });
      stir(adapted.get().parameters);
      alone.push(await floats(model.forward(ids)));
    }
    const adapted = adapt(model, { method: 'lora', name: 'last' });
    expect(adapted.names).toEqual([...names, 'last']);
    for (const [i, name] of names.entries()) {
      adapted.switch(name);
      expect(adapted.active).toBe(name);
      expect(model.parameterCount({ trainable: true })).toBe(methods[i]![2]);
      expect(await floats(model.forward(ids))).toEqual(alone[i]);
    }
    adapted.switch(names[0]!);
    adapted.merge();
    adapted.switch(names[1]!);
    expect(await floats(model.forward(ids))).toEqual(alone[1]);
  });

  it('frees what it made', () => {
    const model = gpt();
    model.freeze('finalNorm');
    const trained = model.parameterCount({ trainable: true });
    const before = tf.memory().numTensors;
    for (const [name, options, , merges] of methods) {
      const adapted = adapt(model, options);
      if (merges) {
        adapted.merge();
        adapted.unmerge();
      }
      adapted.remove();
      expect(tf.memory().numTensors, name).toBe(before);
      expect(model.parameterCount({ trainable: true }), name).toBe(trained);
    }
  });

  it('merges for good into an ordinary model', async () => {
    for (const [name, options] of methods.filter(([, , , merges]) => merges)) {
      const model = gpt();
      const before = tf.memory().numTensors;
      const paths = [...model.namedParameters().keys()];
      const ids = tokens();
      const adapted = adaptable(model, options);
      const changed = model.forward(ids);
      adapted.mergeForGood();
      const merged = model.forward(ids);
      await expectNear(merged, changed, 1e-5, name);
      expect([...model.namedParameters().keys()]).toEqual(paths);
      tf.dispose([ids, changed, merged]);
      expect(tf.memory().numTensors, name).toBe(before);
      expect(adapt(model, options).isMerged).toBe(false);
    }
  });

  it('drops out in training alone, and the same for the same seed', async () => {
    const make = (): Transformer => {
      const model = gpt();
      adaptable(model, { method: 'lora', dropout: 0.5, seed: 3 });
      return model;
    };
    const [a, b] = [make(), make()];
    const ids = tokens();
    const still = await floats(a.forward(ids));
    expect(await floats(b.forward(ids))).toEqual(still);
    const dropped = await floats(a.train().forward(ids));
    expect(dropped).not.toEqual(still);
    expect(await floats(b.train().forward(ids))).toEqual(dropped);
  });

  it.each(['prompt', 'prefix'] as const)(
    'writes the same with a %s, with the cache and without, on tokens of its own',
    async (method) => {
      for (const model of [gpt(), llama()]) {
        adaptable(model, { method, tokens: 4 });
        expect(model.config.contextLength).toBe(20);
        const written: number[][] = [];
        for (const cache of [true, false]) {
          const made: number[] = [];
          for await (const token of generateTokens(model, [3, 1, 4], { maxTokens: 12, temperature: 0, cache }))
            made.push(token);
          written.push(made);
        }
        expect(written[0]).toHaveLength(12);
        expect(written[1]).toEqual(written[0]);
        expect(model.forward(tokens(1, 20)).shape).toEqual([1, 20, 19]);
        expect(() => model.forward(tokens(1, 21))).toThrow(/21 tokens do not fit: the virtual tokens leave a context of 20/);
      }
    },
  );

  it('begins a soft prompt with the vectors of given tokens, or of random ones', async () => {
    const model = gpt();
    const table = (await model.tokenEmbedding.weight.array()) as number[][];
    const given = adapt(model, { method: 'prompt', tokens: 3, start: [7, 2] });
    const [prompt] = given.get().parameters.values();
    expect(await prompt!.array()).toEqual([table[7], table[2], table[7]]);
    const random = adapt(model, { method: 'prompt', tokens: 3, start: 'vocabulary', name: 'random' });
    for (const vector of (await [...random.get().parameters.values()][0]!.array()) as number[][])
      expect(table).toContainEqual(vector);
  });

  it('adapts the token embedding, and leaves a tied head as it is', async () => {
    for (const tiedHead of [true, false]) {
      const model = gpt({ tiedHead });
      const ids = tokens();
      const adapted = adaptable(model, { method: 'lora', rank: 2, targets: ['tokenEmbedding'] });
      expect(adapted.report().trainable).toBe(2 * (19 + D));
      const changed = model.forward(ids);
      if (tiedHead) expect(() => adapted.merge()).toThrow(/head is tied/);
      else {
        adapted.merge();
        await expectNear(model.forward(ids), changed, 1e-5);
      }
    }
  });
});

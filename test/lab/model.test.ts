/** @file The Transformer is GPT-2 and Llama: logits, loss and every gradient are those of the transformers library. */
import {
  attention,
  Block,
  crossEntropy,
  Embedding,
  LabError,
  LayerNorm,
  plainAttention,
  preset,
  presets,
  Random,
  RMSNorm,
  tf,
  tokensTensor,
  Transformer,
  type Tensor2D,
  type Tensor3D,
  type TransformerConfig,
} from 'lab';
import { describe, expect, it } from 'vitest';
import { expectNear, type FixtureTensor, onEveryBackend, readFixture, relativeError, tensorOf } from './core-fixture.ts';
import { fromGPT2, fromLlama, gpt2Config, llamaConfig } from './core-models.ts';

interface ModelFixture {
  weights: Record<string, FixtureTensor>;
  gradients: Record<string, FixtureTensor>;
  tokens: FixtureTensor;
  targets: FixtureTensor;
  logits: FixtureTensor;
  loss: number;
}

const families = { gpt2: { config: gpt2Config, convert: fromGPT2 }, llama: { config: llamaConfig, convert: fromLlama } };
const tiny: TransformerConfig = { vocabSize: 11, contextLength: 8, layers: 2, width: 8, heads: 2, initializerStd: 0.4 };
const someTokens = (): Tensor2D => tokensTensor([1, 5, 10, 0, 3, 3], [2, 3], 11);

onEveryBackend((backend) => {
  for (const [family, { config, convert }] of Object.entries(families)) {
    it(`${family}: logits, loss and the gradient of every parameter are those of transformers`, async () => {
      const fixture = readFixture<ModelFixture>(family);
      const model = new Transformer(config);
      model.loadStateDict(convert(fixture.weights));
      const [tokens, targets] = [tensorOf<Tensor2D>(fixture.tokens), tensorOf<Tensor2D>(fixture.targets)];
      await expectNear(model.forward(tokens), fixture.logits, 1e-5, 'logits');
      const parameters = model.namedParameters();
      const expected = convert(fixture.gradients);
      expect([...parameters.keys()].toSorted()).toEqual([...expected.keys()].toSorted());
      for (const loss of [() => crossEntropy(model.forward(tokens), targets), () => model.loss(tokens, targets)]) {
        const { value, grads } = tf.variableGrads(loss, [...parameters.values()]);
        expect((await value.data())[0]).toBeCloseTo(fixture.loss, 5);
        // A bias of the keys moves all scores of a row alike, so its gradient is zero; others are around 0.1.
        for (const [path, { name }] of parameters) await expectNear(grads[name]!, expected.get(path)!, 1e-4, path, 1e-2);
      }
      model.dispose();
    });
  }

  const variants: Record<string, Partial<TransformerConfig>> = {
    gpt2: {},
    llama: { norm: 'rms', position: 'rotary', mlp: 'swiglu', bias: false, keyValueHeads: 1 },
    alibi: { position: 'alibi', tiedHead: false },
    'no positions': { position: 'none' },
    'wide heads': { headSize: 6 },
  };
  for (const [name, variant] of Object.entries(variants)) {
    it(`${name}: the gradient is the slope of the loss (finite differences)`, async () => {
      const model = new Transformer({ ...tiny, ...variant });
      const targets = tokensTensor([5, 10, 0, 3, 1, 7], [2, 3], 11);
      const loss = () => crossEntropy(model.forward(someTokens()), targets);
      const at = async () => (await loss().data())[0]!;
      const { grads } = tf.variableGrads(loss, model.parameters());
      const random = new Random(1);
      for (const [path, variable] of model.namedParameters()) {
        const direction = tf.tensor(random.normals(variable.size), variable.shape);
        const step = 1e-2 / Math.sqrt(variable.size);
        const start = variable.clone();
        variable.assign(start.add(direction.mul(step)));
        const above = await at();
        variable.assign(start.sub(direction.mul(step)));
        const slope = (above - (await at())) / (2 * step);
        variable.assign(start);
        const expected = (await grads[variable.name]!.mul(direction).sum().data())[0]!;
        expect(Math.abs(slope - expected), `${path}: ${slope} and ${expected}`).toBeLessThan(
          1e-2 * Math.max(1, Math.abs(expected)),
        );
      }
      model.dispose();
    });

    it(`${name}: token by token through the cache gives the logits of the whole`, async () => {
      const model = new Transformer({ ...tiny, ...variant });
      const tokens = tokensTensor([1, 5, 10, 0, 3, 3, 2, 8], [1, 8], 11);
      const cache = model.cache();
      const parts = (tf.split(tokens, [3, 1, 1, 3], 1) as Tensor2D[]).map((part) => model.forward(part, { cache }));
      await expectNear(tf.concat(parts, 1), model.forward(tokens), 1e-5);
      await expectNear(model.forward(tokens, { lastOnly: true }), model.forward(tokens).slice([0, 7, 0], [1, 1, 11]), 1e-5);
      expect(() => model.forward(tokens.slice([0, 0], [1, 1]), { cache })).toThrow(
        '1 tokens behind 8 in the cache do not fit into a context of 8',
      );
      cache.dispose();
      model.dispose();
    });
  }

  it("begins as GPT-2 does: std 0.02, the residual projections' smaller by √(2 · layers), biases zero, norms one", async () => {
    const model = new Transformer({ ...gpt2Config, layers: 8, width: 96 });
    const std = async (path: string) => {
      const { variance } = tf.moments(model.stateDict().get(path)!);
      return Math.sqrt((await variance.data())[0]!);
    };
    for (const path of [
      'tokenEmbedding.weight',
      'positionEmbedding.weight',
      'blocks.3.attention.query.weight',
      'blocks.7.mlp.up.weight',
    ]) {
      expect((await std(path)) / 0.02, path).toBeCloseTo(1, 1);
    }
    for (const path of ['blocks.0.attention.output.weight', 'blocks.7.mlp.down.weight'])
      expect((await std(path)) / 0.005, path).toBeCloseTo(1, 1);
    for (const [path, value] of model.namedParameters()) {
      const constant = path.endsWith('bias') ? 0 : path.endsWith('orm.weight') ? 1 : undefined;
      if (constant !== undefined)
        expect(await tf.max(tf.abs(tf.sub(value, constant))).data(), path).toEqual(new Float32Array([0]));
    }
    model.dispose();
  });

  it('is decided by its seed', async () => {
    const [a, b, c] = [new Transformer(tiny), new Transformer(tiny), new Transformer({ ...tiny, seed: 1 })];
    await expectNear(a.forward(someTokens()), b.forward(someTokens()), 0);
    expect(await a.stateDict().get('blocks.0.mlp.up.weight')!.data()).not.toEqual(
      await b.stateDict().get('blocks.1.mlp.up.weight')!.data(),
    );
    expect(await a.forward(someTokens()).data()).not.toEqual(await c.forward(someTokens()).data());
    for (const model of [a, b, c]) model.dispose();
  });

  it('leaves no tensor behind: forward, gradients, maps, states, dispose', async () => {
    const before = tf.memory().numTensors;
    const model = new Transformer({ ...tiny, norm: 'rms', position: 'rotary', mlp: 'swiglu', dropout: 0.1 });
    const tokens = someTokens();
    const held = tf.memory().numTensors;
    model.forward(tokens).dispose();
    tf.dispose(model.attentionMaps(tokens));
    tf.dispose(model.hiddenStates(tokens));
    tf.dispose(
      tf.variableGrads(() => crossEntropy(model.forward(tokens), tokens), model.parameters()) as unknown as tf.TensorContainer,
    );
    expect(tf.memory().numTensors).toBe(held);
    tokens.dispose();
    model.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it("shows the attention of every layer, also when attention is somebody else's", async () => {
    const model = new Transformer({ ...tiny, attention: (q, k, v) => attention(q, k, v, { causal: true }).mul(1) });
    const maps = tf.tidy(() => model.attentionMaps(someTokens()));
    expect(maps.map(({ shape }) => shape)).toEqual([
      [2, 2, 3, 3],
      [2, 2, 3, 3],
    ]);
    for (const map of maps) {
      await expectNear(map.sum(-1), tf.ones([2, 2, 3]), 1e-5);
      await expectNear(map.slice([0, 0, 0, 0], [1, 1, 1, 3]).flatten(), tf.tensor1d([1, 0, 0]), 1e-6);
    }
    const states = model.hiddenStates(someTokens());
    await expectNear(model.project(model.finalNorm.forward(states.at(-1)!)), model.forward(someTokens()));
    expect(states).toHaveLength(3);
    model.dispose();
  });

  it('has a sliding window, a soft cap and ALiBi where the config says so, with whatever attention', async () => {
    const config = { ...tiny, position: 'alibi' as const, slidingWindow: 2, attentionSoftCap: 0.3, initializerStd: 0.5 };
    const tokens = tokensTensor([1, 2, 3, 4, 5], [1, 5], 11);
    const logits = (given: TransformerConfig) => {
      const model = new Transformer(given);
      const result = model.forward(tokens);
      model.dispose();
      return result;
    };
    const expected = logits(config);
    await expectNear(logits({ ...config, attention: plainAttention }), expected);
    await expectNear(logits({ ...config, attention: (...given) => attention(...given) }), expected);
    const { slidingWindow: _, ...withoutWindow } = config;
    const { attentionSoftCap: __, ...withoutCap } = config;
    for (const other of [withoutWindow, withoutCap]) {
      expect(relativeError(await logits(other).data(), await expected.data())).toBeGreaterThan(1e-4);
    }
  });

  it('keeps documents apart that are packed into one row', async () => {
    const model = new Transformer({ ...tiny, position: 'rotary', initializerStd: 0.5 });
    const [first, second] = [tokensTensor([1, 2, 3], [1, 3], 11), tokensTensor([4, 5, 6, 7], [1, 4], 11)];
    const packed = model.forward(tf.concat([first, second], 1), { documents: { queries: [[0, 3, 7]] } });
    await expectNear(packed, tf.concat([model.forward(first), model.forward(second)], 1));
    model.dispose();
  });

  describe("every seam takes a function of one's own", () => {
    it('attention, norm, mlp, position and block', async () => {
      const called = new Set<string>();
      class Marked extends Block {
        override forward(...given: Parameters<Block['forward']>): Tensor3D {
          called.add('block');
          return super.forward(...given);
        }
      }
      const model = new Transformer({
        ...tiny,
        attention: (q, k, v, options) => {
          called.add('attention');
          return attention(q, k, v, options);
        },
        norm: (width, epsilon) => {
          called.add('norm');
          return new LayerNorm(width, { epsilon });
        },
        mlp: (config) => {
          called.add('mlp');
          return new RMSNorm(config.width);
        },
        position: () => ({
          embed: (x) => {
            called.add('position');
            return x;
          },
        }),
        block: (options) => new Marked(options),
      });
      expect(model.forward(someTokens()).shape).toEqual([2, 3, 11]);
      expect([...called].toSorted()).toEqual(['attention', 'block', 'mlp', 'norm', 'position']);
      model.dispose();
    });
  });

  describe('refuses, and says why', () => {
    const refusals: [Partial<Record<keyof TransformerConfig, unknown>>, string][] = [
      [{ heads: 3 }, 'width 8 is not a multiple of 3 heads'],
      [{ heads: 4, keyValueHeads: 3 }, 'heads must be a multiple of keyValueHeads, got 4 heads and 3 keyValueHeads'],
      [{ headSize: 3, position: 'rotary' }, 'headSize must be even, got 3'],
      [{ slidingWindow: 0 }, 'slidingWindow must be a positive number of tokens, got 0'],
      [{ attentionSoftCap: -1 }, 'attentionSoftCap must be a positive number, got -1'],
      [{ layers: 0 }, 'layers must be a positive integer, got 0'],
      [{ vocabSize: undefined }, 'vocabSize must be a positive integer, got undefined'],
      [{ norm: 'batch' }, "norm must be 'layer', 'rms' or a function, got \"batch\""],
      [{ position: 'sinusoidal' }, "position must be 'learned', 'rotary', 'alibi', 'none' or a function"],
    ];
    it.each(refusals)('%j', (change, message) => {
      const make = () => new Transformer({ ...tiny, ...change } as TransformerConfig);
      expect(make).toThrow(LabError);
      expect(make).toThrow(message);
    });
    it('tokens of the wrong shape, type, length or range', () => {
      const model = new Transformer(tiny);
      expect(() => model.forward(tf.zeros([2, 9], 'int32'))).toThrow('9 tokens do not fit into a context of 8');
      expect(() => model.forward(tf.zeros([2, 0], 'int32'))).toThrow('at least one token');
      expect(() => model.forward(tf.zeros([4], 'int32') as unknown as Tensor2D)).toThrow('tokens must be [B, T], got [4]');
      expect(() => model.forward(tf.zeros([1, 4]))).toThrow('must be int32 ids, got float32');
      expect(() => tokensTensor([0, 11], [1, 2], 11)).toThrow(
        'Token 11 at position 1 is not in the vocabulary, whose ids are 0 … 10',
      );
      expect(() => tokensTensor([0, 1, 2], [1, 2], 11)).toThrow('3 ids cannot fill [1,2]');
      model.dispose();
    });
    it('a preset that is not there', () => {
      expect(preset('nano')).toBe(presets.nano);
      expect(() => preset('nanoo')).toThrow("There is no preset 'nanoo'. Presets: nano, gpt2, llama.");
      expect(() => preset('toString')).toThrow(LabError);
    });
  });

  it('presets have the sizes they say', { skip: backend !== 'wasm' }, () => {
    const model = new Transformer({ ...presets.nano, vocabSize: 65 });
    // nanoGPT prints 0.80M without the 8192 of the positions.
    expect(model.parameterCount() - 64 * 128).toBe(65 * 128 + 4 * (12 * 128 * 128 + 2 * 128) + 128);
    model.dispose();
    const llama = new Transformer({ ...presets.llama, vocabSize: 32000, initializerStd: 0 });
    expect(llama.parameterCount()).toBe(15_191_712);
    expect(llama.tokenEmbedding).toBeInstanceOf(Embedding);
    llama.dispose();
  });
});

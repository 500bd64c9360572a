/** @file Attention is PyTorch's; masks hide the future; positions are Llama's and the ALiBi paper's; a cache changes nothing. */
import {
  alibiBias,
  alibiSlopes,
  attention,
  type AttentionFunction,
  type AttentionOptions,
  attentionReference,
  attentionWeights,
  causalMask,
  ContiguousKVCache,
  mergeHeads,
  MultiHeadAttention,
  plainAttention,
  Random,
  rotaryEmbedding,
  splitHeads,
  tf,
  type Tensor,
  type Tensor3D,
  type Tensor4D,
} from 'lab';
import { describe, expect, it } from 'vitest';
import { expectNear, type FixtureTensor, onEveryBackend, readFixture, relativeError, tensorOf } from './core-fixture.ts';

interface Case {
  inputs: Record<string, FixtureTensor>;
  output: FixtureTensor;
  upstream: FixtureTensor;
  gradients: Record<string, FixtureTensor>;
}

const fixture = readFixture<{
  attention: (Case & { causal: boolean })[];
  rotary: (Case & { base: number; offset: number })[];
  alibiSlopes: Record<string, number[]>;
}>('ops');

const random = new Random(3);
const normal = <T extends Tensor>(...shape: number[]): T =>
  tf.tensor(random.normals(shape.reduce((a, b) => a * b, 1)), shape) as Tensor as T;

async function expectCase(example: Case, operation: (...inputs: Tensor4D[]) => Tensor, what: string): Promise<void> {
  const inputs = Object.values(example.inputs).map((input) => tensorOf<Tensor4D>(input));
  await expectNear(operation(...inputs), example.output, 1e-5, what);
  const gradients = tf.grads(operation as (...inputs: Tensor[]) => Tensor)(inputs, tensorOf(example.upstream));
  for (const [i, expected] of Object.values(example.gradients).entries())
    await expectNear(gradients[i]!, expected, 1e-5, `${what}, gradient ${i}`);
}

onEveryBackend(() => {
  describe('causalMask', () => {
    it('shows 0 … t to query t', async () => {
      const mask = (await causalMask(3).array()).map((row) => row.map((score) => (score === 0 ? 1 : 0)));
      expect(mask).toEqual([
        [1, 0, 0],
        [1, 1, 0],
        [1, 1, 1],
      ]);
    });
    it('is aligned at the end when there are more keys than queries, or fewer', async () => {
      const visible = async (queries: number, keys: number) =>
        (await causalMask(queries, keys).array()).map((row) => row.filter((s) => s === 0).length);
      expect(await visible(2, 5)).toEqual([4, 5]);
      expect(await visible(4, 2)).toEqual([0, 0, 1, 2]);
    });
  });

  describe('attention', () => {
    it("has PyTorch's values and gradients: causal, grouped, more keys than queries", async () => {
      expect(fixture.attention).toHaveLength(5);
      for (const example of fixture.attention) {
        const what = JSON.stringify([example.inputs['q']!.shape, example.inputs['k']!.shape, example.causal]);
        await expectCase(example, (q, k, v) => attention(q!, k!, v!, { causal: example.causal }), what);
      }
    });
    it('hides the future: a later token changes nothing before it', async () => {
      const [q, k, v] = [normal<Tensor4D>(1, 2, 6, 4), normal<Tensor4D>(1, 2, 6, 4), normal<Tensor4D>(1, 2, 6, 4)];
      const changed = (x: Tensor4D) => tf.concat([x.slice([0, 0, 0, 0], [1, 2, 5, 4]), normal<Tensor4D>(1, 2, 1, 4)], 2);
      const early = (y: Tensor4D) => y.slice([0, 0, 0, 0], [1, 2, 5, 4]);
      await expectNear(
        early(attention(q, changed(k), changed(v), { causal: true })),
        early(attention(q, k, v, { causal: true })),
        0,
      );
    });
    it('has weights that sum to one, or to zero for a query that sees nothing', async () => {
      const weights = attentionWeights(normal(2, 4, 5, 3), normal(2, 2, 2, 3), { causal: true });
      expect(weights.shape).toEqual([2, 4, 5, 2]);
      await expectNear(weights.sum(-1), tf.tensor([0, 0, 0, 1, 1]).tile([8]).reshape([2, 4, 5]), 1e-6);
    });
    it('means the same by every option, in plain operations and on the kernels', async () => {
      const documents = { queries: [[0, 4, 9], [0, 6]] };
      const hiding = tf.tensor2d(Array.from({ length: 81 }, (_, i) => (i < 9 || i % 9 === 4 ? -Infinity : i / 81)), [9, 9]);
      const options: AttentionOptions[] = [
        { causal: true, window: { left: 2 } },
        { documents, causal: true, alibiSlopes: [0.5, 0.1, 0.2, 0.3] },
        { softCap: 0.5, scale: 2 },
        { alibiSlopes: [0.5, 0.1, 0.2, 0.3], bias: normal<Tensor>(4, 1, 9) },
        { bias: hiding },
        { bias: hiding, causal: true },
        { dropout: { rate: 0.3, seed: 77 } },
      ];
      const inputs = [normal(2, 4, 9, 6), normal(2, 2, 9, 6), normal(2, 2, 9, 6)];
      const upstream = normal(2, 4, 9, 6);
      for (const asked of options) {
        const results = (compute: AttentionFunction): Tensor[] => {
          const run = (...[q, k, v]: Tensor[]): Tensor => compute(q as Tensor4D, k as Tensor4D, v as Tensor4D, asked);
          const { value, grads } = tf.valueAndGrads(run)(inputs, upstream);
          return [value, ...grads];
        };
        const reference = results(attentionReference);
        for (const compute of [attention, plainAttention]) {
          const what = Object.keys(asked).join();
          for (const [i, result] of results(compute).entries()) await expectNear(result, reference[i]!, 1e-5, what);
        }
      }
    });
    it('gives zeros to queries that see nothing, when there are more of them than keys, and no gradient', async () => {
      const [q, k, v] = [normal<Tensor4D>(1, 2, 5, 4), normal<Tensor4D>(1, 2, 3, 4), normal<Tensor4D>(1, 2, 3, 4)];
      for (const compute of [attention, plainAttention]) {
        const blind = (x: Tensor) => (x as Tensor4D).slice([0, 0, 0, 0], [1, 2, 2, 4]);
        await expectNear(blind(compute(q, k, v, { causal: true })), tf.zeros([1, 2, 2, 4]), 0);
        await expectNear(blind(tf.grad((x) => compute(x as Tensor4D, k, v, { causal: true }))(q)), tf.zeros([1, 2, 2, 4]), 0);
      }
    });
    it('adds a bias and multiplies by a scale', async () => {
      const [q, k, v, bias] = [
        normal<Tensor4D>(2, 3, 4, 5),
        normal<Tensor4D>(2, 3, 6, 5),
        normal<Tensor4D>(2, 3, 6, 5),
        normal(3, 4, 6),
      ];
      const plain = tf.matMul(tf.softmax(tf.matMul(q, k, false, true).mul(0.3).add(bias)), v);
      await expectNear(attention(q, k, v, { scale: 0.3, bias }), plain);
    });
    it('says which axis does not fit', () => {
      const x = tf.ones<tf.Rank.R4>([1, 4, 3, 8]);
      expect(() => attention(x, tf.ones([1, 3, 3, 8]), tf.ones([1, 3, 3, 8]))).toThrow(
        'query has 4 heads but key has 3; heads must be a multiple',
      );
      expect(() => attention(x, tf.ones([1, 4, 3, 4]), x)).toThrow('query head size 8, key head size 4');
      expect(() => attention(x, tf.ones([2, 4, 3, 8]), tf.ones([2, 4, 3, 8]))).toThrow('query batch 1, key batch 2');
      expect(() => attention(x, x, tf.ones([1, 4, 5, 8]))).toThrow('key length 3, value length 5');
      expect(() => attention(tf.ones([4, 3, 8]) as unknown as Tensor4D, x, x)).toThrow('must be [B, H, T, S], got [4,3,8]');
    });
  });

  it('splitHeads and mergeHeads undo each other, and head h has columns h·S …', async () => {
    const x = normal<Tensor3D>(2, 5, 12);
    const heads = splitHeads(x, 3);
    expect(heads.shape).toEqual([2, 3, 5, 4]);
    await expectNear(mergeHeads(heads), x, 0);
    await expectNear(heads.slice([0, 1, 0, 0], [2, 1, 5, 4]).reshape([2, 5, 4]), x.slice([0, 0, 4], [2, 5, 4]), 0);
    expect(() => splitHeads(x, 5)).toThrow('width 12 of x [2,5,12] is not a multiple of 5 heads');
  });

  describe('rotary positions', () => {
    it("are Llama's, values and gradients", async () => {
      for (const example of fixture.rotary) {
        const { base, offset } = example;
        await expectCase(example, (x) => rotaryEmbedding(x!, { base, offset }), `base ${base}, offset ${offset}`);
      }
    });
    it('depend on the distance alone: turning both further leaves the scores', async () => {
      const [q, k] = [normal<Tensor4D>(1, 2, 3, 8), normal<Tensor4D>(1, 2, 3, 8)];
      const scores = (offset: number) => tf.matMul(rotaryEmbedding(q, { offset }), rotaryEmbedding(k, { offset }), false, true);
      await expectNear(scores(900), scores(0), 1e-4);
    });
    it('go on where the cache ends', async () => {
      const x = normal<Tensor4D>(1, 2, 7, 6);
      const [first, rest] = tf.split(x, [4, 3], 2) as [Tensor4D, Tensor4D];
      await expectNear(tf.concat([rotaryEmbedding(first), rotaryEmbedding(rest, { offset: 4 })], 2), rotaryEmbedding(x), 0);
    });
    it('refuse an odd head size', () =>
      expect(() => rotaryEmbedding(normal(1, 1, 2, 5))).toThrow('must be even to form pairs, got 5'));
  });

  describe('ALiBi', () => {
    it("has the paper's slopes, for numbers of heads that are no power of two as well", () => {
      for (const [heads, slopes] of Object.entries(fixture.alibiSlopes)) {
        expect(relativeError(alibiSlopes(Number(heads)), slopes), `${heads} heads`).toBeLessThan(1e-6);
        expect(alibiSlopes(Number(heads))).toHaveLength(slopes.length);
      }
    });
    it('penalizes by distance, aligned at the end', async () => {
      const bias = await alibiBias(2, 2, 4).array();
      expect(bias[0]).toEqual([[-2, -1, 0, -1].map((d) => d / 16), [-3, -2, -1, 0].map((d) => d / 16)]);
      expect(bias[1]![1]).toEqual([-3, -2, -1, 0].map((d) => d / 256));
    });
  });

  describe('the key/value cache', () => {
    const rotary = { rotate: (x: Tensor4D, offset: number) => rotaryEmbedding(x, { offset }) };
    const variants = {
      plain: {},
      grouped: { keyValueHeads: 2 },
      rotary: { position: rotary },
      alibi: { position: { bias: alibiBias } },
    };
    for (const [name, options] of Object.entries(variants)) {
      it(`gives what attention over everything gives: ${name}`, async () => {
        const layer = new MultiHeadAttention({ width: 24, heads: 4, std: 0.3, ...options });
        const x = normal<Tensor3D>(2, 7, 24);
        const cache = new ContiguousKVCache(7);
        const parts = (tf.split(x, [3, 1, 2, 1], 1) as Tensor3D[]).map((part) => {
          const y = layer.forward(part, { cache });
          cache.advance(part.shape[1]);
          return y;
        });
        await expectNear(tf.concat(parts, 1), layer.forward(x), 1e-5);
        cache.dispose();
        layer.dispose();
      });
    }
    const kv = (tokens: number): Tensor4D => normal(1, 2, tokens, 4);
    it('keeps its tensors through a tidy, and lets go of all of them', () => {
      const before = tf.memory().numTensors;
      const cache = new ContiguousKVCache();
      for (const tokens of [3, 1, 1]) {
        tf.tidy(() => {
          for (const layer of [0, 1]) cache.append(layer, kv(tokens), kv(tokens));
        });
        cache.advance(tokens);
      }
      expect(cache.length).toBe(5);
      expect(tf.memory().numTensors).toBe(before + 4);
      cache.dispose();
      expect(tf.memory().numTensors).toBe(before);
    });
    it('forgets what is truncated, and what an unfinished pass left', async () => {
      const cache = new ContiguousKVCache();
      const [first, second, third] = [kv(4), kv(2), kv(1)];
      cache.append(0, first, first);
      cache.advance(4);
      cache.append(0, second, second);
      await expectNear(cache.append(0, third, third).k, tf.concat([first, third], 2), 0);
      cache.advance(1);
      cache.truncate(2);
      await expectNear(cache.append(0, second, second).v, tf.concat([first.slice([0, 0, 0, 0], [1, 2, 2, 4]), second], 2), 0);
      cache.dispose();
    });
    it('refuses more than it can hold, and shapes that do not belong', () => {
      const cache = new ContiguousKVCache(4);
      cache.append(0, kv(3), kv(3));
      cache.advance(3);
      expect(() => cache.append(0, kv(2), kv(2))).toThrow('5 tokens, but there is room for 4');
      expect(() => cache.append(0, normal(1, 3, 1, 4), normal(1, 3, 1, 4))).toThrow('heads 2 is kept, but 3 is added');
      expect(() => cache.append(1, kv(1), kv(1))).toThrow('layer 1 has nothing kept');
      expect(() => cache.advance(1)).toThrow('layer 0 has 3');
      expect(() => cache.truncate(4)).toThrow('cannot truncate 3 tokens to 4');
      cache.dispose();
    });
  });

  describe('MultiHeadAttention', () => {
    it('runs the function it is given, with the options of the contract', () => {
      const seen: unknown[] = [];
      const layer = new MultiHeadAttention({
        width: 12,
        heads: 3,
        keyValueHeads: 1,
        compute: (q, k, v, options) => {
          seen.push(q.shape, k.shape, options);
          return attention(q, k, v, options);
        },
      });
      layer.forward(normal(2, 5, 12));
      expect(seen).toEqual([[2, 3, 5, 4], [2, 1, 5, 4], { causal: true }]);
      layer.dispose();
    });
    it('hands over a window, a soft cap, packed documents, and ALiBi as slopes to whom takes them', () => {
      const seen: AttentionOptions[] = [];
      const watch = (takesSlopes: boolean): AttentionFunction =>
        Object.assign(
          (...[q, k, v, options]: Parameters<AttentionFunction>) => {
            seen.push(options);
            return attention(q, k, v, options);
          },
          { takesSlopes },
        );
      const options = { width: 8, heads: 2, slidingWindow: 3, softCap: 5, position: { bias: alibiBias, slopes: alibiSlopes } };
      const documents = { queries: [[0, 2, 5]] };
      for (const takesSlopes of [true, false]) {
        const layer = new MultiHeadAttention({ ...options, compute: watch(takesSlopes) });
        layer.forward(normal(1, 5, 8), { documents });
        layer.dispose();
      }
      const common = { causal: true, window: { left: 2 }, softCap: 5, documents };
      expect(seen[0]).toEqual({ ...common, alibiSlopes: alibiSlopes(2) });
      expect(seen[1]).toMatchObject(common);
      expect(seen[1]!.bias!.shape).toEqual([2, 5, 5]);
      expect(seen[1]).not.toHaveProperty('alibiSlopes');
      const both = new MultiHeadAttention({ width: 8, heads: 2, causal: false, slidingWindow: 2, compute: watch(true) });
      both.forward(normal(1, 5, 8));
      expect(seen[2]).toEqual({ causal: false, window: { left: 1, right: 1 } });
      both.dispose();
    });
    it('gives packed documents what each gets alone', async () => {
      const layer = new MultiHeadAttention({ width: 12, heads: 3, std: 0.5 });
      const x = normal<Tensor3D>(1, 7, 12);
      const [first, rest] = tf.split(x, [3, 4], 1) as [Tensor3D, Tensor3D];
      const apart = tf.concat([layer.forward(first), layer.forward(rest)], 1);
      await expectNear(layer.forward(x, { documents: { queries: [[0, 3, 7]] } }), apart, 1e-5);
      const cache = new ContiguousKVCache();
      expect(() => layer.forward(x, { cache, documents: { queries: [[0, 7]] } })).toThrow('do not go together');
      layer.dispose();
    });
    it('goes the same way with a sliding window, piece by piece', async () => {
      const layer = new MultiHeadAttention({ width: 12, heads: 3, std: 0.5, slidingWindow: 3 });
      const x = normal<Tensor3D>(1, 7, 12);
      const cache = new ContiguousKVCache();
      const parts = (tf.split(x, [4, 1, 2], 1) as Tensor3D[]).map((part) => {
        const y = layer.forward(part, { cache });
        cache.advance(part.shape[1]);
        return y;
      });
      await expectNear(tf.concat(parts, 1), layer.forward(x), 1e-5);
      // The last token sees the last three: it does not know of the first four.
      const tail = layer.forward(x.slice([0, 4, 0], [1, 3, 12])).slice([0, 2, 0], [1, 1, 12]);
      await expectNear(layer.forward(x).slice([0, 6, 0], [1, 1, 12]), tail, 1e-5);
      cache.dispose();
      layer.dispose();
    });
    it('forgets the same weights on the kernels as in plain operations, and others at each call', async () => {
      const make = (compute: AttentionFunction) =>
        new MultiHeadAttention({ width: 12, heads: 3, dropout: 0.4, std: 0.5, random: 9, compute });
      const layers = [make(attention), make(plainAttention)];
      const x = normal<Tensor3D>(2, 5, 12);
      const [fused, plain] = layers.map((layer) => [layer.forward(x), layer.forward(x)]);
      await expectNear(fused![0]!, plain![0]!, 1e-5);
      await expectNear(fused![1]!, plain![1]!, 1e-5);
      expect(relativeError(await fused![0]!.data(), await fused![1]!.data())).toBeGreaterThan(0.01);
      for (const layer of layers) layer.dispose();
    });
    it('drops attention weights in training alone, by the seed', async () => {
      const layer = new MultiHeadAttention({ width: 12, heads: 3, dropout: 0.5, std: 0.5, random: 4 });
      const same = new MultiHeadAttention({ width: 12, heads: 3, dropout: 0.5, std: 0.5, random: 4 });
      const x = normal<Tensor3D>(2, 5, 12);
      const [first, second] = [layer.forward(x), layer.forward(x)];
      expect(relativeError(await first.data(), await second.data())).toBeGreaterThan(0.01);
      await expectNear(same.forward(x), first, 0);
      await expectNear(layer.eval().forward(x), same.eval().forward(x), 0);
      for (const module of [layer, same]) module.dispose();
    });
    it('refuses heads that do not fit', () => {
      expect(() => new MultiHeadAttention({ width: 12, heads: 4, slidingWindow: 0 })).toThrow('slidingWindow must be a positive');
      expect(() => new MultiHeadAttention({ width: 10, heads: 4 })).toThrow('width 10 is not a multiple of 4 heads');
      expect(() => new MultiHeadAttention({ width: 12, heads: 4, keyValueHeads: 3 })).toThrow(
        'heads must be a multiple of keyValueHeads, got 4 heads and 3',
      );
    });
  });
});

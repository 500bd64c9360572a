/**
 * @file Appending to a key/value cache in place, and attention over a part of the room: on every backend that every machine can
 * start. What is beyond the tokens that count is NaN here, so that whoever looks at it is found out.
 */
import {
  acceleratedOperations,
  attention,
  attentionWeights,
  firstKeys,
  fusedAttention,
  generateTokens,
  hasFusedKVAppend,
  kvAppend,
  MultiHeadAttention,
  PreallocatedKVCache,
  Random,
  rotaryReference,
  startBackend,
  stopBackend,
  tf,
  Transformer,
  type BackendName,
  type FusedAttentionOptions,
  type KVCache,
  type KeyValueRoom,
  type Tensor,
  type Tensor2D,
  type Tensor3D,
  type Tensor4D,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectNear } from '../core-fixture.ts';
import { hasSoftwareGpu } from './software-gpu.ts';

const random = new Random(11);
const normal = <T extends Tensor>(...shape: number[]): T =>
  tf.tensor(
    random.normals(shape.reduce((a, b) => a * b, 1)),
    shape,
  ) as Tensor as T;

/** x [B, K, U, S] with room for more behind it. (Not by tf.pad: on wasm, once it was asked for NaN, it gives NaN for 0.) */
function withRoom(x: Tensor4D, capacity: number): Tensor4D {
  const [batch, heads, keys, headSize] = x.shape;
  return tf.tidy(() => tf.concat([x, tf.ones<tf.Rank.R4>([batch, heads, capacity - keys, headSize]).mul<Tensor4D>(NaN)], 2));
}

const backends: readonly BackendName[] = ['cpu', 'wasm', ...(hasSoftwareGpu ? (['webgpu'] as const) : [])];

describe.each(backends)('on %s', (backend) => {
  const inPlace = backend !== 'cpu';

  beforeAll(async () => {
    await startBackend({ backend, threads: 2, softwareGpu: true });
    tf.engine().startScope();
  });
  afterAll(async () => {
    tf.engine().endScope();
    await stopBackend();
  });

  describe('kvAppend', () => {
    it('has a kernel where it can write in place', () => {
      expect(hasFusedKVAppend()).toBe(inPlace);
      expect(acceleratedOperations().includes('lab.kvAppend')).toBe(inPlace);
    });

    // [B, K, T, S, C, offset, base]
    it.each([
      [1, 1, 1, 1, 1, 0, undefined],
      [2, 3, 2, 5, 7, 0, undefined],
      [2, 3, 2, 5, 7, 5, undefined],
      [1, 2, 33, 10, 50, 17, 10_000],
      [3, 1, 1, 2, 4, 2, 50],
      [2, 2, 3, 66, 5, 1, 10_000],
    ] as const)('writes [%d, %d, %d, %d] into room for %d from %d on, base %s', async (B, K, T, S, C, offset, rotaryBase) => {
      const before: KeyValueRoom = { k: normal(B, K, C, S), v: normal(B, K, C, S) };
      const [k, v] = [normal<Tensor4D>(B, K, T, S), normal<Tensor4D>(B, K, T, S)];
      const turned = rotaryBase === undefined ? k : rotaryReference(k, { base: rotaryBase, offset });
      const expected = (room: Tensor4D, added: Tensor4D): Tensor4D =>
        tf.concat([firstKeys(room, offset), added, room.slice([0, 0, offset + T, 0], [B, K, C - offset - T, S])], 2);
      const wanted = [expected(before.k, turned), expected(before.v, v)];
      const after = kvAppend(before, k, v, { offset, rotaryBase });
      await expectNear(after.k, wanted[0]!, 1e-6, 'keys');
      await expectNear(after.v, wanted[1]!, 0, 'values');
      expect(after.k === before.k && after.v === before.v).toBe(inPlace);
    });

    it('leaves alone what somebody else holds', async () => {
      const room = { k: normal<Tensor4D>(1, 2, 4, 3), v: normal<Tensor4D>(1, 2, 4, 3) };
      const clone = room.v.clone();
      const copies = [[...(await room.k.data())], [...(await clone.data())]];
      const added = normal<Tensor4D>(1, 2, 2, 3);
      const after = kvAppend(room, added, added, { offset: 1 });
      expect([[...(await room.k.data())], [...(await clone.data())]]).toEqual(copies);
      await expectNear(after.v.slice([0, 0, 1, 0], [1, 2, 2, 3]), added, 0);
    });

    it('nothing new changes nothing, and leaves no tensor behind', () => {
      const room = { k: normal<Tensor4D>(1, 2, 4, 2), v: normal<Tensor4D>(1, 2, 4, 2) };
      const none = tf.zeros<tf.Rank.R4>([1, 2, 0, 2]);
      expect(kvAppend(room, none, none, { offset: 4 })).toBe(room);
      const added = normal<Tensor4D>(1, 2, 1, 2);
      const { numTensors } = tf.memory();
      const after = kvAppend(room, added, added, { offset: 0, rotaryBase: 10 });
      if (!inPlace) tf.dispose([after.k, after.v]);
      expect(tf.memory().numTensors).toBe(numTensors);
    });

    it('says what does not fit', () => {
      const room = { k: normal<Tensor4D>(1, 2, 4, 3), v: normal<Tensor4D>(1, 2, 4, 3) };
      const refuses = (message: string, k: Tensor4D, v = k, offset = 0, rotaryBase?: number): void => {
        expect(() => kvAppend(room, k, v, { offset, rotaryBase })).toThrow(message);
      };
      refuses('kvAppend: 2 tokens from 3 on do not fit into room for 4', normal(1, 2, 2, 3), normal(1, 2, 2, 3), 3);
      refuses('kvAppend: the keys are [1,1,2,3], but must be [1,2,2,3]', normal(1, 1, 2, 3));
      refuses('kvAppend: the values are [1,2,1,3], but must be [1,2,2,3]', normal(1, 2, 2, 3), normal(1, 2, 1, 3));
      refuses('kvAppend: the head size must be even to form pairs, got 3', normal(1, 2, 1, 3), undefined, 0, 10);
      const onTape = (k: Tensor): Tensor => kvAppend(room, k as Tensor4D, k as Tensor4D, { offset: 0 }).k;
      expect(() => tf.grad(onTape)(normal<Tensor4D>(1, 2, 1, 3))).toThrow('has no gradient; use a ContiguousKVCache');
    });
  });

  describe('attention over a part of the room', () => {
    // [B, H, K, T, U, C, S]
    const shapes = [
      [1, 1, 1, 1, 1, 2, 4],
      [2, 4, 2, 1, 7, 9, 8],
      [2, 2, 2, 3, 300, 310, 5],
      [2, 4, 2, 40, 45, 64, 8],
      [1, 2, 1, 45, 70, 71, 10],
    ] as const;
    it.each(shapes)('B %d, H %d, K %d, T %d, U %d of %d, S %d: is attention over that part', async (B, H, K, T, U, C, S) => {
      const [q, k, v] = [normal<Tensor4D>(B, H, T, S), normal<Tensor4D>(B, K, U, S), normal<Tensor4D>(B, K, U, S)];
      const [roomyK, roomyV] = [withRoom(k, C), withRoom(v, C)];
      for (const options of [{}, { causal: true }, { causal: true, bias: normal<Tensor2D>(T, U) }] as FusedAttentionOptions[]) {
        await expectNear(fusedAttention(q, roomyK, roomyV, { ...options, keys: U }), fusedAttention(q, k, v, options), 1e-6);
      }
      const options = { causal: true };
      await expectNear(attention(q, roomyK, roomyV, { ...options, keys: U }), attention(q, k, v, options), 1e-6);
      await expectNear(attentionWeights(q, roomyK, { ...options, keys: U }), attentionWeights(q, k, options), 1e-6);
    });

    it('has gradients all the same, and none for the room', async () => {
      const [q, k, v] = [normal<Tensor4D>(1, 2, 3, 4), normal<Tensor4D>(1, 2, 5, 4), normal<Tensor4D>(1, 2, 5, 4)];
      const run = (keys?: number) => (...x: Tensor[]): Tensor =>
        fusedAttention(x[0] as Tensor4D, x[1] as Tensor4D, x[2] as Tensor4D, { causal: true, ...(keys && { keys }) });
      const wanted = tf.grads(run())([q, k, v]);
      const got = tf.grads(run(5))([q, withRoom(k, 8), withRoom(v, 8)]);
      await expectNear(got[0]!, wanted[0]!, 1e-6);
      for (const i of [1, 2]) await expectNear(got[i]!, tf.pad(wanted[i]!, [[0, 0], [0, 0], [0, 3], [0, 0]]), 1e-6);
    });

    it('refuses more keys than there are', () => {
      const x = normal<Tensor4D>(1, 1, 3, 4);
      for (const keys of [0, 4, 1.5]) {
        expect(() => fusedAttention(x, x, x, { keys })).toThrow(`keys must be 1 … 3, as many as there are, got ${keys}`);
      }
    });
  });

  describe('PreallocatedKVCache', () => {
    const kv = (tokens: number, batch = 1): Tensor4D => normal(batch, 2, tokens, 4);

    it.each([
      ['plain', {}],
      ['grouped, rotary', { keyValueHeads: 2, position: { rotate: rotaryReferenceAt, rotaryBase: 10_000 } }],
      ['turned by somebody else', { position: { rotate: (x: Tensor4D): Tensor4D => tf.mul(x, 2) } }],
      ['another attention', { compute: (...args: Parameters<typeof attention>) => attention(...args) }],
    ])('gives what attention over everything gives: %s', async (_, options) => {
      const layer = new MultiHeadAttention({ width: 24, heads: 4, std: 0.3, ...options });
      const x = normal<Tensor3D>(2, 80, 24);
      const cache = new PreallocatedKVCache(80);
      const parts = (tf.split(x, [3, 1, 62, 13, 1], 1) as Tensor3D[]).map((part) => {
        const y = layer.forward(part, { cache });
        cache.advance(part.shape[1]);
        return y;
      });
      await expectNear(tf.concat(parts, 1), layer.forward(x), 1e-5);
      cache.dispose();
      layer.dispose();
    });

    it('writes each step into the same memory until that is full', () => {
      const cache = new PreallocatedKVCache();
      const add = (tokens: number): KeyValueRoom => {
        const room = cache.appendInPlace(0, kv(tokens), kv(tokens));
        cache.advance(tokens);
        return room;
      };
      const first = add(60);
      expect(first.k.shape).toEqual([1, 2, 64, 4]);
      expect(add(4).k === first.k).toBe(inPlace);
      expect(add(1).k.shape).toEqual([1, 2, 128, 4]);
      expect(first.k.isDisposed).toBe(true);
      cache.dispose();
    });

    it('keeps its tensors through a tidy, and lets go of all of them', () => {
      const { numTensors, numBytes } = tf.memory();
      const cache = new PreallocatedKVCache();
      for (const tokens of [3, 1, 70]) {
        tf.tidy(() => {
          for (const layer of [0, 1]) cache.append(layer, kv(tokens), kv(tokens));
        });
        cache.advance(tokens);
        tf.tidy(() => void cache.append(0, kv(1), kv(1)));
      }
      cache.dispose();
      expect(tf.memory()).toMatchObject({ numTensors, numBytes });
    });

    it('forgets what is truncated, and what an unfinished pass left; empty, it takes another batch', async () => {
      const cache: KVCache = new PreallocatedKVCache();
      const [first, second, third] = [kv(4), kv(2), kv(1)];
      cache.append(0, first, first);
      cache.advance(4);
      cache.append(0, second, second);
      await expectNear(cache.append(0, third, third).k, tf.concat([first, third], 2), 0);
      cache.advance(1);
      cache.truncate(2);
      expect(() => cache.advance(3)).toThrow('cannot advance to 5 tokens, layer 0 has 2');
      await expectNear(cache.append(0, second, second).v, tf.concat([first.slice([0, 0, 0, 0], [1, 2, 2, 4]), second], 2), 0);
      cache.truncate(0);
      const other = kv(2, 3);
      await expectNear(cache.append(0, other, other).k, other, 0);
      cache.dispose();
    });

    it('refuses more than it can hold, and shapes that do not belong', () => {
      const cache = new PreallocatedKVCache(4);
      cache.append(0, kv(3), kv(3));
      cache.advance(3);
      expect(() => cache.append(0, kv(2), kv(2))).toThrow('5 tokens, but there is room for 4');
      expect(() => cache.append(0, normal(1, 3, 1, 4), normal(1, 3, 1, 4))).toThrow('heads 2 is kept, but 3 is added');
      expect(() => cache.append(1, kv(1), kv(1))).toThrow('layer 1 has nothing kept');
      expect(() => cache.advance(1)).toThrow('layer 0 has 3');
      expect(() => cache.truncate(4)).toThrow('cannot truncate 3 tokens to 4');
      cache.dispose();
    });

    it('writes the text that a model without a cache writes, sliding included', async () => {
      const model = new Transformer({
        vocabSize: 17,
        contextLength: 12,
        layers: 2,
        width: 16,
        heads: 4,
        keyValueHeads: 2,
        position: 'rotary',
        initializerStd: 0.3,
        seed: 3,
      });
      const write = async (cache: boolean): Promise<number[]> => {
        const tokens: number[] = [];
        for await (const token of generateTokens(model, [1, 2, 3], { maxTokens: 20, cache, seed: 5 })) tokens.push(token);
        return tokens;
      };
      const made = model.cache();
      expect(made instanceof PreallocatedKVCache).toBe(inPlace);
      expect(await write(true)).toEqual(await write(false));
      model.dispose();
    });
  });
});

function rotaryReferenceAt(x: Tensor4D, offset: number): Tensor4D {
  return rotaryReference(x, { offset });
}

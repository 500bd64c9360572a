/**
 * @file Attention on wasm is its plain reference, values and gradients, in every flavour: lengths and head sizes that fit no
 * tile, tiles that are skipped, several tiles of keys, shared heads, packed documents, soft cap, ALiBi, bias, dropout, few
 * queries.
 */
import {
  attentionProblem,
  attentionReference,
  fusedAttention,
  type FusedAttentionOptions,
  hasAttentionKernel,
  Random,
  runnableFlavours,
  startBackend,
  stopBackend,
  tf,
  type Tensor,
  type Tensor4D,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectNear } from '../core-fixture.ts';

const random = new Random(3);
const normal = (...shape: [number, number, number, number]): Tensor4D =>
  tf.tensor4d(random.normals(shape.reduce((a, b) => a * b, 1)), shape);

const normalOf = (shape: readonly number[]): Tensor => tf.tensor(random.normals(shape.reduce((a, b) => a * b, 1)), [...shape]);

/** [B, H, K, T, U, S] */
type Sizes = readonly [number, number, number, number, number, number];

const cases: readonly (readonly [string, Sizes, FusedAttentionOptions])[] = [
  ['one of everything', [1, 1, 1, 1, 1, 1], {}],
  ['odd sizes', [2, 3, 3, 37, 41, 20], {}],
  ['causal', [2, 2, 2, 70, 70, 33], { causal: true }],
  ['causal, more keys than queries', [1, 2, 1, 5, 130, 16], { causal: true }],
  ['causal, more queries than keys', [1, 2, 2, 60, 23, 8], { causal: true }],
  ['one query', [2, 2, 2, 1, 339, 64], { causal: true }],
  ['grouped queries', [2, 6, 2, 50, 50, 12], { causal: true }],
  ['one key head for all', [1, 5, 1, 19, 97, 40], {}],
  ['several tiles of keys', [1, 1, 1, 300, 1300, 48], {}],
  ['several tiles of keys, causal, the largest head', [1, 2, 1, 203, 400, 256], { causal: true }],
  ['a window', [1, 2, 2, 150, 150, 24], { window: { left: 17, right: 4 } }],
  ['a narrow window over several tiles', [1, 1, 1, 700, 700, 8], { causal: true, window: { left: 3 } }],
  ['another scale', [1, 2, 2, 30, 30, 17], { causal: true, scale: 0.9 }],
  ['one key head for all, dealt out to several parts', [1, 5, 1, 200, 230, 20], { causal: true }],
  ['one head, dealt out to several parts', [1, 1, 1, 650, 650, 12], { causal: true }],
  ['a scale below zero, several tiles', [1, 2, 1, 70, 600, 9], { causal: true, scale: -0.4 }],
  ['a scale of zero', [1, 1, 1, 9, 11, 4], { scale: 0 }],
  ['a soft cap over several tiles', [1, 2, 2, 130, 1100, 24], { causal: true, softCap: 0.7 }],
  ['ALiBi over several tiles', [2, 3, 1, 101, 1030, 16], { causal: true, alibiSlopes: [0.5, 0.01, 0.001] }],
  ['dropout over several tiles', [2, 2, 2, 101, 1030, 16], { dropout: { rate: 0.4, seed: 3_999_999_999 } }],
  [
    'all of it, in packed documents',
    [2, 4, 2, 120, 700, 20],
    {
      causal: true,
      softCap: 1.5,
      alibiSlopes: [0.5, 0.1, 0.02, 0],
      dropout: { rate: 0.1, seed: 5 },
      window: { left: 90 },
      documents: { queries: [[0, 30, 120], [0, 60, 110]], keys: [[0, 333, 700], [0, 600, 690]] },
    },
  ],
  ['two queries of eight heads over a long cache, of one key head', [1, 8, 1, 2, 1030, 21], { causal: true }],
  ['four queries, all of it', [2, 3, 3, 4, 515, 10], { causal: true, softCap: 2, alibiSlopes: [1, 0.1, 0.01], window: { left: 300 } }],
  ['a query whose first keys are hidden', [1, 1, 1, 1, 900, 64], { window: { left: 70 } }],
  ['packed documents, with padding', [2, 2, 2, 100, 100, 16], { causal: true, documents: { queries: [[0, 13, 13, 90], [0, 100]] } }],
];

/** Shapes of a bias: an axis is there, broadcast, or left out. */
const biases: readonly (readonly [string, Sizes, readonly number[], FusedAttentionOptions])[] = [
  ['for every weight', [2, 2, 1, 110, 530, 12], [2, 2, 110, 530], { causal: true }],
  ['of rows and columns, for all heads', [2, 4, 2, 60, 70, 8], [60, 70], { causal: true }],
  ['for each head and key', [2, 2, 2, 110, 530, 12], [2, 1, 530], { softCap: 1 }],
  ['for each key', [3, 2, 2, 50, 150, 8], [150], { dropout: { rate: 0.3, seed: 8 } }],
  ['for each row of the batch and query', [2, 2, 2, 110, 30, 8], [2, 1, 110, 1], { scale: -1 }],
  ['for each head', [2, 3, 3, 20, 30, 8], [3, 1, 1], {}],
  ['one for all', [2, 3, 3, 20, 30, 8], [1], {}],
  ['over a long cache', [2, 4, 2, 3, 530, 12], [4, 3, 530], {}],
];

async function expectReference([B, H, K, T, U, S]: Sizes, options: FusedAttentionOptions): Promise<void> {
  const inputs = [normal(B, H, T, S), normal(B, K, U, S), normal(B, K, U, S)] as const;
  expect(hasAttentionKernel(attentionProblem(...inputs, options))).toBe(true);
  const upstream = normal(B, H, T, S);
  const run = (of: typeof fusedAttention) =>
    tf.valueAndGrads((q, k, v) => of(q as Tensor4D, k as Tensor4D, v as Tensor4D, options))([...inputs], upstream);
  const [got, want] = [run(fusedAttention), run(attentionReference)];
  await expectNear(got.value, want.value, 2e-6);
  for (const [i, name] of ['dq', 'dk', 'dv'].entries()) await expectNear(got.grads[i]!, want.grads[i]!, 1e-5, name, 1e-3);
}

const engines = runnableFlavours(true).flatMap((flavour) => [1, 3].map((threads) => ({ flavour, threads })));

describe.each(engines)('attention on wasm, $flavour, $threads threads', ({ flavour, threads }) => {
  beforeAll(async () => {
    await stopBackend();
    process.env['LAB_WASM_FLAVOUR'] = flavour;
    await startBackend({ backend: 'wasm', threads });
    tf.engine().startScope();
  });
  afterAll(() => {
    tf.engine().endScope();
    delete process.env['LAB_WASM_FLAVOUR'];
  });

  for (const [what, sizes, options] of cases) it(`is the reference: ${what}`, () => expectReference(sizes, options));

  for (const [what, [B, H, K, T, U, S], shape, options] of biases) {
    it(`has the reference's gradient of a bias: ${what}`, async () => {
      const inputs = [normal(B, H, T, S), normal(B, K, U, S), normal(B, K, U, S), normalOf(shape)];
      const upstream = normal(B, H, T, S);
      const run = (of: typeof fusedAttention) =>
        tf.valueAndGrads((...[q, k, v, bias]: Tensor[]) =>
          of(q as Tensor4D, k as Tensor4D, v as Tensor4D, { ...options, bias: bias! }),
        )(inputs, upstream);
      const [got, want] = [run(fusedAttention), run(attentionReference)];
      await expectNear(got.value, want.value, 2e-6);
      // What is the same for all keys changes no weight: its gradient is 0 but for rounding.
      const floor = shape.at(-1) === 1 ? 1 : 1e-3;
      for (const [i, name] of ['dq', 'dk', 'dv', 'dBias'].entries()) {
        await expectNear(got.grads[i]!, want.grads[i]!, 1e-5, name, name === 'dBias' ? floor : 1e-3);
      }
    });
  }

  it('survives scores in the thousands', async () => {
    const [q, k, v] = [normal(1, 1, 40, 16).mul<Tensor4D>(300), normal(1, 1, 40, 16).mul<Tensor4D>(30), normal(1, 1, 40, 16)];
    await expectNear(fusedAttention(q, k, v, { causal: true }), attentionReference(q, k, v, { causal: true }), 1e-4);
    const gradients = tf.grads((a, b, c) => fusedAttention(a as Tensor4D, b as Tensor4D, c as Tensor4D))([q, k, v]);
    for (const gradient of gradients) expect((await gradient.data()).every(Number.isFinite)).toBe(true);
  });

  it('takes whatever a problem may ask', () => {
    const x = normal(1, 2, 3, 256);
    const options = { softCap: 1, alibiSlopes: [1, 2], bias: tf.zeros([3, 3]), dropout: { rate: 0.1, seed: 1 }, scale: -1 };
    expect(hasAttentionKernel(attentionProblem(x, x, x, options))).toBe(true);
    const larger = normal(1, 1, 1, 257);
    expect(hasAttentionKernel(attentionProblem(larger, larger, larger, {}))).toBe(false);
  });

  it('gives the same bits every time, and leaves no tensor behind', async () => {
    const inputs = [normal(2, 4, 130, 32), normal(2, 2, 130, 32), normal(2, 2, 130, 32)];
    const run = () => tf.grads((q, k, v) => fusedAttention(q as Tensor4D, k as Tensor4D, v as Tensor4D, { causal: true }))(inputs);
    const first = await Promise.all(run().map((gradient) => gradient.data()));
    const before = tf.memory().numTensors;
    const again = run();
    const second = await Promise.all(again.map((gradient) => gradient.data()));
    tf.dispose(again);
    expect(tf.memory().numTensors).toBe(before);
    expect(second).toEqual(first);
  });
});

describe('the number of threads', () => {
  afterAll(async () => {
    await stopBackend();
  });
  it('changes no bit, however the work is dealt out', async () => {
    const stream = new Random(7);
    const numbers = (...shape: [number, number, number, number]): [Float32Array, [number, number, number, number]] => [
      stream.normals(shape.reduce((a, b) => a * b, 1)),
      shape,
    ];
    const problems = [
      [numbers(1, 6, 150, 8), numbers(1, 1, 150, 8), { causal: true }],
      [numbers(1, 1, 640, 8), numbers(1, 1, 640, 8), { causal: true, dropout: { rate: 0.2, seed: 2 } }],
      [numbers(1, 4, 3, 16), numbers(1, 2, 1200, 16), { causal: true }],
    ] as const;
    const all = async (): Promise<number[][]> => {
      const results = problems.flatMap(([q, k, options]) => {
        const [a, b] = [tf.tensor4d(...q), tf.tensor4d(...k)];
        const bias = tf.zeros([k[1][2]]);
        const run = (...[x, y, z, w]: Tensor[]): Tensor =>
          fusedAttention(x as Tensor4D, y as Tensor4D, z as Tensor4D, { ...options, bias: w! });
        return [run(a, b, b, bias), ...tf.grads(run)([a, b, b, bias])];
      });
      return Promise.all(results.map(async (x) => [...(await x.data())]));
    };
    const byThreads: number[][][] = [];
    for (const threads of [1, 2, 3]) {
      await stopBackend();
      await startBackend({ backend: 'wasm', threads });
      byThreads.push(await all());
    }
    expect(byThreads[1]).toEqual(byThreads[0]);
    expect(byThreads[2]).toEqual(byThreads[0]);
  });
});

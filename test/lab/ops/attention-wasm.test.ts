/**
 * @file Attention on wasm is its plain reference, values and gradients, in every flavour: lengths and head sizes that fit no tile,
 * tiles that are skipped, several tiles of keys, shared heads, packed documents.
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
  type Tensor4D,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectNear } from '../core-fixture.ts';

const random = new Random(3);
const normal = (...shape: [number, number, number, number]): Tensor4D =>
  tf.tensor4d(random.normals(shape.reduce((a, b) => a * b, 1)), shape);

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
  ['packed documents, with padding', [2, 2, 2, 100, 100, 16], { causal: true, documents: { queries: [[0, 13, 13, 90], [0, 100]] } }],
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

  it('survives scores in the thousands', async () => {
    const [q, k, v] = [normal(1, 1, 40, 16).mul<Tensor4D>(300), normal(1, 1, 40, 16).mul<Tensor4D>(30), normal(1, 1, 40, 16)];
    await expectNear(fusedAttention(q, k, v, { causal: true }), attentionReference(q, k, v, { causal: true }), 1e-4);
    const gradients = tf.grads((a, b, c) => fusedAttention(a as Tensor4D, b as Tensor4D, c as Tensor4D))([q, k, v]);
    for (const gradient of gradients) expect((await gradient.data()).every(Number.isFinite)).toBe(true);
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

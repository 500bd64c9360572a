/**
 * @file Fused attention against double precision, on every backend that every machine can start: the GPU is the software one
 * where there is one. The features are those of the flash-attention package's own tests.
 */
import {
  acceleratedOperations,
  attention,
  type AttentionFunction,
  attentionProblem,
  attentionReference,
  RowBlockAttention,
  fusedAttention,
  hasAttentionKernel,
  Random,
  registerAttentionKernel,
  ShaderRunner,
  startBackend,
  stopBackend,
  tf,
  Transformer,
  type BackendName,
  type FusedAttentionOptions,
  type Tensor,
  type Tensor2D,
  type Tensor4D,
  type WebGpuBackend,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { relativeError } from '../core-fixture.ts';
import { hasTensorFlow } from '../tensorflow.ts';
import { attentionTruth, type Shape } from './attention-truth.ts';
import { hasSoftwareGpu } from './software-gpu.ts';
import { onBackend } from '../on-backend.ts';

const FORWARD = 1e-5;
const BACKWARD = 1e-4;

interface Case extends Partial<Shape> {
  readonly options?: FusedAttentionOptions;
  /** Shape of a bias. */
  readonly bias?: readonly number[];
  /** Standard deviation of the queries (default 1). */
  readonly spread?: number;
}

const small: Shape = { batch: 1, heads: 2, keyValueHeads: 2, queries: 37, keys: 37, headSize: 8 };
const causal = { causal: true };

/** The features of references/flash-attention.md, each on its own and some together. */
const cases: Record<string, Case> = {
  'no mask': {},
  'a batch of several': { batch: 3, queries: 5, keys: 5 },
  'one query, one key': { queries: 1, keys: 1 },
  'causal, more than one tile of queries and of keys': { heads: 1, keyValueHeads: 1, queries: 131, keys: 131, options: causal },
  'causal, more keys than queries': { queries: 21, keys: 45, options: causal },
  'causal, one query and a long cache': { queries: 1, keys: 139, options: causal },
  'few queries and many keys, grouped': {
    batch: 2,
    heads: 4,
    keyValueHeads: 2,
    queries: 4,
    keys: 300,
    headSize: 12,
    options: causal,
  },
  'one query, a window, ALiBi, a soft cap': {
    queries: 1,
    keys: 600,
    options: { causal: true, window: { left: 40 }, alibiSlopes: [0.1, 0.01], softCap: 3 },
  },
  'one query of head size 70, a bias and dropout': {
    queries: 1,
    keys: 270,
    headSize: 70,
    bias: [2, 1, 270],
    options: { dropout: { rate: 0.2, seed: 9 } },
  },
  'causal, more queries than keys: the first see nothing': { queries: 45, keys: 21, options: causal },
  'head size 3': { headSize: 3, options: causal },
  'head size 59': { heads: 1, keyValueHeads: 1, headSize: 59, options: causal },
  'head size 111, longer than a tile': { heads: 1, keyValueHeads: 1, queries: 70, keys: 70, headSize: 111 },
  'head size 256': { heads: 1, keyValueHeads: 1, queries: 19, keys: 35, headSize: 256, options: causal },
  'head size 260, beyond the kernels': { queries: 5, keys: 5, headSize: 260, options: causal },
  'grouped queries': { batch: 2, heads: 6, keyValueHeads: 2, queries: 19, keys: 23, options: causal },
  'one key head for all': { heads: 4, keyValueHeads: 1, queries: 40 },
  'a window to the left': { queries: 90, keys: 90, options: { causal: true, window: { left: 7 } } },
  'a window to both sides': { queries: 70, keys: 90, options: { window: { left: 5, right: 11 } } },
  'a window that ends left of the last key': { queries: 20, keys: 75, options: { window: { left: 3, right: 0 } } },
  'a window to the right alone': { queries: 20, keys: 40, options: { window: { right: 2 } } },
  'soft cap': { options: { softCap: 1.5 }, spread: 3 },
  'soft cap far beyond': { options: { softCap: 5, causal: true }, spread: 300 },
  'a scale of its own': { options: { scale: -0.7 } },
  'ALiBi, five heads': {
    heads: 5,
    keyValueHeads: 5,
    queries: 9,
    keys: 21,
    options: { ...causal, alibiSlopes: [0.5, 0.25, 0.1, 0, 2] },
  },
  'packed documents': {
    batch: 2,
    options: {
      ...causal,
      documents: {
        queries: [
          [0, 10, 37],
          [0, 1, 2, 37],
        ],
      },
    },
  },
  'packed documents, one list for all, padding behind': { batch: 2, options: { documents: { queries: [[0, 12, 29]] } } },
  'packed documents, a list for each row, and ALiBi': {
    batch: 2,
    keys: 50,
    options: {
      alibiSlopes: [0.5, 0.2],
      documents: {
        queries: [
          [0, 8, 37],
          [0, 30, 37],
        ],
        keys: [
          [0, 20, 50],
          [0, 30, 45],
        ],
      },
    },
  },
  'packed documents of rectangles': {
    batch: 2,
    keys: 60,
    options: {
      ...causal,
      documents: {
        queries: [[0, 10, 10, 37]],
        keys: [
          [0, 5, 20, 60],
          [0, 25, 26, 50],
        ],
      },
    },
  },
  'packed documents, ALiBi and a window': {
    keys: 44,
    options: {
      alibiSlopes: [1, 0.3],
      window: { left: 4, right: 2 },
      documents: { queries: [[0, 9, 37]], keys: [[0, 30, 44]] },
    },
  },
  'a bias for every weight': { batch: 2, queries: 7, keys: 9, bias: [2, 2, 7, 9] },
  'a bias for every head, and causal': { batch: 2, queries: 9, keys: 9, bias: [2, 9, 9], options: causal },
  'a bias for every key': { batch: 2, queries: 7, keys: 9, bias: [2, 1, 1, 9] },
  'a bias for every head and key, soft cap, ALiBi and grouped queries': {
    heads: 4,
    queries: 7,
    keys: 9,
    bias: [4, 1, 9],
    options: { softCap: 2, alibiSlopes: [1, 0.5, 0.25, 0] },
  },
  dropout: { batch: 2, heads: 4, keyValueHeads: 2, options: { causal: true, dropout: { rate: 0.3, seed: 4_000_000_000 } } },
  'dropout and a bias': { queries: 5, keys: 6, bias: [2, 5, 6], options: { dropout: { rate: 0.5, seed: 7 } } },
  'scores in the hundreds': { spread: 300, options: causal },
};

const random = new Random(11);
const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const normal = <T extends Tensor = Tensor4D>(...shape: number[]): T =>
  tf.tensor(random.normals(product(shape)), shape) as Tensor as T;

/** Indices of [B, H, T, U] → index into a tensor of that shape, broadcast. */
function broadcastIndex(shape: readonly number[], { heads, queries, keys }: Shape, index: number): number {
  const place = [
    Math.floor(index / (heads * queries * keys)),
    Math.floor(index / (queries * keys)) % heads,
    Math.floor(index / keys) % queries,
    index % keys,
  ];
  return shape.reduce((at, size, axis) => at * size + (size === 1 ? 0 : place[axis + 4 - shape.length]!), 0);
}

/** Runs a case, forward and backward, and returns the relative errors. */
async function errorsOf({ options = {}, bias: biasShape, spread = 1, ...sizes }: Case): Promise<Record<string, number>> {
  const shape: Shape = { ...small, ...sizes };
  const { batch, heads, keyValueHeads, queries, keys, headSize } = shape;
  const [queryShape, keyShape] = [
    [batch, heads, queries, headSize],
    [batch, keyValueHeads, keys, headSize],
  ];
  const q = random.normals(product(queryShape), spread);
  const [k, v] = [random.normals(product(keyShape)), random.normals(product(keyShape))];
  const upstream = random.normals(product(queryShape));
  const bias = biasShape && random.normals(product(biasShape));
  const full =
    bias && Float64Array.from({ length: batch * heads * queries * keys }, (_, i) => bias[broadcastIndex(biasShape, shape, i)]!);
  const truth = attentionTruth(shape, { q, k, v, upstream, ...(full && { bias: full }) }, options);
  const dBias = biasShape && new Float64Array(product(biasShape));
  if (dBias) truth.dBias.forEach((x, i) => (dBias[broadcastIndex(biasShape, shape, i)]! += x));

  const inputs = [
    tf.tensor(q, queryShape),
    tf.tensor(k, keyShape),
    tf.tensor(v, keyShape),
    ...(bias ? [tf.tensor(bias, [...biasShape])] : []),
  ];
  const run = (...[a, b, c, d]: Tensor[]): Tensor =>
    fusedAttention(a as Tensor4D, b as Tensor4D, c as Tensor4D, d ? { ...options, bias: d } : options);
  const output = run(...inputs);
  const gradients = tf.grads(run)(inputs, tf.tensor(upstream, queryShape));
  // A single visible key leaves nothing to decide: its dS = dP − D is zero but for the rounding of two numbers of the size of dV,
  // some 2⁻²² of them.
  const floor = Math.hypot(...truth.dv) * 1e-2;
  const error = async (x: Tensor, wanted: Float64Array): Promise<number> => relativeError(await x.data(), wanted, floor);
  return {
    output: await error(output, truth.output),
    dq: await error(gradients[0]!, truth.dq),
    dk: await error(gradients[1]!, truth.dk),
    dv: await error(gradients[2]!, truth.dv),
    ...(dBias && { dBias: await error(gradients[3]!, dBias) }),
  };
}

/** What runs attention: a backend as it is, or with attention in plain operations block by block, in small blocks. */
interface Runner {
  readonly backend: BackendName;
  readonly blockwise?: boolean;
}

const runners: Readonly<Record<string, Runner>> = {
  cpu: { backend: 'cpu' },
  wasm: { backend: 'wasm' },
  ...(hasSoftwareGpu && { webgpu: { backend: 'webgpu' } }),
  'cpu, block by block': { backend: 'cpu', blockwise: true },
  ...(hasTensorFlow() && { tensorflow: { backend: 'tensorflow' } }),
};

describe.each(Object.entries(runners))('fused attention on %s', (_name, { backend, blockwise = false }) => {
  let unregister = (): void => {};
  beforeAll(async () => {
    await startBackend({ backend, threads: 2, softwareGpu: true });
    if (blockwise) unregister = registerAttentionKernel(backend, new RowBlockAttention({ blockScores: 300 }));
    tf.engine().startScope();
  });
  afterAll(async () => {
    tf.engine().endScope();
    unregister();
    await stopBackend();
  });

  it.each(Object.entries(cases))('%s', async (_, example) => {
    const { output, ...gradients } = await errorsOf(example);
    expect(output).toBeLessThanOrEqual(FORWARD);
    for (const [name, error] of Object.entries(gradients)) expect(error, name).toBeLessThanOrEqual(BACKWARD);
  });

  it.runIf(backend === 'wasm' || backend === 'webgpu')('declines nothing of that but heads beyond the largest', () => {
    const declined = Object.entries(cases).filter(([, { options = {}, bias, ...sizes }]) => {
      const { batch, heads, keyValueHeads, queries, keys, headSize } = { ...small, ...sizes };
      const [q, k] = [tf.zeros<tf.Rank.R4>([batch, heads, queries, headSize]), tf.zeros<tf.Rank.R4>([batch, keyValueHeads, keys, headSize])];
      return !hasAttentionKernel(attentionProblem(q, k, k, { ...options, ...(bias && { bias: tf.zeros([...bias]) }) }));
    });
    expect(declined.map(([name]) => name)).toEqual(['head size 260, beyond the kernels']);
  });

  it('gives zeros, and zero gradients, to a query that sees nothing', async () => {
    const [q, k, v] = [normal(1, 2, 9, 4), normal(1, 2, 5, 4), normal(1, 2, 5, 4)];
    const blind = (x: Tensor4D): Tensor => x.slice([0, 0, 0, 0], [1, 2, 4, 4]);
    const output = await blind(fusedAttention(q, k, v, causal)).data();
    expect([...output].every((x) => x === 0)).toBe(true);
    const gradient = tf.grad((x) => fusedAttention(x as Tensor4D, k, v, causal))(q);
    expect([...(await blind(gradient as Tensor4D).data())].every((x) => x === 0)).toBe(true);
  });

  it('hides keys by a bias of −∞, without NaN even when it hides them all', async () => {
    const [q, k, v] = [normal(1, 1, 3, 4), normal(1, 1, 4, 4), normal(1, 1, 4, 4)];
    const bias = tf.tensor2d([
      [0, -Infinity, 0, -Infinity],
      [-Infinity, -Infinity, -Infinity, -Infinity],
      [0, 0, 0, 0],
    ]);
    const run = (...[a, b, c, d]: Tensor[]): Tensor =>
      fusedAttention(a as Tensor4D, b as Tensor4D, c as Tensor4D, { bias: d! });
    const output = await run(q, k, v, bias).data();
    const kept = fusedAttention(q, tf.gather(k, [0, 2], 2), tf.gather(v, [0, 2], 2));
    expect(relativeError(output.slice(0, 4), (await kept.data()).slice(0, 4))).toBeLessThan(1e-5);
    expect(output.slice(4, 8).every((x) => x === 0)).toBe(true);
    const gradients = await Promise.all(
      tf
        .grads(run)([q, k, v, bias])
        .map((g) => g.data()),
    );
    expect(gradients.flatMap((g) => [...g]).every(Number.isFinite)).toBe(true);
    expect([1, 3, 4, 5, 6, 7].every((i) => gradients[3]![i] === 0)).toBe(true);
  });

  it('hides keys by a bias of −1e30, too, to which no score of an ordinary size adds anything', async () => {
    const [q, k, v] = [normal(1, 1, 6, 4), normal(1, 1, 9, 4), normal(1, 1, 9, 4)];
    const bias = tf.mul(tf.ones([6, 9]), -1e30);
    for (const queries of [1, 6]) {
      const some = q.slice<Tensor4D>([0, 0, 0, 0], [1, 1, queries, 4]);
      const output = fusedAttention(some, k, v, { causal: true, bias: bias.slice([0, 0], [queries, 9]) });
      expect([...(await output.data())].every((x) => x === 0)).toBe(true);
    }
  });

  it('gives the same bits again', async () => {
    const [q, k, v] = [normal(1, 2, 70, 8), normal(1, 1, 70, 8), normal(1, 1, 70, 8)];
    const all = async (): Promise<number[]> => {
      const gradients = tf.grads((a, b, c) => fusedAttention(a as Tensor4D, b as Tensor4D, c as Tensor4D, causal))([q, k, v]);
      const parts = await Promise.all([fusedAttention(q, k, v, causal), ...gradients].map((x) => x.data()));
      return parts.flatMap((x) => [...x]);
    };
    expect(await all()).toEqual(await all());
  });

  it('drops the same share by the same seed, and others by another', async () => {
    const [q, k] = [tf.zeros<tf.Rank.R4>([2, 2, 40, 4]), tf.zeros<tf.Rank.R4>([2, 2, 64, 4])];
    const v = tf.ones<tf.Rank.R4>([2, 2, 64, 4]);
    const run = async (seed: number): Promise<Float32Array> =>
      (await fusedAttention(q, k, v, { dropout: { rate: 0.25, seed } }).data()) as Float32Array;
    const [first, again, other] = [await run(3), await run(3), await run(4)];
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
    // Every output is 4/3 times the share of 64 keys that were kept: 1 on average.
    const mean = first.reduce((a, b) => a + b, 0) / first.length;
    expect(Math.abs(mean - 1)).toBeLessThan(0.03);
  });

  it('leaves no tensor behind', () => {
    const [q, k, v] = [normal(1, 2, 5, 4), normal(1, 2, 5, 4), normal(1, 2, 5, 4)];
    const bias = normal<Tensor2D>(5, 5);
    const before = tf.memory().numTensors;
    const run = (...[a, b, c, d]: Tensor[]): Tensor =>
      fusedAttention(a as Tensor4D, b as Tensor4D, c as Tensor4D, { causal: true, bias: d! });
    tf.dispose(run(q, k, v, bias));
    tf.dispose(tf.grads(run)([q, k, v, bias]));
    expect(tf.memory().numTensors).toBe(before);
  });

  it('is what `attention` runs on, and gives the model the same logits and gradients as plain attention', async () => {
    const model = (compute: AttentionFunction) =>
      new Transformer({
        vocabSize: 11,
        width: 12,
        layers: 2,
        heads: 3,
        keyValueHeads: 1,
        contextLength: 9,
        position: 'alibi',
        attention: compute,
        seed: 5,
      });
    const tokens = tf.tensor2d([[1, 2, 3, 4, 5, 6, 7, 8, 9]], [1, 9], 'int32');
    const plain: AttentionFunction = (q, k, v, options) =>
      attentionReference(q, k, v, { causal: true, ...(options?.bias && { bias: options.bias }) });
    const values = await Promise.all(
      [attention, plain].flatMap((compute) => {
        const tested = model(compute);
        const { grads } = tf.variableGrads(() => tested.forward(tokens).square().mean());
        return [tested.forward(tokens), ...Object.values(grads)].map((x) => x.data());
      }),
    );
    const half = values.length / 2;
    expect(half).toBeGreaterThan(10);
    for (let i = 0; i < half; i++) expect(relativeError(values[i]!, values[half + i]!, 1e-4)).toBeLessThan(1e-4);
  });

  it('names what does not fit', () => {
    const x = normal(1, 4, 3, 8);
    const refuses = (message: string, options: FusedAttentionOptions, k = x, v = k): void => {
      expect(() => fusedAttention(x, k, v, options)).toThrow(message);
    };
    refuses(
      'fusedAttention: heads must be a multiple of keyValueHeads: query [1,4,3,8], key [1,3,3,8]',
      {},
      normal(1, 3, 3, 8),
    );
    refuses('fusedAttention: the head sizes differ: query [1,4,3,8], key [1,4,3,4]', {}, normal(1, 4, 3, 4));
    refuses('fusedAttention: the batches differ', {}, normal(2, 4, 3, 8));
    refuses('fusedAttention: key [1,4,5,8], value [1,4,3,8]; they must be equal', {}, normal(1, 4, 5, 8), x);
    refuses('fusedAttention: the key is empty: [1,4,0,8]', {}, tf.zeros([1, 4, 0, 8]));
    refuses('fusedAttention: the key must be float32, got int32', {}, x.toInt());
    refuses('fusedAttention: the bias [3,4] cannot be broadcast to the scores [1,4,3,3]', { bias: tf.zeros([3, 4]) });
    refuses('fusedAttention: the bias must be float32, got int32', { bias: tf.zeros([3, 3], 'int32') });
    refuses('fusedAttention: there are 4 heads and 3 alibiSlopes', { alibiSlopes: [1, 2, 3] });
    refuses('fusedAttention: the dropout rate must be at least 0 and below 1, got 1', { dropout: { rate: 1, seed: 0 } });
    refuses('fusedAttention: the dropout seed must be an integer from 0 to 2³² − 1, got -1', {
      dropout: { rate: 0.1, seed: -1 },
    });
    refuses('fusedAttention: scale must be a finite number, got NaN', { scale: NaN });
    refuses('fusedAttention: softCap must be positive, got -1', { softCap: -1 });
    fusedAttention(x, x, x, {}); // the last mask is remembered: what follows must not be taken for it
    refuses('attention: a window must reach a whole number of tokens or Infinity, got left NaN', { window: { left: NaN } });
    refuses('attention: a window must reach a whole number of tokens or Infinity, got left 1.5', { window: { left: 1.5 } });
    refuses('attention: cumulative query lengths must grow from 0 to at most 3, got [0, 4]', {
      documents: { queries: [[0, 4]] },
    });
    refuses('attention: row 0 has 1 documents of queries and 2 of keys', {
      documents: { queries: [[0, 3]], keys: [[0, 1, 3]] },
    });
    refuses('one list of cumulative lengths or one for each of 1 rows, got 2', {
      documents: {
        queries: [
          [0, 3],
          [0, 3],
        ],
      },
    });
  });
});

describe.runIf(hasSoftwareGpu)('on webgpu', () => {
  onBackend({ backend: 'webgpu', softwareGpu: true });
  const queries = (length: number): Tensor4D => tf.ones([1, 1, length, 4]);

  it('attention runs on the kernels, and a bias has its gradient computed only if somebody wants it', async () => {
    expect(acceleratedOperations()).toContain('FusedAttention');
    const [x, bias] = [queries(3), tf.zeros<tf.Rank.R2>([3, 3])];
    const kernels = async (run: () => unknown): Promise<string[]> =>
      (await tf.profile(() => void run())).kernelNames.filter((name) => name.startsWith('Fused') || name === 'Softmax');
    expect(await kernels(() => attention(x, x, x, causal))).toEqual(['FusedAttention']);
    const withBias = (q: Tensor): Tensor => attention(q as Tensor4D, x, x, { bias });
    expect(await kernels(() => tf.grad(withBias)(x))).not.toContain('FusedAttentionBiasGradient');
    const ofBias = (b: Tensor): Tensor => attention(x, x, x, { bias: b });
    expect(await kernels(() => tf.grad(ofBias)(bias))).toContain('FusedAttentionBiasGradient');
  });

  it('is timed like every other operation', async () => {
    const x = queries(300);
    tf.dispose(fusedAttention(x, x, x)); // compiles
    const timed = await tf.time(() => void fusedAttention(x, x, x));
    const profiled = (timed as unknown as { getExtraProfileInfo(): string }).getExtraProfileInfo();
    expect(profiled).toMatch(/attention, forward .*: \d/);
  });

  it('takes memory that grows with the length, not with its square', () => {
    const { bufferManager } = tf.backend() as unknown as { bufferManager: { numBytesAllocated: number } };
    const taken = (length: number): number => {
      const x = queries(length);
      const before = bufferManager.numBytesAllocated;
      tf.dispose(tf.grads((q, k, v) => fusedAttention(q as Tensor4D, k as Tensor4D, v as Tensor4D, causal))([x, x, x]));
      return bufferManager.numBytesAllocated - before;
    };
    const [short, long] = [taken(2000), taken(4000)];
    expect(short).toBeGreaterThan(0);
    expect(long / short).toBeLessThan(2.2);
    expect(long).toBeLessThan(4000 * 4000); // a quarter of what one matrix of scores would take
  });

  it('a shader that does not compile throws the message of the compiler, spoils nothing else, and stays refused', async () => {
    const runner = new ShaderRunner(tf.backend() as unknown as WebGpuBackend);
    const broken = {
      key: 'broken',
      code: () => 'fn main( {',
      inputs: [],
      outputs: [[4]],
      uniforms: [],
      workgroups: [1, 1, 1],
    } as const;
    const before = tf.add(queries(2), 1);
    expect(() => runner.run(broken)).toThrow(/The GPU refused the shader 'broken', and there is no result: .*WGSL/s);
    expect([...(await before.data())]).toEqual(Array(8).fill(2));
    expect([...(await tf.add(queries(1), 2).data())]).toEqual([3, 3, 3, 3]);
    expect(() => runner.run(broken)).toThrow(/'broken'/);
  });
});

/**
 * @file The operations on rows and elements against double precision, on every backend that every machine can start: the GPU is
 * the software one where there is one. Widths are odd, so that workgroups, vectors and pieces all have an end that does not fit.
 */
import {
  acceleratedOperations,
  AdamW,
  crossEntropy,
  embedding,
  gelu,
  layerNorm,
  Random,
  rmsNorm,
  rotaryEmbedding,
  rotaryReference,
  startBackend,
  stopBackend,
  swiglu,
  tf,
  Transformer,
  valueAndGradients,
  type BackendName,
  type Tensor,
  type Tensor1D,
  type Tensor2D,
  type Tensor4D,
  type Variable,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { relativeError } from '../core-fixture.ts';
import * as truth from './rows-truth.ts';
import { hasSoftwareGpu } from './software-gpu.ts';

const FORWARD = 1e-5;
const BACKWARD = 1e-4;

interface Case {
  /** Shapes of the inputs, all of which have gradients. */
  readonly shapes: readonly (readonly number[])[];
  readonly run: (...inputs: Tensor[]) => Tensor;
  readonly plain: (...inputs: truth.Numbers[]) => truth.Numbers;
  /** Standard deviation of the inputs (default 1). */
  readonly spread?: number;
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);
const each = <T>(values: readonly T[], casesOf: (value: T) => [string, Case][]): [string, Case][] => values.flatMap(casesOf);
const epsilon = 1e-2;

/** One row, many rows, single numbers; wider than a workgroup; more rows than a piece; rows for the larger workgroups. */
const normCases = each(
  [
    [1, 1],
    [1, 5],
    [7, 3],
    [2, 33],
    [5, 130],
    [203, 3],
    [2, 1100],
  ],
  ([rows, width]): [string, Case][] => {
    const x = [rows!, width!];
    const parameter = [width!];
    return [
      [
        `layerNorm ${rows} × ${width}`,
        {
          shapes: [x, parameter, parameter],
          run: (a, g, b) => layerNorm(a!, g as Tensor1D, b as Tensor1D, epsilon),
          plain: (a, g, b) => truth.layerNormTruth(a!, g!, b, epsilon),
        },
      ],
      [
        `layerNorm without bias ${rows} × ${width}`,
        {
          shapes: [x, parameter],
          run: (a, g) => layerNorm(a!, g as Tensor1D, null, epsilon),
          plain: (a, g) => truth.layerNormTruth(a!, g!, undefined, epsilon),
        },
      ],
      [
        `rmsNorm ${rows} × ${width}`,
        {
          shapes: [x, parameter],
          run: (a, g) => rmsNorm(a!, g as Tensor1D, epsilon),
          plain: (a, g) => truth.rmsNormTruth(a!, g!, epsilon),
        },
      ],
    ];
  },
);

const crossEntropyCases = each(
  [
    [1, 2],
    [3, 5],
    [70, 33],
    [2, 1100],
  ],
  ([rows, vocabulary]): [string, Case][] => {
    const ids = Array.from({ length: rows! }, (_, i) => (i * 7919 + vocabulary! - 1) % vocabulary!);
    const padded = ids.map((id, i) => (i % 3 === 1 ? -100 : id));
    const run =
      (targets: readonly number[], ignoreIndex?: number) =>
      (x?: Tensor): Tensor =>
        crossEntropy(x!, tf.tensor1d([...targets], 'int32'), { reduction: 'none', ...(ignoreIndex && { ignoreIndex }) });
    const shapes = [[rows!, vocabulary!]];
    return [
      [
        `crossEntropy ${rows} × ${vocabulary}`,
        { shapes, run: run(ids), plain: (x) => truth.crossEntropyTruth(x!, ids), spread: 5 },
      ],
      [
        `crossEntropy with padding ${rows} × ${vocabulary}`,
        { shapes, run: run(padded, -100), plain: (x) => truth.crossEntropyTruth(x!, padded, -100) },
      ],
    ];
  },
);

const activationCases = each([[1], [3], [5, 1], [33], [2, 3, 130]], (shape): [string, Case][] => [
  [`gelu [${shape}]`, { shapes: [shape], run: (x) => gelu(x!), plain: (x) => truth.geluTruth(x!), spread: 3 }],
  [
    `swiglu [${shape}]`,
    { shapes: [shape, shape], run: (a, b) => swiglu(a!, b!), plain: (a, b) => truth.swigluTruth(a!, b!), spread: 3 },
  ],
]);

/** [V, D, N]: rows that no one names, rows that many name, more ids than a workgroup has threads. */
const embeddingCases = each(
  [
    [1, 1, 1],
    [3, 5, 70],
    [70, 3, 33],
    [11, 130, 4],
    [2, 3, 131],
  ],
  ([entries, width, count]): [string, Case][] => {
    const ids = Array.from({ length: count! }, (_, i) => (i * i + i * 3) % entries!);
    return [
      [
        `embedding of ${count} of ${entries} × ${width}`,
        {
          shapes: [[entries!, width!]],
          run: (table) => embedding(table as Tensor2D, tf.tensor1d(ids, 'int32')),
          plain: (table) => truth.embeddingTruth(table!, width!, ids),
        },
      ],
    ];
  },
);

/** Shape, base, offset; a table of angles that was long enough, and one that must grow. */
const rotaryCases = each(
  [
    [[1, 1, 1, 2], 10_000, 0],
    [[2, 3, 5, 6], 10_000, 0],
    [[1, 1, 70, 6], 500, 3],
    [[1, 2, 3, 66], 10_000, 300],
    [[1, 1, 2, 6], 10_000, 300],
  ] as const,
  ([shape, base, offset]): [string, Case][] => [
    [
      `rotaryEmbedding [${shape.join()}] from ${offset}`,
      {
        shapes: [shape],
        run: (x) => rotaryEmbedding(x as Tensor4D, { base, offset }),
        plain: (x) => truth.rotaryTruth(x!, shape[2], shape[3], base, offset),
      },
    ],
    [
      `rotaryReference [${shape.join()}] from ${offset}`,
      {
        shapes: [shape],
        run: (x) => rotaryReference(x as Tensor4D, { base, offset }),
        plain: (x) => truth.rotaryTruth(x!, shape[2], shape[3], base, offset),
      },
    ],
  ],
);

const cases = [...normCases, ...crossEntropyCases, ...activationCases, ...embeddingCases, ...rotaryCases];

interface Made {
  readonly inputs: readonly Float32Array[];
  readonly upstream: Float32Array;
  readonly output: truth.Numbers;
  readonly gradients: readonly truth.Numbers[];
}

const made = new Map<string, Made>();

/** The inputs and what must come out: the same for all backends. */
function make(name: string, { shapes, plain, spread }: Case): Made {
  const known = made.get(name);
  if (known) return known;
  const random = new Random(made.size);
  const inputs = shapes.map((shape) => random.normals(sizeOf(shape), spread));
  const exact = inputs.map((input) => Float64Array.from(input));
  const output = plain(...exact);
  const upstream = random.normals(output.length);
  const result = { inputs, upstream, output, gradients: truth.gradientsTruth(plain, exact, upstream) };
  made.set(name, result);
  return result;
}

/** The value, alone and on the tape, and the gradients. */
async function results({ shapes, run }: Case, { inputs, upstream }: Made): Promise<Float32Array[]> {
  const tensors = inputs.map((values, i) => tf.tensor(values, [...shapes[i]!]));
  const value = run(...tensors);
  const { value: recorded, grads } = tf.valueAndGrads(run)(tensors, tf.tensor(upstream, value.shape));
  return Promise.all([value, recorded, ...grads].map(async (tensor) => (await tensor.data()) as Float32Array));
}

const backends: readonly BackendName[] = ['cpu', 'wasm', ...(hasSoftwareGpu ? (['webgpu'] as const) : [])];

const onWebGpu = [
  'norm', 'normGradient', 'crossEntropy', 'crossEntropyGradient', 'adamw', 'embeddingGradient',
  'gelu', 'geluGradient', 'swiglu', 'swigluGradient', 'rotary',
].map((name) => `lab.${name}`);
const accelerated: Readonly<Record<string, readonly string[]>> = {
  cpu: [],
  wasm: onWebGpu.filter((name) => name !== 'lab.embeddingGradient'),
  webgpu: onWebGpu,
};

describe.each(backends)('operations on rows on %s', (backend) => {
  beforeAll(async () => {
    await startBackend({ backend, threads: 2, softwareGpu: true });
    tf.engine().startScope();
  });
  afterAll(async () => {
    tf.engine().endScope();
    await stopBackend();
  });

  it('run on the kernels that the backend has', () => {
    expect(acceleratedOperations()).toEqual(expect.arrayContaining([...accelerated[backend]!]));
  });

  it.each(cases)('%s', async (name, example) => {
    const expected = make(name, example);
    const [value, recorded, ...gradients] = await results(example, expected);
    expect(relativeError(value!, expected.output)).toBeLessThanOrEqual(FORWARD);
    expect(recorded).toEqual(value);
    // What is zero but for rounding (the gradient of a norm of a single number) is judged by the size of what is subtracted.
    for (const [i, gradient] of gradients.entries()) {
      expect(relativeError(gradient, expected.gradients[i]!, 0.1), `gradient ${i}`).toBeLessThanOrEqual(BACKWARD);
    }
    if (backend !== 'cpu') expect(await results(example, expected)).toEqual([value, recorded, ...gradients]);
  });

  it('a row without variance becomes the bias, and rows far from zero keep their digits', async () => {
    const [gain, bias] = [tf.tensor1d([2, 3, 4]), tf.tensor1d([5, 6, 7])];
    const flat = tf.tensor2d([[1000, 1000, 1000], [0, 0, 0]]);
    expect([...(await layerNorm(flat, gain, bias).data())]).toEqual([5, 6, 7, 5, 6, 7]);
    expect([...(await rmsNorm(tf.zeros([1, 3]), gain).data())]).toEqual([0, 0, 0]);
    const slopes = await tf.grad((x) => layerNorm(x, gain, bias))(flat).data();
    expect(slopes.every(Number.isFinite)).toBe(true);
    const x = new Random(1).normals(40);
    const far = await layerNorm(tf.tensor2d(x.map((v) => v + 1000), [1, 40]), tf.ones([40]), null).data();
    const shifted = Float64Array.from(x.map((v) => v + 1000));
    const exact = truth.layerNormTruth(shifted, new Float64Array(40).fill(1), undefined, 1e-5);
    expect(relativeError(far, exact)).toBeLessThan(1e-4);
  });

  it('cross-entropy stays finite where exp would overflow or vanish', async () => {
    const rows = [[1e4, 0, -1e4], [-1e4, 1e4, 0], [-500, -501, -502]];
    const targets = [0, 0, 2];
    const run = (x: Tensor, reduction: 'none' | 'sum'): Tensor => crossEntropy(x, tf.tensor1d(targets, 'int32'), { reduction });
    const losses = await run(tf.tensor2d(rows), 'none').data();
    expect(relativeError(losses, truth.crossEntropyTruth(Float64Array.from(rows.flat()), targets))).toBeLessThan(1e-6);
    const slopes = await tf.grad((x) => run(x, 'sum'))(tf.tensor2d(rows)).data();
    expect(Array.from(slopes.slice(0, 6), (v) => Math.round(v * 1e6) / 1e6 + 0)).toEqual([0, 0, 0, -1, 1, 0]);
  });

  it('nothing but padding costs nothing', async () => {
    const loss = (x: Tensor): Tensor => crossEntropy(x, tf.tensor1d([-1, -1], 'int32'), { ignoreIndex: -1 });
    const { value, grad } = tf.valueAndGrad(loss)(tf.ones([2, 3]));
    expect([...(await value.data()), ...(await grad.data())].map((v) => v + 0)).toEqual(Array(7).fill(0));
  });

  it.runIf(backend !== 'cpu')('a target that is no token has no loss, and no target has none', async () => {
    expect(crossEntropy(tf.tensor2d([], [0, 5]), tf.tensor1d([], 'int32'), { reduction: 'none' }).shape).toEqual([0]);
    const losses = await crossEntropy(tf.ones([3, 4]), tf.tensor1d([4, 1, -1], 'int32'), { reduction: 'none' }).data();
    expect([...losses].map(Number.isNaN)).toEqual([true, false, true]);
  });

  it('activations are finite at the ends', async () => {
    const x = tf.tensor1d([-1e4, -100, -40, -0, 0, 40, 100, 1e4]);
    const rounded = async (tensor: Tensor): Promise<number[]> =>
      Array.from(await tensor.data(), (v) => Math.round(v * 1e4) / 1e4 + 0);
    const [positive, slopes] = [[0, 0, 0, 0, 0, 40, 100, 1e4], [0, 0, 0, 0.5, 0.5, 1, 1, 1]];
    if (backend === 'webgpu') expect(await rounded(tf.grad((a) => gelu(a))(tf.tensor1d([-1e30, 1e30])))).toEqual([0, 1]);
    expect(await rounded(gelu(x))).toEqual(positive);
    expect(await rounded(tf.grad((a) => gelu(a))(x))).toEqual(slopes);
    expect(await rounded(swiglu(x, tf.onesLike(x)))).toEqual(positive);
    expect(await rounded(tf.grad((a) => swiglu(a, tf.onesLike(a)))(x))).toEqual(slopes);
  });

  it('nothing in is nothing out, with zero gradients', async () => {
    const empty = (...shape: number[]): Tensor => tf.tensor([], shape, 'float32');
    const parameters = [tf.ones<tf.Rank.R1>([3]), tf.ones<tf.Rank.R1>([3])];
    const layer = (g: Tensor, b: Tensor): Tensor => layerNorm(empty(0, 3), g as Tensor1D, b as Tensor1D);
    const rms = (g: Tensor): Tensor => rmsNorm(empty(0, 3), g as Tensor1D);
    const gradients = [...tf.grads(layer)(parameters, empty(0, 3)), ...tf.grads(rms)(parameters.slice(0, 1), empty(0, 3))];
    for (const gradient of gradients) {
      expect([...(await gradient.data())]).toEqual([0, 0, 0]);
    }
    expect(gelu(empty(0)).shape).toEqual([0]);
    expect(swiglu(empty(2, 0), empty(2, 0)).shape).toEqual([2, 0]);
    const none = tf.tensor1d([], 'int32');
    const ofTable = tf.grad((table) => embedding(table as Tensor2D, none))(tf.ones([2, 3]), empty(0, 3));
    expect([...(await ofTable.data())]).toEqual(Array(6).fill(0));
  });

  it('positions turn in place what nobody else holds and no gradient needs', async () => {
    const values = new Random(2).normals(2 * 3 * 4);
    const make4 = (): Tensor4D => tf.tensor4d(values, [1, 2, 3, 4]);
    const expected = await rotaryEmbedding(make4(), { offset: 2 }).data();
    const overwrite = { offset: 2, overwrite: true };
    const kept = make4();
    const clone = kept.clone();
    expect(await rotaryEmbedding(kept, overwrite).data()).toEqual(expected);
    expect(await clone.data()).toEqual(values);
    const recorded = make4();
    tf.grad((x) => rotaryEmbedding(x as Tensor4D, overwrite))(recorded);
    expect(await recorded.data()).toEqual(values);
    const mine = make4();
    const turned = rotaryEmbedding(mine, overwrite);
    expect(await turned.data()).toEqual(expected);
    expect(turned.dataId === mine.dataId).toBe(backend !== 'cpu');
    mine.dispose();
    expect(await turned.data()).toEqual(expected);
    turned.dispose();
  });

  it('leave no tensor behind', () => {
    for (const [name, example] of cases.filter((_, i) => i % 7 === 0)) {
      const inputs = example.shapes.map((shape) => tf.ones([...shape]));
      const run = (): void => {
        tf.tidy(() => {
          example.run(...inputs);
          tf.dispose(tf.grads(example.run)(inputs));
        });
      };
      const { numTensors, numBytes } = tf.memory();
      run();
      expect(tf.memory().numTensors, name).toBe(numTensors);
      expect(tf.memory().numBytes, name).toBe(numBytes);
    }
  });

  describe('AdamW', () => {
    /** Matrices decay, vectors do not; one is longer than a piece, and there are more than a dispatch takes. */
    const shapes = [[3, 7], [5], [1], [65, 67], [2, 4], [1, 1], [9], [3], [2, 2], [6, 1], [2], [4], [3, 3]];
    const [beta1, beta2, weightDecay, rate] = [0.8, 0.95, 0.2, 0.05];
    const smallest = 1e-3;

    /** Algorithm 2 of Loshchilov and Hutter 2019 in double precision. */
    function plainSteps(values: Float64Array[], gradients: readonly Float32Array[][], clipNorm: number): void {
      const [m, v] = [values.map((p) => new Float64Array(p.length)), values.map((p) => new Float64Array(p.length))];
      for (const [step, all] of gradients.entries()) {
        const length = Math.sqrt(all.flatMap((g) => [...g]).reduce((sum, x) => sum + x * x, 0));
        const factor = Math.min(1, clipNorm / (length + 1e-6));
        for (const [i, p] of values.entries()) {
          for (let j = 0; j < p.length; j++) {
            const g = all[i]![j]! * factor;
            m[i]![j] = beta1 * m[i]![j]! + (1 - beta1) * g;
            v[i]![j] = beta2 * v[i]![j]! + (1 - beta2) * g * g;
            const deviation = Math.sqrt(v[i]![j]! / (1 - beta2 ** (step + 1))) + smallest;
            const change = m[i]![j]! / (1 - beta1 ** (step + 1)) / deviation;
            p[j] = p[j]! * (shapes[i]!.length > 1 ? 1 - rate * weightDecay : 1) - rate * change;
          }
        }
      }
    }

    const random = new Random(3);
    const first = shapes.map((shape) => random.normals(sizeOf(shape)));
    const gradients = Array.from({ length: 20 }, (_, step) =>
      shapes.map((shape) => random.normals(sizeOf(shape), step % 3 === 2 ? 1e-3 : 1)),
    );
    const parameters = (): Map<string, Variable> =>
      new Map(shapes.map((shape, i) => [`p${i}`, tf.variable(tf.tensor(first[i]!, shape))]));
    const step = (optimizer: AdamW, values: readonly Float32Array[], clipNorm: number): void =>
      tf.tidy(() => {
        const named = values.map((g, i): [string, Tensor] => [`p${i}`, tf.tensor(g, shapes[i]!)]);
        optimizer.step(new Map(named), rate, { clipNorm });
      });

    it.each([Infinity, 1.5])('is the algorithm over twenty steps, clipped to %d', async (clipNorm) => {
      const expected = first.map((values) => Float64Array.from(values));
      plainSteps(expected, gradients, clipNorm);
      const variables = parameters();
      const optimizer = new AdamW(variables, { beta1, beta2, weightDecay, epsilon: smallest });
      step(optimizer, gradients[0]!, clipNorm);
      const { numTensors, numBytes } = tf.memory();
      for (const values of gradients.slice(1)) step(optimizer, values, clipNorm);
      expect(tf.memory()).toMatchObject({ numTensors, numBytes });
      for (const [i, variable] of [...variables.values()].entries()) {
        expect(relativeError(await variable.data(), expected[i]!), `parameter ${i}`).toBeLessThan(1e-5);
      }
      optimizer.dispose();
    });

    it('a value that was read, or is being read, during a step is the old one then and the new one afterwards', async () => {
      const variables = parameters();
      const optimizer = new AdamW(variables, { epsilon: smallest });
      const variable = variables.get('p3')!;
      const before = await variable.data();
      const copy = [...before];
      step(optimizer, gradients[0]!, 1);
      const reading = variable.data();
      const between = [...(await variable.data())];
      expect(between).not.toEqual(copy);
      step(optimizer, gradients[1]!, 1);
      expect([...(await reading)]).toEqual(between);
      expect([...(await variable.data())]).not.toEqual(between);
      step(optimizer, gradients[2]!, 1); // what was read is forgotten, so that this reading takes its time
      const late = variable.data();
      step(optimizer, gradients[3]!, 1);
      const old = [...(await late)];
      expect([...(await variable.data())]).not.toEqual(old);
      optimizer.dispose();
    });
  });
});

describe.runIf(hasSoftwareGpu)('a whole training step', () => {
  async function stepsOf(family: 'gpt2' | 'llama'): Promise<Float32Array[]> {
    const model = new Transformer({
      vocabSize: 19,
      contextLength: 12,
      layers: 2,
      width: 24,
      heads: 4,
      ...(family === 'llama' && { norm: 'rms', mlp: 'swiglu', position: 'rotary', keyValueHeads: 2, tiedHead: false }),
      seed: 4,
    }).train();
    const parameters = model.namedParameters();
    // A key's bias has no gradient but rounding (softmax takes no notice of it), which Adam would blow up.
    const optimizer = new AdamW(parameters, { epsilon: 1e-3 });
    const ids = Array.from({ length: 24 }, (_, i) => (i * i + 3) % 19);
    const tokens = (values: number[]): Tensor2D => tf.tensor2d(values, [2, 12], 'int32');
    const found: Tensor[] = [];
    for (let i = 0; i < 3; i++) {
      const { value, gradients } = valueAndGradients(
        () => crossEntropy(model.forward(tokens(ids)), tokens(ids.map((id) => (5 * id + i) % 19))),
        [...parameters.values()],
      );
      const named = new Map([...parameters].map(([path, variable]) => [path, gradients.get(variable)!]));
      optimizer.step(named, 1e-2, { clipNorm: 1 });
      found.push(value, ...named.values());
    }
    return Promise.all([...found, ...parameters.values()].map(async (tensor) => (await tensor.data()) as Float32Array));
  }

  it.each(['gpt2', 'llama'] as const)('%s: losses, gradients and parameters on webgpu are those on wasm', async (family) => {
    const on = async (backend: BackendName): Promise<Float32Array[]> => {
      await startBackend({ backend, threads: 1, softwareGpu: true });
      tf.engine().startScope();
      try {
        return await stepsOf(family);
      } finally {
        tf.engine().endScope();
        await stopBackend();
      }
    };
    const [wasm, webgpu] = [await on('wasm'), await on('webgpu')];
    expect(webgpu.length).toBe(wasm.length);
    expect(wasm.length).toBeGreaterThan(60);
    for (const [i, values] of webgpu.entries()) expect(relativeError(values, wasm[i]!, 1e-3), `tensor ${i}`).toBeLessThan(1e-4);
  });
});

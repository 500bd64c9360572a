/**
 * @file Quantized weights: packing and unpacking are exact, and the product with packed weights is that with the floats they stand
 * for, against double precision, for every bit width, on every backend and with every kind of wasm kernel that runs here.
 */
import {
  BIT_WIDTHS,
  dequantize,
  disposeQuantized,
  packedLayout,
  packWeights,
  quantizedMatmul,
  quantizedMatmulReference,
  quantizedWeights,
  Random,
  runnableFlavours,
  startBackend,
  stopBackend,
  tf,
  unpackWeights,
  type BitWidth,
  type PackOptions,
  type Tensor,
  type Tensor1D,
} from 'lab';
import { describe, expect, it } from 'vitest';
import { relativeError } from '../core-fixture.ts';
import { hasSoftwareGpu } from './software-gpu.ts';
import { onBackend } from '../on-backend.ts';

const random = new Random(17);

interface Made extends PackOptions {
  readonly groupSize: number;
  readonly codes: Uint8Array;
  /** [O, I] in double precision */
  readonly weights: Float64Array;
}

interface Shape {
  readonly outputs: number;
  readonly inputs: number;
  readonly groupSize: number;
  readonly bits: BitWidth;
  readonly zeros?: boolean;
  /** Inputs dealt out to the groups at random. */
  readonly shuffled?: boolean;
}

function make({ outputs, inputs, groupSize, bits, zeros = false, shuffled = false }: Shape): Made {
  const groups = inputs / groupSize;
  const codes = Uint8Array.from({ length: outputs * inputs }, () => random.integer(2 ** bits));
  const scales = Float32Array.from(random.normals(outputs * groups), (s) => 0.1 + Math.abs(s));
  const points = zeros ? Float32Array.from({ length: outputs * groups }, () => random.integer(2 ** bits) + 0.5 * random.integer(2)) : null;
  const index = Int32Array.from({ length: inputs }, (_, i) => Math.floor(i / groupSize));
  if (shuffled) {
    for (let i = inputs - 1; i > 0; i--) {
      const j = random.integer(i + 1);
      [index[i], index[j]] = [index[j]!, index[i]!];
    }
  }
  const weights = Float64Array.from(codes, (code, at) => {
    const group = Math.floor(at / inputs) * groups + index[at % inputs]!;
    return scales[group]! * (code - (points?.[group] ?? 2 ** (bits - 1)));
  });
  return { outputs, inputs, bits, groupSize, scales, zeros: points, groupIndex: shuffled ? index : null, codes, weights };
}

/** x [rows, inputs] times the transpose of the weights [outputs, inputs], plus bias. */
function product(x: ArrayLike<number>, weights: Float64Array, rows: number, inputs: number, bias: ArrayLike<number>): Float64Array {
  const outputs = weights.length / inputs;
  return Float64Array.from({ length: rows * outputs }, (_, at) => {
    const [row, output] = [Math.floor(at / outputs), at % outputs];
    let sum = bias[output] ?? 0;
    for (let i = 0; i < inputs; i++) sum += x[row * inputs + i]! * weights[output * inputs + i]!;
    return sum;
  });
}

function transposed(values: Float64Array, columns: number): Float64Array {
  const rows = values.length / columns;
  return Float64Array.from({ length: values.length }, (_, at) => values[(at % rows) * columns + Math.floor(at / rows)]!);
}

const some: Omit<Shape, 'bits'> = { outputs: 5, inputs: 96, groupSize: 32, zeros: true };

describe('packing', () => {
  for (const bits of BIT_WIDTHS) {
    for (const groupSize of [32, 64, 128, 7, 37]) {
      for (const shuffled of [false, true]) {
        it(`${bits} bits, groups of ${groupSize}${shuffled ? ' in another order' : ''}: unpacked is what was packed`, () => {
          const made = make({ outputs: 3, inputs: 3 * groupSize, groupSize, bits, zeros: true, shuffled });
          const { codes, scales, zeros, groupIndex } = unpackWeights(packWeights(made.codes, made));
          expect(codes).toEqual(made.codes);
          expect(scales).toEqual(made.scales);
          expect(zeros).toEqual(made.zeros);
          expect(groupIndex).toEqual(made.groupIndex ?? Int32Array.from({ length: made.inputs }, (_, i) => Math.floor(i / groupSize)));
        });
      }
    }
    it(`${bits} bits: signed values are codes around the middle`, () => {
      const middle = 2 ** (bits - 1);
      const signed = Int8Array.from({ length: 2 * 64 }, (_, i) => (i % 2 ** bits) - middle);
      const packed = packWeights(signed, { outputs: 2, inputs: 64, bits, scales: Float32Array.of(1, 2), zeros: Float32Array.of(-1, 0.5) });
      const { codes, zeros } = unpackWeights(packed);
      expect(Int8Array.from(codes, (code) => code - middle)).toEqual(signed);
      expect([...zeros]).toEqual([middle - 1, middle + 0.5]);
    });
  }

  it('4 bits: the nibbles are where the layout says', () => {
    const codes = Uint8Array.from({ length: 32 }, (_, i) => i % 16);
    const { words } = packWeights(codes, { outputs: 1, inputs: 32, bits: 4, scales: Float32Array.of(1) });
    // Word 0: codes 28, 24, … 4, 0 from the highest nibble down, each modulo 16.
    expect([...words].map((word) => (word >>> 0).toString(16))).toEqual(['c840c840', 'd951d951', 'ea62ea62', 'fb73fb73']);
  });

  it('3 bits: low bits in two runs, high bits in the third', () => {
    const codes = new Uint8Array(128);
    [codes[5], codes[70], codes[127]] = [0b011, 0b100, 0b111];
    const { words } = packWeights(codes, { outputs: 1, inputs: 128, bits: 3, scales: Float32Array.of(1) });
    const expected = new Int32Array(12);
    expected[1] = 0b11 << 2; // 5 = 4 · 1 + 1
    expected[8 + 2] = 1 << 17; // 70 = 4 · 17 + 2
    expected[4 + 3] = 0b11 << 30; // 127 = 64 + 4 · 15 + 3
    expected[8 + 3] = 1 << 31; // 127 = 4 · 31 + 3
    expect(words).toEqual(expected);
  });

  it('a weight of 4 bits in groups of 128 takes at most a sixth of a float', () => {
    const { words, scales, zeros } = packWeights(new Uint8Array(256 * 1024), {
      outputs: 256,
      inputs: 1024,
      bits: 4,
      groupSize: 128,
      scales: new Float32Array(256 * 8).fill(1),
      zeros: new Float32Array(256 * 8).fill(8),
    });
    expect(words.byteLength + scales.byteLength + zeros!.byteLength).toBe(0.5625 * 256 * 1024);
  });

  it('says what does not belong', () => {
    const made = make({ ...some, bits: 4 });
    const pack = (change: Partial<PackOptions>, codes: Uint8Array | Int8Array = made.codes) => () => packWeights(codes, { ...made, ...change });
    expect(pack({ groupSize: 36 })).toThrow(new RangeError('quantized weights: groupSize 36 must divide the 96 inputs; 96 itself makes one group of a row'));
    expect(pack({ bits: 5 as BitWidth })).toThrow(/bits must be one of 2, 3, 4, 8, got 5/);
    expect(pack({ outputs: 0 })).toThrow(/outputs must be a positive integer, got 0/);
    expect(pack({}, made.codes.slice(1))).toThrow(/5 × 96 weights need 480 values, got 479/);
    expect(pack({}, made.codes.with(97, 16))).toThrow(/values are 0 … 15, but output 1, input 1 is 16/);
    expect(pack({}, new Int8Array(480).fill(-8).with(2, 8))).toThrow(/values are -8 … 7, but output 0, input 2 is 8/);
    expect(pack({ scales: made.scales.with(4, NaN) })).toThrow(/the scale of output 1, group 1 is NaN/);
    expect(pack({ zeros: made.zeros!.with(2, Infinity) })).toThrow(/the zero of output 0, group 2 is Infinity/);
    expect(pack({ scales: made.scales.slice(1) })).toThrow(/need 15 scales, got 14/);
    expect(pack({ zeros: made.zeros!.slice(1) })).toThrow(/need 15 zeros, got 14/);
    expect(pack({ groupIndex: new Int32Array(96) })).toThrow(/group 0 has 96 inputs, not groupSize 32/);
    expect(pack({ groupIndex: new Int32Array(96).fill(3) })).toThrow(/input 0 is in group 3, but there are 3/);
    expect(pack({ groupIndex: new Int32Array(95) })).toThrow(/groupIndex must have 96 entries, got 95/);
  });
});

/** Odd sizes, whole rows as groups, groups that fill no run, several panels of terms and of columns; x from one row to many. */
const shapes: readonly (Omit<Shape, 'bits'> & { readonly rows: number })[] = [
  { rows: 1, outputs: 1, inputs: 1, groupSize: 1 },
  { rows: 1, outputs: 7, inputs: 128, groupSize: 128, zeros: true },
  { rows: 3, outputs: 33, inputs: 37, groupSize: 37 },
  { rows: 4, outputs: 5, inputs: 60, groupSize: 20, zeros: true },
  { rows: 2, outputs: 19, inputs: 384, groupSize: 128, zeros: true, shuffled: true },
  { rows: 5, outputs: 21, inputs: 96, groupSize: 32 },
  { rows: 17, outputs: 131, inputs: 90, groupSize: 15, zeros: true, shuffled: true },
  // Several groups in a run, and a last run that is not full.
  { rows: 3, outputs: 9, inputs: 80, groupSize: 16, zeros: true, shuffled: true },
  { rows: 2, outputs: 7, inputs: 160, groupSize: 32, zeros: true },
  { rows: 19, outputs: 11, inputs: 192, groupSize: 64 },
];
const largeShapes: typeof shapes = [
  { rows: 1, outputs: 301, inputs: 1536, groupSize: 128, zeros: true },
  { rows: 140, outputs: 290, inputs: 640, groupSize: 64, zeros: true },
  { rows: 9, outputs: 70, inputs: 1300, groupSize: 1300 },
  { rows: 8, outputs: 70, inputs: 1300, groupSize: 130 },
  { rows: 8, outputs: 70, inputs: 1376, groupSize: 32, zeros: true },
  { rows: 33, outputs: 300, inputs: 1376, groupSize: 32, zeros: true },
];

/** What goes in, and what must come out in double precision. */
function problemOf({ rows, ...shape }: (typeof shapes)[number], bits: BitWidth) {
  const { outputs, inputs } = shape;
  const made = make({ ...shape, bits });
  const [x, bias, dy] = [random.normals(rows * inputs), random.normals(outputs), random.normals(rows * outputs)];
  const y = product(x, made.weights, rows, inputs, []);
  const withBias = y.map((value, at) => value + bias[at % outputs]!);
  const dx = product(dy, transposed(made.weights, inputs), rows, outputs, []);
  const db = product(new Float32Array(rows).fill(1), transposed(Float64Array.from(dy), outputs), 1, rows, []);
  return { made, x, bias, dy, y, withBias, dx, db };
}

/** The same problem for every backend. */
const problems = new Map<string, ReturnType<typeof problemOf>>();

function tests(backend: string, flavour: string): void {
  for (const bits of BIT_WIDTHS) {
    for (const shape of backend === 'wasm' && flavour !== 'stock' ? [...shapes, ...largeShapes] : shapes) {
      const { rows, outputs, inputs, groupSize, zeros, shuffled } = shape;
      const title = `${bits} bits, ${rows} rows, ${inputs} → ${outputs}, groups of ${groupSize}${zeros ? ', zeros' : ''}${shuffled ? ', shuffled' : ''}`;
      it(`${title}: floats, product and gradients`, async () => {
        const problem = problems.get(title) ?? problemOf(shape, bits);
        problems.set(title, problem);
        const weights = quantizedWeights(packWeights(problem.made.codes, problem.made));
        const x = tf.tensor2d(problem.x, [rows, inputs]);
        const [bias, dy] = [tf.tensor1d(problem.bias), tf.tensor2d(problem.dy, [rows, outputs])];

        const floats = dequantize(weights);
        expect(floats.shape).toEqual([outputs, inputs]);
        expect(relativeError(await floats.data(), problem.made.weights), 'dequantized').toBeLessThan(1e-6);

        const y = quantizedMatmul(x, weights);
        expect(relativeError(await y.data(), problem.y, 1e-3), 'y').toBeLessThan(1e-5);
        const { value, grads } = tf.valueAndGrads((a, b) => quantizedMatmul(a!, weights, b as Tensor1D))([x, bias], dy);
        expect(value.shape).toEqual([rows, outputs]);
        expect(relativeError(await value.data(), problem.withBias), 'with bias').toBeLessThan(1e-5);
        expect(relativeError(await grads[0]!.data(), problem.dx, 1e-3), 'dx').toBeLessThan(1e-5);
        expect(relativeError(await grads[1]!.data(), problem.db), 'db').toBeLessThan(1e-5);

        disposeQuantized(weights);
        tf.dispose([x, bias, dy, floats, y, value, grads]);
      });
    }

    it(`${bits} bits: is its reference, value and gradient, for any leading axes`, async () => {
      const made = make({ ...some, bits });
      const weights = quantizedWeights(packWeights(made.codes, made));
      for (const leading of [[], [2], [2, 3], [2, 1, 4]]) {
        const rows = leading.reduce((all, n) => all * n, 1);
        const x = tf.tensor(random.normals(rows * 96), [...leading, 96]);
        const dy = tf.tensor(random.normals(rows * 5), [...leading, 5]);
        const of = (operation: (x: Tensor) => Tensor) => tf.valueAndGrad(operation)(x, dy);
        const [got, want] = [of((a) => quantizedMatmul(a, weights)), of((a) => quantizedMatmulReference(a, weights))];
        expect(got.value.shape).toEqual([...leading, 5]);
        expect(relativeError(await got.value.data(), await want.value.data())).toBeLessThan(1e-5);
        expect(relativeError(await got.grad.data(), await want.grad.data())).toBeLessThan(1e-5);
      }
    });

    it(`${bits} bits: every code in every place`, async () => {
      // Row c has code (c + place) mod 2^bits; one-hot inputs pick places, so each product is one weight.
      const [outputs, inputs] = [2 ** bits, 128];
      const codes = Uint8Array.from({ length: outputs * inputs }, (_, at) => (Math.floor(at / inputs) + (at % inputs)) % outputs);
      const scales = Float32Array.from({ length: outputs }, () => 0.25);
      const weights = quantizedWeights(packWeights(codes, { outputs, inputs, bits, scales, zeros: new Float32Array(outputs).fill(1) }));
      const wanted = Float32Array.from(codes, (code) => (code - 1) / 4);
      expect(await dequantize(weights).data()).toEqual(wanted);
      const eye = tf.eye(inputs);
      expect(await tf.transpose(quantizedMatmul(eye, weights)).data()).toEqual(wanted);
      for (const place of [0, 1, 31, 62, 127]) {
        const y = await quantizedMatmul(tf.slice(eye, [place, 0], [1, inputs]), weights).data();
        expect([...y]).toEqual(Array.from({ length: outputs }, (_, row) => wanted[row * inputs + place]));
      }
      disposeQuantized(weights);
    });
  }

  it('gives the same bits again, and leaves no tensor behind', async () => {
    const made = make({ ...some, bits: 4, shuffled: true });
    const before = tf.memory().numTensors;
    const weights = quantizedWeights(packWeights(made.codes, made));
    for (const rows of [1, 9]) {
      const x = tf.tensor2d(random.normals(rows * 96), [rows, 96]);
      const once = async (): Promise<unknown> => {
        const y = quantizedMatmul(x, weights);
        const dx = tf.grad((a) => quantizedMatmul(a, weights))(x);
        const found = [(await y.data()).slice(), (await dx.data()).slice()];
        tf.dispose([y, dx]);
        return found;
      };
      expect(await once()).toEqual(await once());
      x.dispose();
    }
    disposeQuantized(weights);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('no rows make no outputs, and sizes that do not fit are named', async () => {
    const made = make({ ...some, bits: 8 });
    const weights = quantizedWeights(packWeights(made.codes, made));
    expect(quantizedMatmul(tf.zeros([0, 96]), weights).shape).toEqual([0, 5]);
    expect(() => quantizedMatmul(tf.zeros([2, 95]), weights)).toThrow(/last axis of x \[2,95\] must be 96/);
    expect(() => quantizedMatmul(tf.zeros([2, 96]), weights, tf.zeros([4]))).toThrow(/bias must be \[5\], got \[4\]/);
    expect(() => quantizedWeights({ ...packWeights(made.codes, made), words: new Int32Array(3) })).toThrow(/there must be 120 words, got 3/);
  });
}

it('decodes by division where a backend has no bitwise operations', async () => {
  await stopBackend();
  await startBackend({ backend: 'cpu' });
  const bitwiseAnd = tf.getKernel('BitwiseAnd', 'cpu')!;
  tf.unregisterKernel('BitwiseAnd', 'cpu');
  try {
    for (const bits of BIT_WIDTHS) {
      const made = make({ ...some, bits });
      expect(relativeError(await dequantize(quantizedWeights(packWeights(made.codes, made))).data(), made.weights)).toBeLessThan(1e-6);
    }
  } finally {
    tf.registerKernel(bitwiseAnd);
  }
});

const engines = [
  { backend: 'cpu', flavour: '', threads: 1 },
  { backend: 'wasm', flavour: 'stock', threads: 1 },
  ...(hasSoftwareGpu ? [{ backend: 'webgpu', flavour: '', threads: 1 } as const] : []),
  ...runnableFlavours(true).flatMap((flavour) => [1, 3].map((threads) => ({ backend: 'wasm', flavour, threads }) as const)),
] as const;

describe.each(engines)('quantizedMatmul on $backend $flavour, threads: $threads', ({ backend, flavour, threads }) => {
  onBackend({ backend, threads, softwareGpu: true }, flavour);
  tests(backend, flavour);
});

it('the layout counts padding: a group of 20 takes a run of 32 places', () => {
  const layout = packedLayout({ outputs: 2, inputs: 60, bits: 4, groupSize: 20 });
  expect(layout).toMatchObject({ groups: 3, paddedGroup: 32, places: 96, wordsInRow: 12 });
});

it('groups that fit into a run share it: 12 groups of 32 take three runs of 3 bits, not twelve', () => {
  const layout = packedLayout({ outputs: 2, inputs: 384, bits: 3, groupSize: 32 });
  expect(layout).toMatchObject({ groups: 12, paddedGroup: 32, places: 384, wordsInRow: 36 });
  const rest = packedLayout({ outputs: 2, inputs: 96, bits: 2, groupSize: 32 });
  expect(rest).toMatchObject({ groups: 3, paddedGroup: 32, places: 128, wordsInRow: 8 });
});

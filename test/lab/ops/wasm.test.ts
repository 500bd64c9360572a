/**
 * @file The lab's other kernels on wasm, against the same operations on the plain JavaScript backend, which shares no code with
 * them; functions against Math in double precision.
 */
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Random, startBackend, stopBackend, tf, wasmKernelNames } from 'lab';

type Tensor = tf.Tensor;

const random = new Random(11);
const sizeOf = (shape: readonly number[]): number => shape.reduce((size, n) => size * n, 1);

interface Input {
  readonly shape: number[];
  readonly values?: Float32Array | Int32Array;
}

/** The operation on wasm and on cpu must agree, element by element. */
async function expectSame(inputs: readonly Input[], operation: (...x: Tensor[]) => Tensor | Tensor[], tolerance = 1e-6): Promise<void> {
  const values = inputs.map(({ shape, values: given }) => given ?? random.normals(sizeOf(shape)));
  const run = async (backend: string): Promise<{ shape: number[]; data: number[] }[]> => {
    await tf.setBackend(backend);
    const tensors = inputs.map(({ shape }, i) => tf.tensor(values[i]!, shape, values[i] instanceof Int32Array ? 'int32' : 'float32'));
    const results = [operation(...tensors)].flat();
    return Promise.all(results.map(async (t) => ({ shape: t.shape, data: [...(await t.data())] })));
  };
  const expected = await run('cpu');
  const received = await run('wasm');
  expect(received.map((r) => r.shape)).toEqual(expected.map((r) => r.shape));
  for (const [i, { data }] of received.entries()) {
    for (const [j, value] of data.entries()) {
      const truth = expected[i]!.data[j]!;
      const close = Object.is(value, truth) || value === truth || Math.abs(value - truth) <= tolerance * (1 + Math.abs(truth));
      if (!close) expect.fail(`output ${i}, element ${j} of [${inputs.map((x) => x.shape)}]: ${value}, expected ${truth}`);
    }
  }
}

const plain = (...shapes: number[][]): Input[] => shapes.map((shape) => ({ shape }));

beforeAll(async () => {
  await startBackend({ backend: 'wasm', threads: 3 });
});
beforeEach(() => tf.setBackend('wasm'));

describe('elementwise kernels on wasm', () => {
  const shapes: [number[], number[]][] = [
    [[], []],
    [[1], [1]],
    [[5], [5]],
    [[4, 7], [7]],
    [[4, 7], [4, 1]],
    [[4, 1], [1, 7]],
    [[3, 1, 5], [2, 1]],
    [[2, 3, 4, 5], [3, 1, 5]],
    [[2, 3, 4, 5], []],
    [[], [6, 3]],
    [[130, 129], [130, 129]],
    [[7, 5000], [5000]],
    [[40_001], [1]],
    [[2, 1, 3, 1, 4], [1, 5, 1, 6, 1]],
    [[0, 3], [1, 3]],
  ];
  it.each(['add', 'sub', 'mul', 'div', 'squaredDifference'] as const)('%s broadcasts as it should', async (name) => {
    for (const [a, b] of shapes) await expectSame(plain(a, b), (x, y) => tf[name](x!, y!));
  });

  it('leaves integers to be integers', async () => {
    const a = { shape: [3], values: Int32Array.of(7, -7, 2_000_000_001) };
    await expectSame([a, { shape: [3], values: Int32Array.of(2, 2, 5) }], (x, y) => tf.add(x!, y!));
  });

  const values = [...random.normals(2000, 5), 0, -0, 1e-30, 1e-4, -1e-4, 0.6249, 0.6251, 20, -20, 88.6, 88.8, -87, -95, -110, 1e30, -1e30];
  const functions: Record<string, (x: number) => number> = {
    exp: Math.exp,
    tanh: Math.tanh,
    sqrt: Math.sqrt,
    rsqrt: (x) => 1 / Math.sqrt(x),
    square: (x) => x * x,
    neg: (x) => -x,
    sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  };
  it.each(Object.keys(functions))('%s is right to a few units in the last place, at the ends of the range too', async (name) => {
    const given = Float32Array.from([...values, Infinity, -Infinity, NaN]);
    const operation = tf[name as 'exp'];
    const received = await operation(tf.tensor1d(given)).data();
    const wrong = [...given].flatMap((x, i) => {
      const truth = Math.fround(functions[name]!(x));
      const y = received[i]!;
      const close = Object.is(y, truth) || y === truth || Math.abs(y - truth) <= Math.max(6e-7 * Math.abs(truth), 1e-37);
      return close ? [] : [`${name}(${x}) = ${y}, expected ${truth}`];
    });
    expect(wrong).toEqual([]);
  });
});

describe('reductions on wasm', () => {
  const shape = [3, 5, 4, 7];
  it.each([[undefined], [0], [3], [-1], [[0, 1]], [[2, 3]], [[1, 2]], [[0, 3]], [[1]]])('sum over axis %j', async (axis) => {
    for (const keepDims of [false, true]) await expectSame(plain(shape), (x) => tf.sum(x!, axis as number, keepDims), 1e-5);
  });

  it.each(['mean', 'max'] as const)('%s', async (name) => {
    for (const axis of [undefined, -1, 0, [2, 3], [0, 1, 2, 3]]) await expectSame(plain(shape), (x) => tf[name](x!, axis as number), 1e-5);
    await expectSame(plain([2, 3001]), (x) => tf[name](x!, 1), 1e-5);
  });

  it('sums long columns and long rows', async () => {
    await expectSame(plain([1000, 33]), (x) => tf.sum(x!, 0), 1e-5);
    await expectSame(plain([3, 700, 130]), (x) => tf.sum(x!, 1), 1e-5);
    await expectSame(plain([64 * 1024 * 2]), (x) => tf.sum(x!), 1e-3);
    await expectSame(plain([1, 6]), (x) => tf.sum(x!, 0));
    await expectSame(plain([0, 6]), (x) => tf.sum(x!, 0));
  });

  it('max and sum meet NaN', async () => {
    const values = new Float32Array(40).fill(1);
    values[17] = NaN;
    await expectSame([{ shape: [2, 20], values }], (x) => tf.sum(x!, 1));
    const top = await tf.max(tf.tensor(values, [2, 20]), 1).data();
    expect([...top]).toEqual([NaN, 1]);
  });

  it('softmax sums to one, hides what is masked exactly, and survives large numbers', async () => {
    for (const columns of [1, 2, 3, 4, 5, 31, 128, 1000]) await expectSame(plain([9, columns]), (x) => tf.softmax(x!));
    await expectSame(plain([3, 4, 5]), (x) => tf.softmax(x!));
    const row = await tf.softmax(tf.tensor1d([1e4, 1e4, -1e9, -Infinity, 3])).data();
    expect([...row]).toEqual([0.5, 0.5, 0, 0, 0]);
    expect([...(await tf.softmax(tf.tensor1d([1, NaN, 2, 3, 4])).data())]).toEqual([NaN, NaN, NaN, NaN, NaN]);
  });
});

describe('kernels on wasm that move numbers', () => {
  const cases: [number[], number[]][] = [
    [[5, 7], [1, 0]],
    [[128, 130], [1, 0]],
    [[2, 3, 4], [0, 2, 1]],
    [[2, 3, 4], [2, 0, 1]],
    [[2, 3, 5, 4], [0, 2, 1, 3]],
    [[2, 3, 4, 2, 8], [2, 0, 3, 1, 4]],
    [[1, 3, 1, 4], [3, 0, 1, 2]],
    [[4, 1], [1, 0]],
    [[0, 3], [1, 0]],
  ];
  it.each(cases)('transpose [%s] by [%s]', async (shape, order) => {
    await expectSame(plain(shape), (x) => tf.transpose(x!, order));
    const values = Int32Array.from({ length: sizeOf(shape) }, (_, i) => i);
    await expectSame([{ shape, values }], (x) => tf.transpose(x!, order));
  });

  it('slices and unstacks', async () => {
    await expectSame(plain([6, 7, 8]), (x) => tf.slice(x!, [1, 2, 3], [4, 3, 5]));
    await expectSame(plain([6, 7, 8]), (x) => tf.slice(x!, [5, 0, 0], [1, -1, 2]));
    await expectSame(plain([9]), (x) => tf.slice(x!, [2], [3]));
    await expectSame(plain([3, 4, 5]), (x) => tf.slice(x!, [0, 0, 0], [3, 0, 5]));
    for (const axis of [0, 1, 2, -1]) await expectSame(plain([3, 4, 5]), (x) => tf.unstack(x!, axis));
  });

  it('gathers rows, and its gradient adds them up', async () => {
    const indices = { shape: [2, 3], values: Int32Array.of(4, 0, 4, 1, 4, 2) };
    await expectSame([{ shape: [5, 37] }, indices], (x, i) => tf.gather(x!, i as tf.Tensor2D));
    await expectSame([{ shape: [5, 37] }, indices], (x, i) => tf.grad((t) => tf.gather(t, i as tf.Tensor2D).square().sum())(x!), 1e-5);
    await expectSame([{ shape: [3, 4, 5] }, { shape: [2], values: Int32Array.of(1, 3) }], (x, i) => tf.gather(x!, i as tf.Tensor1D, 1));
    expect(() => tf.gather(tf.zeros([5, 2]), tf.tensor1d([1, 5], 'int32'))).toThrow('index 5');
  });

  it('skips labels outside the output when it adds rows by label', async () => {
    const sum = tf.unsortedSegmentSum(tf.tensor2d([[1, 2], [3, 4], [5, 6]]), tf.tensor1d([1, -1, 1], 'int32'), 3);
    expect([...(await sum.data())]).toEqual([0, 0, 6, 8, 0, 0]);
  });

  it('casts, and shares what needs no copy without entangling lifetimes', async () => {
    const x = tf.tensor1d([1, 2, 3]);
    const [same, copy] = [tf.cast(x, 'float32'), tf.clone(x)];
    x.dispose();
    expect([...(await same.data())]).toEqual([1, 2, 3]);
    same.dispose();
    expect([...(await copy.data())]).toEqual([1, 2, 3]);
    await expectSame([{ shape: [3], values: Int32Array.of(1, 0, -2) }], (i) => tf.cast(i!, 'float32'));
  });
});

it('replaces and restores TensorFlow.js kernels', async () => {
  expect(wasmKernelNames()).toContain('BatchMatMul');
  const ours = tf.getKernel('Transpose', 'wasm');
  await stopBackend();
  expect(tf.getKernel('Transpose', 'wasm')).not.toBe(ours);
  await startBackend({ backend: 'wasm', threads: 3 });
});

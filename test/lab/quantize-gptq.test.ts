/** @file OBD, OBS, OBQ and GPTQ: equal to the GPTQ authors' code, to each other where theory says so, and better than rounding. */
import {
  cholesky,
  columnStep,
  compensate,
  damageSaliencies,
  decodeMatrix,
  deviceArithmetic,
  doubleArithmetic,
  eliminate,
  gptq,
  HessianAverage,
  invertLower,
  invertSymmetric,
  prepareHessian,
  pruneByDamage,
  pruneBySurgery,
  quantizeRowByOBQ,
  quantizeValue,
  fitGrid,
  Random,
  relativeOutputError,
  roundingCost,
  roundToNearest,
  startBackend,
  surgeonSaliency,
  tf,
  type ColumnStep,
} from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import { relativeError } from './core-fixture.ts';
import { correlatedInputs, gptqCase, gptqCases, hessianOf } from './quantize-fixture.ts';

beforeAll(() => startBackend({ backend: 'wasm', threads: 2 }));

const random = new Random(11);
const layer = (outputs: number, inputs: number, tokens = 4 * inputs) => {
  const x = correlatedInputs(random, tokens, inputs);
  return { shape: { outputs, inputs }, weights: random.normals(outputs * inputs), x, hessian: hessianOf(x, inputs) };
};
/** ½ Δ H Δᵀ of one row. */
const lossOf = (change: ArrayLike<number>, hessian: Float64Array): number => {
  const n = change.length;
  let sum = 0;
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) sum += 0.5 * change[i]! * hessian[i * n + j]! * change[j]!;
  return sum;
};
const identity = (n: number): Float64Array => Float64Array.from({ length: n * n }, (_, at) => (at % (n + 1) === 0 ? 1 : 0));
const product = (a: Float64Array, b: Float64Array, n: number): Float64Array =>
  Float64Array.from({ length: n * n }, (_, at) => {
    let sum = 0;
    for (let k = 0; k < n; k++) sum += a[Math.floor(at / n) * n + k]! * b[k * n + (at % n)]!;
    return sum;
  });
const transposed = (a: Float64Array, n: number): Float64Array => a.map((_, at) => a[(at % n) * n + Math.floor(at / n)]!);

describe('linear algebra', () => {
  it('factor and inverse give back what they were made of', () => {
    for (const n of [1, 2, 7, 40]) {
      const { hessian } = layer(1, n);
      const L = cholesky(hessian);
      expect(relativeError(product(L, transposed(L, n), n), hessian)).toBeLessThan(1e-13);
      expect(relativeError(product(invertLower(L), L, n), identity(n))).toBeLessThan(1e-11);
      expect(relativeError(product(invertSymmetric(hessian), hessian, n), identity(n))).toBeLessThan(1e-9);
    }
  });

  it('what is not positive definite is named', () => {
    expect(() => cholesky([1, 2, 2, 1])).toThrow('not positive definite: pivot 1 is -3');
    expect(() => cholesky([0])).toThrow(/pivot 0 is 0/);
    expect(() => cholesky([NaN])).toThrow(/pivot 0 is NaN/);
    expect(() => cholesky([1, 2, 3])).toThrow(/a square matrix has n · n numbers, got 3/);
  });

  it('the inverse factor is the upper Cholesky factor of the inverse, in both arithmetics', async () => {
    for (const n of [1, 5, 96, 97, 250]) {
      const { hessian } = layer(1, n);
      for (let i = 0; i < n; i++) hessian[i * n + i]! += 0.1;
      const L = cholesky(invertSymmetric(hessian));
      const U = await doubleArithmetic.inverseFactor(hessian);
      expect(relativeError(U, transposed(L, n))).toBeLessThan(1e-9);
      expect(relativeError(await deviceArithmetic.inverseFactor(hessian), U)).toBeLessThan(1e-4);
    }
  });

  it('both arithmetics settle the same debts', async () => {
    const [columns, later, rows] = [5, 7, 3];
    const [strip, errors] = [random.normals(columns * later), Float64Array.from(random.normals(columns * rows))];
    const [one, other] = [new Float64Array(later * rows).fill(1), new Float64Array(later * rows).fill(1)];
    await doubleArithmetic.settle(one, strip, errors, { columns, later, rows });
    await deviceArithmetic.settle(other, strip, errors, { columns, later, rows });
    expect(relativeError(other, one)).toBeLessThan(1e-6);
    let first = 1;
    for (let c = 0; c < columns; c++) first -= strip[c * later]! * errors[c * rows]!;
    expect(one[0]).toBeCloseTo(first, 12);
  });
});

describe('OBD', () => {
  it('½ h w²: exact where the Hessian is a diagonal', () => {
    const [weights, curvature] = [[1, -2, 0.5], [3, 1, 100]];
    expect([...damageSaliencies(weights, curvature)]).toEqual([1.5, 2, 12.5]);
    expect([...pruneByDamage(weights, curvature, 2)]).toEqual([0, 0, 0.5]);
  });
});

describe('OBS', () => {
  const n = 12;
  const { hessian } = layer(1, n);
  const weights = Float64Array.from(random.normals(n));
  const inverse = invertSymmetric(hessian);

  it('the saliency is the loss that the cut makes, and no other change of the rest makes less', () => {
    const cut = weights.slice();
    compensate(cut, inverse, 4, -weights[4]!);
    expect(cut[4]).toBeCloseTo(0, 12);
    const least = lossOf(cut.map((w, i) => w - weights[i]!), hessian);
    expect(surgeonSaliency(weights[4]!, inverse, 4, n)).toBeCloseTo(least, 10);
    for (let i = 0; i < 20; i++) {
      const other = cut.map((w, j) => (j === 4 ? w : w + 0.01 * random.normal()));
      expect(lossOf(other.map((w, j) => w - weights[j]!), hessian)).toBeGreaterThan(least);
    }
  });

  it('on a diagonal Hessian it is OBD', () => {
    const diagonal = identity(n).map((one, at) => one * (1 + (at % n)));
    const curvature = Array.from({ length: n }, (_, i) => 1 + i);
    const saliencies = damageSaliencies(weights, curvature);
    const flat = invertSymmetric(diagonal);
    weights.forEach((weight, q) => expect(surgeonSaliency(weight, flat, q, n)).toBeCloseTo(saliencies[q]!, 12));
    expect(relativeError(pruneBySurgery(weights, diagonal, 5), pruneByDamage(weights, curvature, 5))).toBeLessThan(1e-12);
  });

  it('eliminating a weight leaves the inverse of the Hessian without it', () => {
    const left = inverse.slice();
    eliminate(left, 3, n);
    const without = [...Array(n).keys()].filter((i) => i !== 3);
    const smaller = invertSymmetric(without.flatMap((i) => without.map((j) => hessian[i * n + j]!)));
    expect(relativeError(without.flatMap((i) => without.map((j) => left[i * n + j]!)), smaller)).toBeLessThan(1e-10);
    expect([...left.subarray(3 * n, 4 * n)]).toEqual(new Array(n).fill(0));
  });

  it('removes as many as asked, at less loss than OBD', () => {
    const pruned = pruneBySurgery(weights, hessian, 6);
    expect(pruned.filter((w) => w === 0).length).toBe(6);
    const curvature = Array.from({ length: n }, (_, i) => hessian[i * n + i]!);
    const loss = (kept: Float64Array): number => lossOf(kept.map((w, i) => w - weights[i]!), hessian);
    expect(loss(pruned)).toBeLessThan(loss(pruneByDamage(weights, curvature, 6)));
  });
});

describe('OBQ', () => {
  const n = 24;
  const { hessian } = layer(1, n);
  const weights = random.normals(n);
  const grid = fitGrid(weights, { bits: 3 });
  const onGrid = (value: number): number => quantizeValue(value, grid);

  it('ends on the grid with less loss than rounding, in both orders', () => {
    const rows = Array.from({ length: 12 }, () => random.normals(n));
    const total = (quantized: (row: Float32Array) => ArrayLike<number>): number =>
      rows.reduce((sum, row) => {
        const found = quantized(row);
        return sum + lossOf(Float64Array.from(row, (w, i) => found[i]! - w), hessian);
      }, 0);
    const wide = { bits: 4, scale: 0.6, zero: 8 } as const;
    const near = (value: number): number => quantizeValue(value, wide);
    const rounding = total((row) => row.map(near));
    for (const order of ['greedy', 'given'] as const) {
      quantizeRowByOBQ(weights, hessian, onGrid, { order }).forEach((value) => expect(onGrid(value)).toBe(value));
      expect(total((row) => quantizeRowByOBQ(row, hessian, near, { order }))).toBeLessThan(0.8 * rounding);
    }
  });

  it('greedy begins with the weight whose rounding costs least', () => {
    const inverse = invertSymmetric(hessian);
    const costs = Array.from(weights, (w, q) => roundingCost(w, onGrid(w), inverse, q, n));
    const seen: number[] = [];
    const row = quantizeRowByOBQ(weights, hessian, (value, column) => (seen.push(column), onGrid(value)));
    const cheapest = costs.indexOf(Math.min(...costs));
    expect(row[cheapest]).toBe(onGrid(weights[cheapest]!));
    expect(new Set(seen).size).toBe(n);
  });
});

describe('GPTQ', () => {
  it.each(gptqCases)("$name: the authors' numbers", async (one) => {
    const { weight, shape, options, hessian, gptq: expected } = await gptqCase(one);
    const { matrix } = await gptq(weight, shape, hessian, options);
    const found = decodeMatrix(matrix);
    const error = await relativeOutputError(weight, found, hessian);
    if (one.name === 'w3-group32-asym') {
      // Theirs fits the grids of a block's later groups to stale weights.
      expect(error).toBeLessThan(one.relative_output_error_gptq);
      return;
    }
    expect(found.filter((value, i) => Math.abs(value - expected[i]!) > 1e-4).length).toBeLessThanOrEqual(5);
    expect(Math.abs(error / one.relative_output_error_gptq - 1)).toBeLessThan(0.02);
  });

  it.each(gptqCases.filter(({ rows }) => rows < 100))('$name: on the device as in double precision', async (one) => {
    const { weight, shape, options, hessian } = await gptqCase(one);
    const results = [];
    for (const arithmetic of [doubleArithmetic, deviceArithmetic]) {
      results.push(decodeMatrix((await gptq(weight, shape, hessian, { ...options, arithmetic })).matrix));
    }
    const [double, device] = results;
    expect(double!.filter((value, i) => Math.abs(value - device![i]!) > 1e-4).length).toBeLessThanOrEqual(10);
  });

  it('is naive OBS in the given order, column by column, to 1e-8 in double precision', async () => {
    const { shape, weights, hessian } = layer(6, 40);
    const { inputs, outputs } = shape;
    const damped = hessian.slice();
    const mean = Array.from({ length: inputs }, (_, i) => hessian[i * inputs + i]!).reduce((sum, h) => sum + h) / inputs;
    for (let i = 0; i < inputs; i++) damped[i * inputs + i]! += 0.01 * mean;
    // What each column is, when its turn comes, in GPTQ …
    const seen = new Float64Array(weights.length);
    const watching: ColumnStep = (block, column) => {
      for (let row = 0; row < outputs; row++) seen[row * inputs + column + first] = block.weights[column * outputs + row]!;
      columnStep(block, column);
      if (column === block.columns - 1) first += block.columns;
    };
    let first = 0;
    const { matrix } = await gptq(weights, shape, hessian, { bits: 3, blockSize: 16, columnStep: watching });
    // … and in OBS, which inverts and eliminates.
    const naive = new Float64Array(weights.length);
    const rounded = new Float64Array(weights.length);
    for (let row = 0; row < outputs; row++) {
      const w = weights.subarray(row * inputs, (row + 1) * inputs);
      const grid = fitGrid(w, { bits: 3 });
      rounded.set(
        quantizeRowByOBQ(w, damped, (value, column) => ((naive[row * inputs + column] = value), quantizeValue(value, grid)), { order: 'given' }),
        row * inputs,
      );
    }
    for (let i = 0; i < seen.length; i++) expect(Math.abs(seen[i]! - naive[i]!)).toBeLessThan(1e-8);
    expect(relativeError(decodeMatrix(matrix), rounded)).toBe(0);
  });

  it('does not depend on the size of its blocks', async () => {
    const { shape, weights, hessian } = layer(4, 48);
    const results = [];
    for (const blockSize of [1, 7, 48, 128]) {
      results.push(decodeMatrix((await gptq(weights, shape, hessian, { bits: 4, groupSize: 16, blockSize })).matrix));
    }
    for (const other of results) expect(other).toEqual(results[0]);
  });

  it('beats rounding with every grid, at 2, 3 and 4 bits, and with act-order and static groups', async () => {
    const { shape, weights, hessian } = layer(12, 64);
    for (const bits of [2, 3, 4] as const) {
      for (const groupSize of ['row', 16] as const) {
        const rtn = await relativeOutputError(weights, decodeMatrix(roundToNearest(weights, shape, { bits, groupSize })), hessian);
        for (const options of [{}, { actOrder: true }, { actOrder: true, staticGroups: true }, { symmetric: true }]) {
          const { matrix } = await gptq(weights, shape, hessian, { bits, groupSize, ...options });
          const error = await relativeOutputError(weights, decodeMatrix(matrix), hessian);
          expect(error, JSON.stringify({ bits, groupSize, ...options })).toBeLessThan(rtn * ('symmetric' in options ? 1.2 : 1));
        }
      }
    }
  });

  it('the losses of the columns add up to the damped squared error', async () => {
    const { shape, weights, hessian } = layer(5, 32);
    for (const actOrder of [false, true]) {
      const { matrix, columnLosses } = await gptq(weights, shape, hessian, { bits: 2, actOrder });
      const damped = hessian.slice();
      const mean = Array.from({ length: 32 }, (_, i) => hessian[33 * i]!).reduce((sum, h) => sum + h) / 32;
      for (let i = 0; i < 32; i++) damped[33 * i]! += 0.01 * mean;
      const found = decodeMatrix(matrix);
      let loss = 0;
      for (let row = 0; row < 5; row++) loss += lossOf(weights.subarray(32 * row, 32 * row + 32).map((w, i) => found[32 * row + i]! - w), damped);
      expect(columnLosses.reduce((sum, one) => sum + one, 0) / loss).toBeCloseTo(1, 4);
    }
  });

  it('act-order sweeps by falling diagonal: groups are dealt out in that order, static ones stay neighbours', async () => {
    const { shape, weights, hessian } = layer(3, 32);
    const order = [...Array(32).keys()].sort((a, b) => hessian[33 * b]! - hessian[33 * a]!);
    const dealt = (await gptq(weights, shape, hessian, { bits: 4, groupSize: 8, actOrder: true })).matrix.groupIndex!;
    order.forEach((input, step) => expect(dealt[input]).toBe(Math.floor(step / 8)));
    const fixed = await gptq(weights, shape, hessian, { bits: 4, groupSize: 8, actOrder: true, staticGroups: true });
    expect(fixed.matrix.groupIndex).toBeNull();
  });

  it('dead inputs: their weights become zero, the others as if they were not there', async () => {
    const { shape, weights, x } = layer(4, 20);
    x.forEach((_, i) => i % 20 === 6 && (x[i] = 0));
    const prepared = await prepareHessian(hessianOf(x, 20));
    expect(prepared.dead).toEqual([6]);
    const found = decodeMatrix((await gptq(weights, shape, prepared, { bits: 4 })).matrix);
    for (let row = 0; row < 4; row++) expect(found[20 * row + 6]).toBe(0);
  });

  it('damping grows until the factorisation succeeds, and not for ever', async () => {
    const { hessian } = layer(1, 16);
    expect((await prepareHessian(hessian)).damping).toBe(0.01);
    // One input seen: rank one. It takes damping, but an ordinary one is enough.
    const one = hessianOf(correlatedInputs(random, 1, 16), 16);
    expect((await prepareHessian(one)).damping).toBe(0.01);
    // An eigenvalue below zero, as rounding makes them.
    const bent = identity(16);
    bent[1] = bent[16] = 1.05;
    const { damping, factor } = await prepareHessian(bent);
    expect(damping).toBeCloseTo(0.1, 12);
    expect(factor.every(Number.isFinite)).toBe(true);
    const impossible = identity(16);
    impossible[1] = impossible[16] = 50;
    await expect(prepareHessian(impossible)).rejects.toThrow(/cannot be factorised, even with a damping of 10 times/);
    await expect(prepareHessian(one, { damping: 0 })).rejects.toThrow(/cannot be factorised/);
    await expect(prepareHessian(identity(2).with(0, -1))).rejects.toThrow(/is -1 at 0 of its diagonal/);
    await expect(prepareHessian(identity(2).with(1, NaN))).rejects.toThrow(/not finite/);
  });

  it("the seam: a column step of the reader's own takes the place of GPTQ's", async () => {
    const { shape, weights, hessian } = layer(5, 24);
    // Without compensation it is rounding to nearest.
    const rounding: ColumnStep = ({ rows, weights: left, quantized, errors, quantize }, column) => {
      for (let row = 0; row < rows; row++) {
        quantized[column * rows + row] = quantize(left[column * rows + row]!, column, row);
        errors[column * rows + row] = 0;
      }
    };
    const { matrix } = await gptq(weights, shape, hessian, { bits: 4, groupSize: 8, columnStep: rounding, blockSize: 10 });
    expect(matrix.codes).toEqual(roundToNearest(weights, shape, { bits: 4, groupSize: 8 }).codes);
    const lazy: ColumnStep = () => undefined;
    const offGrid: ColumnStep = ({ quantized, rows }, column) => void quantized.fill(1.2345, column * rows, (column + 1) * rows);
    await expect(gptq(weights, shape, hessian, { bits: 4, columnStep: offGrid })).rejects.toThrow(/made 1.2345 of row 0, column 0, which is not on its grid/);
    expect((await gptq(weights, shape, hessian, { bits: 4, columnStep: lazy })).columnLosses[0]).toBe(0);
  });

  it('refuses what makes no sense', async () => {
    const { shape, weights, hessian } = layer(2, 8);
    const run = (change: object, values = weights) => gptq(values, shape, hessian, { bits: 4, ...change });
    await expect(run({ bits: 6 })).rejects.toThrow(/bits must be one of 2, 3, 4, 8, got 6/);
    await expect(run({ groupSize: 3 })).rejects.toThrow(/groups of 3 do not divide 8 inputs/);
    await expect(run({}, weights.with(9, Infinity))).rejects.toThrow(/gptq: the weight of output 1, input 1 is Infinity/);
    await expect(gptq(weights, shape, identity(7), { bits: 4 })).rejects.toThrow(/the weights have 8 inputs, the Hessian 7/);
  });
});

describe('the Hessian', () => {
  it('is 2 XᵀX / n however the tokens are dealt out, to 3e-6', async () => {
    const [tokens, inputs] = [150, 20];
    const x = correlatedInputs(random, tokens, inputs);
    const average = new HessianAverage(inputs);
    for (const [from, to] of [[0, 1], [1, 33], [33, 34], [34, 150]] as const) {
      const part = tf.tensor3d(x.slice(from * inputs, to * inputs), [1, to - from, inputs]);
      average.add(part);
      part.dispose();
    }
    expect(average.tokens).toBe(tokens);
    expect(relativeError(await average.values(), hessianOf(x, inputs))).toBeLessThan(3e-6);
    average.dispose();
    expect(() => new HessianAverage(4).add(tf.zeros([2, 3]))).toThrow(/x \[2,3\] must end in 4/);
  });

  it.each(gptqCases.filter(({ name }) => name.startsWith('w4-row') || name.endsWith('dead')))("$name: is the authors' from their inputs", async (one) => {
    const { inputs, shape, hessian } = await gptqCase(one);
    const average = new HessianAverage(shape.inputs);
    average.add(tf.tensor2d(inputs!, [inputs!.length / shape.inputs, shape.inputs]));
    const found = await average.values();
    // Theirs averages over sequences, ours over tokens: a factor that GPTQ does not see.
    const factor = hessian[0]! / found[0]!;
    expect(relativeError(found.map((h) => factor * h), hessian)).toBeLessThan(3e-6);
  });

  it('the relative output error is that of the outputs', async () => {
    const { shape, weights, x, hessian } = layer(3, 10);
    const quantized = decodeMatrix(roundToNearest(weights, shape, { bits: 2 }));
    let [noise, signal] = [0, 0];
    for (let t = 0; t < x.length / 10; t++) {
      for (let o = 0; o < 3; o++) {
        let [change, output] = [0, 0];
        for (let i = 0; i < 10; i++) {
          change += (quantized[10 * o + i]! - weights[10 * o + i]!) * x[10 * t + i]!;
          output += weights[10 * o + i]! * x[10 * t + i]!;
        }
        noise += change ** 2;
        signal += output ** 2;
      }
    }
    expect(await relativeOutputError(weights, quantized, hessian) / (noise / signal)).toBeCloseTo(1, 4);
    expect(await relativeOutputError(new Float32Array(20), new Float32Array(20), hessian)).toBe(0);
  });
});

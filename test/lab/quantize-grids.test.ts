/** @file Grids, rounding to nearest, NF4: equal to the GPTQ authors' code, exact to pack, and with their properties. */
import {
  BIT_WIDTHS,
  bitsPerWeight,
  decodeMatrix,
  decodeNF4,
  decodeWeight,
  encodeWeight,
  fitGrid,
  NF4_VALUES,
  packMatrix,
  quantizeNF4,
  quantizeValue,
  Random,
  roundHalfToEven,
  roundToNearest,
  sizesOf,
  unpackMatrix,
  type BitWidth,
} from 'lab';
import { describe, expect, it } from 'vitest';
import { relativeError } from './core-fixture.ts';
import { gptqCase, gptqCases } from './quantize-fixture.ts';

const random = new Random(3);
const largest = (values: ArrayLike<number>): number => Array.from(values).reduce((most, value) => Math.max(most, Math.abs(value)), 0);

describe('grids', () => {
  it('round halves to the even number, as PyTorch does and Math.round does not', () => {
    expect([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.4999, 1e300].map(roundHalfToEven)).toEqual([-2, -2, 0, 0, 2, 2, 3, 1e300]);
    // 0.5 and 2.5 steps above zero: the even neighbours.
    const grid = { bits: 4, scale: 1, zero: 3 } as const;
    expect([0.5, 1.5, 2.5, -0.5].map((x) => quantizeValue(x, grid))).toEqual([0, 2, 2, 0]);
  });

  for (const bits of BIT_WIDTHS) {
    for (const symmetric of [false, true]) {
      it(`${bits} bits, ${symmetric ? 'symmetric' : 'asymmetric'}: hold 0 and every weight to half a step`, () => {
        for (const shift of [0, 0.7, -3]) {
          const weights = random.normals(50).map((w) => w + shift);
          const grid = fitGrid(weights, { bits, symmetric });
          expect(quantizeValue(0, grid)).toBe(0);
          expect(Number.isInteger(grid.zero) && grid.zero >= 0 && grid.zero < 2 ** bits).toBe(true);
          // A symmetric grid has one value less above zero than below, an asymmetric one is moved to have 0 on it.
          const reach = symmetric ? 1 : 0.5;
          for (const weight of weights) {
            expect(Math.abs(quantizeValue(weight, grid) - weight)).toBeLessThanOrEqual((reach + 0.5) * grid.scale * 1.0001);
          }
        }
      });
    }
    it(`${bits} bits: every value of a grid has its own code`, () => {
      const grid = fitGrid(random.normals(40), { bits });
      for (let code = 0; code < 2 ** bits; code++) expect(encodeWeight(decodeWeight(code, grid), grid)).toBe(code);
    });
  }

  it('symmetric grids do not cut weights off that are all positive, nor all negative', () => {
    for (const sign of [1, -1]) {
      const weights = Float32Array.from({ length: 33 }, (_, i) => sign * (0.5 + i / 64));
      const grid = fitGrid(weights, { bits: 4, symmetric: true });
      expect(grid.zero).toBe(8);
      for (const weight of weights) expect(Math.abs(quantizeValue(weight, grid) - weight)).toBeLessThanOrEqual(grid.scale);
    }
  });

  it('an asymmetric grid over positive weights begins at zero, whose code is 0; over negative ones it ends there', () => {
    const weights = [0.2, 0.4, 3];
    expect(fitGrid(weights, { bits: 4 })).toMatchObject({ zero: 0, scale: Math.fround(Math.fround(3) / 15) });
    expect(fitGrid(weights.map((w) => -w), { bits: 4 }).zero).toBe(15);
  });

  it('weights that are all zero, none at all, or too small for a step, stay what they are', () => {
    for (const weights of [[0, 0], [], [1e-45, -1e-45]]) {
      for (const symmetric of [false, true]) {
        const grid = fitGrid(weights, { bits: 3, symmetric });
        expect(grid.scale).toBeGreaterThan(0);
        for (const weight of weights) expect(quantizeValue(weight, grid)).toBeCloseTo(weight, 30);
      }
    }
  });

  it('scales in float16 are numbers that float16 has, and hardly another grid', () => {
    const weights = random.normals(64);
    for (const symmetric of [false, true]) {
      const [half, single] = (['float16', 'float32'] as const).map((scales) => fitGrid(weights, { bits: 4, symmetric, scales }));
      // 11 bits are enough to write it down.
      const mantissa = half!.scale / 2 ** (Math.floor(Math.log2(half!.scale)) - 10);
      expect(Number.isInteger(mantissa)).toBe(true);
      expect(Number.isInteger(single!.scale / 2 ** (Math.floor(Math.log2(single!.scale)) - 10))).toBe(false);
      expect(Math.abs(half!.scale / single!.scale - 1)).toBeLessThan(2 ** -11);
      expect(half!.zero).toBe(single!.zero);
    }
    for (let i = 0; i < 200; i++) {
      const { zero } = fitGrid(random.normals(3).map((w) => -Math.abs(w)), { bits: 8, scales: 'float16' });
      expect(zero).toBeLessThanOrEqual(255);
    }
  });

  it('the search cuts an outlier off where that is cheaper, and is never worse than the range', () => {
    const error = (weights: Float32Array, search: 'range' | 'mse', bits: BitWidth): number => {
      const grid = fitGrid(weights, { bits, search });
      return weights.reduce((sum, w) => sum + Math.abs(quantizeValue(w, grid) - w) ** 2.4, 0);
    };
    const outlier = random.normals(256).with(7, 9);
    expect(error(outlier, 'mse', 3)).toBeLessThan(0.8 * error(outlier, 'range', 3));
    for (const bits of BIT_WIDTHS) {
      const weights = random.normals(64);
      expect(error(weights, 'mse', bits)).toBeLessThanOrEqual(error(weights, 'range', bits));
    }
  });
});

describe('rounding to nearest', () => {
  it.each(gptqCases)("$name: the authors' numbers", async (one) => {
    const { weight, shape, options, rtn } = await gptqCase(one);
    const found = decodeMatrix(roundToNearest(weight, shape, options));
    expect(largest(found.map((value, i) => value - rtn[i]!))).toBeLessThan(1e-6);
  });

  it('finer groups and more bits leave less error: tensor > row > 32 > 8', () => {
    const shape = { outputs: 24, inputs: 96 };
    const weights = random.normals(24 * 96).map((w, i) => w * (1 + Math.floor(i / 96)));
    const error = (bits: BitWidth, groupSize: 'tensor' | 'row' | number): number =>
      relativeError(decodeMatrix(roundToNearest(weights, shape, { bits, groupSize })), weights);
    const finer = (['tensor', 'row', 32, 8] as const).map((groupSize) => error(3, groupSize));
    expect(finer).toEqual(finer.toSorted((a, b) => b - a));
    const more = BIT_WIDTHS.map((bits) => error(bits, 'row'));
    expect(more).toEqual(more.toSorted((a, b) => b - a));
    // A bit more halves the step, so from 4 to 8 bits it is a sixteenth (15/255).
    expect(more[2]! / more[3]!).toBeGreaterThan(13);
    expect(more[2]! / more[3]!).toBeLessThan(21);
  });

  it.each(BIT_WIDTHS)('%i bits: packed and unpacked is the same, in groups of 32, 64, 128 and a row', (bits) => {
    const weights = random.normals(5 * 256);
    for (const groupSize of [32, 64, 128, 'row', 'tensor'] as const) {
      for (const symmetric of [false, true]) {
        const matrix = roundToNearest(weights, { outputs: 5, inputs: 256 }, { bits, groupSize, symmetric });
        const packed = packMatrix(matrix);
        expect(unpackMatrix(packed)).toEqual(matrix);
        if (symmetric) expect(packed.zeros).toBeNull();
      }
    }
  });

  it('4 bits in groups of 128 take 4.5 bits a weight, without zero points 4.25', () => {
    const weights = random.normals(2 * 256);
    const bits = (symmetric: boolean): number =>
      bitsPerWeight(packMatrix(roundToNearest(weights, { outputs: 2, inputs: 256 }, { bits: 4, groupSize: 128, symmetric })));
    expect([bits(false), bits(true)]).toEqual([4.5, 4.25]);
  });

  it('refuses what makes no sense, saying what and where', () => {
    const weights = random.normals(60);
    const round = (change: object, values = weights) => () =>
      roundToNearest(values, { outputs: 5, inputs: 12 }, { bits: 4, ...change });
    expect(round({}, weights.with(25, NaN))).toThrow(new RangeError('roundToNearest: the weight of output 2, input 1 is NaN; it must be finite'));
    expect(round({}, weights.with(0, -Infinity))).toThrow(/output 0, input 0 is -Infinity/);
    expect(round({}, weights.slice(1))).toThrow(/5 × 12 weights are 60 numbers, got 59/);
    expect(round({ groupSize: 5 })).toThrow(/groups of 5 do not divide 12 inputs/);
    expect(round({ groupSize: 0 })).toThrow(/groups of 0/);
    expect(round({ bits: 5 })).toThrow(/bits must be one of 2, 3, 4, 8, got 5/);
  });
});

describe('NF4', () => {
  it("has QLoRA's values: −1, 0, 1, and neighbours that are equally likely for a normal distribution", () => {
    const published = [-1, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.09105, 0];
    expect(relativeError(NF4_VALUES.slice(0, 8), published)).toBeLessThan(1e-6);
    expect(NF4_VALUES.slice(8).map((v) => Number(v.toFixed(7)))).toEqual([
      0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.562617, 0.7229568, 1,
    ]);
  });

  it('every weight becomes the nearest value times the size of its block', () => {
    const shape = { outputs: 4, inputs: 128 };
    const weights = random.normals(512, 0.02);
    const matrix = quantizeNF4(weights, shape, { double: false });
    const found = decodeNF4(matrix);
    weights.forEach((weight, i) => {
      const size = largest(weights.subarray(64 * Math.floor(i / 64), 64 * Math.floor(i / 64) + 64));
      const least = Math.min(...NF4_VALUES.map((value) => Math.abs(value * size - weight)));
      expect(Math.abs(found[i]! - weight)).toBeLessThanOrEqual(least + 1e-8);
    });
    // On normal weights it does better than an even grid of 16 values over the same blocks.
    const even = decodeMatrix(roundToNearest(weights, shape, { bits: 4, groupSize: 64, symmetric: true }));
    expect(relativeError(found, weights)).toBeLessThan(0.95 * relativeError(even, weights));
  });

  it('double quantization keeps sizes in 8 bits: to half a step of their own group, 0.13 bits a weight instead of 0.5', () => {
    const shape = { outputs: 40, inputs: 1024 };
    const weights = random.normals(40 * 1024);
    const exact = sizesOf(quantizeNF4(weights, shape, { double: false }).sizes);
    const { sizes } = quantizeNF4(weights, shape);
    if (sizes instanceof Float32Array) throw new Error('not doubly quantized');
    expect(sizes.scales.length).toBe(Math.ceil(exact.length / 256));
    sizesOf(sizes).forEach((size, i) => expect(Math.abs(size - exact[i]!)).toBeLessThan(0.51 * sizes.scales[Math.floor(i / 256)]!));
    expect((8 * (sizes.codes.byteLength + sizes.scales.byteLength)) / weights.length).toBeCloseTo(8 / 64 + 32 / 64 / 256, 3);
  });

  it('blocks of zeros stay zero, without double quantization', () => {
    const matrix = quantizeNF4(new Float32Array(128), { outputs: 2, inputs: 64 }, { double: false });
    expect(decodeNF4(matrix)).toEqual(new Float32Array(128));
    expect(() => quantizeNF4(new Float32Array(120), { outputs: 2, inputs: 60 })).toThrow(/blocks of 64 do not divide 60 inputs/);
  });
});

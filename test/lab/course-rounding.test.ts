/**
 * @file The answers of chapter 07 in their place: the grid that was written is the one that the library rounds to, and the
 * answers together do what the library's quantizer does.
 */
import {
  decodeMatrix,
  findExercise,
  fitGrid as libraryGrid,
  Linear,
  quantizeModel,
  Random,
  roundToNearest,
  startBackend,
  theCourse,
  Transformer,
  type Assembly,
  type BitWidth,
} from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import * as solution from '../../solutions/07-rounding.ts';

beforeAll(async () => {
  await startBackend();
});

const shape = { outputs: 6, inputs: 64 };
const weights = Float32Array.from(new Random(70).normals(6 * 64), (x) => x + 0.2);

/** What exercise 7.2 puts into the assembly, and how often its function was called. */
function plugged(): { quantize: NonNullable<Assembly['quantize']>; calls: () => number } {
  const assembly: Assembly = { transformer: {}, train: {}, generate: {} };
  let calls = 0;
  const { exercise } = findExercise('7.2', theCourse());
  exercise.plug?.(
    { ...solution, fitGrid: (some: Float32Array, bits: number) => (calls++, solution.fitGrid(some, bits)) },
    assembly,
  );
  return { quantize: assembly.quantize!, calls: () => calls };
}

describe('the grid of exercise 7.2', () => {
  it.each([2, 3, 4, 8] as const)('is what weights are rounded to, at %d bits: the same codes', (bits) => {
    const { quantize, calls } = plugged();
    const own = roundToNearest(weights, shape, { bits, groupSize: 16, ...quantize });
    const library = roundToNearest(weights, shape, { bits, groupSize: 16 });
    expect(calls()).toBe(6 * 4);
    expect(own.codes).toEqual(library.codes);
    expect(own.zeros).toEqual(library.zeros);
  });

  it('is what whole models are rounded to', async () => {
    const { quantize, calls } = plugged();
    const model = new Transformer({ vocabSize: 11, contextLength: 8, layers: 1, width: 32, heads: 2 });
    const linears = [...model.namedModules()].filter(([, module]) => module instanceof Linear) as [string, Linear][];
    const rows = linears.reduce((sum, [, { outputs }]) => sum + outputs, 0);
    await quantizeModel(model, { method: 'rtn', bits: 4, quiet: true, ...quantize });
    expect(calls()).toBe(rows);
    model.dispose();
  });

  it('has scales that a checkpoint can hold, where they are asked for', () => {
    const options = { bits: 4, groupSize: 16, scales: 'float16' } as const;
    const own = roundToNearest(weights, shape, { ...options, ...plugged().quantize });
    expect(own.scales).toEqual(roundToNearest(weights, shape, options).scales);
    expect(own.scales).not.toEqual(roundToNearest(weights, shape, { ...options, scales: 'float32' }).scales);
  });

  it('may be any other: what it gives is what is used', () => {
    const search = (some: ArrayLike<number>, { bits }: { bits: BitWidth }) => ({ bits, scale: some.length, zero: 1 });
    const { scales, zeros } = roundToNearest(weights, shape, { bits: 4, groupSize: 32, search });
    expect([...new Set(scales), ...new Set(zeros)]).toEqual([32, 1]);
    expect(libraryGrid(weights, { bits: 3, search })).toEqual({ bits: 3, scale: weights.length, zero: 1 });
  });
});

it('packed and multiplied by the answers, a layer gives what the library decodes', () => {
  const matrix = roundToNearest(weights, shape, { bits: 4, groupSize: 16 });
  const { codes, scales, zeros } = matrix;
  const x = Float32Array.from(new Random(71).normals(64));
  const y = solution.packedLinear(x, { ...shape, groupSize: 16, words: solution.pack(codes, 4), scales, zeros });
  const floats = decodeMatrix(matrix);
  for (let o = 0; o < 6; o++) {
    const exact = x.reduce((sum, xi, i) => sum + xi * floats[o * 64 + i]!, 0);
    expect(y[o]).toBeCloseTo(exact, 4);
  }
});

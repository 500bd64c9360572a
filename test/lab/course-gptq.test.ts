/**
 * @file The answer of chapter 08 in its place: the reader's column step is what quantizes a model, and a model quantized with
 * the solution's is the one that the library makes.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  calibrationBatches,
  findExercise,
  Mine,
  quantizeModel,
  startBackend,
  theCourse,
  TokenDataset,
  Transformer,
  type Assembly,
  type ColumnStep,
} from 'lab';
import { gptqStep } from '../../solutions/08-gptq.ts';

beforeAll(async () => {
  await startBackend();
});

function plugged(step: ColumnStep): Assembly {
  const assembly: Assembly = { transformer: {}, train: {}, generate: {} };
  findExercise('8.7', theCourse()).exercise.plug?.({ gptqStep: step }, assembly);
  return assembly;
}

const dataset = new TokenDataset(
  Array.from({ length: 400 }, (_, i) => (i * i + 3 * (i % 7)) % 19),
  19,
);
const calibration = calibrationBatches(dataset, { sequences: 6, contextLength: 8, batchSize: 4 });

/** The weights of a model after GPTQ in 3 bits. */
async function quantized(mine: Mine | null): Promise<Map<string, number[]>> {
  const model = new Transformer({ vocabSize: 19, contextLength: 8, layers: 2, width: 16, heads: 2, seed: 5 });
  await quantizeModel(model, { method: 'gptq', bits: 3, calibration, quiet: true, ...mine?.quantize });
  const weights = new Map<string, number[]>();
  for (const [path, tensor] of model.stateDict()) weights.set(path, Array.from(await tensor.data()));
  model.dispose();
  return weights;
}

describe('the column step of exercise 8.7', () => {
  it('quantizes every layer of a model, to the numbers of the library', async () => {
    let called = 0;
    const counted: ColumnStep = (block, column) => {
      called++;
      gptqStep(block, column);
    };
    const theirs = await quantized(new Mine([], plugged(counted)));
    expect(theirs).toEqual(await quantized(null));
    // Query, key, value, output and the MLP's first have 16 inputs, its second has 64.
    expect(called).toBe(2 * (5 * 16 + 64));
  });

  it('is the one that is used: one that forgets to make up for errors quantizes otherwise', async () => {
    const careless: ColumnStep = (block, column) => {
      const before = block.weights.slice();
      gptqStep(block, column);
      block.weights.set(before);
    };
    expect(await quantized(new Mine([], plugged(careless)))).not.toEqual(await quantized(null));
  });

  it('is the library’s as long as it is not written', () => {
    expect(new Mine([], { transformer: {}, train: {}, generate: {} }).quantize).toEqual({});
  });
});

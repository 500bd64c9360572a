/**
 * @file The answer of chapter 12 in its place: the reader's loss is what DPO trains a model with, and a model trained with the
 * solution's is the one that the library makes.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  directPreferenceOptimization,
  findExercise,
  Mine,
  policyOf,
  startBackend,
  tf,
  theCourse,
  Transformer,
  type Assembly,
} from 'lab';
import { dpoLoss } from '../../solutions/12-without-rl.ts';
import { relativeError } from './core-fixture.ts';

beforeAll(async () => {
  await startBackend();
});

function plugged(loss: typeof dpoLoss): Mine {
  const assembly: Assembly = { transformer: {}, train: {}, generate: {} };
  findExercise('12.3', theCourse()).exercise.plug?.({ dpoLoss: loss }, assembly);
  return new Mine([], assembly);
}

const pairs = [1, 2, 3].map((token) => ({ prompt: [token], chosen: [4, 5, 0], rejected: [6, 0] }));

/** The losses of a short training with β = 0.4. */
async function losses(mine: Mine | null): Promise<number[]> {
  const model = new Transformer({ vocabSize: 7, contextLength: 8, layers: 1, width: 8, heads: 2, seed: 5 });
  const options = { beta: 0.4, steps: 6, learningRate: 5e-3, quiet: true, ...mine?.direct };
  const result = await directPreferenceOptimization(policyOf(model), pairs, options);
  return result.losses.map(({ loss }) => loss);
}

describe('the loss of exercise 12.3', () => {
  it('trains a model to the numbers of the library, with the β that was asked for', async () => {
    const betas: number[] = [];
    const theirs = await losses(
      plugged((chosen, rejected, beta) => {
        betas.push(beta);
        return dpoLoss(chosen, rejected, beta);
      }),
    );
    expect(relativeError(theirs, await losses(null))).toBeLessThan(1e-4);
    expect(betas).toEqual([0.4, 0.4, 0.4, 0.4, 0.4, 0.4]);
  });

  it('is the one that is used: one that is the wrong way round learns otherwise', async () => {
    const reversed = await losses(plugged((chosen, rejected, beta) => tf.neg(dpoLoss(chosen, rejected, beta))));
    expect(reversed[0]).toBeCloseTo(-Math.LN2, 4);
    expect(reversed.at(-1)!).toBeLessThan(reversed[0]!);
  });

  it('is the library’s as long as it is not written', () => {
    expect(new Mine([], { transformer: {}, train: {}, generate: {} }).direct).toEqual({});
  });
});

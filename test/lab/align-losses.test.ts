/** @file The losses of alignment against TRL's and PyTorch's numbers, and their properties. */
import { readFileSync } from 'node:fs';
import {
  clipFraction,
  clippedObjective,
  clippedValueLoss,
  completionBatch,
  countedTargets,
  directLoss,
  generalizedAdvantages,
  groupAdvantages,
  klEstimate,
  logProbabilities,
  minusLogSigmoid,
  pairwiseLoss,
  policyOf,
  referenceLogProbabilities,
  sequenceSums,
  tf,
  tokenRewards,
  Transformer,
  valueAndGradients,
  whiten,
  type DirectLossOptions,
  type Scalar,
  type Tensor1D,
} from 'lab';
import { expect, it } from 'vitest';
import { expectNear, onEveryBackend, relativeError, tensorOf, type FixtureTensor } from './core-fixture.ts';
import { fromGPT2 } from './core-models.ts';

interface Losses {
  readonly weights: Record<string, FixtureTensor>;
  readonly referenceWeights: Record<string, FixtureTensor>;
  readonly prompts: number[][];
  readonly answers: number[][][];
  readonly beta: number;
  readonly logProbabilities: FixtureTensor;
  readonly dpo: Record<string, { readonly loss: number; readonly gradients?: Record<string, FixtureTensor> }>;
  readonly pairwise: {
    readonly chosen: FixtureTensor;
    readonly rejected: FixtureTensor;
    readonly margins: FixtureTensor;
    readonly losses: Record<string, { readonly loss: number; readonly chosen: FixtureTensor; readonly rejected: FixtureTensor }>;
  };
  readonly ppo: Record<string, FixtureTensor> & { policyLoss: number; valueLoss: number; clipFraction: number };
  readonly group: { readonly rewards: FixtureTensor; readonly advantages: FixtureTensor };
}

const truth = JSON.parse(readFileSync(new URL('../fixtures/align/losses.json', import.meta.url), 'utf8')) as Losses;
const config = { vocabSize: 29, contextLength: 16, layers: 1, width: 8, heads: 2 };
const samples = [0, 1].flatMap((side) =>
  truth.prompts.map((prompt, i) => ({ prompt, completion: truth.answers[i]![side]! })),
);
const numbers = (given: FixtureTensor): number[] => Array.from(tensorOf(given).dataSync());
/** Of the first six tokens and the first four of the second row: those that are real. */
const real = (given: FixtureTensor): number[] => [...numbers(given).slice(0, 6), ...numbers(given).slice(6, 10)];

function models(): { model: Transformer; reference: Transformer } {
  const [model, reference] = [truth.weights, truth.referenceWeights].map((weights) => {
    const made = new Transformer(config);
    const state = fromGPT2(weights);
    state.delete('lm_head.weight');
    made.loadStateDict(state);
    return made;
  });
  return { model: model!, reference: reference! };
}

async function valueOf(loss: Scalar): Promise<number> {
  return (await loss.data())[0]!;
}

onEveryBackend(() => {
  const batch = completionBatch(samples);
  const targets = countedTargets(batch);

  it('finds each token of the completions as likely as PyTorch does', async () => {
    const { model } = models();
    const found = await logProbabilities(model, batch).data();
    const expected = numbers(truth.logProbabilities);
    const wanted = Array.from(targets.positions, (at) => expected[at]!);
    expect(relativeError(found, wanted)).toBeLessThan(1e-5);
    expect(expected.filter((value) => value !== 0)).toHaveLength(wanted.length);
  });

  it('computes the losses of the DPO family as TRL does, and the gradients of all weights', async () => {
    const { model, reference } = models();
    const policy = policyOf(model, reference);
    const before = referenceLogProbabilities(policy, batch, targets);
    const lengths = tf.tensor1d(Array.from(batch.lengths));
    const lossOf = (options: DirectLossOptions): Scalar => {
      const sums = sequenceSums(tf.sub<Tensor1D>(logProbabilities(model, batch, targets), before), targets);
      const ratios = options.kind === 'ipo' ? tf.div<Tensor1D>(sums, lengths) : sums;
      const [chosen, rejected] = tf.split(ratios, 2) as [Tensor1D, Tensor1D];
      return directLoss({ chosen, rejected }, { beta: truth.beta, ...options });
    };
    for (const [name, options] of Object.entries<DirectLossOptions>({
      sigmoid: {},
      hinge: { kind: 'hinge' },
      ipo: { kind: 'ipo' },
      smoothed: { labelSmoothing: 0.1 },
    })) {
      expect(relativeError([await valueOf(lossOf(options))], [truth.dpo[name]!.loss]), name).toBeLessThan(1e-5);
    }
    const parameters = model.namedParameters();
    const { gradients } = valueAndGradients(() => lossOf({}), [...parameters.values()]);
    const wanted = fromGPT2(truth.dpo['sigmoid']!.gradients!);
    // A bias of the keys shifts all scores of a query alike: its gradient is zero but for rounding.
    for (const [path, variable] of parameters) await expectNear(gradients.get(variable)!, wanted.get(path)!, 1e-4, path, 1e-2);
  });

  it('computes the pairwise loss and its gradients, with margin and centering', async () => {
    const [chosen, rejected] = [truth.pairwise.chosen, truth.pairwise.rejected].map((x) => tf.variable(tensorOf<Tensor1D>(x)));
    for (const [name, options] of Object.entries({
      plain: {},
      margin: { margins: tensorOf<Tensor1D>(truth.pairwise.margins) },
      centered: { centering: 0.01 },
    })) {
      const wanted = truth.pairwise.losses[name]!;
      const { value, gradients } = valueAndGradients(() => pairwiseLoss(chosen!, rejected!, options), [chosen!, rejected!]);
      expect(relativeError([await valueOf(value)], [wanted.loss]), name).toBeLessThan(1e-5);
      await expectNear(gradients.get(chosen!)!, wanted.chosen, 1e-4, name);
      await expectNear(gradients.get(rejected!)!, wanted.rejected, 1e-4, name);
    }
  });

  it('has the slope −½ at zero, where every policy begins, and does not overflow', async () => {
    const x = tf.variable(tf.tensor1d([0, 200, -200]));
    const { value, gradients } = valueAndGradients(() => tf.sum<Scalar>(minusLogSigmoid(x)), [x]);
    expect(await valueOf(value)).toBeCloseTo(Math.LN2 + 200, 4);
    expect(relativeError(await gradients.get(x)!.data(), [-0.5, 0, -1])).toBeLessThan(1e-6);
  });

  it("computes PPO's losses and gradients as PyTorch does with TRL's masked means", async () => {
    const { ppo } = truth;
    const row = (name: string): Tensor1D => tf.tensor1d(real(ppo[name]!));
    const [now, values] = [tf.variable(row('now')), tf.variable(row('values'))];
    const white = row('white');
    const policyLoss = (): Scalar => tf.mean(clippedObjective(now, row('before'), white));
    const valueLoss = (): Scalar => clippedValueLoss(values, row('expected'), row('returns'));
    expect(relativeError([await valueOf(policyLoss())], [ppo.policyLoss])).toBeLessThan(1e-5);
    expect(relativeError([await valueOf(valueLoss())], [ppo.valueLoss])).toBeLessThan(1e-5);
    expect(await valueOf(clipFraction(now, row('before'), white))).toBeCloseTo(ppo.clipFraction, 5);
    expect(ppo.clipFraction).toBeGreaterThan(0);
    const both = (): Scalar => tf.add<Scalar>(policyLoss(), tf.mul(valueLoss(), 0.1));
    const { gradients } = valueAndGradients(both, [now, values]);
    await expectNear(gradients.get(now)!, row('nowGradient'), 1e-4);
    await expectNear(gradients.get(values)!, row('valuesGradient'), 1e-4);
  });

  it('estimates KL: k1 and k3 have the same mean under the policy, k3 is never negative', async () => {
    const p = [0.5, 0.3, 0.2];
    const q = [0.2, 0.2, 0.6];
    const exact = p.reduce((sum, x, i) => sum + x * Math.log(x / q[i]!), 0);
    const [logP, logQ] = [p, q].map((values) => tf.tensor1d(values.map(Math.log)));
    for (const estimator of ['k1', 'k3'] as const) {
      const found = await klEstimate(logP!, logQ!, estimator).data();
      expect(p.reduce((sum, x, i) => sum + x * found[i]!, 0)).toBeCloseTo(exact, 5);
      if (estimator === 'k3') expect(Math.min(...found)).toBeGreaterThanOrEqual(0);
    }
    const k2 = await klEstimate(logP!, logQ!, 'k2').data();
    expect(k2[2]).toBeCloseTo(0.5 * Math.log(3) ** 2, 5);
  });

  it('whitens and estimates advantages as TRL does, over the real tokens alone', () => {
    const { ppo } = truth;
    const rows = [6, 4].map((count, row) => {
      const of = (name: string): number[] => numbers(ppo[name]!).slice(6 * row, 6 * row + count);
      return generalizedAdvantages(of('rewards'), of('expected'));
    });
    const advantages = rows.flatMap((row) => [...row.advantages]);
    expect(relativeError(advantages, real(ppo['advantages']!))).toBeLessThan(1e-5);
    expect(relativeError(rows.flatMap((row) => [...row.returns]), real(ppo['returns']!))).toBeLessThan(1e-5);
    expect(relativeError(whiten(advantages), real(ppo['white']!))).toBeLessThan(1e-5);
    expect(relativeError(groupAdvantages(numbers(truth.group.rewards)), numbers(truth.group.advantages))).toBeLessThan(1e-5);
  });
});

it('estimates the advantages of an example that was worked by hand', () => {
  // δ = (0.5 + 0.5·2 − 1, 0 + 0.5·4 − 2, 6 − 4) = (0.5, 0, 2); A₃ = 2, A₂ = 0 + 0.25·2, A₁ = 0.5 + 0.25·0.5.
  const { advantages, returns } = generalizedAdvantages([0.5, 0, 6], [1, 2, 4], { gamma: 0.5, lambda: 0.5 });
  expect([...advantages]).toEqual([0.625, 0.5, 2]);
  expect([...returns]).toEqual([1.625, 2.5, 6]);
});

it('gives the score to the last real token, and to every token what its distance costs', () => {
  expect([...tokenRewards([-1, -2], [-2, -2], 3, 0.5)]).toEqual([-0.5, 3]);
});

it('whitens a single number to zero, and equal ones too', () => {
  expect(whiten([3])).toEqual([0]);
  expect(whiten([3, 3])).toEqual([0, 0]);
  expect(whiten([1, 3], true)[0]).toBeCloseTo(2 - Math.SQRT1_2, 6);
  expect(groupAdvantages([1, 1, 1])).toEqual([0, 0, 0]);
});

it('refuses empty prompts and completions, label smoothing where there is none, and a reference of another vocabulary', () => {
  expect(() => completionBatch([{ prompt: [], completion: [1] }])).toThrow('Sample 0 has an empty prompt');
  expect(() => completionBatch([{ prompt: [1], completion: [] }])).toThrow('Sample 0 has an empty completion');
  const ratios = { chosen: tf.tensor1d([1]), rejected: tf.tensor1d([0]) };
  expect(() => directLoss(ratios, { kind: 'ipo', labelSmoothing: 0.1 })).toThrow("belongs to 'sigmoid'");
  const [model, other] = [new Transformer(config), new Transformer({ ...config, vocabSize: 30 })];
  expect(() => policyOf(model, other)).toThrow('The reference has a vocabSize of 30, the policy one of 29');
});

/**
 * @file Chapter 12, alignment without PPO: what each answer must do, and what the usual mistakes look like.
 * Expected values come from the definitions, in double precision. No two sizes are equal, and no two numbers that could be
 * taken for each other.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Diagnosis, expectClose, Random, startBackend, tf, type Hints } from 'lab';
import {
  bestOfAll,
  bestOfEach,
  bestPolicy,
  dpoLoss,
  dpoWeights,
  frontierPoint,
  hackedFrom,
  hindsight,
  implicitRewards,
  ipoLoss,
} from '../solutions/12-without-rl.ts';

beforeAll(async () => {
  await startBackend();
});
beforeEach(() => tf.engine().startScope());
afterEach(() => tf.engine().endScope());

const TOLERANCE = 1e-8;
const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const mean = (numbers: readonly number[]): number => sum(numbers) / numbers.length;
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** @throws Diagnosis when it does not hold. */
function expectThat(holds: boolean, hint: string, say: string): void {
  if (!holds) throw new Diagnosis(hint, say);
}

/** @throws Diagnosis for the first of the wrong answers that was received. */
function expectEqual(received: unknown, wanted: unknown, wrong: Readonly<Record<string, readonly [unknown, string]>>): void {
  if (same(received, wanted)) return;
  for (const [hint, [looksLike, say]] of Object.entries(wrong)) expectThat(!same(received, looksLike), hint, say);
  expect(received).toEqual(wanted);
}

describe('12.1 the best policy', () => {
  const reference = [0.5, 0.3, 0.15, 0.05];
  const rewards = [1, 0.2, -0.5, 2];
  const beta = 0.6;
  const normalized = (weights: number[]): number[] => weights.map((weight) => weight / sum(weights));
  const weighted = (exponent: (reward: number) => number): number[] =>
    reference.map((p, i) => p * Math.exp(exponent(rewards[i]!)));
  const hints: Hints = {
    'not-normalized': {
      say: 'The proportions are right, but the sum is not 1. Divide by it: that is the Z of the formula.',
      when: () => {
        const found = bestPolicy(reference, rewards, beta);
        const shares = normalized(weighted((reward) => reward / beta)).map((p, i) => found[i]! / p);
        return shares.every((share) => Math.abs(share / shares[0]! - 1) < 1e-9);
      },
    },
    'reference-forgotten': {
      say: 'That is a softmax of the rewards alone. What the reference finds unlikely stays less likely: multiply by it.',
      looksLike: normalized(rewards.map((reward) => Math.exp(reward / beta))),
    },
    'times-beta': {
      say: 'The reward is multiplied by β. Divide: the dearer a nat of distance, the less a reward moves.',
      looksLike: normalized(weighted((reward) => reward * beta)),
    },
    'reward-reversed': {
      say: 'Your policy prefers the answers that are worth least: the sign of the exponent is wrong.',
      looksLike: normalized(weighted((reward) => -reward / beta)),
    },
  };

  it('multiplies the reference by e to the reward over β', async () => {
    await expectClose(bestPolicy(reference, rewards, beta), normalized(weighted((reward) => reward / beta)), {
      tolerance: TOLERANCE,
      hints,
      what: 'the policy',
    });
  });

  it('is better, at the price of its distance, than any policy near it', () => {
    const best = bestPolicy(reference, rewards, beta);
    const value = (policy: number[]): number =>
      sum(policy.map((p, i) => p * (rewards[i]! - beta * Math.log(p / reference[i]!))));
    const random = new Random(1);
    for (let i = 0; i < 20; i++) {
      const other = normalized(best.map((p) => p * Math.exp(0.3 * random.normal())));
      expect(value(best)).toBeGreaterThan(value(other));
    }
  });

  it('stands rewards that are large against β', () => {
    if (Math.abs(sum(bestPolicy(reference, rewards, beta)) - 1) > 1e-9) return; // That was said above.
    const found = bestPolicy([0.5, 0.5], [1000, 990], 0.1);
    const say = 'Rewards of 1000 with β = 0.1 give e to the 10000, which is Infinity. Take the highest reward away from all first.';
    expectThat(found.every(Number.isFinite), 'overflows', say);
    expect(found[0]).toBeCloseTo(1, 8);
  });
});

describe('12.2 the reward inside a policy', () => {
  const random = new Random(12);
  const logs = (n: number): number[] => Array.from({ length: n }, () => -3 * random.uniform());
  const [policy, reference] = [
    [logs(5), logs(5), logs(5)],
    [logs(5), logs(5), logs(5)],
  ];
  const counts = [
    [1, 1, 1, 1, 1],
    [1, 1, 1, 0, 0],
    [1, 1, 0, 0, 0],
  ];
  const beta = 0.3;
  const gained = (term: (p: number, q: number, counted: number) => number): number[] =>
    policy.map((tokens, i) => sum(tokens.map((p, t) => term(p, reference[i]![t]!, counts[i]![t]!))));
  const truth = gained((p, q, counted) => beta * counted * (p - q));

  it('adds up over the tokens that count', async () => {
    const hints: Hints = {
      'averaged': {
        say: 'The mean over the tokens: DPO wants the sum, for the probability of an answer is the product over its tokens.',
        looksLike: truth.map((reward, i) => reward / sum(counts[i]!)),
      },
      'averaged-with-padding': {
        say: 'You divide by the number of places, padding included. DPO wants the sum, and no padding in it.',
        looksLike: truth.map((reward) => reward / 5),
      },
      'padding-counted': {
        say: 'Padding is in your sums. It has log-probabilities, too, but no meaning: multiply by the counts.',
        looksLike: gained((p, q) => beta * (p - q)),
      },
      'reference-missing': {
        say: 'That is β log π. The reward is in how much more likely than the reference the policy finds the answer.',
        looksLike: gained((p, _q, counted) => beta * counted * p),
      },
      'reversed': {
        say: 'The sign is wrong: what the policy finds more likely than its reference has a positive reward.',
        looksLike: gained((p, q, counted) => beta * counted * (q - p)),
      },
      'beta-missing': {
        say: 'That is log π/π_reference. Solved for the reward, the best policy gives it times β.',
        looksLike: gained((p, q, counted) => counted * (p - q)),
      },
      'beta-divides': {
        say: 'You divide by β. π = π_reference e^(r/β) / Z, so r = β log π/π_reference + a constant.',
        looksLike: gained((p, q, counted) => (counted * (p - q)) / beta),
      },
    };
    await expectClose(implicitRewards(policy, reference, counts, beta), truth, { tolerance: TOLERANCE, hints, what: 'the rewards' });
  });

  it('finds again the rewards of which a policy is the best one', async () => {
    const start = [0.6, 0.3, 0.1];
    const rewards = [0.5, -1, 2];
    const weights = start.map((p, i) => p * Math.exp(rewards[i]! / beta));
    const logP = weights.map((weight) => [Math.log(weight / sum(weights))]);
    const found = implicitRewards(logP, start.map((p) => [Math.log(p)]), [[1], [1], [1]], beta);
    // A constant that is the same for all answers to a prompt is lost.
    await expectClose(
      found.map((reward) => reward - found[0]!),
      rewards.map((reward) => reward - rewards[0]!),
      { tolerance: TOLERANCE, what: 'the differences of the rewards' },
    );
  });
});

const chosenRatios = [0.7, -1.2, 3.1, 0.05, -2.4];
const rejectedRatios = [-0.4, 0.9, 1.5, 0.3, -6];
const gains = chosenRatios.map((gain, i) => gain - rejectedRatios[i]!);
const ratios = (): [tf.Tensor1D, tf.Tensor1D] => [tf.tensor1d(chosenRatios), tf.tensor1d(rejectedRatios)];

describe("12.3 DPO's loss", () => {
  const beta = 0.4;
  const loss = (logit: number): number => Math.log1p(Math.exp(-logit));
  const truth = mean(gains.map((gain) => loss(beta * gain)));
  const hints: Hints = {
    'reversed': {
      say: 'Your loss is small where the rejected answer is preferred. It is −log σ(β (chosen − rejected)).',
      looksLike: mean(gains.map((gain) => loss(-beta * gain))),
    },
    'beta-missing': {
      say: 'β is missing: the difference of the two log-ratios is multiplied by it before σ.',
      looksLike: mean(gains.map(loss)),
    },
    'sum-instead-of-mean': {
      say: 'That is the sum over the pairs. With the mean, the size of a batch does not change the size of a step.',
      looksLike: sum(gains.map((gain) => loss(beta * gain))),
    },
    'no-logarithm': {
      say: 'That is 1 − σ, the probability of being wrong; the loss is the negative logarithm of being right.',
      looksLike: mean(gains.map((gain) => 1 - sigmoid(beta * gain))),
    },
    'minus-missing': {
      say: 'Negative: you give log σ. The loss is what is to become small, −log σ.',
      looksLike: -truth,
    },
  };

  it('is the mean of −log σ(β (chosen − rejected))', async () => {
    await expectClose(dpoLoss(...ratios(), beta), truth, { tolerance: 1e-5, hints, what: 'the loss' });
  });

  it('is log 2 where a policy begins: as far from its reference with all answers', async () => {
    const zeros = tf.zeros<tf.Rank.R1>([3]);
    await expectClose(dpoLoss(zeros, zeros, beta), Math.LN2, { tolerance: 1e-5, hints, what: 'the loss' });
  });

  it('stays finite where a pair is very wrong', async () => {
    const [value] = await dpoLoss(tf.tensor1d([-2000, 0]), tf.tensor1d([1000, 0]), 0.1).data();
    const say =
      'With β (chosen − rejected) = −300, σ is 0 in single precision and its logarithm −Infinity. −log σ(x) is softplus(−x), ' +
      'which stays finite: tf.softplus.';
    expectThat(Number.isFinite(value), 'not-finite', say);
    await expectClose(value, (300 + Math.LN2) / 2, { tolerance: 1e-4, hints, what: 'the loss' });
  });

  it('has a gradient by which a model can learn', async () => {
    let gradient: tf.Tensor | undefined;
    try {
      [gradient] = tf.grads((a: tf.Tensor, b: tf.Tensor) => dpoLoss(a as tf.Tensor1D, b as tf.Tensor1D, beta))(ratios());
    } catch {
      gradient = undefined;
    }
    const say =
      'No gradient arrives: somewhere on the way the tensors became numbers, or an operation has no gradient that works ' +
      '(tf.logSigmoid has not; −tf.softplus(−x) is the same). Compute with tf.… to the end.';
    expectThat(gradient !== undefined, 'no-gradient', say);
    await expectClose(gradient, gains.map((gain) => (-beta * sigmoid(-beta * gain)) / gains.length), {
      tolerance: 1e-5,
      what: 'the gradient',
    });
  });
});

describe('12.4 what it learns from', () => {
  const beta = 0.7;
  const by = (weight: (gain: number) => number): number[] => gains.map(weight);

  it('pushes most where the wrong answer is preferred', async () => {
    const hints: Hints = {
      'reversed': {
        say: 'Your weight is largest for pairs that are right already. It is σ of rejected − chosen.',
        looksLike: by((gain) => beta * sigmoid(beta * gain)),
      },
      'outer-beta-missing': {
        say: 'The shape is right, but β is missing in front: the derivative of β x by x leaves a factor β.',
        looksLike: by((gain) => sigmoid(-beta * gain)),
      },
      'inner-beta-missing': {
        say: 'Inside σ, the difference is to be multiplied by β, too.',
        looksLike: by((gain) => beta * sigmoid(-gain)),
      },
      'derivative-of-sigmoid': {
        say: 'That is the derivative of σ. The loss has a logarithm around it, and d/dx log σ(x) = 1 − σ(x) = σ(−x).',
        looksLike: by((gain) => beta * sigmoid(beta * gain) * sigmoid(-beta * gain)),
      },
      'the-loss': {
        say: 'That is the loss of each pair, not its derivative.',
        looksLike: by((gain) => Math.log1p(Math.exp(-beta * gain))),
      },
    };
    await expectClose(dpoWeights(chosenRatios, rejectedRatios, beta), by((gain) => beta * sigmoid(-beta * gain)), {
      tolerance: TOLERANCE,
      hints,
      what: 'the weights',
    });
  });
});

describe('12.5 IPO', () => {
  const beta = 0.35;
  const by = (term: (gain: number) => number): number => mean(gains.map(term));
  const hints: Hints = {
    'target-without-two': {
      say: 'Your margin is 1/β. It is half of that: 1/(2β).',
      looksLike: by((gain) => (gain - 1 / beta) ** 2),
    },
    'target-is-half-beta': {
      say: 'Your margin is β/2: `1 / 2 * β` is read from the left. Write 1 / (2 * β).',
      looksLike: by((gain) => (gain - beta / 2) ** 2),
    },
    'gain-times-beta': {
      say: 'The difference itself is to be 1/(2β); it is not multiplied by β first.',
      looksLike: by((gain) => (beta * gain - 1 / (2 * beta)) ** 2),
    },
    'one-sided': {
      say: 'You let go of pairs that are beyond the margin. IPO pulls these back: that is what it is for.',
      looksLike: by((gain) => Math.max(0, 1 / (2 * beta) - gain) ** 2),
    },
    'absolute': {
      say: 'That is the distance from the margin; the loss is its square.',
      looksLike: by((gain) => Math.abs(gain - 1 / (2 * beta))),
    },
    'sum-instead-of-mean': {
      say: 'That is the sum over the pairs; it is to be the mean.',
      looksLike: sum(gains.map((gain) => (gain - 1 / (2 * beta)) ** 2)),
    },
  };

  it('is the square of how far the difference is from its margin, on both sides', async () => {
    await expectClose(ipoLoss(...ratios(), beta), by((gain) => (gain - 1 / (2 * beta)) ** 2), {
      tolerance: 1e-5,
      hints,
      what: 'the loss',
    });
    const margin = 1 / (2 * beta);
    await expectClose(ipoLoss(tf.tensor1d([margin]), tf.tensor1d([0]), beta), 0, { tolerance: 1e-5, hints, what: 'the loss' });
  });
});

describe("12.6 RAFT's ranking", () => {
  const rewards = [
    [2, 10, 9, 10],
    [-3, -1, -2, -7],
    [11, 4, 30, 5],
  ];

  it('takes the best answer to each prompt', () => {
    const given = structuredClone(rewards);
    const found = bestOfEach(given);
    expectThat(same(given, rewards), 'changes-its-inputs', 'The rewards that your function was given have changed. Work on a copy.');
    expectEqual(found, [1, 1, 2], {
      'the-worst': [[0, 3, 1], 'That is the worst answer to each prompt.'],
      'last-of-equals': [[3, 1, 2], 'Of two answers that are worth the same, you take the later one; the first was asked for.'],
      'sorted-as-text': [
        [2, 3, 3],
        'Without a function, sort() compares numbers as text: "9" comes after "10". Give it (a, b) => b − a, or use Math.max.',
      ],
      'rewards-instead-of-places': [[10, -1, 30], 'That is what the best answers are worth. Asked for is which they are.'],
      'starts-at-zero': [
        [1, -1, 2],
        'Where all rewards are negative, you find nothing better than 0. Begin with the first reward, or with −Infinity.',
      ],
    });
  });

  it('takes as many as there are prompts from all of them', () => {
    const given = structuredClone(rewards);
    const found = bestOfAll(given);
    expectThat(same(given, rewards), 'changes-its-inputs', 'The rewards that your function was given have changed. Work on a copy.');
    const all = [
      [2, 2],
      [2, 0],
      [0, 1],
      [0, 3],
    ];
    expectEqual(found, all.slice(0, 3), {
      'best-of-each-again': [
        [
          [0, 1],
          [1, 1],
          [2, 2],
        ],
        'That is one answer to each prompt. Here a prompt may give several, or none: all answers compete.',
      ],
      'too-many': [all, 'As many answers as prompts were asked for: 3. You give as many as there are answers to a prompt.'],
      'the-worst': [
        [
          [1, 3],
          [1, 0],
          [1, 2],
        ],
        'Those are the worst answers: the order is the wrong way round.',
      ],
      'answer-before-prompt': [
        [
          [2, 2],
          [0, 2],
          [1, 0],
        ],
        'You give [answer, prompt]. Asked for is [prompt, answer].',
      ],
    });
  });
});

describe('12.7 a chain of hindsight', () => {
  const pair = { prompt: [11, 12], chosen: [21, 22, 0], rejected: [31, 0] };
  const marks = { good: [41], bad: [51, 52] };
  const sequence = (
    mark: number[],
    first: number[],
    between: number[],
    second: number[],
    counted: readonly [number, number, number] = [1, 0, 1],
  ) => ({
    prompt: [...pair.prompt, ...mark],
    completion: [...first, ...between, ...second],
    counts: [first, between, second].flatMap((part, i) => part.map(() => counted[i]!)),
  });
  const { good, bad } = marks;
  const both = (counted?: readonly [number, number, number], one = good, other = bad) => [
    sequence(other, pair.rejected, one, pair.chosen, counted),
    sequence(one, pair.chosen, other, pair.rejected, counted),
  ];
  const wanted = both();
  const markLearned = wanted.map(({ prompt, completion, counts }) => {
    const mark = prompt.slice(pair.prompt.length);
    return { prompt: pair.prompt, completion: [...mark, ...completion], counts: [...mark.map(() => 0), ...counts] };
  });

  it('writes both orders, and learns the answers alone', () => {
    // The fields may come in any order.
    const found = hindsight(pair, marks).map(({ prompt, completion, counts }) => ({ prompt, completion, counts }));
    const [worseFirst, betterFirst] = wanted;
    expectEqual(found, wanted, {
      'marks-are-learned': [
        both([1, 1, 1]),
        'The mark between the answers is learned: then the model learns to go on after its answer with another one.',
      ],
      'first-answer-not-learned': [
        both([0, 0, 1]),
        'Only the second answer counts. Both are learned: each is what belongs behind its mark.',
      ],
      'bad-answers-not-learned': [
        [sequence(bad, pair.rejected, good, pair.chosen, [0, 0, 1]), sequence(good, pair.chosen, bad, pair.rejected, [1, 0, 0])],
        'The bad answers do not count. They do: the model is to know what a bad answer is, so that the marks have a meaning.',
      ],
      'marks-exchanged': [both(undefined, bad, good), 'The good answer stands behind the mark of bad ones, and the other way round.'],
      'one-order': [[worseFirst], 'Only one order: give the better answer first as well.'],
      'only-better-first': [[betterFirst], 'Only one order: give the worse answer first as well, so that the model learns to improve.'],
      'better-first': [[betterFirst, worseFirst], 'The worse answer first is to be the first of the two sequences.'],
      'same-order-twice': [[worseFirst, worseFirst], 'Both sequences have the same order.'],
      'first-mark-behind-the-prompt': [
        markLearned,
        'The first mark is part of what is read before the model writes: it belongs into the prompt.',
      ],
      'no-marks': [
        [sequence([], pair.rejected, [], pair.chosen), sequence([], pair.chosen, [], pair.rejected)],
        'The marks are missing: nothing says which of the answers is the good one.',
      ],
    });
  });
});

describe('12.8 a point of the figure', () => {
  const random = new Random(128);
  const logs = (n: number): number[] => Array.from({ length: n }, () => -2 * random.uniform());
  const answers = [2, 5, 3, 7].map((n, i) => {
    const [policy, reference] = [logs(n), logs(n)];
    // Two of the four are less likely than before.
    return { policy: policy.map((logP) => logP - (i % 2)), reference: reference.map((logP) => logP - 1 + (i % 2)), reward: 0.1 + 0.2 * i };
  });
  const gone = answers.map(({ policy, reference }) => sum(policy.map((p, t) => p - reference[t]!)));
  const truth = { kl: mean(gone), reward: mean(answers.map(({ reward }) => reward)) };

  it('is the mean of log π/π_reference of whole answers, and of their rewards', async () => {
    const { kl, reward } = frontierPoint(answers);
    const tokens = answers.flatMap(({ policy, reference }) => policy.map((p, t) => p - reference[t]!));
    const hints: Hints = {
      'kl-reversed': {
        say: 'The sign is wrong. The answers are the policy’s own, so the distance is the mean of log π − log π_reference.',
        looksLike: -truth.kl,
      },
      'per-token': {
        say: 'That is the mean over all tokens. The figure has nats an answer: add up over the tokens of each first.',
        looksLike: mean(tokens),
      },
      'mean-of-each-answer': {
        say: 'You take the mean over the tokens of each answer. The distance of an answer is their sum.',
        looksLike: mean(answers.map((answer, i) => gone[i]! / answer.policy.length)),
      },
      'absolute': {
        say: 'Do not take absolute values: some answers are less likely than under the reference, and these count as negative.',
        looksLike: mean(gone.map(Math.abs)),
      },
      'sum-instead-of-mean': { say: 'That is the sum over the answers. It is to be their mean.', looksLike: sum(gone) },
    };
    await expectClose(kl, truth.kl, { tolerance: TOLERANCE, hints, what: 'the distance' });
    await expectClose(reward, truth.reward, {
      tolerance: TOLERANCE,
      what: 'the reward',
      hints: {
        'rewards-added-up': { say: 'That is the sum of the rewards; it is to be their mean.', looksLike: 4 * truth.reward },
        'price-taken-off': {
          say: 'Nothing is to be taken off the reward: distance is the other axis of the figure.',
          looksLike: truth.reward - truth.kl,
        },
      },
    });
  });
});

describe('12.9 where the hack begins', () => {
  it('is where the truth was highest, while the proxy went on rising', () => {
    const [proxy, truth] = [
      [0, 1, 2, 3, 5, 4],
      [0.5, 0.6, 0.55, 0.7, 0.6, 0.4],
    ];
    const found = hackedFrom(proxy, truth);
    expectThat(found !== 4, 'highest-proxy', 'That is where the proxy is highest. The proxy does not know that it was hacked: ask the truth.');
    expectThat(found !== 1, 'first-drop', 'That is the first time the truth fell, and it rose again. Rewards are noisy: take the highest of all.');
    expectThat(found !== 5 && found !== 0, 'the-lowest', 'That is not where the truth is highest.');
    expect(found).toBe(3);
  });

  it('is nowhere when the truth is highest at the end, or the proxy fell, too', () => {
    const rising = hackedFrom([0, 3, 1, 2], [0.1, 0.3, 0.2, 0.4]);
    expectThat(rising !== 3, 'always-hacked', 'The truth is highest in the last round: nothing was hacked. Give −1.');
    expect(rising).toBe(-1);
    const both = hackedFrom([0, 4, 3, 2], [0.1, 0.8, 0.6, 0.5]);
    const say = 'The truth fell, but so did the proxy: that is a training that broke, not one that hacked its reward. Give −1.';
    expectThat(both !== 1, 'proxy-not-asked', say);
    expect(both).toBe(-1);
  });

  it('may be in the first round', () => {
    const found = hackedFrom([1, 2, 3], [0.9, 0.5, 0.4]);
    expectThat(found !== -1, 'zero-is-nothing', 'Round 0 is a round: hacked from the start. `place || -1` takes 0 for nothing.');
    expect(found).toBe(0);
  });
});

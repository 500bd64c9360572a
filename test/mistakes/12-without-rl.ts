/**
 * @file Chapter 12: plausible wrong answers, each under the hint that its author must be given, and right answers that are
 * written differently from the solution.
 */
import { tf, type ChapterMistakes } from 'lab';

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const mean = (values: readonly number[]): number => sum(values) / values.length;
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const normalized = (values: readonly number[]): number[] => values.map((value) => value / sum(values));

/** Weights by a rule of one answer's. */
const policyWith =
  (weigh: (p: number, reward: number, beta: number) => number, finish = normalized) =>
  (reference: number[], rewards: number[], beta: number): number[] =>
    finish(reference.map((p, i) => weigh(p, rewards[i]!, beta)));
/** With the highest reward taken away before, as the solution does. */
const steady =
  (policy: (reference: number[], rewards: number[], beta: number) => number[]) =>
  (reference: number[], rewards: number[], beta: number): number[] =>
    policy(reference, rewards.map((reward) => reward - Math.max(...rewards)), beta);

/** Sums over tokens in loops, with their parts exchanged. */
const rewardsWith =
  ({
    term = (p: number, q: number) => p - q,
    count = (counted: number) => counted,
    scale = (beta: number) => beta,
    divide = (_counts: number[]) => 1,
  }) =>
  (policy: number[][], reference: number[][], counts: number[][], beta: number): number[] => {
    const found: number[] = [];
    for (let i = 0; i < policy.length; i++) {
      let total = 0;
      for (let t = 0; t < policy[i]!.length; t++) total += count(counts[i]![t]!) * term(policy[i]![t]!, reference[i]![t]!);
      found.push((scale(beta) * total) / divide(counts[i]!));
    }
    return found;
  };

type Loss = (chosen: tf.Tensor1D, rejected: tf.Tensor1D, beta: number) => tf.Scalar;
/** A loss of the difference of the log-ratios. */
const lossWith =
  (term: (gain: tf.Tensor, beta: number) => tf.Tensor, reduce: (terms: tf.Tensor) => tf.Tensor = (terms) => tf.mean(terms)): Loss =>
  (chosen, rejected, beta) =>
    reduce(term(tf.sub(chosen, rejected), beta)) as tf.Scalar;
const minusLogSigmoid = (x: tf.Tensor): tf.Tensor => tf.softplus(tf.neg(x));

const weightsWith =
  (weigh: (gain: number, beta: number) => number) =>
  (chosen: number[], rejected: number[], beta: number): number[] =>
    chosen.map((gain, i) => weigh(gain - rejected[i]!, beta));

const best = (group: readonly number[]): number => group.indexOf(Math.max(...group));
const worst = (group: readonly number[]): number => group.indexOf(Math.min(...group));
const places = (rewards: readonly (readonly number[])[]): [number, number][] =>
  rewards.flatMap((group, prompt) => group.map((_, answer): [number, number] => [prompt, answer]));
const ranked = (rewards: readonly (readonly number[])[], sign = 1): [number, number][] =>
  places(rewards).sort(([p, a], [q, b]) => sign * (rewards[q]![b]! - rewards[p]![a]!));

interface Pair {
  prompt: number[];
  chosen: number[];
  rejected: number[];
}
interface Marks {
  good: number[];
  bad: number[];
}
interface Part {
  mark: number[];
  answer: number[];
  counted?: number;
}
const parts = ({ chosen, rejected }: Pair, { good, bad }: Marks): [Part, Part] => [
  { mark: good, answer: chosen },
  { mark: bad, answer: rejected },
];
/** One sequence of two marked answers. */
const chain = (prompt: number[], first: Part, second: Part, between = 0) => ({
  prompt: prompt.concat(first.mark),
  completion: first.answer.concat(second.mark, second.answer),
  counts: [
    ...first.answer.map(() => first.counted ?? 1),
    ...second.mark.map(() => between),
    ...second.answer.map(() => second.counted ?? 1),
  ],
});
const chains =
  (orders: (good: Part, bad: Part) => [Part, Part][], between = 0) =>
  (pair: Pair, marks: Marks) => {
    const [good, bad] = parts(pair, marks);
    return orders(good, bad).map(([first, second]) => chain(pair.prompt, first, second, between));
  };

interface Judged {
  policy: number[];
  reference: number[];
  reward: number;
}
const pointWith =
  ({
    gone = ({ policy, reference }: Judged) => sum(policy.map((p, t) => p - reference[t]!)),
    gather = mean,
    gatherRewards = mean,
  }) =>
  (answers: Judged[]) => ({ kl: gather(answers.map(gone)), reward: gatherRewards(answers.map(({ reward }) => reward)) });

export default {
  '12.1': {
    mistakes: {
      'not-normalized': { bestPolicy: policyWith((p, r, beta) => p * Math.exp(r / beta), (weights) => [...weights]) },
      'reference-forgotten': { bestPolicy: steady(policyWith((_p, r, beta) => Math.exp(r / beta))) },
      'times-beta': { bestPolicy: steady(policyWith((p, r, beta) => p * Math.exp(r * beta))) },
      'reward-reversed': { bestPolicy: steady(policyWith((p, r, beta) => p * Math.exp(-r / beta))) },
      'overflows': { bestPolicy: policyWith((p, r, beta) => p * Math.exp(r / beta)) },
    },
    right: [
      { bestPolicy: steady(policyWith((p, r, beta) => p * Math.exp(r / beta))) },
      { bestPolicy: steady(policyWith((p, r, beta) => Math.exp(Math.log(p) + r / beta))) },
    ],
  },
  '12.2': {
    mistakes: {
      'averaged': { implicitRewards: rewardsWith({ divide: sum }) },
      'averaged-with-padding': { implicitRewards: rewardsWith({ divide: (counts) => counts.length }) },
      'padding-counted': { implicitRewards: rewardsWith({ count: () => 1 }) },
      'reference-missing': { implicitRewards: rewardsWith({ term: (p) => p }) },
      'reversed': { implicitRewards: rewardsWith({ term: (p, q) => q - p }) },
      'beta-missing': { implicitRewards: rewardsWith({ scale: () => 1 }) },
      'beta-divides': { implicitRewards: rewardsWith({ scale: (beta) => 1 / beta }) },
    },
    right: [
      { implicitRewards: rewardsWith({}) },
      {
        implicitRewards: (policy: number[][], reference: number[][], counts: number[][], beta: number) => {
          const total = (rows: number[][], i: number) => sum(rows[i]!.filter((_, t) => counts[i]![t] === 1));
          return policy.map((_, i) => beta * (total(policy, i) - total(reference, i)));
        },
      },
    ],
  },
  '12.3': {
    mistakes: {
      'reversed': { dpoLoss: lossWith((gain, beta) => minusLogSigmoid(tf.mul(gain, -beta))) },
      'beta-missing': { dpoLoss: lossWith((gain) => minusLogSigmoid(gain)) },
      'sum-instead-of-mean': { dpoLoss: lossWith((gain, beta) => minusLogSigmoid(tf.mul(gain, beta)), (terms) => tf.sum(terms)) },
      'no-logarithm': { dpoLoss: lossWith((gain, beta) => tf.sub(1, tf.sigmoid(tf.mul(gain, beta)))) },
      'minus-missing': { dpoLoss: lossWith((gain, beta) => tf.neg(minusLogSigmoid(tf.mul(gain, beta)))) },
      'not-finite': { dpoLoss: lossWith((gain, beta) => tf.neg(tf.log(tf.sigmoid(tf.mul(gain, beta))))) },
      'no-gradient': {
        dpoLoss: (chosen: tf.Tensor1D, rejected: tf.Tensor1D, beta: number) => {
          const [a, b] = [chosen.arraySync(), rejected.arraySync()];
          const loss = (x: number): number => (x > 0 ? Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x)) - x);
          return tf.scalar(mean(a.map((gain, i) => loss(beta * (gain - b[i]!)))));
        },
      },
    },
    right: [
      { dpoLoss: lossWith((gain, beta) => minusLogSigmoid(tf.mul(gain, beta))) },
      {
        dpoLoss: (chosen: tf.Tensor1D, rejected: tf.Tensor1D, beta: number) =>
          tf.sub(rejected, chosen).mul(beta).softplus().mean(),
      },
    ],
  },
  '12.4': {
    mistakes: {
      'reversed': { dpoWeights: weightsWith((gain, beta) => beta * sigmoid(beta * gain)) },
      'outer-beta-missing': { dpoWeights: weightsWith((gain, beta) => sigmoid(-beta * gain)) },
      'inner-beta-missing': { dpoWeights: weightsWith((gain, beta) => beta * sigmoid(-gain)) },
      'derivative-of-sigmoid': { dpoWeights: weightsWith((gain, beta) => beta * sigmoid(beta * gain) * sigmoid(-beta * gain)) },
      'the-loss': { dpoWeights: weightsWith((gain, beta) => Math.log(1 + Math.exp(-beta * gain))) },
    },
    right: [
      { dpoWeights: weightsWith((gain, beta) => beta * sigmoid(-beta * gain)) },
      { dpoWeights: weightsWith((gain, beta) => beta * (1 - sigmoid(beta * gain))) },
    ],
  },
  '12.5': {
    mistakes: {
      'target-without-two': { ipoLoss: lossWith((gain, beta) => tf.square(tf.sub(gain, 1 / beta))) },
      'target-is-half-beta': { ipoLoss: lossWith((gain, beta) => tf.square(tf.sub(gain, beta / 2))) },
      'gain-times-beta': { ipoLoss: lossWith((gain, beta) => tf.square(tf.sub(tf.mul(gain, beta), 1 / (2 * beta)))) },
      'one-sided': { ipoLoss: lossWith((gain, beta) => tf.square(tf.relu(tf.sub(1 / (2 * beta), gain)))) },
      'absolute': { ipoLoss: lossWith((gain, beta) => tf.abs(tf.sub(gain, 1 / (2 * beta)))) },
      'sum-instead-of-mean': {
        ipoLoss: lossWith((gain, beta) => tf.square(tf.sub(gain, 1 / (2 * beta))), (terms) => tf.sum(terms)),
      },
    },
    right: [
      { ipoLoss: lossWith((gain, beta) => tf.pow(tf.sub(gain, 0.5 / beta), 2)) },
      {
        ipoLoss: (chosen: tf.Tensor1D, rejected: tf.Tensor1D, beta: number) => {
          const off = rejected.sub(chosen).add(1 / (2 * beta));
          return off.mul(off).mean();
        },
      },
    ],
  },
  '12.6': {
    mistakes: {
      'the-worst': { bestOfEach: (rewards: number[][]) => rewards.map(worst) },
      'last-of-equals': { bestOfEach: (rewards: number[][]) => rewards.map((group) => group.lastIndexOf(Math.max(...group))) },
      'sorted-as-text': {
        // oxlint-disable-next-line typescript/require-array-sort-compare
        bestOfEach: (rewards: number[][]) => rewards.map((group) => group.indexOf([...group].sort().at(-1)!)),
      },
      'rewards-instead-of-places': { bestOfEach: (rewards: number[][]) => rewards.map((group) => Math.max(...group)) },
      'starts-at-zero': {
        bestOfEach: (rewards: number[][]) =>
          rewards.map((group) => {
            let [place, most] = [-1, 0];
            group.forEach((reward, i) => {
              if (reward > most) [place, most] = [i, reward];
            });
            return place;
          }),
      },
      'changes-its-inputs': {
        bestOfEach: (rewards: number[][]) =>
          rewards.map((group) => {
            const place = best(group);
            group.sort((a, b) => b - a);
            return place;
          }),
      },
      'best-of-each-again': { bestOfAll: (rewards: number[][]) => rewards.map((group, prompt) => [prompt, best(group)]) },
      'too-many': { bestOfAll: (rewards: number[][]) => ranked(rewards).slice(0, rewards[0]!.length) },
      'answer-before-prompt': {
        bestOfAll: (rewards: number[][]) => ranked(rewards).slice(0, rewards.length).map(([prompt, answer]) => [answer, prompt]),
      },
    },
    right: [
      {
        bestOfEach: (rewards: number[][]) =>
          rewards.map((group) => group.reduce((top, reward, i) => (reward > group[top]! ? i : top), 0)),
        bestOfAll: (rewards: number[][]) => ranked(rewards).filter((_, i) => i < rewards.length),
      },
      {
        bestOfAll: (rewards: number[][]) => {
          const left = places(rewards);
          return rewards.map(() => {
            let top = 0;
            left.forEach(([p, a], i) => {
              if (rewards[p]![a]! > rewards[left[top]![0]]![left[top]![1]]!) top = i;
            });
            return left.splice(top, 1)[0]!;
          });
        },
      },
    ],
  },
  '12.7': {
    mistakes: {
      'marks-are-learned': { hindsight: chains((good, bad) => [[bad, good], [good, bad]], 1) },
      'first-answer-not-learned': {
        hindsight: chains((good, bad) => [
          [{ ...bad, counted: 0 }, good],
          [{ ...good, counted: 0 }, bad],
        ]),
      },
      'bad-answers-not-learned': {
        hindsight: chains((good, bad) => [
          [{ ...bad, counted: 0 }, good],
          [good, { ...bad, counted: 0 }],
        ]),
      },
      'marks-exchanged': {
        hindsight: (pair: Pair, { good, bad }: Marks) =>
          chains((first, second) => [[second, first], [first, second]])(pair, { good: bad, bad: good }),
      },
      'one-order': { hindsight: chains((good, bad) => [[bad, good]]) },
      'only-better-first': { hindsight: chains((good, bad) => [[good, bad]]) },
      'better-first': { hindsight: chains((good, bad) => [[good, bad], [bad, good]]) },
      'same-order-twice': { hindsight: chains((good, bad) => [[bad, good], [bad, good]]) },
      'first-mark-behind-the-prompt': {
        hindsight: (pair: Pair, marks: Marks) => {
          const [good, bad] = parts(pair, marks);
          return [[bad, good] as const, [good, bad] as const].map(([first, second]) => {
            const { completion, counts } = chain(pair.prompt, first, second);
            return {
              prompt: [...pair.prompt],
              completion: [...first.mark, ...completion],
              counts: [...first.mark.map(() => 0), ...counts],
            };
          });
        },
      },
      'no-marks': {
        hindsight: (pair: Pair) => chains((good, bad) => [[bad, good], [good, bad]])(pair, { good: [], bad: [] }),
      },
    },
    right: [
      { hindsight: chains((good, bad) => [[bad, good], [good, bad]]) },
      {
        hindsight: ({ prompt, chosen, rejected }: Pair, { good, bad }: Marks) => [
          {
            counts: rejected.map(() => 1).concat(good.map(() => 0), chosen.map(() => 1)),
            completion: rejected.concat(good).concat(chosen),
            prompt: prompt.concat(bad),
          },
          {
            counts: chosen.map(() => 1).concat(bad.map(() => 0), rejected.map(() => 1)),
            completion: chosen.concat(bad).concat(rejected),
            prompt: prompt.concat(good),
          },
        ],
      },
    ],
  },
  '12.8': {
    mistakes: {
      'kl-reversed': { frontierPoint: pointWith({ gone: ({ policy, reference }) => sum(reference) - sum(policy) }) },
      'per-token': {
        frontierPoint: (answers: Judged[]) => ({
          kl: mean(answers.flatMap(({ policy, reference }) => policy.map((p, t) => p - reference[t]!))),
          reward: mean(answers.map(({ reward }) => reward)),
        }),
      },
      'mean-of-each-answer': {
        frontierPoint: pointWith({ gone: ({ policy, reference }) => mean(policy.map((p, t) => p - reference[t]!)) }),
      },
      'absolute': { frontierPoint: pointWith({ gone: ({ policy, reference }) => Math.abs(sum(policy) - sum(reference)) }) },
      'sum-instead-of-mean': { frontierPoint: pointWith({ gather: sum, gatherRewards: sum }) },
      'rewards-added-up': { frontierPoint: pointWith({ gatherRewards: sum }) },
      'price-taken-off': {
        frontierPoint: (answers: Judged[]) => {
          const { kl, reward } = pointWith({})(answers);
          return { kl, reward: reward - kl };
        },
      },
    },
    right: [
      { frontierPoint: pointWith({}) },
      {
        frontierPoint: (answers: Judged[]) => {
          const point = { kl: 0, reward: 0 };
          for (const { policy, reference, reward } of answers) {
            point.kl += (sum(policy) - sum(reference)) / answers.length;
            point.reward += reward / answers.length;
          }
          return point;
        },
      },
    ],
  },
  '12.9': {
    mistakes: {
      'highest-proxy': { hackedFrom: (proxy: number[]) => best(proxy) },
      'first-drop': { hackedFrom: (_proxy: number[], truth: number[]) => truth.findIndex((value, i) => truth[i + 1]! < value) },
      'the-lowest': { hackedFrom: (_proxy: number[], truth: number[]) => worst(truth) },
      'always-hacked': { hackedFrom: (_proxy: number[], truth: number[]) => best(truth) },
      'proxy-not-asked': {
        hackedFrom: (_proxy: number[], truth: number[]) => (best(truth) === truth.length - 1 ? -1 : best(truth)),
      },
      'zero-is-nothing': {
        hackedFrom: (proxy: number[], truth: number[]) => {
          const top = best(truth);
          return (truth.at(-1)! < truth[top]! && proxy.at(-1)! > proxy[top]! && top) || -1;
        },
      },
    },
    right: [
      {
        hackedFrom: (proxy: number[], truth: number[]) => {
          const top = best(truth);
          return top < truth.length - 1 && proxy.at(-1)! > proxy[top]! ? top : -1;
        },
      },
      {
        hackedFrom: (proxy: number[], truth: number[]) => {
          let top = 0;
          truth.forEach((value, i) => {
            if (value > truth[top]!) top = i;
          });
          if (truth[truth.length - 1]! >= truth[top]!) return -1;
          return proxy[proxy.length - 1]! <= proxy[top]! ? -1 : top;
        },
      },
    ],
  },
} satisfies ChapterMistakes;

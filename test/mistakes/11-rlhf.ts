/**
 * @file Chapter 11: plausible wrong answers, each under the hint that its author must be given, and right answers that are
 * written differently from the solution.
 */
import { tf, type ChapterMistakes } from 'lab';

type Vector = tf.Tensor1D;
const indices = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const total = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

/** A row with its parts exchanged. */
const rowWith =
  ({
    from = (prompt: number) => prompt - 1,
    read = (count: number) => count - 1,
    said = (tokens: number[], i: number): number | undefined => tokens[i + 1],
    behind = (_padding: number) => -100,
    rest = (padding: number) => padding,
    last = (count: number) => count - 1,
    keep = (_token: number, _padding: number) => true,
  }) =>
  (prompt: number[], completion: number[], length: number, padding: number) => {
    const tokens = prompt.concat(completion);
    const count = read(tokens.length);
    const inputs = indices(Math.max(length, count)).map((i) => (i < count ? tokens[i]! : rest(padding)));
    const targets = indices(length).map((i) => {
      if (i >= last(tokens.length)) return behind(padding);
      const token = said(tokens, i);
      return i >= from(prompt.length) && token !== undefined && keep(token, padding) ? token : -100;
    });
    return { inputs, targets };
  };

/** A loss of pairs with its parts exchanged. */
const pairWith =
  ({
    difference = (c: Vector, r: Vector, m: Vector): Vector => c.sub<Vector>(r).sub(m),
    loss = (x: Vector): Vector => x.neg<Vector>().softplus(),
    reduce = (losses: Vector): tf.Scalar => losses.mean(),
  }) =>
  (c: Vector, r: Vector, m: Vector): tf.Scalar =>
    reduce(loss(difference(c, r, m)));

/** Columns with their parts exchanged. */
const columnsWith =
  ({
    find = (row: number[], prompt: number, end: number) => row.indexOf(end, prompt),
    found = (at: number) => at,
    missing = (row: number[]) => row.length - 1,
  }) =>
  (rows: number[][], prompts: number[], end: number) =>
    rows.map((row, i) => {
      const at = find(row, prompts[i]!, end);
      return at === -1 ? missing(row) : found(at);
    });

const estimatesWith =
  ({
    first = (p: number, q: number) => p - q,
    second = (x: number) => 0.5 * x * x,
    third = (x: number) => Math.expm1(-x) + x,
    finish = (values: number[]): unknown => values,
  }) =>
  (policy: number[], reference: number[]) => {
    const k1 = policy.map((p, i) => first(p, reference[i]!));
    return { k1: finish(k1), k2: finish(k1.map(second)), k3: finish(k1.map(third)) };
  };

const rewardsWith =
  ({
    penalty = (x: number, beta: number) => -beta * x,
    isPaid = (t: number, length: number) => t === length - 1,
    paid = (score: number, price: number) => score + price,
  }) =>
  (policy: number[], reference: number[], score: number, beta: number) =>
    policy.map((p, t) => {
      const price = penalty(p - reference[t]!, beta);
      return isPaid(t, policy.length) ? paid(score, price) : price;
    });

/** A GAE with its parts exchanged. */
const gaeWith =
  ({
    next = (values: number[], t: number): number => (t + 1 < values.length ? values[t + 1]! : 0),
    delta = (reward: number, after: number, value: number, gamma: number) => reward + gamma * after - value,
    passed = (gamma: number, lambda: number) => gamma * lambda,
    order = (steps: number[]) => steps.reverse(),
    returned = (advantage: number, value: number) => advantage + value,
  }) =>
  (rewards: number[], values: number[], gamma: number, lambda: number) => {
    const advantages = rewards.map(() => 0);
    let later = 0;
    for (const t of order(indices(rewards.length))) {
      later = delta(rewards[t]!, next(values, t), values[t]!, gamma) + passed(gamma, lambda) * later;
      advantages[t] = later;
    }
    return { advantages, returns: advantages.map((advantage, t) => returned(advantage, values[t]!)) };
  };

/** A whitening with its parts exchanged. */
const whitenWith =
  ({
    among = (rows: number[][], mask: number[][], _row: number): number[] =>
      rows.map((row, i) => row.filter((__, t) => mask[i]![t]! > 0)).flat(),
    less = 1,
    white = (x: number, mean: number, variance: number) => (x - mean) / Math.sqrt(variance + 1e-8),
    padding = (_white: number) => 0,
  }) =>
  (rows: number[][], mask: number[][]) =>
    rows.map((row, i) => {
      const real = among(rows, mask, i);
      const mean = total(real) / real.length;
      const variance = total(real.map((x) => x * x - 2 * x * mean + mean * mean)) / (real.length - less);
      return row.map((x, t) => {
        const value = white(x, mean, Math.max(0, variance));
        return mask[i]![t] ? value : padding(value);
      });
    });

/** An objective with its parts exchanged. */
const objectiveWith =
  ({
    ratio = (now: Vector, before: Vector): Vector => tf.exp(tf.sub(now, before)),
    clipped = (rho: Vector, clip: number): Vector => tf.clipByValue(rho, 1 - clip, 1 + clip),
    choose = (free: Vector, held: Vector): tf.Tensor => tf.maximum(held, free),
    sign = -1,
  }) =>
  (now: Vector, before: Vector, advantages: Vector, clip: number) => {
    const rho = ratio(now, before);
    const against = advantages.mul<Vector>(sign);
    return choose(against.mul(rho), against.mul(clipped(rho, clip)));
  };

const betaWith =
  ({
    error = (kl: number, target: number) => (kl - target) / target,
    limit = (x: number) => Math.min(Math.max(x, -0.2), 0.2),
    change = (beta: number, x: number) => beta + beta * 0.1 * x,
  }) =>
  (beta: number, kl: number, target: number) =>
    change(beta, limit(error(kl, target)));

export default {
  '11.1': {
    mistakes: {
      'not-shifted': {
        completionRow: rowWith({ from: (p) => p, said: (tokens, i) => tokens[i], last: (count) => count }),
      },
      'learns-the-prompt': { completionRow: rowWith({ from: () => 0 }) },
      'first-token-forgotten': { completionRow: rowWith({ from: (p) => p }) },
      'one-token-of-the-prompt': { completionRow: rowWith({ from: (p) => p - 2 }) },
      'end-masked': { completionRow: rowWith({ keep: (token, padding) => token !== padding }) },
      'learns-padding': { completionRow: rowWith({ behind: (padding) => padding }) },
      'reads-the-last-token': { completionRow: rowWith({ read: (count) => count }) },
      'ignored-tokens-read': { completionRow: rowWith({ rest: () => -100 }) },
      'changes-its-inputs': {
        completionRow: (prompt: number[], completion: number[], length: number, padding: number) => {
          const row = rowWith({})(prompt, completion, length, padding);
          prompt.push(...completion);
          return row;
        },
      },
    },
    right: [
      { completionRow: rowWith({}) },
      {
        completionRow: (prompt: number[], completion: number[], length: number, padding: number) => {
          const pad = (row: number[], value: number) => row.concat(Array<number>(length - row.length).fill(value));
          const masked = Array<number>(prompt.length - 1).fill(-100);
          return {
            inputs: pad(prompt.concat(completion.slice(0, -1)), padding),
            targets: pad(masked.concat(completion), -100),
          };
        },
      },
    ],
  },
  '11.2': {
    mistakes: {
      'wrong-way-round': { pairLoss: pairWith({ difference: (c, r, m) => r.sub<Vector>(c).sub(m) }) },
      'margin-added': { pairLoss: pairWith({ difference: (c, r, m) => c.sub<Vector>(r).add(m) }) },
      'margin-forgotten': { pairLoss: pairWith({ difference: (c, r) => c.sub(r) }) },
      'sign-forgotten': { pairLoss: pairWith({ loss: (x) => x.neg<Vector>().softplus<Vector>().neg() }) },
      'log-forgotten': { pairLoss: pairWith({ loss: (x) => x.neg<Vector>().sigmoid() }) },
      'sum-instead-of-mean': { pairLoss: pairWith({ reduce: (losses) => losses.sum() }) },
      overflows: { pairLoss: pairWith({ loss: (x) => x.sigmoid<Vector>().log<Vector>().neg() }) },
      'no-gradient': {
        pairLoss: (c: Vector, r: Vector, m: Vector) => tf.scalar(pairWith({})(c, r, m).dataSync<'float32'>()[0]!),
      },
      'log-sigmoid-loses-its-input': { pairLoss: pairWith({ loss: (x) => x.logSigmoid<Vector>().neg() }) },
    },
    right: [
      { pairLoss: pairWith({}) },
      {
        pairLoss: (c: Vector, r: Vector, m: Vector) => {
          // max(−x, 0) + log(1 + exp(−|x|))
          const x = c.sub<Vector>(r).sub<Vector>(m);
          const rest = x.abs<Vector>().neg<Vector>().exp<Vector>().log1p<Vector>();
          const half = x.abs<Vector>().sub<Vector>(x).div<Vector>(2);
          return half.add<Vector>(rest).mean<tf.Scalar>();
        },
      },
    ],
  },
  '11.3': {
    mistakes: {
      'reads-padding': { scoreColumns: columnsWith({ find: (row, _, end) => row.lastIndexOf(end) }) },
      'end-in-the-prompt': { scoreColumns: columnsWith({ find: (row, _, end) => row.indexOf(end) }) },
      'before-the-end': { scoreColumns: columnsWith({ found: (at) => at - 1 }) },
      'behind-the-end': { scoreColumns: columnsWith({ found: (at) => at + 1 }) },
      'cut-off-forgotten': { scoreColumns: columnsWith({ missing: () => -1 }) },
      'counts-from-the-answer': {
        scoreColumns: columnsWith({ find: (row, prompt, end) => row.slice(prompt).indexOf(end) }),
      },
      'changes-its-inputs': {
        scoreColumns: (rows: number[][], prompts: number[], end: number) => {
          const columns = columnsWith({})(rows, prompts, end);
          rows.forEach((row, i) => row.splice(columns[i]! + 1));
          return columns;
        },
      },
    },
    right: [
      { scoreColumns: columnsWith({}) },
      {
        scoreColumns: (rows: number[][], prompts: number[], end: number) =>
          rows.map((row, i) => {
            let at = prompts[i]!;
            while (at < row.length - 1 && row[at] !== end) at++;
            return at;
          }),
      },
    ],
  },
  '11.4': {
    mistakes: {
      'wrong-direction': { klEstimates: estimatesWith({ first: (p, q) => q - p }) },
      'ratio-without-logarithm': {
        klEstimates: (policy: number[], reference: number[]) => ({
          ...estimatesWith({})(policy, reference),
          k1: policy.map((p, i) => Math.exp(p - reference[i]!)),
        }),
      },
      'half-missing': { klEstimates: estimatesWith({ second: (x) => x * x }) },
      'square-missing': { klEstimates: estimatesWith({ second: (x) => x / 2 }) },
      'ratio-upside-down': { klEstimates: estimatesWith({ third: (x) => Math.exp(x) - 1 - x }) },
      'logarithm-missing': { klEstimates: estimatesWith({ third: (x) => Math.exp(-x) - 1 }) },
      'one-missing': { klEstimates: estimatesWith({ third: (x) => Math.exp(-x) + x }) },
      'logarithm-subtracted': { klEstimates: estimatesWith({ third: (x) => Math.exp(-x) - 1 - x }) },
      averaged: { klEstimates: estimatesWith({ finish: (values) => total(values) / values.length }) },
    },
    right: [
      { klEstimates: estimatesWith({}) },
      {
        klEstimates: (policy: number[], reference: number[]) => {
          const ratios = reference.map((q, i) => Math.exp(q) / Math.exp(policy[i]!));
          return {
            k1: ratios.map((r) => -Math.log(r)),
            k2: ratios.map((r) => Math.log(r) ** 2 / 2),
            k3: ratios.map((r) => r - 1 - Math.log(r)),
          };
        },
      },
    ],
  },
  '11.5': {
    mistakes: {
      'pays-for-distance': { tokenRewards: rewardsWith({ penalty: (x, beta) => beta * x }) },
      'score-at-every-token': { tokenRewards: rewardsWith({ isPaid: () => true }) },
      'score-at-the-first-token': { tokenRewards: rewardsWith({ isPaid: (t) => t === 0 }) },
      'penalty-lost-at-the-end': { tokenRewards: rewardsWith({ paid: (score) => score }) },
      'beta-forgotten': { tokenRewards: rewardsWith({ penalty: (x) => -x }) },
      'score-forgotten': { tokenRewards: rewardsWith({ paid: (_, price) => price }) },
      'penalty-at-the-end': {
        tokenRewards: (policy: number[], reference: number[], score: number, beta: number) => {
          const distance = total(policy) - total(reference);
          return policy.map((_, t) => (t + 1 < policy.length ? 0 : score - beta * distance));
        },
      },
      'changes-its-inputs': {
        tokenRewards: (policy: number[], reference: number[], score: number, beta: number) => {
          const rewards = rewardsWith({})(policy, reference, score, beta);
          policy.reverse();
          return rewards;
        },
      },
    },
    right: [
      { tokenRewards: rewardsWith({}) },
      {
        tokenRewards: (policy: number[], reference: number[], score: number, beta: number) => {
          const rewards: number[] = [];
          for (const [t, q] of reference.entries()) rewards.push(beta * (q - policy[t]!));
          rewards.push(rewards.pop()! + score);
          return rewards;
        },
      },
    ],
  },
  '11.6': {
    mistakes: {
      'lambda-forgotten': { gae: gaeWith({ passed: (gamma) => gamma }) },
      'gamma-forgotten-in-the-sum': { gae: gaeWith({ passed: (_, lambda) => lambda }) },
      'gamma-forgotten-in-the-value': { gae: gaeWith({ delta: (reward, after, value) => reward + after - value }) },
      'value-behind-the-end': { gae: gaeWith({ next: (values, t) => values[t + 1] ?? values[t]! }) },
      'undefined-behind-the-end': { gae: gaeWith({ next: (values, t) => values[t + 1]! }) },
      'value-not-subtracted': { gae: gaeWith({ delta: (reward, after, _, gamma) => reward + gamma * after }) },
      'one-step-alone': { gae: gaeWith({ passed: () => 0 }) },
      'sums-from-the-front': { gae: gaeWith({ order: (steps) => steps }) },
      'returns-without-values': { gae: gaeWith({ returned: (advantage) => advantage }) },
      'values-subtracted': { gae: gaeWith({ returned: (advantage, value) => advantage - value }) },
      'returns-from-rewards-alone': {
        gae: (rewards: number[], values: number[], gamma: number, lambda: number) => ({
          ...gaeWith({})(rewards, values, gamma, lambda),
          returns: rewards.map((_, t) => rewards.slice(t).reduce((sum, reward, k) => sum + gamma ** k * reward, 0)),
        }),
      },
      'changes-its-inputs': {
        gae: (rewards: number[], values: number[], gamma: number, lambda: number) => {
          const result = gaeWith({})(rewards, values, gamma, lambda);
          values.push(0);
          return result;
        },
      },
    },
    right: [
      { gae: gaeWith({}) },
      {
        gae: (rewards: number[], values: number[], gamma: number, lambda: number) => {
          // The definition: all later surprises, each discounted by its distance.
          const surprises = rewards.map((reward, t) => reward + gamma * (values[t + 1] ?? 0) - values[t]!);
          const advantages = surprises.map((_, t) =>
            total(surprises.slice(t).map((surprise, k) => (gamma * lambda) ** k * surprise)),
          );
          return { advantages: Float64Array.from(advantages), returns: advantages.map((x, t) => x + values[t]!) };
        },
      },
    ],
  },
  '11.7': {
    mistakes: {
      'padding-counted': { whiten: whitenWith({ among: (rows) => rows.flat() }) },
      'padding-counted-as-zeros': {
        whiten: whitenWith({ among: (rows, mask) => rows.flatMap((row, i) => row.map((x, t) => (mask[i]![t] ? x : 0))) }),
      },
      'rows-by-themselves': { whiten: whitenWith({ among: (rows, mask, i) => rows[i]!.filter((_, t) => mask[i]![t]! > 0) }) },
      'biased-variance': { whiten: whitenWith({ less: 0 }) },
      'only-centered': { whiten: whitenWith({ white: (x, mean) => x - mean }) },
      'not-centered': { whiten: whitenWith({ white: (x, _, variance) => x / Math.sqrt(variance + 1e-8) }) },
      'padding-not-zero': { whiten: whitenWith({ padding: (white) => white }) },
      'divides-by-zero': { whiten: whitenWith({ white: (x, mean, variance) => (x - mean) / Math.sqrt(variance) }) },
      'changes-its-inputs': {
        whiten: (rows: number[][], mask: number[][]) => {
          const white = whitenWith({})(rows, mask);
          rows.forEach((row, i) => row.splice(0, row.length, ...white[i]!));
          return white;
        },
      },
    },
    right: [
      { whiten: whitenWith({}) },
      {
        whiten: (rows: number[][], mask: number[][]) => {
          const count = total(mask.flat());
          const mean = total(rows.flatMap((row, i) => row.map((x, t) => x * mask[i]![t]!))) / count;
          const squares = rows.flatMap((row, i) => row.map((x, t) => mask[i]![t]! * (x - mean) ** 2));
          const deviation = Math.sqrt(total(squares) / (count - 1) + 1e-8);
          return rows.map((row, i) => row.map((x, t) => (mask[i]![t]! * (x - mean)) / deviation));
        },
      },
    ],
  },
  '11.8': {
    mistakes: {
      'takes-the-smaller': { clippedObjective: objectiveWith({ choose: (free, held) => tf.minimum(free, held) }) },
      'to-be-maximized': {
        clippedObjective: objectiveWith({ sign: 1, choose: (free, held) => tf.minimum(free, held) }),
      },
      'never-clipped': { clippedObjective: objectiveWith({ choose: (free) => free }) },
      'always-clipped': { clippedObjective: objectiveWith({ choose: (_, held) => held }) },
      'ratio-upside-down': { clippedObjective: objectiveWith({ ratio: (now, before) => tf.exp(tf.sub(before, now)) }) },
      'difference-of-logarithms': { clippedObjective: objectiveWith({ ratio: (now, before) => tf.sub(now, before) }) },
      'logarithm-clipped': {
        clippedObjective: objectiveWith({ clipped: (rho, clip) => tf.exp(tf.clipByValue(tf.log(rho), -clip, clip)) }),
      },
      averaged: { clippedObjective: objectiveWith({ choose: (free, held) => tf.mean(tf.maximum(free, held)) }) },
      'no-gradient': {
        clippedObjective: (now: Vector, before: Vector, advantages: Vector, clip: number) =>
          tf.tensor1d(objectiveWith({})(now, before, advantages, clip).dataSync<'float32'>()),
      },
    },
    right: [
      { clippedObjective: objectiveWith({}) },
      {
        clippedObjective: (now: Vector, before: Vector, advantages: Vector, clip: number) => {
          const ratio = tf.exp(tf.sub(now, before)) as Vector;
          const gain = tf.minimum(ratio.mul(advantages), ratio.clipByValue(1 - clip, 1 + clip).mul(advantages));
          return gain.neg();
        },
      },
    ],
  },
  '11.9': {
    mistakes: {
      'not-limited': { adaptBeta: betaWith({ limit: (x) => x }) },
      'wrong-direction': { adaptBeta: betaWith({ change: (beta, x) => beta * (1 - 0.1 * x) }) },
      'tenth-forgotten': { adaptBeta: betaWith({ change: (beta, x) => beta * (1 + x) }) },
      'difference-in-nats': { adaptBeta: betaWith({ error: (kl, target) => kl - target }) },
      'forgets-the-old-price': { adaptBeta: betaWith({ change: (_, x) => 1 + 0.1 * x }) },
      'factor-added': { adaptBeta: betaWith({ change: (beta, x) => beta + 0.1 * x }) },
    },
    right: [
      { adaptBeta: betaWith({}) },
      {
        adaptBeta: (beta: number, kl: number, target: number) => {
          if (kl > 1.2 * target) return 1.02 * beta;
          return kl < 0.8 * target ? 0.98 * beta : beta * (0.9 + (0.1 * kl) / target);
        },
      },
    ],
  },
} satisfies ChapterMistakes;

/**
 * @file Chapter 11, RLHF: what each answer must do, and what the usual mistakes look like.
 * Expected values come from the definitions, in plain loops in double precision.
 */
import { afterEach, beforeAll, beforeEach, describe, it } from 'vitest';
import { Diagnosis, expectClose, Random, startBackend, tf, type Hint, type Hints } from 'lab';
import {
  adaptBeta,
  clippedObjective,
  completionRow,
  gae,
  klEstimates,
  pairLoss,
  scoreColumns,
  tokenRewards,
  whiten,
} from '../solutions/11-rlhf.ts';

beforeAll(async () => {
  await startBackend();
});
beforeEach(() => tf.engine().startScope());
afterEach(() => tf.engine().endScope());

const TOLERANCE = 1e-8;
const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const mean = (numbers: readonly number[]): number => sum(numbers) / numbers.length;
const normals = (n: number, seed: number, scale = 1): number[] => Array.from(new Random(seed).normals(n), (x) => scale * x);

/** @throws Diagnosis when what was given to the answer has changed. */
function expectUnchanged(what: string, now: unknown, before: unknown): void {
  if (JSON.stringify(now) === JSON.stringify(before)) return;
  throw new Diagnosis('changes-its-inputs', `The ${what} that your function was given have changed. Work on a copy.`);
}

/** What a number of wrong rules make of the same input. */
function hintsOf<Rule>(
  rules: Readonly<Record<string, readonly [say: string, rule: Rule]>>,
  made: (rule: Rule) => unknown,
): Hints {
  return Object.fromEntries(
    Object.entries(rules).map(([id, [say, rule]]) => [id, { say, looksLike: () => made(rule) } as Hint]),
  );
}

/** ∂f/∂x. @throws Diagnosis when the tape was left. */
async function gradient(f: (x: tf.Tensor1D) => tf.Tensor, x: tf.Tensor1D): Promise<Float32Array> {
  try {
    return (await tf.grad((at: tf.Tensor) => f(at as tf.Tensor1D))(x).data()) as Float32Array;
  } catch (error) {
    if (String(error).includes("reading 'backend'")) {
      throw new Diagnosis(
        'log-sigmoid-loses-its-input',
        'The gradient cannot be computed: tf.logSigmoid forgets its input before the way back, where that is the result ' +
          'of another operation. Use tf.softplus: −log σ(x) = softplus(−x).',
      );
    }
    if (!String(error).includes('Cannot compute gradient')) throw error;
    throw new Diagnosis('no-gradient', 'No gradient reaches the first argument: compute with tensors from beginning to end.');
  }
}

describe('11.1 what is to be learned', () => {
  const END = 2;
  type Targets = (tokens: number[], prompt: number, length: number, padding: number) => number[];
  /** A target wherever `learned` says so. */
  const by =
    (learned: (i: number, prompt: number, tokens: number[], padding: number) => boolean, shift = 1): Targets =>
    (tokens, prompt, length, padding) =>
      Array.from({ length }, (_, i) =>
        tokens[i + shift] !== undefined && learned(i, prompt, tokens, padding) ? tokens[i + shift]! : -100,
      );
  const right = by((i, prompt) => i >= prompt - 1);
  const wrong = {
    'not-shifted': [
      'Each target is the token that stands there already. A model says what comes next: the target of place i is token i + 1.',
      by((i, prompt) => i >= prompt, 0),
    ],
    'learns-the-prompt': [
      'The prompt is among the targets: the model would learn to ask. Its places are -100, but for the last one.',
      by(() => true),
    ],
    'first-token-forgotten': [
      'The first token of the completion is nowhere a target. It is said at the place of the last token of the prompt.',
      by((i, prompt) => i >= prompt),
    ],
    'one-token-of-the-prompt': [
      'The last token of the prompt is a target, too: the mask is one place too short.',
      by((i, prompt) => i >= prompt - 2),
    ],
    'end-masked': [
      'The end mark is not a target where the padding is the same token, so the model would never learn to stop. Mask by ' +
        'place, not by token.',
      by((i, prompt, tokens, padding) => i >= prompt - 1 && tokens[i + 1] !== padding),
    ],
    'learns-padding': [
      'There are targets in the padding: the model would learn to fill rows. They are -100 there.',
      ((tokens, prompt, length, padding) => {
        const targets = right(tokens, prompt, length, padding);
        return targets.map((target, i) => (i >= tokens.length - 1 ? padding : target));
      }) satisfies Targets,
    ],
  } as const;
  const cases = [
    ['padding that is the end mark', [5, 6, 7], [8, 9, END], 8, END],
    ['a row that is just long enough', [4, 3, 5], [6, 8, 7, END], 6, 0],
    ['a prompt of one token', [9], [7, END], 4, 0],
  ] as const;

  it.each(cases)('targets: %s', async (_, prompt, completion, length, padding) => {
    const { targets } = completionRow([...prompt], [...completion], length, padding);
    const tokens = [...prompt, ...completion];
    const made = (rule: Targets): number[] => rule(tokens, prompt.length, length, padding);
    await expectClose(targets, made(right), { what: 'targets', hints: hintsOf<Targets>(wrong, made) });
  });

  it.each(cases)('inputs: %s', async (_, prompt, completion, length, padding) => {
    const { inputs } = completionRow([...prompt], [...completion], length, padding);
    const tokens = [...prompt, ...completion];
    const read = (count: number, rest: number): number[] =>
      Array.from({ length: Math.max(length, count) }, (__, i) => (i < count ? tokens[i]! : rest));
    await expectClose(inputs, read(tokens.length - 1, padding), {
      what: 'inputs',
      hints: {
        'reads-the-last-token': {
          say: 'The last token of the completion is among the inputs. Nothing comes after it, so it is a target only.',
          looksLike: read(tokens.length, padding),
        },
        'ignored-tokens-read': {
          say: 'The inputs are filled with -100, which is no token. Fill them with `padding`; -100 is for targets.',
          looksLike: read(tokens.length - 1, -100),
        },
      },
    });
  });

  it('leaves what it was given as it was', () => {
    const [prompt, completion] = [[5, 6], [7, END]];
    completionRow(prompt, completion, 6, 0);
    expectUnchanged('prompt or the completion', [prompt, completion], [[5, 6], [7, END]]);
  });
});

describe('11.2 the loss of a pair', () => {
  const [chosen, rejected, margins] = [normals(7, 1121), normals(7, 1122), normals(7, 1123).map(Math.abs)];
  const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
  type Loss = (c: number[], r: number[], m: number[]) => number;
  const by = (loss: (c: number, r: number, m: number) => number, reduce = mean): Loss =>
    (c, r, m) => reduce(c.map((x, i) => loss(x, r[i]!, m[i]!)));
  const right = by((c, r, m) => softplus(-(c - r - m)));
  const wrong: Record<string, [string, Loss]> = {
    'wrong-way-round': [
      'The loss falls when the worse answer scores higher: it is chosen − rejected, not the other way round.',
      by((c, r, m) => softplus(-(r - c - m))),
    ],
    'margin-added': [
      'The margin is added to the difference, so a pair is content before it has won. It is subtracted.',
      by((c, r, m) => softplus(-(c - r + m))),
    ],
    'margin-forgotten': [
      'The margins change nothing in your loss: subtract them from the difference.',
      by((c, r) => softplus(r - c)),
    ],
    'sign-forgotten': [
      'Your loss is negative, and falls as pairs get worse: it is minus the logarithm.',
      by((c, r, m) => -softplus(-(c - r - m))),
    ],
    'log-forgotten': [
      'Your loss is the probability of being wrong, 1 − σ. The loss is −log σ, which never stops pulling at a pair that ' +
        'is far off.',
      by((c, r, m) => 1 / (1 + Math.exp(c - r - m))),
    ],
    'sum-instead-of-mean': [
      'The losses of the pairs are added up. Take their mean, or a larger batch would take larger steps.',
      by((c, r, m) => softplus(-(c - r - m)), sum),
    ],
  };
  const overflows = {
    say:
      'A pair that is far off gives infinity or NaN: σ(−500) is zero in float32, and its logarithm is infinite. tf.softplus ' +
      'computes both at once: −log σ(x) = softplus(−x).',
  };
  const answer = (c: number[], r: number[], m: number[]): tf.Scalar => pairLoss(tf.tensor1d(c), tf.tensor1d(r), tf.tensor1d(m));

  it('is the mean of −log σ of the difference less the margin', async () => {
    const made = (loss: Loss): number => loss(chosen, rejected, margins);
    await expectClose(answer(chosen, rejected, margins), made(right), {
      tolerance: 1e-5,
      what: 'the loss',
      hints: hintsOf(wrong, made),
    });
  });

  it('stays a number for a pair that is far off', async () => {
    const [far] = await answer([-200], [300], [0]).data();
    await expectClose(far, 500, {
      what: 'the loss of scores −200 and 300',
      hints: { overflows: { ...overflows, when: !Number.isFinite(far) } },
    });
  });

  it('pulls at each score by σ(−difference), also where both are equal', async () => {
    const equal = [...chosen.slice(0, 6), 0];
    const other = [...rejected.slice(0, 6), 0];
    const none = equal.map(() => 0);
    const pull = await gradient((c) => pairLoss(c, tf.tensor1d(other), tf.tensor1d(none)), tf.tensor1d(equal));
    await expectClose(pull, equal.map((c, i) => -1 / (1 + Math.exp(c - other[i]!)) / equal.length), {
      tolerance: 1e-5,
      what: 'the gradient of the better scores',
      hints: { overflows: { ...overflows, when: !pull.every(Number.isFinite) } },
    });
  });
});

describe('11.3 where the score stands', () => {
  const END = 0;
  const rows = [
    [5, 6, 7, 8, 9, END, END, END, END],
    [5, END, 6, 7, 8, 9, 8, END, END],
    [4, 3, 8, 8, 8, 8, 8, 8, 8],
    [4, 5, 6, 7, END, END, END, END, END],
  ];
  const prompts = [3, 3, 2, 4];
  const like = (...columns: readonly number[][]) => (received: number[]): boolean =>
    columns.some((column) => JSON.stringify(column) === JSON.stringify(received));

  it('is the column of the last real token: of the first end mark behind the prompt', async () => {
    const received = Array.from(scoreColumns(rows.map((row) => [...row]), [...prompts], END));
    const is = (...columns: readonly number[][]): boolean => like(...columns)(received);
    await expectClose(received, [5, 7, 8, 4], {
      what: 'the columns',
      hints: {
        'reads-padding': {
          say:
            'You read short answers at the end of the row, where padding stands: their score would depend on how long the ' +
            'others are.',
          when: is([8, 8, 8, 8], [8, 8, -1, 8]),
        },
        'end-in-the-prompt': {
          say: 'A prompt has an end mark in it (row 1), and you take that one. Search from the end of the prompt on.',
          when: is([5, 1, 8, 4], [5, 1, -1, 4]),
        },
        'before-the-end': {
          say:
            'You read one token too early: the end mark belongs to the answer, and only there the model knows that it is ' +
            'complete.',
          when: is([4, 6, 8, 3], [4, 6, 7, 3]),
        },
        'behind-the-end': {
          say: 'You read one column too late, behind the end mark: that is padding. (The trap that TRL fell into.)',
          when: is([6, 8, 8, 5], [6, 8, 9, 5]),
        },
        'cut-off-forgotten': {
          say:
            'An answer that was cut off has no end mark (row 2), and indexOf says -1. Its last real token is in the last ' +
            'column.',
          when: is([5, 7, -1, 4]),
        },
        'counts-from-the-answer': {
          say: 'Your columns count from the beginning of the answer. They are those of the row: add the length of the prompt.',
          when: is([2, 4, 8, 0], [2, 4, 6, 0], [2, 4, -1, 0]),
        },
      },
    });
  });

  it('does not depend on how much padding there is', async () => {
    const longer = rows.map((row) => [...row, END, END]);
    await expectClose(scoreColumns(longer, [...prompts], END), [5, 7, 9, 4], { what: 'the columns of longer rows' });
  });

  it('leaves what it was given as it was', () => {
    const given = rows.map((row) => [...row]);
    scoreColumns(given, [...prompts], END);
    expectUnchanged('rows', given, rows);
  });
});

describe('11.4 how far from the reference', () => {
  const policy = normals(9, 1141).map((x) => -Math.abs(x));
  const reference = normals(9, 1142).map((x) => -Math.abs(x));
  const ratios = policy.map((p, i) => p - reference[i]!);
  const by = (estimate: (x: number) => number): number[] => ratios.map(estimate);
  const isReversed = (k1: readonly number[]): boolean => ratios.every((x, i) => Math.abs(k1[i]! + x) < 1e-5);
  const direction =
    'The difference is the wrong way round: log policy − log reference. (The tokens were drawn by the policy, so that is ' +
    'the KL of the policy from the reference.)';
  const received = (): ReturnType<typeof klEstimates> => klEstimates([...policy], [...reference]);
  const averaged = (value: unknown): Hint => ({
    say: 'That is one number. Give an estimate for each token: PPO pays for each of them.',
    when: typeof value === 'number',
  });

  it('k1: the difference of the logarithms', async () => {
    const { k1 } = received();
    await expectClose(k1, ratios, {
      tolerance: 1e-5,
      what: 'k1',
      hints: {
        averaged: averaged(k1),
        'wrong-direction': { say: direction, looksLike: by((x) => -x) },
        'ratio-without-logarithm': {
          say: 'That is the ratio of the probabilities; k1 is its logarithm.',
          looksLike: by(Math.exp),
        },
      },
    });
  });

  it('k2: half its square', async () => {
    const { k2 } = received();
    await expectClose(k2, by((x) => x ** 2 / 2), {
      tolerance: 1e-5,
      what: 'k2',
      hints: {
        averaged: averaged(k2),
        'half-missing': { say: 'k2 is half the square; yours is the whole.', looksLike: by((x) => x ** 2) },
        'square-missing': { say: 'k2 is half the square of k1; yours is half of k1.', looksLike: by((x) => x / 2) },
      },
    });
  });

  it('k3: the ratio less one less its logarithm', async () => {
    const { k1, k3 } = received();
    await expectClose(k3, by((x) => Math.exp(-x) - 1 + x), {
      tolerance: 1e-5,
      what: 'k3',
      hints: {
        averaged: averaged(k3),
        'wrong-direction': { say: direction, when: Array.isArray(k1) && isReversed(k1) },
        'ratio-upside-down': {
          say:
            'k3 needs reference / policy: exp(−k1). With policy / reference it estimates nothing, as the policy drew the ' +
            'tokens.',
          looksLike: by((x) => Math.exp(x) - 1 - x),
        },
        'logarithm-missing': {
          say: 'That is reference / policy − 1, whose mean is zero: it takes the noise away from k1. Add k1.',
          looksLike: by((x) => Math.exp(-x) - 1),
        },
        'one-missing': {
          say: 'All values of k3 are one too large: where both models agree, the ratio is 1, and the estimate must be 0.',
          looksLike: by((x) => Math.exp(-x) + x),
        },
        'logarithm-subtracted': {
          say: 'Some of k3 are negative: it is r − 1 − log r with r = reference / policy, and −log r is +k1.',
          looksLike: by((x) => Math.exp(-x) - 1 - x),
        },
      },
    });
  });
});

describe('11.5 a reward for each token', () => {
  const [policy, reference] = [normals(5, 1151), normals(5, 1152)];
  const [score, beta] = [1.7, 0.3];
  const distance = policy.map((p, t) => p - reference[t]!);
  type Rule = (distance: number[], score: number, beta: number) => number[];
  const last = (rule: (value: number, score: number) => number): Rule => (d, s, b) =>
    d.map((x, t) => (t === d.length - 1 ? rule(-b * x, s) : -b * x));
  const right = last((value, s) => value + s);
  const wrong: Record<string, [string, Rule]> = {
    'pays-for-distance': [
      'Distance is rewarded: the penalty is minus β times log π − log π_reference.',
      (d, s, b) => right(d.map((x) => -x), s, b),
    ],
    'score-at-every-token': [
      'Every token gets the whole score, so a longer answer earns it more often. It is paid once, at the last token.',
      (d, s, b) => d.map((x) => s - b * x),
    ],
    'score-at-the-first-token': [
      'The score is paid at the first token. It is known when the answer is complete: at the last one.',
      (d, s, b) => d.map((x, t) => (t === 0 ? s : 0) - b * x),
    ],
    'penalty-lost-at-the-end': ['The last token has the score and no penalty: add the two.', last((_, s) => s)],
    'beta-forgotten': ['Your penalties are not multiplied by β.', (d, s) => right(d, s, 1)],
    'score-forgotten': ['The score is nowhere: add it to the last token.', last((value) => value)],
    'penalty-at-the-end': [
      'All penalties are paid at the last token. Then no token knows what it cost; give each its own.',
      (d, s, b) => d.map((_, t) => (t === d.length - 1 ? s - b * sum(d) : 0)),
    ],
  };

  it('is minus β times the distance, and the score at the end', async () => {
    const made = (rule: Rule): number[] => rule(distance, score, beta);
    await expectClose(tokenRewards([...policy], [...reference], score, beta), made(right), {
      tolerance: TOLERANCE,
      what: 'the rewards',
      hints: hintsOf(wrong, made),
    });
  });

  it('of an answer of one token is both together', async () => {
    const made = (rule: Rule): number[] => rule([0.5], -2, 0.1);
    const hints = hintsOf({ 'penalty-lost-at-the-end': wrong['penalty-lost-at-the-end']! }, made);
    await expectClose(tokenRewards([-1], [-1.5], -2, 0.1), [-2.05], { tolerance: TOLERANCE, what: 'the reward', hints });
  });

  it('leaves what it was given as it was', () => {
    const [p, q] = [[...policy], [...reference]];
    tokenRewards(p, q, score, beta);
    expectUnchanged('log-probabilities', [p, q], [policy, reference]);
  });
});

describe('11.6 advantages', () => {
  const [rewards, values] = [normals(6, 1161), normals(6, 1162)];
  interface Rule {
    next?: (values: number[], t: number) => number;
    own?: (value: number) => number;
    keep?: (gamma: number, lambda: number) => number;
    discount?: (gamma: number) => number;
    forwards?: boolean;
  }
  const advantagesBy =
    ({ next = (v, t) => v[t + 1] ?? 0, own = (v) => v, keep = (g, l) => g * l, discount = (g) => g, forwards = false }: Rule) =>
    (r: number[], v: number[], gamma: number, lambda: number): number[] => {
      const result = r.map(() => 0);
      let later = 0;
      const order = [...r.keys()];
      for (const t of forwards ? order : order.reverse()) {
        later = r[t]! + discount(gamma) * next(v, t) - own(v[t]!) + keep(gamma, lambda) * later;
        result[t] = later;
      }
      return result;
    };
  const wrong: Record<string, [string, Rule]> = {
    'lambda-forgotten': ['λ has no effect: what comes later is passed on times γ λ.', { keep: (g) => g }],
    'gamma-forgotten-in-the-sum': ['What comes later is passed on times λ alone; it is γ λ.', { keep: (_, l) => l }],
    'gamma-forgotten-in-the-value': ['The value of the next token is not multiplied by γ.', { discount: () => 1 }],
    'value-behind-the-end': [
      'Behind the last token you expect as much as before it. Nothing comes there any more: the value is 0.',
      { next: (v, t) => v[Math.min(t + 1, v.length - 1)]! },
    ],
    'value-not-subtracted': [
      'What was expected before the token is not subtracted: only what is better than expected is an advantage.',
      { own: () => 0 },
    ],
    'one-step-alone': ['Those are the surprises of single tokens: pass them back, each times γ λ.', { keep: () => 0 }],
    'sums-from-the-front': [
      'A token gets the surprises of the tokens before it. What it did shows in those behind it: go from the end to the front.',
      { forwards: true },
    ],
  };
  const right = advantagesBy({});
  const cases = [
    ['γ = 0.9, λ = 0.8', rewards, values, 0.9, 0.8],
    ['worked by hand', [0, 0, 1], [0.25, 0.5, 0.5], 1, 0.5],
    ['a single token', [2], [0.5], 0.9, 0.8],
  ] as const;
  const answer = (r: readonly number[], v: readonly number[], g: number, l: number): ReturnType<typeof gae> =>
    gae([...r], [...v], g, l);

  it.each(cases)('advantages: %s', async (_, r, v, gamma, lambda) => {
    const { advantages } = answer(r, v, gamma, lambda);
    const made = (rule: Rule): number[] => advantagesBy(rule)([...r], [...v], gamma, lambda);
    await expectClose(advantages, right([...r], [...v], gamma, lambda), {
      tolerance: TOLERANCE,
      what: 'advantages',
      hints: {
        'undefined-behind-the-end': {
          say: 'Your advantages are NaN: values[T] is undefined. Behind the last token the value is 0.',
          when: Array.from(advantages).some(Number.isNaN),
        },
        ...hintsOf(wrong, made),
      },
    });
  });

  it('the example by hand: surprises of 0.25, 0 and 0.5 become 0.375, 0.25 and 0.5', async () => {
    const { advantages } = answer([0, 0, 1], [0.25, 0.5, 0.5], 1, 0.5);
    await expectClose(advantages, [0.375, 0.25, 0.5], { tolerance: TOLERANCE, what: 'advantages' });
  });

  it.each(cases)('returns: %s', async (_, r, v, gamma, lambda) => {
    const { advantages, returns } = answer(r, v, gamma, lambda);
    const own = Array.from(advantages);
    // Held against the advantages that were given, so that a mistake there is not told twice.
    await expectClose(returns, own.map((a, t) => a + v[t]!), {
      tolerance: TOLERANCE,
      what: 'returns',
      hints: {
        'undefined-behind-the-end': { say: 'Your returns are NaN, too.', when: own.some(Number.isNaN) },
        'returns-without-values': {
          say: 'The returns are the advantages: add the values, for they are what the values should have said.',
          looksLike: own,
        },
        'returns-from-rewards-alone': {
          say:
            'Those are the discounted sums of the rewards. With λ < 1 the returns lean on the values, too: advantages + ' +
            'values.',
          looksLike: advantagesBy({ next: () => 0, own: () => 0, keep: (g) => g })([...r], [...v], gamma, lambda),
        },
        'values-subtracted': {
          say: 'The values are subtracted: returns are advantages + values.',
          looksLike: own.map((a, t) => a - v[t]!),
        },
      },
    });
  });

  it('leaves what it was given as it was', () => {
    const [r, v] = [[...rewards], [...values]];
    gae(r, v, 1, 0.95);
    expectUnchanged('rewards or values', [r, v], [rewards, values]);
  });
});

describe('11.7 whitening under a mask', () => {
  const mask = [
    [1, 1, 1, 1, 1],
    [1, 1, 0, 0, 0],
    [1, 1, 1, 0, 0],
  ];
  /** In the padding stands something that nobody should read. */
  const values = mask.map((row, i) => row.map((real, t) => (real === 1 ? normals(5, 1171 + i)[t]! + i : 40 + t)));
  interface Rule {
    among?: (rows: number[][], mask: number[][], row: number) => number[];
    center?: boolean;
    scale?: boolean;
    biased?: boolean;
    padding?: boolean;
  }
  const real = (rows: number[][], m: number[][]): number[] => rows.flatMap((row, i) => row.filter((_, t) => m[i]![t] === 1));
  const by =
    ({ among = real, center = true, scale = true, biased = false, padding = false }: Rule) =>
    (rows: number[][], m: number[][]): number[][] =>
      rows.map((row, i) => {
        const list = among(rows, m, i);
        const middle = mean(list);
        const variance = sum(list.map((x) => (x - middle) ** 2)) / (list.length - (biased ? 0 : 1));
        const white = (x: number): number => (x - (center ? middle : 0)) / (scale ? Math.sqrt(variance + 1e-8) : 1);
        return row.map((x, t) => (m[i]![t] === 1 || padding ? white(x) : 0));
      });
  const wrong: Record<string, [string, Rule]> = {
    'padding-counted': [
      'What stands in the padding is in the mean and the variance. Only real tokens count.',
      { among: (rows) => rows.flat() },
    ],
    'padding-counted-as-zeros': [
      'The padding counts as zeros in the mean and the variance: divide by the number of real tokens, and leave the ' +
        'others out.',
      { among: (rows, m) => rows.flatMap((row, i) => row.map((x, t) => x * m[i]![t]!)) },
    ],
    'rows-by-themselves': [
      'Each answer is whitened by itself, so that a bad answer looks as good as a good one. Take mean and variance of ' +
        'the whole batch.',
      { among: (rows, m, i) => rows[i]!.filter((_, t) => m[i]![t] === 1) },
    ],
    'biased-variance': ['The variance is divided by n; the unbiased one, which TRL takes, by n − 1.', { biased: true }],
    'only-centered': ['The mean is 0, but the variance is not 1: divide by its root.', { scale: false }],
    'not-centered': ['The variance is 1, but the mean is not 0: subtract it.', { center: false }],
    'padding-not-zero': ['The real tokens are right; in the padding stands something else than 0.', { padding: true }],
  };

  it('gives the real tokens of the batch mean 0 and variance 1', async () => {
    const made = (rule: Rule): number[][] => by(rule)(values, mask);
    await expectClose(whiten(values.map((row) => [...row]), mask.map((row) => [...row])), made({}), {
      tolerance: TOLERANCE,
      what: 'the advantages',
      hints: hintsOf(wrong, made),
    });
  });

  it('gives zeros where all are the same', async () => {
    const received = whiten([[3, 3, 9], [3, 3, 3]], [[1, 1, 0], [1, 1, 1]]);
    await expectClose(received, [[0, 0, 0], [0, 0, 0]], {
      what: 'the advantages',
      hints: {
        'divides-by-zero': {
          say: 'Where all advantages are the same, yours are NaN: the 10⁻⁸ belongs into the root, beside the variance.',
          when: Array.from(received).flat().some(Number.isNaN),
        },
      },
    });
  });

  it('leaves what it was given as it was', () => {
    const given = values.map((row) => [...row]);
    whiten(given, mask);
    expectUnchanged('values', given, values);
  });
});

describe('11.8 the clipped objective', () => {
  /** Ratios below, within and above 0.8 … 1.2, each with both signs of the advantage; one exactly 1. */
  const ratios = [0.5, 0.5, 0.9, 0.9, 1, 1.1, 1.1, 1.6, 1.6, 1];
  const advantages = [1.5, -0.7, 0.4, -2, 1.2, -0.3, 0.8, 1.1, -1.3, -0.9];
  const before = normals(ratios.length, 1181).map((x) => -Math.abs(x) - 0.1);
  const now = before.map((logP, i) => logP + Math.log(ratios[i]!));
  type Rule = (logRatio: number, advantage: number, clip: number) => number;
  const clamp = (x: number, low: number, high: number): number => Math.max(low, Math.min(high, x));
  const right: Rule = (x, A, e) => Math.max(-A * Math.exp(x), -A * clamp(Math.exp(x), 1 - e, 1 + e));
  const wrong: Record<string, [string, Rule]> = {
    'takes-the-smaller': [
      'Of the two you take the smaller loss: the policy would go on where it should be held, and be held where it should ' +
        'come back. It is the larger one.',
      (x, A, e) => Math.min(-A * Math.exp(x), -A * clamp(Math.exp(x), 1 - e, 1 + e)),
    ],
    'to-be-maximized': [
      'That is what PPO maximizes. An optimizer minimizes: change the sign.',
      (x, A, e) => -right(x, A, e),
    ],
    'never-clipped': ['Nothing is clipped: −A ρ alone.', (x, A) => -A * Math.exp(x)],
    'always-clipped': [
      'The clipped term alone has no gradient where a ratio went too far in the wrong direction, so it could not come ' +
        'back. Take the larger of the two.',
      (x, A, e) => -A * clamp(Math.exp(x), 1 - e, 1 + e),
    ],
    'ratio-upside-down': ['The ratio is before / now. It is exp(now − before).', (x, A, e) => right(-x, A, e)],
    'difference-of-logarithms': [
      'The ratio of probabilities is the exponential of the difference of their logarithms.',
      (x, A, e) => Math.max(-A * x, -A * clamp(x, 1 - e, 1 + e)),
    ],
    'logarithm-clipped': [
      'You clip the logarithm of the ratio at ±ε. It is the ratio that is clipped, at 1 ± ε.',
      (x, A, e) => Math.max(-A * Math.exp(x), -A * Math.exp(clamp(x, -e, e))),
    ],
  };
  const answer = (at: tf.Tensor1D, clip: number): tf.Tensor =>
    clippedObjective(at, tf.tensor1d(before), tf.tensor1d(advantages), clip);

  it.each([0.2, 0.05])('is the larger of the free and the clipped loss: ε = %f', async (clip) => {
    const received = answer(tf.tensor1d(now), clip);
    const made = (rule: Rule): number[] => now.map((logP, i) => rule(logP - before[i]!, advantages[i]!, clip));
    await expectClose(received, made(right), {
      tolerance: 1e-5,
      what: 'the objective',
      hints: {
        averaged: {
          say: 'That is one number. Give the loss of each token; who calls you takes the mean.',
          when: received instanceof tf.Tensor && received.rank === 0,
        },
        ...hintsOf(wrong, made),
      },
    });
  });

  it('lets go of a token that has gone far enough, and of no other', async () => {
    const pull = await gradient((at) => tf.sum(answer(at, 0.2)), tf.tensor1d(now));
    const held = ratios.map((ratio, i) => (advantages[i]! > 0 ? ratio > 1.2 : ratio < 0.8));
    await expectClose(pull, ratios.map((ratio, i) => (held[i]! ? 0 : -advantages[i]! * ratio)), {
      tolerance: 1e-5,
      what: 'the gradient by the log-probabilities',
    });
  });
});

describe('11.9 a price that follows the distance', () => {
  const target = 6;
  const distances = [6, 6.6, 5.7, 60, 0, 12];
  type Rule = (beta: number, kl: number, target: number) => number;
  const limited = (x: number, most = 0.2): number => Math.max(-most, Math.min(most, x));
  const right: Rule = (beta, kl, t) => beta * (1 + 0.1 * limited(kl / t - 1));
  const wrong: Record<string, [string, Rule]> = {
    'not-limited': [
      'One bad batch changes the price as much as it likes: the error is held between −0.2 and 0.2.',
      (beta, kl, t) => beta * (1 + 0.1 * (kl / t - 1)),
    ],
    'wrong-direction': [
      'The price falls when the policy is too far: a larger KL needs a larger β.',
      (beta, kl, t) => beta * (1 - 0.1 * limited(kl / t - 1)),
    ],
    'tenth-forgotten': ['The price moves ten times too fast: 1 + 0.1 e.', (beta, kl, t) => beta * (1 + limited(kl / t - 1))],
    'difference-in-nats': [
      'The error is KL / target − 1, a share of the target; yours is a difference in nats.',
      (beta, kl, t) => beta * (1 + 0.1 * limited(kl - t)),
    ],
    'forgets-the-old-price': ['That is the factor alone: multiply the old β by it.', (_, kl, t) => right(1, kl, t)],
    'factor-added': [
      'The change is added to β. It is a share of it: β times (1 + 0.1 e).',
      (beta, kl, t) => beta + 0.1 * limited(kl / t - 1),
    ],
  };

  it('rises when the policy is too far, and falls when it is near, by 2% at most', async () => {
    const made = (rule: Rule): number[] => distances.map((kl) => rule(0.05, kl, target));
    await expectClose(made(adaptBeta), made(right), { tolerance: TOLERANCE, what: 'β', hints: hintsOf(wrong, made) });
  });
});

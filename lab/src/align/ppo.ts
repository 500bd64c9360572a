/**
 * @file Proximal policy optimization: the policy writes, its answers are scored, and tokens that did better than the value
 * model expected become more likely, in small steps. Schulman et al. 2017; for language models Ziegler et al. 2019 (the
 * adaptive KL coefficient: section 2.2) and Ouyang et al. 2022; the details as in TRL.
 *
 * Shapes: N tokens that were written, over all answers.
 */
import { offTape, tf, type Scalar, type Tensor1D } from '../backend/index.ts';
import { LabError, Random } from '../base/index.ts';
import type { CheckpointOptions } from '../train/index.ts';
import type { GaeOptions } from './advantages.ts';
import { completionBatch, type Sample } from './completions.ts';
import { iterate, type Iterated, type IterationReport } from './iterations.ts';
import { countedTargets, readBatch, tokenLogProbabilities } from './log-probabilities.ts';
import { clipFraction, clippedValueLoss } from './losses/clipped.ts';
import { klEstimate } from './losses/kl.ts';
import { ppoParts, type PPOParts } from './ppo-parts.ts';
import { PolicyStep } from './policy-step.ts';
import { logProbabilities, referenceLogProbabilities, type Policy } from './policy.ts';
import type { AnswerReward } from './ranking.ts';
import { ScoreModel } from './reward-model.ts';
import { rollout, type RolloutOptions } from './rollout.ts';

export interface PPOOptions extends GaeOptions, Pick<RolloutOptions, 'maxTokens' | 'endToken' | 'seed'> {
  readonly iterations: number;
  /** Divides the logits, in writing and in learning alike (default 1). */
  readonly temperature?: number;
  /** Times that each batch of answers is learned (default 4), and answers in a step (default 16). */
  readonly epochs?: number;
  readonly batchSize?: number;
  /** Default 1e-4, for models of 10⁵ to 10⁶ parameters; TRL's 3e-6 is for billions. */
  readonly learningRate?: number;
  /** What distance from the reference costs, in units of the reward for a nat (default 0.05). */
  readonly beta?: number;
  /** Let β follow this KL of an answer, in nats; not unless told. */
  readonly targetKl?: number;
  /** End the training when the KL of an answer is larger, in nats (default 50). */
  readonly klLimit?: number;
  /** End the epochs of an iteration when the policy has gone so far from the one that wrote, nats a token (default 0.1). */
  readonly stepKlLimit?: number;
  /** How far ratios and values may move (default 0.2). */
  readonly clip?: number;
  readonly valueCoefficient?: number;
  readonly entropyCoefficient?: number;
  /** Saved every ten iterations unless told, and after the last; with the values, the draws and β. */
  readonly checkpoint?: CheckpointOptions;
  /** Steps of one's own in place of the library's. */
  readonly parts?: Partial<PPOParts>;
  readonly quiet?: boolean;
}

export interface PPOReport extends IterationReport {
  readonly beta: number;
  /** Tokens in an answer. */
  readonly length: number;
  readonly clipFraction: number;
  readonly loss: number;
  /** Seconds spent in writing, scoring (with the reference and the values) and learning. */
  readonly seconds: { readonly rollout: number; readonly score: number; readonly update: number };
}

export type PPOResult = Iterated<PPOReport>;

/** One answer with all that was known when it was written. */
interface Experience {
  readonly sample: Sample;
  readonly before: ArrayLike<number>;
  readonly expected: ArrayLike<number>;
  readonly advantages: readonly number[];
  readonly returns: ArrayLike<number>;
}

/**
 * @param policy its model is changed in place
 * @param reward of whole answers
 * @param given the value model; a copy of the policy unless given
 * @throws LabError when a reward or a loss is not a finite number, naming the iteration; the weights are those before it.
 */
export async function ppo(
  policy: Policy,
  prompts: readonly (readonly number[])[],
  reward: AnswerReward,
  options: PPOOptions,
  given?: ScoreModel,
): Promise<PPOResult> {
  const { iterations, learningRate = 1e-4, quiet = false, klLimit = 50, targetKl, checkpoint } = options;
  const values = given ?? new ScoreModel(policy.model);
  const companions = new Map([...values.namedParameters()].map(([path, variable]) => [`values.${path}`, variable] as const));
  const step = new PolicyStep(new Map([...policy.model.namedParameters(), ...companions]), { learningRate });
  const random = new Random(options.seed ?? 0);
  const parts = { ...ppoParts, ...options.parts };
  const learner = { model: policy.model, companions, step, random, beta: options.beta ?? 0.05 };
  policy.model.eval();
  try {
    return await iterate({ label: 'PPO', iterations, klLimit, checkpoint, quiet }, learner, async (iteration) => {
      const turn = new Iteration(policy, values, step, { ...options, beta: learner.beta, parts }, iteration, random);
      const report = await turn.run(prompts, reward);
      if (targetKl !== undefined) learner.beta = parts.adaptBeta(learner.beta, report.kl, targetKl);
      return report;
    });
  } finally {
    step.dispose();
    if (values !== given) values.dispose();
  }
}

/** With what is decided anew in each iteration. */
interface IterationSettings extends PPOOptions {
  readonly beta: number;
  readonly parts: PPOParts;
}

class Iteration {
  readonly #policy: Policy;
  readonly #values: ScoreModel;
  readonly #step: PolicyStep;
  readonly #options: IterationSettings;
  readonly #iteration: number;
  readonly #random: Random;
  readonly #temperature: { readonly temperature: number };

  constructor(
    policy: Policy,
    values: ScoreModel,
    step: PolicyStep,
    options: IterationSettings,
    iteration: number,
    random: Random,
  ) {
    this.#policy = policy;
    this.#values = values;
    this.#step = step;
    this.#options = options;
    this.#iteration = iteration;
    this.#random = random;
    this.#temperature = { temperature: options.temperature ?? 1 };
  }

  async run(prompts: readonly (readonly number[])[], reward: AnswerReward): Promise<PPOReport> {
    const { maxTokens, endToken, beta } = this.#options;
    const times = [performance.now()];
    const samples = await rollout(this.#policy.model, prompts, {
      ...this.#temperature,
      ...(maxTokens !== undefined && { maxTokens }),
      ...(endToken !== undefined && { endToken }),
      seed: this.#random.uint32(),
    });
    times.push(performance.now());
    const scores = await reward(samples);
    this.#checkScores(scores);
    const { experiences, kl } = await this.#experience(samples, scores);
    times.push(performance.now());
    const learned = await this.#learn(experiences);
    times.push(performance.now());
    const [rolloutTime, score, update] = times.slice(1).map((time, i) => (time - times[i]!) / 1000);
    return {
      iteration: this.#iteration,
      reward: scores.reduce((sum, value) => sum + value, 0) / scores.length,
      kl,
      beta,
      length: samples.reduce((sum, { completion }) => sum + completion.length, 0) / samples.length,
      ...learned,
      seconds: { rollout: rolloutTime!, score: score!, update: update! },
    };
  }

  #checkScores(scores: readonly number[]): void {
    const bad = scores.findIndex((score) => !Number.isFinite(score));
    if (bad < 0) return;
    throw new LabError(
      `PPO iteration ${this.#iteration}: the reward of answer ${bad} is ${scores[bad]}; the weights are those before.`,
    );
  }

  async #experience(samples: readonly Sample[], scores: readonly number[]): Promise<{ experiences: Experience[]; kl: number }> {
    const batch = completionBatch(samples);
    const targets = countedTargets(batch);
    const known = tf.tidy(() => [
      logProbabilities(this.#policy.model, batch, targets, this.#temperature),
      referenceLogProbabilities(this.#policy, batch, targets, this.#temperature),
      offTape(() => this.#values.at(batch, targets.positions)),
    ]);
    const [before, reference, expected] = await Promise.all(known.map((tensor) => tensor.data()));
    tf.dispose(known);
    let start = 0;
    let kl = 0;
    const experiences = samples.map((sample, i): Experience => {
      const own = <T extends Float32Array>(all: T): Float32Array => all.subarray(start, start + sample.completion.length);
      const [p, q, v] = [own(before as Float32Array), own(reference as Float32Array), own(expected as Float32Array)];
      start += sample.completion.length;
      kl += p.reduce((sum, logP, t) => sum + logP - q[t]!, 0) / samples.length;
      const { parts, beta } = this.#options;
      const { advantages, returns } = parts.advantages(parts.tokenRewards(p, q, scores[i]!, beta), v, this.#options);
      return { sample, before: p, expected: v, advantages: [...advantages], returns };
    });
    const white = this.#options.parts.whiten(experiences.map(({ advantages }) => advantages));
    return { experiences: experiences.map((experience, i) => ({ ...experience, advantages: white[i]! })), kl };
  }

  async #learn(experiences: readonly Experience[]): Promise<Pick<PPOReport, 'loss' | 'clipFraction'>> {
    const { epochs = 4, batchSize = 16, stepKlLimit = 0.1 } = this.#options;
    let [loss, clipped] = [0, 0];
    for (let epoch = 0; epoch < epochs; epoch++) {
      const order = this.#random.shuffle([...experiences]);
      for (let start = 0; start < order.length; start += batchSize) {
        const taken = await this.#update(order.slice(start, start + batchSize));
        [loss, clipped] = [taken.loss, taken.clipFraction];
        if (taken.kl > stepKlLimit) return { loss, clipFraction: clipped };
      }
    }
    return { loss, clipFraction: clipped };
  }

  async #update(part: readonly Experience[]): Promise<{ loss: number; clipFraction: number; kl: number }> {
    const { clip = 0.2, valueCoefficient = 0.1, entropyCoefficient = 0, parts } = this.#options;
    const batch = completionBatch(part.map(({ sample }) => sample));
    const targets = countedTargets(batch);
    const row = (of: (experience: Experience) => ArrayLike<number>): Tensor1D =>
      tf.tensor1d(part.flatMap((one) => Array.from(of(one))));
    const seen: Scalar[] = [];
    const loss = await this.#step.take(() => {
      const before = row((one) => one.before);
      const advantages = row((one) => one.advantages);
      const options = { ...this.#temperature, entropy: entropyCoefficient > 0 };
      const found = tokenLogProbabilities(this.#policy.model, readBatch(this.#policy.model, batch), targets, options);
      const now = found.logProbabilities;
      seen.push(
        tf.keep(offTape(() => clipFraction(now, before, advantages, { clip }))),
        tf.keep(offTape(() => tf.mean<Scalar>(klEstimate(before, now, 'k3')))),
      );
      const values = this.#values.at(batch, targets.positions);
      const ofValues = clippedValueLoss(values, row((one) => one.expected), row((one) => one.returns), { clip });
      const ofPolicy = tf.mean<Scalar>(parts.objective(now, before, advantages, { clip }));
      const sum = tf.add<Scalar>(ofPolicy, tf.mul(ofValues, valueCoefficient));
      return found.entropy ? tf.sub<Scalar>(sum, tf.mul(tf.mean(found.entropy), entropyCoefficient)) : sum;
    }, `PPO iteration ${this.#iteration}`);
    const [fraction, kl] = await Promise.all(seen.map(async (scalar) => (await scalar.data())[0]!));
    tf.dispose(seen);
    return { loss, clipFraction: fraction!, kl: kl! };
  }
}

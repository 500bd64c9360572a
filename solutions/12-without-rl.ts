/**
 * @file Reference answers of chapter 12, alignment without PPO: DPO and its family, RAFT, chain of hindsight.
 * Rafailov et al. 2023 (DPO), Azar et al. 2023 (IPO), Dong et al. 2023 (RAFT), Liu et al. 2023 (chain of hindsight), Gao et al.
 * 2023 (over-optimisation).
 */
import { tf } from 'lab';

// #region 12.1 the best policy
/**
 * The policy that has the most of reward − β KL(policy ‖ reference), over a few answers.
 *
 * @param reference how likely the reference finds each answer; sums to one
 * @param rewards of the same answers
 * @param beta the price of a nat
 * @returns how likely the best policy finds each answer
 */
export function bestPolicy(reference: number[], rewards: number[], beta: number): number[] {
  const highest = Math.max(...rewards);
  const weights = reference.map((p, i) => p * Math.exp((rewards[i]! - highest) / beta));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}
// #endregion

// #region 12.2 the reward inside a policy
/**
 * β log π/π_reference of whole answers: the reward that a policy believes in, up to a constant of each prompt.
 *
 * @param policy log-probabilities of the tokens, for each answer
 * @param reference the same of the reference
 * @param counts 1 for the tokens of the answer, 0 for padding
 * @returns a number for each answer
 */
export function implicitRewards(policy: number[][], reference: number[][], counts: number[][], beta: number): number[] {
  return policy.map((tokens, i) =>
    tokens.reduce((sum, logP, t) => sum + beta * counts[i]![t]! * (logP - reference[i]![t]!), 0),
  );
}
// #endregion

// #region 12.3 DPO's loss
/**
 * −log σ(β (chosen − rejected)), the mean over the pairs; finite however large the difference is.
 *
 * @param chosen log π/π_reference of the better answer of each pair, summed over its tokens, [B]
 * @param rejected the same of the worse one, [B]
 * @returns a scalar
 */
export function dpoLoss(chosen: tf.Tensor1D, rejected: tf.Tensor1D, beta: number): tf.Scalar {
  const logits = tf.mul(tf.sub(chosen, rejected), beta);
  return tf.mean(tf.softplus(tf.neg(logits)));
}
// #endregion

// #region 12.4 what it learns from
/**
 * How strongly a step of DPO pushes each pair: β σ(β (rejected − chosen)).
 *
 * @param chosen log π/π_reference of the better answer of each pair
 * @param rejected the same of the worse one
 */
export function dpoWeights(chosen: number[], rejected: number[], beta: number): number[] {
  return chosen.map((gain, i) => beta / (1 + Math.exp(beta * (gain - rejected[i]!))));
}
// #endregion

// #region 12.5 IPO
/**
 * ((chosen − rejected) − 1/(2β))², the mean over the pairs.
 *
 * @param chosen log π/π_reference of the better answer of each pair, averaged over its tokens, [B]
 * @param rejected the same of the worse one, [B]
 * @returns a scalar
 */
export function ipoLoss(chosen: tf.Tensor1D, rejected: tf.Tensor1D, beta: number): tf.Scalar {
  const gain = tf.sub(chosen, rejected);
  return tf.mean(tf.square(tf.sub(gain, 1 / (2 * beta))));
}
// #endregion

// #region 12.6 RAFT's ranking
/**
 * @param rewards of each answer to each prompt: rewards[prompt][answer]
 * @returns the best answer to each prompt; of equal ones the first
 */
export function bestOfEach(rewards: number[][]): number[] {
  return rewards.map((group) => group.indexOf(Math.max(...group)));
}

/**
 * @returns [prompt, answer] of as many answers as there are prompts: the best of all, best first; of equal ones the earlier
 */
export function bestOfAll(rewards: number[][]): [number, number][] {
  const places = rewards.flatMap((group, prompt) => group.map((_, answer): [number, number] => [prompt, answer]));
  return places.sort(([p, a], [q, b]) => rewards[q]![b]! - rewards[p]![a]!).slice(0, rewards.length);
}
// #endregion

// #region 12.7 a chain of hindsight
/**
 * Two sequences of a pair: the worse answer first and then the better one, and the other way round; each answer behind its mark.
 *
 * @param pair token ids
 * @param marks token ids of what says that a good or a bad answer follows
 * @returns of each sequence what is only read (prompt), what comes after it (completion), and which tokens of that are learned:
 *   1 for those of the answers, 0 for those of a mark
 */
export function hindsight(
  pair: { prompt: number[]; chosen: number[]; rejected: number[] },
  marks: { good: number[]; bad: number[] },
): { prompt: number[]; completion: number[]; counts: number[] }[] {
  const good = { mark: marks.good, answer: pair.chosen };
  const bad = { mark: marks.bad, answer: pair.rejected };
  const written = (first: typeof good, second: typeof good) => ({
    prompt: [...pair.prompt, ...first.mark],
    completion: [...first.answer, ...second.mark, ...second.answer],
    counts: [...first.answer.map(() => 1), ...second.mark.map(() => 0), ...second.answer.map(() => 1)],
  });
  return [written(bad, good), written(good, bad)];
}
// #endregion

// #region 12.8 a point of the figure
/**
 * Where a policy stands: the distance that it has gone, and what it has got for that.
 *
 * @param answers that the policy drew: for each, log-probabilities of its tokens by policy and by reference, and its reward
 * @returns means over the answers; the distance in nats an answer
 */
export function frontierPoint(
  answers: { policy: number[]; reference: number[]; reward: number }[],
): { kl: number; reward: number } {
  const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const gone = answers.map(({ policy, reference }) => policy.reduce((sum, logP, t) => sum + logP - reference[t]!, 0));
  return { kl: mean(gone), reward: mean(answers.map(({ reward }) => reward)) };
}
// #endregion

// #region 12.9 where the hack begins
/**
 * @param proxy what the training was told, round by round
 * @param truth what the answers were really worth
 * @returns the last round before the proxy was hacked: where the truth is highest, if it is lower and the proxy higher at the end;
 *   −1 where nothing was hacked
 */
export function hackedFrom(proxy: number[], truth: number[]): number {
  const top = truth.indexOf(Math.max(...truth));
  const end = truth.length - 1;
  return truth[end]! < truth[top]! && proxy[end]! > proxy[top]! ? top : -1;
}
// #endregion

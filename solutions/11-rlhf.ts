/**
 * @file Reference answers of chapter 11, RLHF: examples, a reward model, and PPO.
 * Ouyang et al. 2022 (the whole), Bradley and Terry 1952 (pairs), Schulman 2020 (estimates of the KL), Ziegler et al. 2019
 * (rewards for tokens, the adaptive coefficient), Schulman et al. 2016 (advantages), Schulman et al. 2017 (PPO).
 */
import { tf } from 'lab';

// #region 11.1 what is to be learned
/**
 * A row for supervised fine-tuning: what the model reads, and what it is to say at each place.
 *
 * @param prompt token ids, one or more
 * @param completion token ids, the end mark included
 * @param length of the row: prompt and completion without its last token fit
 * @param padding fills the row; maybe the same token as the end mark
 * @returns inputs and targets, [length] each; targets are -100 where nothing is to be learned
 */
export function completionRow(
  prompt: number[],
  completion: number[],
  length: number,
  padding: number,
): { inputs: number[]; targets: number[] } {
  const tokens = [...prompt, ...completion];
  const inputs = new Array<number>(length).fill(padding);
  const targets = new Array<number>(length).fill(-100);
  for (let i = 0; i < tokens.length - 1; i++) {
    inputs[i] = tokens[i]!;
    if (i >= prompt.length - 1) targets[i] = tokens[i + 1]!;
  }
  return { inputs, targets };
}
// #endregion

// #region 11.2 the loss of a pair
/**
 * The mean of −log σ(chosen − rejected − margin).
 *
 * @param chosen scores of the better answers, [B]
 * @param rejected scores of the worse ones, [B]
 * @param margins by how much each should win, [B]
 * @returns a scalar, with a gradient
 */
export function pairLoss(chosen: tf.Tensor1D, rejected: tf.Tensor1D, margins: tf.Tensor1D): tf.Scalar {
  // −log σ(x) = log(1 + exp(−x)) = softplus(−x), with x = chosen − rejected − margin.
  return rejected.add<tf.Tensor1D>(margins).sub<tf.Tensor1D>(chosen).softplus().mean<tf.Scalar>();
}
// #endregion

// #region 11.3 where the score stands
/**
 * The column of each row where the score is read: that of the last real token.
 *
 * @param rows [B][T] token ids: prompt, answer, padding
 * @param prompts how many tokens of each row are prompt, [B]
 * @param end ends an answer, pads the row, and may stand in prompts; an answer that was cut off has none
 * @returns [B]
 */
export function scoreColumns(rows: number[][], prompts: number[], end: number): number[] {
  return rows.map((row, i) => {
    const at = row.indexOf(end, prompts[i]);
    return at < 0 ? row.length - 1 : at;
  });
}
// #endregion

// #region 11.4 how far from the reference
/**
 * Three estimates of the KL divergence of the policy from its reference, for each token that the policy drew.
 *
 * @param policy its log-probabilities of these tokens, [N]
 * @param reference the same of the reference, [N]
 * @returns [N] each, in nats
 */
export function klEstimates(policy: number[], reference: number[]): { k1: number[]; k2: number[]; k3: number[] } {
  const k1 = policy.map((logP, i) => logP - reference[i]!);
  return { k1, k2: k1.map((x) => x ** 2 / 2), k3: k1.map((x) => Math.exp(-x) - 1 + x) };
}
// #endregion

// #region 11.5 a reward for each token
/**
 * What each token of an answer earns: −β (log π − log π_reference), and the last one the answer's score, too.
 *
 * @param policy log-probabilities of the tokens, [T]
 * @param reference the same of the reference, [T]
 * @param score of the whole answer
 * @param beta the price of a nat
 * @returns [T]
 */
export function tokenRewards(policy: number[], reference: number[], score: number, beta: number): number[] {
  const rewards = policy.map((logP, t) => -beta * (logP - reference[t]!));
  rewards[rewards.length - 1]! += score;
  return rewards;
}
// #endregion

// #region 11.6 advantages
/**
 * Generalized advantage estimation for the tokens of one answer.
 *
 * @param rewards [T]
 * @param values what was expected before each token, [T]; behind the last there is nothing to expect
 * @returns advantages [T], and returns = advantages + values [T]
 */
export function gae(
  rewards: number[],
  values: number[],
  gamma: number,
  lambda: number,
): { advantages: number[]; returns: number[] } {
  const advantages = rewards.map(() => 0);
  let later = 0;
  for (let t = rewards.length - 1; t >= 0; t--) {
    const surprise = rewards[t]! + gamma * (values[t + 1] ?? 0) - values[t]!;
    later = surprise + gamma * lambda * later;
    advantages[t] = later;
  }
  return { advantages, returns: advantages.map((advantage, t) => advantage + values[t]!) };
}
// #endregion

// #region 11.7 whitening under a mask
/**
 * Mean 0 and variance 1 over all real tokens of a batch; zero in the padding.
 *
 * @param values [B][T]
 * @param mask [B][T]: 1 for a real token, 0 for padding
 * @returns (value − mean) / √(variance + 10⁻⁸), with the unbiased variance; [B][T]
 */
export function whiten(values: number[][], mask: number[][]): number[][] {
  const real = values.flatMap((row, i) => row.filter((_, t) => mask[i]![t] === 1));
  const mean = real.reduce((sum, x) => sum + x, 0) / real.length;
  const variance = real.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (real.length - 1);
  return values.map((row, i) => row.map((x, t) => (mask[i]![t] === 1 ? (x - mean) / Math.sqrt(variance + 1e-8) : 0)));
}
// #endregion

// #region 11.8 the clipped objective
/**
 * What PPO minimizes, for each token: max(−A ρ, −A clip(ρ, 1 − ε, 1 + ε)), where ρ = exp(now − before).
 *
 * @param now log-probabilities under the policy that learns, [N]
 * @param before under the policy that wrote, [N]
 * @param advantages [N]
 * @param clip ε
 * @returns [N], with a gradient
 */
export function clippedObjective(
  now: tf.Tensor1D,
  before: tf.Tensor1D,
  advantages: tf.Tensor1D,
  clip: number,
): tf.Tensor1D {
  const ratio = now.sub(before).exp();
  const free = advantages.mul<tf.Tensor1D>(ratio).neg();
  const held = advantages.mul<tf.Tensor1D>(ratio.clipByValue(1 - clip, 1 + clip)).neg();
  return tf.maximum(free, held);
}
// #endregion

// #region 11.9 a price that follows the distance
/**
 * The next β: β (1 + 0.1 e), where e = KL / target − 1, but not below −0.2 nor above 0.2.
 *
 * @param beta the price now
 * @param kl how far the policy is from its reference, nats an answer
 * @param target how far it should be
 */
export function adaptBeta(beta: number, kl: number, target: number): number {
  const error = Math.max(-0.2, Math.min(0.2, kl / target - 1));
  return beta * (1 + 0.1 * error);
}
// #endregion

/**
 * @file The family of direct preference optimization: losses of how much more the policy than its reference prefers the chosen
 * answer. DPO: Rafailov et al. 2023, equation 7; label smoothing (cDPO): Mitchell 2023; hinge: Zhao et al. 2023 (SLiC-HF);
 * IPO: Azar et al. 2023, equation 17.
 *
 * Shapes: B pairs.
 */
import { tf, type Scalar, type Tensor1D } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { minusLogSigmoid } from './preference.ts';

export interface DirectLossOptions {
  readonly kind?: 'sigmoid' | 'hinge' | 'ipo';
  /** How close to stay to the reference; 1/β: in hinge and sigmoid the gain that is enough (default 0.1, DPO's). */
  readonly beta?: number;
  /** The share of pairs that are thought to be labelled the wrong way round; sigmoid alone (default 0). */
  readonly labelSmoothing?: number;
}

/** log π − log π_reference of the answers of each pair, summed over their tokens: [B] each; IPO wants it averaged. */
export interface LogRatios {
  readonly chosen: Tensor1D;
  readonly rejected: Tensor1D;
}

/**
 * sigmoid: −(1 − ε) log σ(βΔ) − ε log σ(−βΔ); hinge: max(0, 1 − βΔ); ipo: (Δ − 1/2β)², where Δ = chosen − rejected.
 *
 * @returns the mean over the pairs
 */
export function directLoss(ratios: LogRatios, { kind = 'sigmoid', beta = 0.1, labelSmoothing = 0 }: DirectLossOptions = {}): Scalar {
  invariant(beta > 0, `directLoss: beta must be positive, got ${beta}`);
  invariant(labelSmoothing >= 0 && labelSmoothing < 0.5, `directLoss: labelSmoothing must be in 0 … 0.5, got ${labelSmoothing}`);
  invariant(kind === 'sigmoid' || labelSmoothing === 0, `directLoss: labelSmoothing belongs to 'sigmoid', not to '${kind}'`);
  return tf.tidy(() => {
    const gain = tf.sub<Tensor1D>(ratios.chosen, ratios.rejected);
    if (kind === 'hinge') return tf.mean(tf.relu(tf.sub(1, tf.mul(gain, beta))));
    if (kind === 'ipo') return tf.mean(tf.square(tf.sub(gain, 1 / (2 * beta))));
    const logit = tf.mul<Tensor1D>(gain, beta);
    if (labelSmoothing === 0) return tf.mean(minusLogSigmoid(logit));
    const right = tf.mul(minusLogSigmoid(logit), 1 - labelSmoothing);
    return tf.mean(tf.add(right, tf.mul(minusLogSigmoid(tf.neg(logit)), labelSmoothing)));
  });
}

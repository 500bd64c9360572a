/**
 * @file The loss of a reward model: the better answer should score higher, by a margin if one is given.
 * Bradley and Terry 1952; Ouyang et al. 2022, section 3.5; margins: Touvron et al. 2023 (Llama 2), section 3.2.2;
 * centering: Eisenstein et al. 2023.
 */
import { tf, type Scalar, type Tensor1D } from '../../backend/index.ts';
import { crossEntropy } from '../../ops/index.ts';

export interface PairwiseLossOptions {
  /** [B]: how much better the better answer is; 0 unless told. */
  readonly margins?: Tensor1D;
  /** What (r_chosen + r_rejected)² counts for, which keeps scores around zero (default 0). */
  readonly centering?: number;
}

/** The mean of −log σ(r_chosen − r_rejected − margin). @param chosen scores [B] @param rejected scores [B] */
export function pairwiseLoss(chosen: Tensor1D, rejected: Tensor1D, { margins, centering = 0 }: PairwiseLossOptions = {}): Scalar {
  return tf.tidy(() => {
    const difference = tf.sub<Tensor1D>(chosen, rejected);
    const loss = tf.mean(minusLogSigmoid(margins ? tf.sub<Tensor1D>(difference, margins) : difference)) as Scalar;
    if (centering === 0) return loss;
    return tf.add<Scalar>(loss, tf.mul(tf.mean(tf.square(tf.add(chosen, rejected))), centering));
  });
}

/** −log σ(x) [B]: the cross-entropy of the logits (x, 0), whose gradient holds at x = 0, too, where a policy begins. */
export function minusLogSigmoid(x: Tensor1D): Tensor1D {
  return tf.tidy(() => {
    const first = tf.zeros<tf.Rank.R1>(x.shape, 'int32');
    return crossEntropy<Tensor1D>(tf.stack([x, tf.zerosLike(x)], 1), first, { reduction: 'none' });
  });
}

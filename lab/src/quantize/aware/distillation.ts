/**
 * @file Distillation: the student learns the teacher's whole distribution over the next token, not just one token of it.
 * Hinton et al. 2015; the loss of LLM-QAT, Liu et al. 2023, section 3.1.
 *
 * Shapes: B batch, T tokens, V vocabulary.
 */
import { offTape, tf, type Scalar, type Tensor2D, type Tensor3D, type Variable } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import type { Transformer } from '../../model/index.ts';
import { withGradient } from '../../ops/index.ts';
import { rowsOf } from '../../ops/rows.ts';
import type { Trainable } from '../../train/index.ts';

/**
 * The forward Kullback-Leibler divergence Σ p (log p − log q), the mean over the tokens: p is the teacher's distribution, q the
 * student's. Its gradient for the student's logits is (q − p) / tokens; the teacher gets none.
 *
 * @param student logits [..., V]
 * @param teacher logits [..., V]
 * @throws RangeError when the shapes differ.
 */
export function distillationLoss(student: tf.Tensor, teacher: tf.Tensor): Scalar {
  invariant(
    student.shape.join() === teacher.shape.join(),
    () => `distillationLoss: the student's logits are [${student.shape}], the teacher's [${teacher.shape}]`,
  );
  return withGradient<Scalar>([student], (save) => {
    const [q, p] = [rowsOf(student), rowsOf(teacher)].map((logits) => tf.logSoftmax(logits)) as [Tensor2D, Tensor2D];
    const teaches = tf.exp(p);
    const tokens = q.shape[0];
    save(tf.div(tf.sub(tf.exp(q), teaches), tokens));
    return {
      value: tf.div<Scalar>(tf.sum(tf.mul(teaches, tf.sub(p, q))), tokens),
      gradient: (dy, [slope]) => [() => tf.reshape(tf.mul(slope!, dy), student.shape)],
    };
  });
}

/** `distillationLoss`, or another function of the same contract. */
export type DistillationLoss = (student: Tensor3D, teacher: Tensor3D) => Scalar;

/**
 * A student under its teacher, for `train` and `evaluateLoss`: the loss of a batch is what sets the two apart; targets are not
 * read.
 */
export class DistilledModel implements Trainable {
  readonly student: Transformer;
  readonly teacher: Transformer;
  readonly #lossOf: DistillationLoss;

  /**
   * @param teacher stays as it is
   * @param lossOf of the student's and the teacher's logits
   */
  constructor(student: Transformer, teacher: Transformer, lossOf: DistillationLoss = distillationLoss) {
    this.student = student;
    this.teacher = teacher;
    this.#lossOf = lossOf;
    teacher.eval();
  }

  get training(): boolean {
    return this.student.training;
  }

  get config(): object {
    return this.student.config;
  }

  forward(tokens: Tensor2D): Tensor3D {
    return this.student.forward(tokens);
  }

  loss(tokens: Tensor2D): Scalar {
    return tf.tidy(() => {
      const taught = offTape(() => this.teacher.forward(tokens));
      return this.#lossOf(this.student.forward(tokens), taught);
    });
  }

  namedParameters(): ReadonlyMap<string, Variable> {
    return this.student.namedParameters();
  }

  namedModules(): Iterable<readonly [path: string, module: object]> {
    return this.student.namedModules();
  }

  train(): unknown {
    return this.student.train();
  }

  eval(): unknown {
    return this.student.eval();
  }
}

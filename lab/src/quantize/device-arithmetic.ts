/**
 * @file The two products that make GPTQ's work, in single precision on the device, for layers of GPT-2's size: as the authors
 * do it, but the factor is found from products of matrices alone.
 */
import { tf, type Tensor2D } from '../backend/index.ts';
import type { Arithmetic } from './arithmetic.ts';
import { cholesky, invertLower, sizeOfSquare } from './dense.ts';

/** Rows of a piece that is factorised in double precision in plain loops: at this size a millisecond. */
const LEAF = 96;

export const deviceArithmetic: Arithmetic = {
  async inverseFactor(hessian) {
    const n = sizeOfSquare(hessian);
    const reversed = tf.tensor2d(Float32Array.from(hessian).reverse(), [n, n]);
    const inverse = await inverseLowerFactor(reversed).finally(() => reversed.dispose());
    const factor = (await inverse.data<'float32'>()).slice().reverse();
    inverse.dispose();
    return factor;
  },
  async settle(target, strip, errors, { columns, later, rows }) {
    const debts = tf.tidy(() => {
      const made = tf.tensor2d(Float32Array.from(errors), [columns, rows]);
      return tf.matMul(tf.tensor2d(Float32Array.from(strip), [columns, later]), made, true, false); // [N, R]
    });
    const values = await debts.data();
    for (let i = 0; i < values.length; i++) target[i]! -= values[i]!;
    debts.dispose();
  },
};

/**
 * L⁻¹ of A = L Lᵀ, by halves: A = [P Sᵀ; S Q] has L = [L₁ 0; S L₁⁻ᵀ L₂] with L₂ the factor of Q − (S L₁⁻ᵀ)(S L₁⁻ᵀ)ᵀ, and
 * L⁻¹ = [L₁⁻¹ 0; −L₂⁻¹ S L₁⁻ᵀ L₁⁻¹ L₂⁻¹].
 */
async function inverseLowerFactor(A: Tensor2D): Promise<Tensor2D> {
  const n = A.shape[0];
  if (n <= LEAF) {
    const inverse = invertLower(cholesky(await A.data()));
    return tf.tensor2d(Float32Array.from(inverse), [n, n]);
  }
  const half = LEAF * Math.ceil(n / LEAF / 2);
  const rest = n - half;
  const made: Tensor2D[] = [];
  const own = (tensor: Tensor2D): Tensor2D => (made.push(tensor), tensor);
  try {
    const first = own(await inverseLowerFactor(own(tf.slice(A, [0, 0], [half, half]))));
    const side = own(tf.tidy(() => tf.matMul<Tensor2D>(tf.slice(A, [half, 0], [rest, half]), first, false, true)));
    const left = own(
      tf.tidy(() => tf.sub<Tensor2D>(tf.slice(A, [half, half], [rest, rest]), tf.matMul(side, side, false, true))),
    );
    const second = own(await inverseLowerFactor(left));
    return tf.tidy(() => {
      const corner = tf.neg(tf.matMul<Tensor2D>(tf.matMul<Tensor2D>(second, side), first));
      const top = tf.concat2d([first, tf.zeros([half, rest])], 1);
      return tf.concat2d([top, tf.concat2d([corner, second], 1)], 0);
    });
  } finally {
    tf.dispose(made);
  }
}

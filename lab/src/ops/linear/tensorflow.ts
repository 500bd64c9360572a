/**
 * @file The linear layer on TensorFlow: bias by `BiasAdd` and its gradient by `BiasAddGrad`, which sum and add three times as fast
 * as the general operations do, and GELU's derivative with `SigmoidGrad`, from what the forward pass has in hand anyway.
 */
import { tf, type Tensor, type Tensor2D } from '../../backend/index.ts';
import { tensorFlowKernel, type TensorFlowContext } from '../tensorflow/index.ts';
import { rowsOf } from '../rows.ts';

const PER_COLUMN = { T: 'float', data_format: 'NHWC' } as const;
/** GELU's tanh formula as x · sigmoid(x · (LINEAR + CUBIC · x²)): 2√(2/π) and 0.044715 of it. */
const LINEAR = 2 * Math.sqrt(2 / Math.PI);
const CUBIC = 0.044715 * LINEAR;

/** x · p with p = sigmoid(x · (a + c·x²)), and, where wanted, its derivative p + p · (1 − p) · x · (a + 3c·x²). */
function gelu({ operations }: TensorFlowContext, x: Tensor, derivative: boolean): Tensor[] {
  const square = tf.square(x);
  const p = tf.sigmoid(tf.mul(x, tf.add(tf.mul(square, CUBIC), LINEAR)));
  const y = tf.mul(x, p);
  if (!derivative) return [y];
  const slope = tf.mul(x, tf.add(tf.mul(square, 3 * CUBIC), LINEAR));
  const [bend] = operations.run('SigmoidGrad', [p, slope], { T: 'float' });
  return [y, tf.add(p, bend!)];
}

/** The contract of ops/linear/wasm.ts: [y], and GELU's derivative if wanted. */
tensorFlowKernel('lab.linear', (context, inputs, attributes) => {
  const { x, weight, bias } = inputs as Record<string, Tensor | undefined>;
  return tf.tidy(() => {
    const product = tf.matMul(rowsOf(x!), weight as Tensor2D, false, true);
    const sum = bias ? context.operations.run('BiasAdd', [product, bias], PER_COLUMN)[0]! : product;
    const outputs = attributes['gelu'] === true ? gelu(context, sum, attributes['derivative'] === true) : [sum];
    return outputs.map((output) => tf.reshape(output, [...x!.shape.slice(0, -1), weight!.shape[0]!]));
  });
});

/** The contract of ops/linear/wasm.ts: [dx, dW], and db if `bias`. */
tensorFlowKernel('lab.linearGradient', ({ operations }, inputs, attributes) => {
  const { x, weight, dy, factor } = inputs as Record<string, Tensor | undefined>;
  return tf.tidy(() => {
    const rows = rowsOf(dy!);
    const dx = tf.reshape(tf.matMul(rows, weight as Tensor2D), x!.shape);
    const gradients = [factor ? tf.mul(dx, factor) : dx, tf.matMul(rows, rowsOf(x!), true, false)];
    return attributes['bias'] === true ? [...gradients, operations.run('BiasAddGrad', [rows], PER_COLUMN)[0]!] : gradients;
  });
});

/**
 * @file Cross-entropy on TensorFlow: `SparseSoftmaxCrossEntropyWithLogits` gives the losses and the gradient at once. The gradient
 * is as large as the logits, so it is not kept but made again when it is wanted.
 */
import { tf, type Tensor } from '../../backend/index.ts';
import { tensorFlowKernel, type TensorFlowContext } from '../tensorflow/index.ts';
import type { Info } from '../kernel-registry.ts';

/** [the losses [N], softmax(logits) − onehot(ids) [N, V]] */
function lossesAndGradient({ operations }: TensorFlowContext, logits: Info, ids: Info): [Tensor, Tensor] {
  return operations.run('SparseSoftmaxCrossEntropyWithLogits', [logits, ids], { T: 'float', Tlabels: 'int' }, 2) as [Tensor, Tensor];
}

/** logits [N, V], ids [N] int32 → [losses [N], nothing that the gradient needs [0]] */
tensorFlowKernel('lab.crossEntropy', (context, { logits, ids }) => {
  const [losses, gradient] = lossesAndGradient(context, logits!, ids!);
  gradient.dispose();
  return [losses, tf.zeros([0])];
});

/** The same, and the gradients of the losses dy [N] → [the gradient of the logits [N, V]] */
tensorFlowKernel('lab.crossEntropyGradient', (context, { logits, ids, dy }) => {
  const [losses, gradient] = lossesAndGradient(context, logits!, ids!);
  const scaled = tf.mul(gradient, tf.reshape(dy as Tensor, [-1, 1]));
  tf.dispose([losses, gradient]);
  return [scaled];
});

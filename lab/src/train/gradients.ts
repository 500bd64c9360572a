/**
 * @file One batch, or several small ones that count as one, turned into a loss and the gradients of the parameters.
 */
import { tf, type Scalar, type Tensor, type Tensor2D, type Tensor3D, valueAndGradients, type Variable } from '../backend/index.ts';
import { invariant, LabError } from '../base/index.ts';
import type { Batch } from '../data/index.ts';
import { crossEntropy, withMatmulPrecision, type MatmulPrecision } from '../ops/index.ts';

/** What can be trained: a Transformer, or anything else that turns token ids into logits. */
export interface Trainable {
  readonly training: boolean;
  /** [B, T] → [B, T, V] */
  forward(tokens: Tensor2D): Tensor3D;
  /** The mean cross-entropy of its logits, if it has a shorter way to it. */
  loss?(tokens: Tensor2D, targets: Tensor2D): Scalar;
  namedParameters(): ReadonlyMap<string, Variable>;
  train(): unknown;
  eval(): unknown;
  /** How it was made, for checkpoints. */
  readonly config?: object;
  /** Its parts by path: where random numbers (dropout) are looked for. */
  namedModules?(): Iterable<readonly [path: string, module: object]>;
}

/** Mean over the tokens of −log p(target), or what a reader puts in its place: logits [B, T, V], targets [B, T]. */
export type LossFunction = (logits: Tensor3D, targets: Tensor2D) => Scalar;

/** What the model is judged by: the function given, else the cross-entropy, by the model's own way if it has one. */
export function lossOfModel(model: Trainable, inputs: Tensor2D, targets: Tensor2D, lossOf?: LossFunction): Scalar {
  if (!lossOf && model.loss) return model.loss(inputs, targets);
  return (lossOf ?? crossEntropy)(model.forward(inputs), targets);
}

export interface LossAndGradients {
  readonly loss: Scalar;
  readonly gradients: Map<string, Tensor>;
}

/** The batch's ids as tensors: [B, T] each. */
export function batchTensors({ inputs, targets, batchSize, contextLength }: Batch): { inputs: Tensor2D; targets: Tensor2D } {
  const shape: [number, number] = [batchSize, contextLength];
  return { inputs: tf.tensor2d(inputs, shape, 'int32'), targets: tf.tensor2d(targets, shape, 'int32') };
}

export interface GradientOptions {
  /** The loss is multiplied by it on the way, and the gradients divided by it: see loss-scale.ts (default 1). */
  readonly scale?: number;
  /** Of matrix products, both ways (default float32). */
  readonly precision?: MatmulPrecision;
}

/**
 * The mean loss of the batches and its gradients. Each batch's intermediate results are freed before the next one starts, so
 * n small batches take the memory of one. Call it in a tidy.
 *
 * @param lossOf the cross-entropy unless told
 */
export function lossAndGradients(
  model: Trainable,
  batches: readonly Batch[],
  lossOf?: LossFunction,
  { scale = 1, precision = 'float32' }: GradientOptions = {},
): LossAndGradients {
  invariant(batches.length > 0, 'lossAndGradients: no batch was given');
  const parameters = [...model.namedParameters()].filter(([, variable]) => variable.trainable);
  if (parameters.length === 0) throw new LabError('There is nothing to train: every parameter of the model is frozen.');
  const ofBatch = (batch: Batch): BatchGradients =>
    withMatmulPrecision(precision, () => batchGradients(model, batch, lossOf, scale, parameters));
  let sums = ofBatch(batches[0]!);
  for (const batch of batches.slice(1)) {
    sums = tf.tidy(() => {
      const more = ofBatch(batch);
      const gradients = mapTensors(sums.gradients, (sum, path) => sum.add(more.gradients[path]!));
      return { loss: sums.loss.add<Scalar>(more.loss), gradients };
    });
  }
  const n = batches.length * scale;
  const loss = n === 1 ? sums.loss : sums.loss.div<Scalar>(n);
  const gradients = n === 1 ? sums.gradients : mapTensors(sums.gradients, (sum) => sum.div(n));
  return { loss, gradients: new Map(Object.entries(gradients)) };
}

interface BatchGradients {
  readonly loss: Scalar;
  readonly gradients: Record<string, Tensor>;
}

/** A parameter that the loss does not depend on has no gradient. */
function batchGradients(
  model: Trainable,
  batch: Batch,
  lossOf: LossFunction | undefined,
  scale: number,
  parameters: readonly (readonly [path: string, variable: Variable])[],
): BatchGradients {
  return tf.tidy(() => {
    const { inputs, targets } = batchTensors(batch);
    const variables = parameters.map(([, variable]) => variable);
    const loss = (): Scalar => lossOfModel(model, inputs, targets, lossOf);
    const { value, gradients } = valueAndGradients(scale === 1 ? loss : () => loss().mul<Scalar>(scale), variables);
    const found = parameters.filter(([, variable]) => gradients.has(variable));
    return { loss: value, gradients: Object.fromEntries(found.map(([path, variable]) => [path, gradients.get(variable)!])) };
  });
}

function mapTensors(tensors: Record<string, Tensor>, map: (tensor: Tensor, path: string) => Tensor): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(tensors).map(([path, tensor]) => [path, map(tensor, path)]));
}

/**
 * @file Parameters: the tensors that training changes, and how they begin. The seed decides, on every backend alike.
 */
import { emptyTensor, tf, type Tensor, type Variable } from '../backend/index.ts';
import { Random } from '../base/index.ts';

export interface ParameterOptions {
  /** false: part of the state, but not trained (default true). */
  readonly trainable?: boolean;
}

/** Where a layer's first values come from: a stream that several layers share, or a seed. */
export type Randomness = Random | number;

/** The stream itself, or a new one from the seed. */
export function stream(randomness: Randomness = 0): Random {
  return typeof randomness === 'number' ? new Random(randomness) : randomness;
}

/**
 * A parameter that begins with these values. A plain tensor is taken over (do not use or dispose of it afterwards);
 * another parameter is copied.
 */
export function parameter<R extends tf.Rank>(values: Tensor<R>, { trainable = true }: ParameterOptions = {}): Variable<R> {
  if (values instanceof tf.Variable) {
    return tf.tidy(() => tf.variable(tf.mul(values, tf.scalar(1, values.dtype as 'float32')) as Tensor<R>, trainable));
  }
  const variable = tf.variable(values, trainable);
  values.dispose();
  return variable;
}

let initializing = true;

/** Builds modules whose weights are whatever lies in memory, because their values come from a file: random ones would take seconds. */
export function withoutInitialization<T>(build: () => T): T {
  const before = initializing;
  initializing = false;
  try {
    return build();
  } finally {
    initializing = before;
  }
}

/** A parameter of independent normal numbers around 0; all zero when std is 0. */
export function normalParameter<R extends tf.Rank>(shape: tf.ShapeMap[R], std: number, randomness: Randomness): Variable<R> {
  if (!initializing) return parameter(emptyTensor<R>(shape));
  const size = (shape as number[]).reduce((product, n) => product * n, 1);
  return parameter(tf.tensor<R>(std === 0 ? new Float32Array(size) : stream(randomness).normals(size, std), shape, 'float32'));
}

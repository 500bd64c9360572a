/** @file Which device runs the tensors. */
export * from './tf.ts';

/** @file The embedding table as a module: one learned vector for each token. */
import type { tf, Tensor, Variable } from '../backend/index.ts';
import { embedding } from '../ops/index.ts';
import { Module } from './module.ts';
import { normalParameter, type Randomness } from './parameter.ts';

export interface EmbeddingOptions {
  /** Standard deviation of the first vectors (default 0.02, as in GPT-2). */
  readonly std?: number;
  /** Seed or stream of the first vectors (default 0). */
  readonly random?: Randomness;
}

export class Embedding extends Module {
  /** [entries, width] */
  weight: Variable<tf.Rank.R2>;

  constructor(entries: number, width: number, { std = 0.02, random = 0 }: EmbeddingOptions = {}) {
    super();
    this.weight = normalParameter<tf.Rank.R2>([entries, width], std, random);
  }

  /**
   * @param ids int32, any shape, each 0 … entries − 1
   * @returns [...ids, width]
   */
  forward<T extends Tensor>(ids: Tensor): T {
    return embedding<T>(this.weight, ids);
  }
}

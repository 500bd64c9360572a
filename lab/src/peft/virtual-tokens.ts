/**
 * @file What stands before a text without being of it: vectors like those of tokens (a soft prompt), or keys and values in
 * every layer (a prefix). The model then counts its own tokens from behind them.
 *
 * Shapes: n virtual tokens, B batch, T tokens, D width, K key/value heads, S head size, L layers.
 */
import { tf, type Tensor, type Tensor2D, type Tensor3D, type Tensor4D } from '../backend/index.ts';
import { ContiguousKVCache, type KeysAndValues, type KVCache, PreallocatedKVCache } from '../attention/index.ts';
import { LabError } from '../base/index.ts';
import type { ForwardOptions, Transformer } from '../model/index.ts';
import { Module } from '../nn/index.ts';
import { hasFusedKVAppend } from '../ops/index.ts';
import { type Change, exchange } from './changes.ts';

/** What is trained, and how the model runs with it. */
export abstract class VirtualTokens extends Module {
  /** n */
  readonly count: number;

  constructor(count: number) {
    super();
    this.count = count;
  }

  /**
   * The residual stream of the text alone, after all blocks.
   *
   * @param cache holds the virtual tokens already if its length is not 0
   * @returns [B, T, D]
   */
  abstract transform(model: Transformer, tokens: Tensor2D, context: ForwardOptions): Tensor3D;
}

/** A cache that counts the tokens of the text alone. */
export class VirtualKVCache implements KVCache {
  readonly inner: KVCache;
  readonly #count: number;

  constructor(inner: KVCache, count: number) {
    this.inner = inner;
    this.#count = count;
  }

  get length(): number {
    return Math.max(0, this.inner.length - this.#count);
  }

  get capacity(): number {
    return this.inner.capacity - this.#count;
  }

  append(layer: number, k: Tensor4D, v: Tensor4D): KeysAndValues {
    return this.inner.append(layer, k, v);
  }

  advance(tokens: number): void {
    this.inner.advance(tokens);
  }

  truncate(length: number): void {
    this.inner.truncate(length === 0 ? 0 : length + this.#count);
  }

  dispose(): void {
    this.inner.dispose();
  }
}

/** Puts virtual tokens into a model: they are a part of it, `forward` runs with them, and its context is shorter by them. */
export function putVirtualTokens(model: Transformer, virtual: VirtualTokens): Change[] {
  const { contextLength } = model.config;
  const own = contextLength - virtual.count;
  const forward = (tokens: Tensor2D, { lastOnly = false, ...context }: ForwardOptions = {}): Tensor3D =>
    tf.tidy(() => {
      const { cache } = context;
      const inner = cache instanceof VirtualKVCache ? cache.inner : cache;
      checkLength(
        tokens,
        cache instanceof VirtualKVCache ? cache.length : Math.max(0, (inner?.length ?? 0) - virtual.count),
        own,
      );
      const hidden = virtual.transform(model, tokens, { ...context, cache: inner });
      const [batch, length, width] = hidden.shape;
      const wanted = lastOnly ? tf.slice(hidden, [0, length - 1, 0], [batch, 1, width]) : hidden;
      return model.project(model.finalNorm.forward(wanted));
    });
  const makeCache = (): KVCache =>
    new VirtualKVCache(
      hasFusedKVAppend() ? new PreallocatedKVCache(contextLength) : new ContiguousKVCache(contextLength),
      virtual.count,
    );
  return [
    exchange(model, 'virtualTokens', virtual),
    exchange(model, 'config', { ...model.config, contextLength: own }),
    exchange(model, 'forward', forward),
    exchange(model, 'cache', makeCache),
  ];
}

function checkLength({ shape }: Tensor, kept: number, most: number): void {
  const length = kept + shape[1]!;
  if (length <= most) return;
  throw new LabError(
    `Transformer: ${length} tokens do not fit: the virtual tokens leave a context of ${most}; shorten the input.`,
  );
}

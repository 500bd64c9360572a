/**
 * @file The Transformer, one class for the GPT-2 and Llama families: token ids in, the logits of every next token out.
 * Radford et al. 2019; Touvron et al. 2023.
 *
 * Shapes: B batch, T tokens, D width, H heads, U keys, V vocabulary.
 */
import { tf, type Scalar, type Tensor, type Tensor2D, type Tensor3D, type Tensor4D } from '../backend/index.ts';
import { invariant, LabError, Random } from '../base/index.ts';
import { type AttentionContext, ContiguousKVCache, type KVCache, PreallocatedKVCache } from '../attention/index.ts';
import { checkpoint, Dropout, Embedding, type Layer, Linear, Module } from '../nn/index.ts';
import {
  crossEntropy,
  type CrossEntropyOptions,
  hasFusedKVAppend,
  linear,
  linearCrossEntropy,
  type LinearWeights,
} from '../ops/index.ts';
import { Block } from './block.ts';
import {
  type BlockModule,
  type Position,
  resolveConfig,
  type ResolvedTransformerConfig,
  type TransformerConfig,
} from './config.ts';
import { makeNorm, makePosition } from './parts.ts';

export interface ForwardOptions extends Omit<AttentionContext, 'layer'> {
  /** Give the logits of the last position alone: all that generation needs (default false). */
  readonly lastOnly?: boolean;
}

export interface LossOptions extends Pick<CrossEntropyOptions, 'ignoreIndex'> {
  /** 'mean' (over the targets that count) or 'sum'. */
  readonly reduction?: 'mean' | 'sum';
}

export class Transformer extends Module {
  readonly config: ResolvedTransformerConfig;
  tokenEmbedding: Embedding;
  readonly positionEmbedding: Position;
  readonly dropout: Dropout;
  readonly blocks: BlockModule[];
  finalNorm: Layer;
  /** null when the head is tied to the token embedding. */
  head: Layer | null;

  /** @throws LabError for a config that does not fit together, saying which sizes. */
  constructor(config: TransformerConfig) {
    super();
    this.config = resolveConfig(config);
    const { vocabSize, width, layers, initializerStd: std, tiedHead, dropout, seed } = this.config;
    const { block = (options) => new Block(options) } = this.config;
    const random = new Random(seed);
    this.tokenEmbedding = new Embedding(vocabSize, width, { std, random: random.fork() });
    const position = (this.positionEmbedding = makePosition(this.config, random.fork()));
    this.dropout = new Dropout(dropout, random.fork());
    this.blocks = Array.from({ length: layers }, (_, layer) =>
      block({ config: this.config, layer, position, random: random.fork() }),
    );
    this.finalNorm = makeNorm(this.config);
    this.head = tiedHead ? null : new Linear(width, vocabSize, { bias: false, std, random: random.fork() });
  }

  /**
   * The logits of what comes after each token.
   *
   * @param tokens [B, T] int32, each 0 … V − 1 (`tokensTensor` checks that)
   * @param options with a cache, the tokens go on where it ends, and it grows by them
   * @returns [B, T, V], or [B, 1, V] with `lastOnly`
   * @throws LabError when the tokens do not fit into the context.
   */
  forward(tokens: Tensor2D, { lastOnly = false, ...context }: ForwardOptions = {}): Tensor3D {
    return tf.tidy(() => {
      const hidden = this.transform(this.embed(tokens, context.cache), context);
      const [batch, length, width] = hidden.shape;
      const wanted = lastOnly && length > 1 ? tf.slice(hidden, [0, length - 1, 0], [batch, 1, width]) : hidden;
      return this.project(this.finalNorm.forward(wanted));
    });
  }

  /**
   * crossEntropy(forward(tokens), targets), without the logits of all tokens at once where the head is a plain linear layer.
   *
   * @param tokens [B, T] int32, each 0 … V − 1
   * @param targets [B, T] int32, each 0 … V − 1 or `ignoreIndex`
   */
  loss(tokens: Tensor2D, targets: Tensor2D, options: LossOptions = {}): Scalar {
    return tf.tidy(() => {
      const head = this.#plainHead();
      if (!head) return crossEntropy(this.forward(tokens), targets, options);
      const hidden = this.finalNorm.forward(this.transform(this.embed(tokens)));
      return linearCrossEntropy(hidden, head.weight, targets, { ...options, bias: head.bias });
    });
  }

  /** The weights of the head; null when this model, or its head, does something else than multiply by them. */
  #plainHead(): LinearWeights | null {
    if (this.forward !== Transformer.prototype.forward || this.project !== Transformer.prototype.project) return null;
    if (!this.head) return { weight: this.tokenEmbedding.weight, bias: null };
    return this.head instanceof Linear && this.head.forward === Linear.prototype.forward ? this.head : null;
  }

  /** Tokens [B, T] → the residual stream as it begins [B, T, D]. */
  embed(tokens: Tensor2D, cache?: KVCache): Tensor3D {
    this.#checkTokens(tokens, cache);
    return tf.tidy(() => {
      const embedded = this.tokenEmbedding.forward<Tensor3D>(tokens);
      return this.dropout.forward(this.positionEmbedding.embed?.(embedded, cache?.length ?? 0) ?? embedded);
    });
  }

  /** The residual stream [B, T, D] through all blocks; before the final norm. */
  transform(x: Tensor3D, context: Omit<AttentionContext, 'layer'> = {}): Tensor3D {
    const tokens = x.shape[1];
    return tf.tidy(() => {
      let stream = x;
      for (const part of this.#parts(context)) stream = part(stream);
      context.cache?.advance(tokens);
      return stream;
    });
  }

  /** The blocks one by one, or in runs that are computed again on the way back. */
  #parts(context: Omit<AttentionContext, 'layer'>): ((x: Tensor3D) => Tensor3D)[] {
    const blocks = this.blocks.map((block, layer) => (x: Tensor3D) => block.forward(x, { ...context, layer }));
    const together = Number(this.config.checkpoint);
    if (together === 0 || context.cache || context.observe) return blocks;
    const count = Math.ceil(blocks.length / together);
    const runs = Array.from({ length: count }, (_, i) => blocks.slice(i * together, (i + 1) * together));
    return runs.map((run) => (x) => checkpoint((start: Tensor3D) => run.reduce((stream, block) => block(stream), start), [x]));
  }

  /** The normed residual stream [..., D] → logits [..., V]. */
  project<T extends Tensor>(hidden: T): T {
    return this.head ? this.head.forward(hidden) : linear(hidden, this.tokenEmbedding.weight);
  }

  /** The residual stream [B, T, D] as it begins and after each block: layers + 1 tensors, yours to dispose of. */
  hiddenStates(tokens: Tensor2D): Tensor3D[] {
    return tf.tidy(() => {
      const states = [this.embed(tokens)];
      for (const [layer, block] of this.blocks.entries()) states.push(block.forward(states[layer]!, { layer }));
      return states;
    });
  }

  /**
   * The attention weights [B, H, T, T] of every layer, yours to dispose of (a tidy around the call does not).
   * They are those of the plain attention, whatever function the model was given.
   */
  attentionMaps(tokens: Tensor2D): Tensor4D[] {
    const maps: Tensor4D[] = [];
    tf.tidy(() => void this.transform(this.embed(tokens), { observe: (weights) => void maps.push(tf.keep(weights)) }));
    return maps;
  }

  /** An empty key/value cache of the size of the context, of the kind that is the fastest on the running backend. */
  cache(): KVCache {
    const { contextLength } = this.config;
    return hasFusedKVAppend() ? new PreallocatedKVCache(contextLength) : new ContiguousKVCache(contextLength);
  }

  #checkTokens(tokens: Tensor2D, cache: KVCache | undefined): void {
    invariant(tokens.rank === 2, () => `Transformer: tokens must be [B, T], got [${tokens.shape}]`);
    invariant(tokens.dtype === 'int32', () => `Transformer: tokens must be int32 ids, got ${tokens.dtype}`);
    const [, length] = tokens.shape;
    invariant(length > 0, 'Transformer: there must be at least one token, got [B, 0]');
    const { contextLength } = this.config;
    const kept = cache?.length ?? 0;
    if (kept + length <= contextLength) return;
    const given = kept > 0 ? `${length} tokens behind ${kept} in the cache` : `${length} tokens`;
    throw new LabError(
      `Transformer: ${given} do not fit into a context of ${contextLength}; shorten the input or raise contextLength.`,
    );
  }
}

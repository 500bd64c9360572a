/** @file What a Transformer is made of: sizes, and at each seam a name or a function of your own. */
import type { Tensor3D } from '../backend/index.ts';
import { LabError, type Random } from '../base/index.ts';
import { type AttentionContext, attention, type AttentionFunction, type AttentionPosition } from '../attention/index.ts';
import type { Layer, Module } from '../nn/index.ts';
import { checkRotaryScaling, type RotaryScaling } from '../ops/index.ts';

/** How positions enter the model: added to the embeddings, or inside attention. */
export interface Position extends AttentionPosition {
  /** Marks the embeddings [B, T, D] whose first token stands at `offset`. */
  embed?(x: Tensor3D, offset: number): Tensor3D;
}

/** A block of your own: reads and writes the residual stream [B, T, D]. */
export interface BlockModule extends Module {
  forward(x: Tensor3D, context?: AttentionContext): Tensor3D;
}

/** What a block is made from. */
export interface BlockOptions {
  readonly config: ResolvedTransformerConfig;
  /** Which block, 0 … layers − 1: also its layer in the cache. */
  readonly layer: number;
  readonly position: AttentionPosition;
  readonly random: Random;
}

export type NormFactory = (width: number, epsilon: number, config: ResolvedTransformerConfig) => Layer;
export type MLPFactory = (config: ResolvedTransformerConfig, random: Random) => Layer;
export type PositionFactory = (config: ResolvedTransformerConfig, random: Random) => Position;
export type BlockFactory = (options: BlockOptions) => BlockModule;

export interface TransformerConfig {
  readonly vocabSize: number;
  /** The longest sequence, in tokens. */
  readonly contextLength: number;
  readonly layers: number;
  /** Numbers in the vector of a token. */
  readonly width: number;
  readonly heads: number;
  /** Heads of keys and values; divides heads; heads unless told. */
  readonly keyValueHeads?: number;
  /** width / heads unless told. */
  readonly headSize?: number;
  /** Inside the MLP; 4 · width unless told, with 'swiglu' 8/3 · width rounded up to a multiple of 8: as many parameters. */
  readonly hiddenSize?: number;
  /** 'layer' (default) or 'rms'. */
  readonly norm?: 'layer' | 'rms' | NormFactory;
  /** 1e-5 unless told. */
  readonly normEpsilon?: number;
  /** 'learned' (default), 'rotary', 'alibi' or 'none'. */
  readonly position?: 'learned' | 'rotary' | 'alibi' | 'none' | PositionFactory;
  /** 10000 unless told. */
  readonly rotaryBase?: number;
  /** Slower turns, for a context longer than the trained one; null (default): none. */
  readonly rotaryScaling?: RotaryScaling | null;
  /** How many tokens each one sees, itself included; all before it unless told. Jiang et al. 2023 (Mistral), section 2. */
  readonly slidingWindow?: number;
  /** Bends attention scores into (−cap, cap), softly; no cap unless told. Gemma Team 2024 (Gemma 2), section 2. */
  readonly attentionSoftCap?: number;
  /** 'gelu' (default) or 'swiglu'. */
  readonly mlp?: 'gelu' | 'swiglu' | MLPFactory;
  /** Biases in linear layers and layer norms (default true). */
  readonly bias?: boolean;
  /** The same in attention, as `bias` unless told; 'inputs': for queries, keys and values, not for the output (Qwen2). */
  readonly attentionBias?: boolean | 'inputs';
  /** The head is the token embedding, transposed (default true). */
  readonly tiedHead?: boolean;
  /** Share to forget in training, of embeddings, attention weights and what blocks write (default 0). */
  readonly dropout?: number;
  /** Decides the first weights and what dropout forgets (default 0). */
  readonly seed?: number;
  readonly attention?: AttentionFunction;
  readonly block?: BlockFactory;
  /**
   * Gradient checkpointing: training keeps only what goes into a block (true) or into every nth one (a number), and computes
   * the rest again on the way back. Less memory for one more forward pass; the same numbers (default false).
   */
  readonly checkpoint?: boolean | number;
  /** Standard deviation of the first weights (default 0.02, GPT-2's); / √(2 · layers) for those that write into the stream. */
  readonly initializerStd?: number;
}

/** What is left out of a config when it is not there: the ordinary block, attention without a window or a cap. */
type Optional = 'block' | 'slidingWindow' | 'attentionSoftCap';

/** The config with every default filled in, as `transformer.config` gives it. */
export type ResolvedTransformerConfig = Required<Omit<TransformerConfig, Optional>> & Pick<TransformerConfig, Optional>;

/**
 * Fills in the defaults.
 *
 * @throws LabError for sizes that do not fit each other or names that are not known, saying which.
 */
export function resolveConfig(config: TransformerConfig): ResolvedTransformerConfig {
  const { width, heads, mlp = 'gelu' } = config;
  const resolved: ResolvedTransformerConfig = {
    keyValueHeads: heads,
    headSize: width / heads,
    hiddenSize: mlp === 'swiglu' ? 8 * Math.ceil(width / 3) : 4 * width,
    norm: 'layer',
    normEpsilon: 1e-5,
    position: 'learned',
    rotaryBase: 10000,
    rotaryScaling: null,
    mlp,
    bias: true,
    attentionBias: config.bias ?? true,
    tiedHead: true,
    dropout: 0,
    seed: 0,
    attention,
    checkpoint: false,
    initializerStd: 0.02,
    ...withoutUndefined(config),
  };
  checkConfig(resolved);
  return resolved;
}

function withoutUndefined<T extends object>(given: T): T {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as T;
}

const sizes = ['vocabSize', 'contextLength', 'layers', 'width', 'heads', 'keyValueHeads', 'headSize', 'hiddenSize'] as const;
const names = { norm: ['layer', 'rms'], position: ['learned', 'rotary', 'alibi', 'none'], mlp: ['gelu', 'swiglu'] } as const;

function checkConfig(config: ResolvedTransformerConfig): void {
  const { width, heads, keyValueHeads, headSize, position, vocabSize, checkpoint } = config;
  const refuse = (message: string): never => {
    throw new LabError(`Transformer: ${message}`);
  };
  if (heads > 0 && headSize === width / heads && !Number.isInteger(headSize)) {
    refuse(`width ${width} is not a multiple of ${heads} heads; choose another number of heads, or set headSize.`);
  }
  for (const size of sizes) {
    if (!(Number.isInteger(config[size]) && config[size] > 0)) refuse(`${size} must be a positive integer, got ${config[size]}.`);
  }
  const { slidingWindow = 1, attentionSoftCap = 1 } = config;
  if (!(Number.isInteger(slidingWindow) && slidingWindow > 0)) {
    refuse(`slidingWindow must be a positive number of tokens, got ${slidingWindow}.`);
  }
  if (!(attentionSoftCap > 0 && Number.isFinite(attentionSoftCap))) {
    refuse(`attentionSoftCap must be a positive number, got ${attentionSoftCap}.`);
  }
  if (vocabSize < 2) refuse(`vocabSize must be at least 2, got ${vocabSize}.`);
  if (heads % keyValueHeads !== 0)
    refuse(`heads must be a multiple of keyValueHeads, got ${heads} heads and ${keyValueHeads} keyValueHeads.`);
  if (typeof checkpoint === 'number' && !(Number.isInteger(checkpoint) && checkpoint > 0))
    refuse(`checkpoint must be true, false or how many blocks are computed again together: 1, 2, …; got ${checkpoint}.`);
  if (position === 'rotary' && headSize % 2 !== 0)
    refuse(`rotary positions turn pairs, so headSize must be even, got ${headSize}.`);
  if (config.rotaryScaling) checkRotaryScaling(config.rotaryScaling);
  for (const [seam, known] of Object.entries(names)) {
    const value = config[seam as keyof typeof names];
    if (typeof value !== 'function' && !(known as readonly string[]).includes(value)) {
      refuse(`${seam} must be ${known.map((name) => `'${name}'`).join(', ')} or a function, got ${JSON.stringify(value)}.`);
    }
  }
}

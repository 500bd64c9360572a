/**
 * @file A key/value cache in few bits: at long contexts it is the cache, not the weights, that fills the memory. Every token's
 * keys (and, apart, its values) share one scale over all heads, as in LLM-QAT (Liu et al. 2023, section 3.2); codes are packed
 * into words like quantized weights, each token a row, and become floats when a layer reads them.
 *
 * Positions that turn keys (RoPE) turn them after quantization, as in the paper, where the model leaves that to the cache; else
 * keys are quantized as they come.
 *
 * Shapes: B batch, K key/value heads, T new tokens, U tokens so far, S head size, W words of a token.
 */
import {
  checkCacheShape,
  mergeHeads,
  rotaryEmbedding,
  splitHeads,
  type KeysAndValues,
  type KVCache,
} from '../../attention/index.ts';
import { tf, type Tensor, type Tensor3D, type Tensor4D } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { dequantize, packedLayout } from '../../ops/index.ts';
import { rowsOf } from '../../ops/rows.ts';
import { symmetricCodes } from './fake-quantize.ts';

export interface QuantizedKVCacheOptions {
  /** 8 (default) or 4 */
  readonly bits?: 4 | 8;
  /** Tokens; without end unless told. */
  readonly capacity?: number;
}

/** Keys or values of one layer. */
interface PackedTokens {
  /** [B, U, W] int32 */
  readonly words: Tensor3D;
  /** [B, U, 1] */
  readonly scales: Tensor3D;
}

interface Layer {
  readonly k: PackedTokens;
  readonly v: PackedTokens;
  /** Of a token's keys: [B, K, –, S]. */
  readonly shape: readonly number[];
}

/** Codes and scales of every layer, replaced by longer ones at every step. */
export class QuantizedKVCache implements KVCache {
  readonly bits: 4 | 8;
  readonly capacity: number;
  #length = 0;
  readonly #layers: Layer[] = [];

  constructor({ bits = 8, capacity = Infinity }: QuantizedKVCacheOptions = {}) {
    invariant(bits === 4 || bits === 8, `QuantizedKVCache: bits must be 4 or 8, got ${String(bits)}`);
    invariant(capacity > 0, `QuantizedKVCache: the capacity must be positive, got ${capacity}`);
    this.bits = bits;
    this.capacity = capacity;
  }

  get length(): number {
    return this.#length;
  }

  /** What is kept, in bytes: codes and scales. */
  get bytes(): number {
    const tensors = this.#layers.flatMap(({ k, v }) => [k.words, k.scales, v.words, v.scales]);
    return tensors.reduce((sum, { size }) => sum + 4 * size, 0);
  }

  /**
   * The floats that are returned belong to the caller's tidy, not to the cache: kept, they would take the memory that the codes
   * save.
   */
  append(layer: number, k: Tensor4D, v: Tensor4D): KeysAndValues {
    return this.#append(layer, k, v, (keys) => keys);
  }

  appendInPlace(layer: number, k: Tensor4D, v: Tensor4D, rotaryBase?: number): KeysAndValues {
    return this.#append(layer, k, v, (keys) => (rotaryBase === undefined ? keys : rotaryEmbedding(keys, { base: rotaryBase })));
  }

  advance(tokens: number): void {
    const next = this.#length + tokens;
    const short = this.#layers.findIndex(({ k }) => k.words.shape[1] !== next);
    invariant(
      short < 0,
      () => `QuantizedKVCache: cannot advance to ${next} tokens, layer ${short} has ${this.#layers[short]!.k.words.shape[1]}`,
    );
    this.#length = next;
  }

  truncate(length: number): void {
    invariant(
      Number.isInteger(length) && length >= 0 && length <= this.#length,
      `QuantizedKVCache: cannot truncate ${this.#length} tokens to ${length}`,
    );
    this.#length = length;
    if (length === 0) this.dispose();
  }

  dispose(): void {
    for (const layer of this.#layers.splice(0)) disposeLayer(layer);
    this.#length = 0;
  }

  #append(layer: number, k: Tensor4D, v: Tensor4D, turn: (keys: Tensor4D) => Tensor4D): KeysAndValues {
    const needed = this.#length + k.shape[2];
    invariant(needed <= this.capacity, `QuantizedKVCache: ${needed} tokens, but there is room for ${this.capacity}`);
    const old = this.#layers[layer];
    invariant(
      old || this.#length === 0,
      `QuantizedKVCache: layer ${layer} has nothing kept, but the cache holds ${this.#length} tokens`,
    );
    if (old && this.#length > 0) checkCacheShape('QuantizedKVCache', old.shape, k.shape);
    return tf.tidy(() => {
      const grown = { k: this.#behind(old?.k, k), v: this.#behind(old?.v, v), shape: [...k.shape] };
      for (const { words, scales } of [grown.k, grown.v]) [words, scales].forEach((tensor) => tf.keep(tensor));
      this.#layers[layer] = grown;
      if (old) disposeLayer(old);
      return { k: turn(this.#floats(grown.k, k.shape)), v: this.#floats(grown.v, v.shape) };
    });
  }

  #behind(old: PackedTokens | undefined, added: Tensor4D): PackedTokens {
    const tokens = mergeHeads(added); // [B, T, K·S]
    const { codes, scales } = symmetricCodes(tokens, this.bits);
    const words = packRows(codes, this.bits);
    if (!old || this.#length === 0) return { words, scales: scales as Tensor3D };
    const first = (kept: Tensor3D): Tensor3D =>
      kept.shape[1] === this.#length ? kept : tf.slice(kept, [0, 0, 0], [kept.shape[0], this.#length, kept.shape[2]]);
    return { words: tf.concat([first(old.words), words], 1), scales: tf.concat([first(old.scales), scales as Tensor3D], 1) };
  }

  /** [B, K, U, S] */
  #floats({ words, scales }: PackedTokens, [batch, heads, , headSize]: Tensor4D['shape']): Tensor4D {
    const inputs = heads * headSize;
    const tokens = words.shape[1];
    const layout = packedLayout({ outputs: batch * tokens, inputs, bits: this.bits, groupSize: inputs });
    const floats = dequantize({ layout, words: rowsOf(words), scales: rowsOf(scales), zeros: null, order: null });
    return splitHeads(tf.reshape(floats, [batch, tokens, inputs]) as Tensor as Tensor3D, heads);
  }
}

function disposeLayer({ k, v }: Layer): void {
  tf.dispose([k.words, k.scales, v.words, v.scales]);
}

/**
 * Whole numbers −(2ᵇ⁻¹ − 1) … 2ᵇ⁻¹ − 1 as the words of ops/quantized-matmul/layout.ts, in tensor operations: a run of four
 * words holds code 4 k + j in the bits of word j from k · b on.
 *
 * @param codes [B, T, N]
 * @returns [B, T, W] int32
 */
function packRows(codes: Tensor3D, bits: 4 | 8): Tensor3D {
  const [batch, tokens, width] = codes.shape;
  const inWord = 32 / bits;
  const runs = Math.ceil(width / (4 * inWord));
  const middle = 2 ** (bits - 1);
  const unsigned = tf.cast(tf.add(codes, middle), 'int32');
  const padded = tf.pad(unsigned, [
    [0, 0],
    [0, 0],
    [0, 4 * inWord * runs - width],
  ]);
  const byPlace = tf.reshape(padded, [batch * tokens * runs, inWord, 4]);
  const fields = tf.split(byPlace, inWord, 1);
  // The highest field carries the word's sign: from the middle on, its codes count from −2ᵇ⁻¹.
  const top = fields.pop()!;
  const signed = tf.where(tf.greaterEqual(top, tf.scalar(middle, 'int32')), tf.sub(top, tf.scalar(2 * middle, 'int32')), top);
  const words = [...fields, signed].map((field, k) => tf.mul(field, tf.scalar(2 ** (k * bits), 'int32')));
  return tf.reshape(words.reduce((sum, word) => tf.add(sum, word)) as Tensor, [batch, tokens, 4 * runs]);
}

/**
 * @file Rotary positions: each pair of numbers in a query or key turns by an angle that grows with the position, so that the
 * product of a query and a key depends on how far apart they are. Su et al. 2021, section 3.2.
 * Number i is paired with number i + S/2, as in Llama; the paper pairs neighbours.
 *
 * Shapes: B batch, H heads, T tokens, S head size.
 */
import { tf, type Tensor4D } from '../backend/index.ts';
import { invariant } from '../base/index.ts';
import { rotaryFrequencies, type RotaryScaling, withGradient } from '../ops/index.ts';

export interface RotaryOptions {
  /** Pair i of S/2 turns by position · base^(−2i/S) radians (default 10000). */
  readonly base?: number;
  /** Slower turns, for a context longer than the trained one (default null: none). */
  readonly scaling?: RotaryScaling | null;
  /** The position of the first token (default 0): how many are in the cache. */
  readonly offset?: number;
}

/**
 * Turns queries or keys by their positions. The gradient is turned back by the same angles.
 *
 * @param x [B, H, T, S]
 * @returns [B, H, T, S]
 * @throws RangeError when S is odd.
 */
export function rotaryEmbedding(x: Tensor4D, { base = 10000, scaling = null, offset = 0 }: RotaryOptions = {}): Tensor4D {
  invariant(x.rank === 4, () => `rotaryEmbedding: x must be [B, H, T, S], got [${x.shape}]`);
  const [, , tokens, headSize] = x.shape;
  invariant(headSize % 2 === 0, `rotaryEmbedding: the head size must be even to form pairs, got ${headSize}`);
  invariant(Number.isInteger(offset) && offset >= 0, `rotaryEmbedding: the offset must be a position 0, 1, …, got ${offset}`);
  const { cosines, sines } = table(base, scaling, headSize, offset + tokens);
  const angles = [tokens, headSize] as [number, number];
  const from = offset * headSize;
  const rotate = (y: Tensor4D, direction: 1 | -1): Tensor4D => {
    const cosine = tf.tensor2d(cosines.subarray(from, from + tokens * headSize), angles);
    const sine = tf.tensor2d(sines[direction].subarray(from, from + tokens * headSize), angles);
    const [first, second] = tf.split(y, 2, -1) as [Tensor4D, Tensor4D];
    return tf.add(tf.mul(y, cosine), tf.mul(tf.concat([second, first], -1), sine));
  };
  return withGradient([x], () => ({ value: rotate(x, 1), gradient: (dy) => [rotate(dy, -1)] }));
}

/** For every position S cosines and S sines (each pair's twice); the sines carry the sign of what they multiply. */
interface AngleTable {
  readonly positions: number;
  readonly cosines: Float32Array;
  /** By direction: 1 turns forwards, −1 back. */
  readonly sines: { readonly 1: Float32Array; readonly [-1]: Float32Array };
}

const tables = new Map<string, AngleTable>();

function table(base: number, scaling: RotaryScaling | null, headSize: number, positions: number): AngleTable {
  const key = JSON.stringify([base, headSize, scaling]);
  const known = tables.get(key);
  if (known && known.positions >= positions) return known;
  const made = makeTable(rotaryFrequencies(headSize, base, scaling), 2 ** Math.ceil(Math.log2(positions)));
  tables.set(key, made);
  return made;
}

function makeTable(frequencies: Float64Array, positions: number): AngleTable {
  const half = frequencies.length;
  const headSize = 2 * half;
  const cosines = new Float32Array(positions * headSize);
  const forwards = new Float32Array(positions * headSize);
  for (let position = 0; position < positions; position++) {
    for (let pair = 0; pair < half; pair++) {
      const angle = position * frequencies[pair]!;
      const at = position * headSize + pair;
      cosines[at] = cosines[at + half] = Math.cos(angle);
      forwards[at] = -Math.sin(angle);
      forwards[at + half] = Math.sin(angle);
    }
  }
  return { positions, cosines, sines: { 1: forwards, [-1]: forwards.map((sine) => -sine) } };
}

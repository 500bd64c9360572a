/**
 * @file Rotary positions: each pair of numbers in a query or key turns by an angle that grows with the position, so that the
 * product of a query and a key depends on how far apart they are. Su et al. 2021, section 3.2.
 * Number i is paired with number i + S/2, as in Llama; the paper pairs neighbours.
 *
 * Shapes: B batch, H heads, T tokens, S head size.
 */
import { tf, type Tensor, type Tensor4D } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { fusedKernel } from '../fused.ts';
import { withGradient } from '../with-gradient.ts';
import { angleTable } from './angles.ts';
import type { RotaryScaling } from './frequencies.ts';
import './wasm.ts';
import './webgpu.ts';

export * from './frequencies.ts';

export interface RotaryOptions {
  /** Pair i of S/2 turns by position · base^(−2i/S) radians (default 10000). */
  readonly base?: number;
  /** Slower turns, for a context longer than the trained one (default null: none). */
  readonly scaling?: RotaryScaling | null;
  /** The position of the first token (default 0): how many are in the cache. */
  readonly offset?: number;
  /**
   * Nobody needs x any more (default false): where nothing is recorded for a gradient and no other tensor holds its numbers, they
   * are turned in place.
   */
  readonly overwrite?: boolean;
}

/**
 * Turns queries or keys by their positions. The gradient is turned back by the same angles; nothing is kept for it.
 *
 * @param x [B, H, T, S]
 * @returns [B, H, T, S]
 * @throws RangeError when S is odd.
 */
export function rotaryEmbedding(x: Tensor4D, options: RotaryOptions = {}): Tensor4D {
  const { base = 10000, scaling = null, offset = 0, overwrite = false } = options;
  checkRotary('rotaryEmbedding', x, offset);
  const fused = fusedKernel('rotary');
  if (!fused || x.size === 0) return withGradient([x], () => ({ value: turn(x, 1), gradient: (dy) => [turn(dy, -1)] }));
  const run = (y: Tensor, direction: 1 | -1, inPlace: boolean): Tensor4D =>
    fused({ x: y }, { base, scaling, offset, direction, inPlace })[0] as Tensor4D;
  const mayOverwrite = overwrite && !tf.engine().isTapeOn() && tf.backend().refCount(x.dataId) === 1;
  return withGradient([x], () => ({
    value: run(x, 1, mayOverwrite),
    gradient: (dy) => [run(dy, -1, false)],
  }));

  function turn(y: Tensor4D, direction: 1 | -1): Tensor4D {
    return rotaryReference(y, { base, scaling, offset }, direction);
  }
}

/**
 * The same in plain tensor operations, differentiated by the tape: what the kernels are tested against, and what runs where
 * there are none.
 *
 * @param direction 1 turns forwards, −1 back
 */
export function rotaryReference(x: Tensor4D, options: RotaryOptions = {}, direction: 1 | -1 = 1): Tensor4D {
  const { base = 10000, scaling = null, offset = 0 } = options;
  const [, , tokens, headSize] = x.shape;
  const { values } = angleTable(base, headSize, offset + tokens, scaling);
  return tf.tidy(() => {
    const table = tf.tensor2d(values.subarray(offset * headSize, (offset + tokens) * headSize), [tokens, headSize]);
    const [cosine, sine] = tf.split(table, 2, -1) as [Tensor, Tensor];
    const [first, second] = tf.split(x, 2, -1) as [Tensor4D, Tensor4D];
    const turned = tf.mul(sine, direction);
    return tf.concat(
      [
        tf.sub(tf.mul(first, cosine), tf.mul(second, turned)) as Tensor4D,
        tf.add(tf.mul(second, cosine), tf.mul(first, turned)) as Tensor4D,
      ],
      -1,
    );
  });
}

/** @throws RangeError when positions cannot enter a tensor of that shape. */
export function checkRotary(what: string, x: Tensor, offset: number): void {
  invariant(x.rank === 4, () => `${what}: x must be [B, H, T, S], got [${x.shape}]`);
  invariant(x.shape[3]! % 2 === 0, () => `${what}: the head size must be even to form pairs, got ${x.shape[3]}`);
  invariant(Number.isInteger(offset) && offset >= 0, () => `${what}: the offset must be a position 0, 1, …, got ${offset}`);
}

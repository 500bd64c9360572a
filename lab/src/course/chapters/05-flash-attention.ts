/**
 * @file Chapter 05, FlashAttention: its exercises, the library's functions in their place, and how the reader's forward and
 * backward pass become the attention of a Transformer.
 */
import { attention, type AttentionFunction } from '../../attention/index.ts';
import { tf, type Tensor, type Tensor3D, type Tensor4D } from '../../backend/index.ts';
import {
  blockwiseBackward,
  blockwiseForward,
  flashTraffic,
  mergePartials,
  plainTraffic,
  tileKind,
  tileRows,
  updateSoftmax,
  withGradient,
  type BlockwiseOutput,
  type BlockwiseSaved,
  type TileKind,
} from '../../ops/index.ts';
import type { Answer, Assembly, Chapter } from '../exercise.ts';

interface TileOptions {
  readonly causal?: boolean;
  readonly tileQueries?: number;
  readonly tileKeys?: number;
}
type Forward = (q: Tensor4D, k: Tensor4D, v: Tensor4D, options?: TileOptions) => BlockwiseOutput;
type Backward = (
  q: Tensor4D,
  k: Tensor4D,
  v: Tensor4D,
  saved: BlockwiseSaved,
  options?: TileOptions,
) => { dq: Tensor4D; dk: Tensor4D; dv: Tensor4D };

const square = (tokens: number, headSize: number) => ({ queries: tokens, keys: tokens, headSize });

function plainWords(tokens: number, headSize: number): number {
  return plainTraffic(square(tokens, headSize)).words;
}

function flashWords(tokens: number, headSize: number, memory: number): number {
  const rows = tileRows(memory, headSize);
  return flashTraffic(square(tokens, headSize), { tileQueries: rows, tileKeys: rows }).words;
}

/** The library's decision, asked in the exercise's words. */
function tileKindOf(
  ranges: readonly (readonly [number, number])[],
  queries: [number, number],
  keys: [number, number],
): TileKind {
  const ofQueries = Int32Array.from(ranges.flatMap(([from, to]) => [from, to, 0]));
  const mask = { rows: 1, queries: ranges.length, keys: keys[1], ofQueries, ofKeys: new Int32Array(0) };
  return tileKind(mask, 0, queries, keys);
}

const ABSORB = `
fn absorb(score: f32, key: u32) {
  let largest = max(m, score);
  let kept = exp(m - largest);
  let weight = exp(score - largest);
  m = largest;
  l = kept * l + weight;
  for (var d = 0u; d < S4; d++) { o[d] = kept * o[d] + weight * valueTile[key * S4 + d]; }
}`;

/** What the reader has passed of the two passes. */
interface FlashParts {
  readonly flashForward?: Forward;
  readonly flashBackward?: Backward;
}

/** One key/value head for each query head: [B, K, U, S] → [B, H, U, S]. */
function repeatHeads(x: Tensor4D, heads: number): Tensor4D {
  const [B, K, U, S] = x.shape;
  if (K === heads) return x;
  return tf.stack(Array<Tensor4D>(heads / K).fill(x), 2).reshape([B, heads, U, S]);
}

/** Queries and keys in a tile of the model's attention: a handful of tiles for the contexts of these chapters. */
const TILES = { tileQueries: 64, tileKeys: 64 };

/**
 * The attention of a model out of the reader's passes; the library stands in for a missing one. What the exercises leave out
 * (any other option, more queries than keys, values of another size) is left to `other`.
 */
function attentionFrom(
  { flashForward = blockwiseForward, flashBackward = blockwiseBackward }: FlashParts,
  other: AttentionFunction,
) {
  return ((q, k, v, options) => {
    const { causal = false, scale, ...more } = options;
    const [, heads, T, S] = q.shape;
    const asksMore = Object.values(more).some((option) => option !== undefined);
    if (asksMore || T > k.shape[2] || v.shape[3] !== S) return other(q, k, v, options);
    const tiles = { ...TILES, causal };
    // The reader's function divides by √S by itself.
    const scaled = scale === undefined ? q : q.mul<Tensor4D>(scale * Math.sqrt(S));
    const inputs = [scaled, repeatHeads(k, heads), repeatHeads(v, heads)] as const;
    return withGradient<Tensor4D>(inputs, (save) => {
      const { output, logSumExp } = flashForward(...inputs, tiles);
      save(...inputs, output, logSumExp);
      const gradient = (outputGradient: Tensor4D, saved: Tensor[]): Tensor[] => {
        const [ofQ, ofK, ofV, kept, L] = saved as [Tensor4D, Tensor4D, Tensor4D, Tensor4D, Tensor3D];
        const { dq, dk, dv } = flashBackward(ofQ, ofK, ofV, { output: kept, logSumExp: L, outputGradient }, tiles);
        return [dq, dk, dv];
      };
      return { value: output, gradient };
    });
  }) satisfies AttentionFunction;
}

const partsOf = new WeakMap<Assembly, { readonly parts: FlashParts; readonly other: AttentionFunction }>();

/** Exercises 5.3 and 5.6 share one place in the model, before whatever attention stood there. */
function plugFlash(answer: Answer, assembly: Assembly): void {
  const before = partsOf.get(assembly);
  const other = before?.other ?? assembly.transformer.attention ?? attention;
  const parts: FlashParts = { ...before?.parts, ...answer };
  partsOf.set(assembly, { parts, other });
  assembly.transformer = { ...assembly.transformer, attention: attentionFrom(parts, other) };
}

export const chapter: Chapter = {
  number: 5,
  slug: '05-flash-attention',
  title: 'FlashAttention',
  exercises: [
    {
      id: '5.1',
      title: 'online softmax',
      names: ['updateSoftmax'],
      difficulty: 2,
      minutes: 15,
      library: { updateSoftmax },
    },
    {
      id: '5.2',
      title: 'merging two parts',
      names: ['mergePartials'],
      difficulty: 2,
      minutes: 15,
      library: { mergePartials },
    },
    {
      id: '5.3',
      title: 'flash attention, forward',
      names: ['flashForward'],
      difficulty: 4,
      minutes: 40,
      library: { flashForward: blockwiseForward satisfies Forward },
      room: 'flash attention',
      plug: plugFlash,
    },
    {
      id: '5.4',
      title: 'counting what is moved',
      names: ['plainWords', 'flashWords'],
      difficulty: 2,
      minutes: 15,
      library: { plainWords, flashWords },
    },
    {
      id: '5.5',
      title: 'which tiles',
      names: ['tileKind'],
      difficulty: 3,
      minutes: 15,
      library: { tileKind: tileKindOf },
    },
    {
      id: '5.6',
      title: 'flash attention, backward',
      names: ['flashBackward'],
      difficulty: 5,
      minutes: 40,
      library: { flashBackward: blockwiseBackward satisfies Backward },
      room: 'flash attention, backward',
      plug: plugFlash,
    },
    {
      id: '5.7',
      title: 'on the GPU',
      names: ['absorbKey'],
      difficulty: 3,
      minutes: 20,
      library: { absorbKey: () => ABSORB },
    },
  ],
};

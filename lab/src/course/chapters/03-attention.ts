/**
 * @file Chapter 03, attention: its exercises, the library's functions in their place, and how the reader's functions become
 * the attention of a Transformer.
 */
import {
  alibiBias,
  alibiSlopes,
  attention,
  causalMask,
  mergeHeads,
  rotaryEmbedding,
  splitHeads,
  type AttentionFunction,
} from '../../attention/index.ts';
import { tf, type Tensor, type Tensor2D, type Tensor3D, type Tensor4D } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { dropoutFactors } from '../../ops/index.ts';
import type { Answer, Assembly, Chapter } from '../exercise.ts';

type MaskedAttention = (q: Tensor4D, k: Tensor4D, v: Tensor4D, mask: Tensor | null) => Tensor4D;
type ProjectionWeights = Readonly<Record<'query' | 'key' | 'value' | 'output', Tensor2D>>;
interface Cache {
  readonly k: Tensor4D;
  readonly v: Tensor4D;
}

const maskedAttention: MaskedAttention = (q, k, v, mask) => attention(q, k, v, mask ? { bias: mask.toFloat() } : {});

function multiHead(x: Tensor3D, weights: ProjectionWeights, heads: number, mask: Tensor | null): Tensor3D {
  const [B, T, D] = x.shape;
  const project = (input: Tensor3D, weight: Tensor2D): Tensor3D =>
    tf.matMul(input.reshape([B * T, D]), weight, false, true).reshape([B, T, D]);
  const [q, k, v] = [weights.query, weights.key, weights.value].map((weight) => splitHeads(project(x, weight), heads));
  return project(mergeHeads(maskedAttention(q!, k!, v!, mask)), weights.output);
}

function attendWithCache(q: Tensor4D, k: Tensor4D, v: Tensor4D, cache: Cache | null): { output: Tensor4D; cache: Cache } {
  const all = cache ? { k: tf.concat([cache.k, k], 2), v: tf.concat([cache.v, v], 2) } : { k, v };
  return { output: attention(q, all.k, all.v, { causal: true }), cache: all };
}

/** What the reader has passed of the functions that attention is made of. */
interface AttentionParts {
  readonly causalMask?: (queries: number, keys: number) => Tensor2D;
  readonly scaledDotProduct?: MaskedAttention;
  readonly groupedQueryAttention?: MaskedAttention;
}

/** One key/value head for each query head: [B, K, U, S] → [B, H, U, S]. */
function repeatHeads(x: Tensor4D, heads: number): Tensor4D {
  const [B, K, U, S] = x.shape;
  if (K === heads) return x;
  return tf.stack(Array<Tensor4D>(heads / K).fill(x), 2).reshape([B, heads, U, S]);
}

/** The attention of a model out of the reader's parts; the library stands in for the missing ones. */
function attentionFrom(parts: AttentionParts): AttentionFunction {
  const oneToOne = parts.scaledDotProduct ?? maskedAttention;
  const repeated: MaskedAttention = (q, k, v, mask) => oneToOne(q, repeatHeads(k, q.shape[1]), repeatHeads(v, q.shape[1]), mask);
  const attend = parts.groupedQueryAttention ?? repeated;
  return (q, k, v, { causal = false, scale, bias, dropout, ...others }) => {
    const unknown = Object.keys(others);
    invariant(unknown.length === 0, () => `the attention of chapter 03 knows nothing of ${unknown.join(', ')}: leave it out`);
    const [, heads, T, S] = q.shape;
    const U = k.shape[2];
    // A single query is the last token: nothing is in its future.
    const mask: Tensor | null = causal && T > 1 ? (parts.causalMask ?? causalMask)(T, U) : null;
    const added = mask && bias ? mask.add(bias) : (mask ?? bias ?? null);
    // The reader's function divides by √S by itself.
    const scaled = scale === undefined ? q : q.mul<Tensor4D>(scale * Math.sqrt(S));
    if (!dropout) return attend(scaled, k, v, added);
    // With the identity for values, attention hands over its weights.
    const identity = tf.eye(U).reshape<Tensor4D>([1, 1, U, U]).tile<Tensor4D>([q.shape[0], heads, 1, 1]);
    const weights = oneToOne(scaled, repeatHeads(k, heads), identity, added);
    const factors = tf.tensor4d(dropoutFactors(dropout, q.shape[0] * heads, T, U), weights.shape);
    return tf.matMul<Tensor4D>(weights.mul(factors), repeatHeads(v, heads));
  };
}

const partsOf = new WeakMap<Assembly, AttentionParts>();

/** Exercises 3.1, 3.2 and 3.7 share one place in the model: each adds its part to what the others have put there. */
function plugAttention(answer: Answer, assembly: Assembly): void {
  const parts: AttentionParts = { ...partsOf.get(assembly), ...answer };
  partsOf.set(assembly, parts);
  assembly.transformer = { ...assembly.transformer, attention: attentionFrom(parts) };
}

export const chapter: Chapter = {
  number: 3,
  slug: '03-attention',
  title: 'Attention',
  exercises: [
    {
      id: '3.1',
      title: 'causal mask',
      names: ['causalMask'],
      difficulty: 2,
      minutes: 10,
      library: { causalMask },
      room: 'causal mask',
      plug: plugAttention,
    },
    {
      id: '3.2',
      title: 'scaled dot product',
      names: ['scaledDotProduct'],
      difficulty: 2,
      minutes: 15,
      library: { scaledDotProduct: maskedAttention },
      room: 'attention',
      plug: plugAttention,
    },
    {
      id: '3.3',
      title: 'split and merge heads',
      names: ['splitHeads', 'mergeHeads'],
      difficulty: 2,
      minutes: 10,
      library: { splitHeads, mergeHeads },
    },
    {
      id: '3.4',
      title: 'multi-head attention',
      names: ['multiHead'],
      difficulty: 3,
      minutes: 20,
      library: { multiHead },
    },
    {
      id: '3.5',
      title: 'rotary positions',
      names: ['rope'],
      difficulty: 3,
      minutes: 20,
      library: { rope: (x: Tensor4D, offset = 0, base = 10000) => rotaryEmbedding(x, { base, offset }) },
    },
    {
      id: '3.6',
      title: 'linear biases',
      names: ['alibiSlopes', 'alibiBias'],
      difficulty: 3,
      minutes: 20,
      library: { alibiSlopes, alibiBias },
    },
    {
      id: '3.7',
      title: 'grouped queries',
      names: ['groupedQueryAttention'],
      difficulty: 3,
      minutes: 15,
      library: { groupedQueryAttention: maskedAttention },
      room: 'grouped queries',
      plug: plugAttention,
    },
    {
      id: '3.8',
      title: 'key/value cache',
      names: ['attendWithCache'],
      difficulty: 3,
      minutes: 15,
      library: { attendWithCache },
    },
  ],
};

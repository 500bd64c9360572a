/**
 * @file Attention and its gradients in double precision, by the definition, one weight after the other: what the fused one must
 * be.
 */
import { weightHash, rowHash, type FusedAttentionOptions } from 'lab';

export interface Shape {
  readonly batch: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly queries: number;
  readonly keys: number;
  readonly headSize: number;
}

export interface Values {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly upstream: Float32Array;
  /** [B, H, T, U] */
  readonly bias?: Float64Array;
}

export interface Truth {
  readonly output: Float64Array;
  readonly dq: Float64Array;
  readonly dk: Float64Array;
  readonly dv: Float64Array;
  /** [B, H, T, U] */
  readonly dBias: Float64Array;
}

/** Which document a token is in, and where it stands from that document's end; −1 for padding. */
function place(cumulative: readonly number[], token: number): { document: number; fromEnd: number } {
  for (let i = 1; i < cumulative.length; i++) {
    if (token < cumulative[i]!) return { document: i, fromEnd: cumulative[i]! - token };
  }
  return { document: -1, fromEnd: 0 };
}

/** How far key u stands to the right of query t when both are aligned at the end, or undefined when the mask hides it. */
function distance(
  options: FusedAttentionOptions,
  { queries, keys }: Shape,
  b: number,
  t: number,
  u: number,
): number | undefined {
  const { documents, causal, window } = options;
  const queryEnds = documents ? (documents.queries[b] ?? documents.queries[0]!) : [0, queries];
  const keyEnds = documents?.keys ? (documents.keys[b] ?? documents.keys[0]!) : documents ? queryEnds : [0, keys];
  const [query, key] = [place(queryEnds, t), place(keyEnds, u)];
  if (query.document === -1 || query.document !== key.document) return undefined;
  const right = query.fromEnd - key.fromEnd;
  if (causal && right > 0) return undefined;
  if (right > (window?.right ?? Infinity) || -right > (window?.left ?? Infinity)) return undefined;
  return right;
}

export function attentionTruth(shape: Shape, values: Values, options: FusedAttentionOptions): Truth {
  const { batch, heads, keyValueHeads, queries, keys, headSize: S } = shape;
  const { q, k, v, upstream, bias } = values;
  const { scale = 1 / Math.sqrt(S), softCap, alibiSlopes, dropout } = options;
  const truth = {
    output: new Float64Array(q.length),
    dq: new Float64Array(q.length),
    dk: new Float64Array(k.length),
    dv: new Float64Array(v.length),
    dBias: new Float64Array(batch * heads * queries * keys),
  };
  const dot = (x: ArrayLike<number>, i: number, y: ArrayLike<number>, j: number): number => {
    let sum = 0;
    for (let d = 0; d < S; d++) sum += x[i + d]! * y[j + d]!;
    return sum;
  };
  for (let row = 0; row < batch * heads * queries; row++) {
    const [t, head] = [row % queries, Math.floor(row / queries)];
    const [b, h] = [Math.floor(head / heads), head % heads];
    const keyAt = (u: number): number => ((b * keyValueHeads + Math.floor(h / (heads / keyValueHeads))) * keys + u) * S;
    const seen: { u: number; score: number; bend: number }[] = [];
    for (let u = 0; u < keys; u++) {
      const right = distance(options, shape, b, t, u);
      if (right === undefined) continue;
      const raw = dot(q, row * S, k, keyAt(u)) * scale;
      const capped = softCap ? softCap * Math.tanh(raw / softCap) : raw;
      const score = capped - (alibiSlopes?.[h] ?? 0) * Math.abs(right) + (bias?.[row * keys + u] ?? 0);
      if (score > -1e30) seen.push({ u, score, bend: softCap ? 1 - (capped / softCap) ** 2 : 1 });
    }
    const largest = Math.max(...seen.map(({ score }) => score));
    const sum = seen.reduce((total, { score }) => total + Math.exp(score - largest), 0);
    const weights = seen.map(({ u, score, bend }) => {
      const dropped = dropout && weightHash(rowHash(dropout.seed, head, t), u) < dropout.rate * 2 ** 32;
      return { u, bend, p: Math.exp(score - largest) / sum, factor: dropout ? (dropped ? 0 : 1 / (1 - dropout.rate)) : 1 };
    });
    for (const { u, p, factor } of weights) {
      for (let d = 0; d < S; d++) {
        truth.output[row * S + d]! += p * factor * v[keyAt(u) + d]!;
        truth.dv[keyAt(u) + d]! += p * factor * upstream[row * S + d]!;
      }
    }
    const D = dot(upstream, row * S, truth.output, row * S);
    for (const { u, p, factor, bend } of weights) {
      const dScore = p * (factor * dot(upstream, row * S, v, keyAt(u)) - D);
      truth.dBias[row * keys + u] = dScore;
      for (let d = 0; d < S; d++) {
        truth.dq[row * S + d]! += dScore * bend * scale * k[keyAt(u) + d]!;
        truth.dk[keyAt(u) + d]! += dScore * bend * scale * q[row * S + d]!;
      }
    }
  }
  return truth;
}

/**
 * @file FlashAttention in WGSL, as short as it can be: a thread is a query, a workgroup is a tile of 64 of them, and together
 * they walk over the keys tile by tile. It is the kernel that chapter 05 reads line by line, and in which readers put their own
 * online softmax; the fast ones stand in forward.wgsl.ts and decode.wgsl.ts.
 *
 * Shapes: H heads (of the whole batch), T queries, U keys, S head size.
 */
import { invariant } from '../../base/index.ts';

export interface LessonProblem {
  /** B · H; default 1 */
  readonly heads?: number;
  readonly queries: number;
  readonly keys: number;
  /** A multiple of 4. */
  readonly headSize: number;
  /** Hide the future, aligned at the end (default false). */
  readonly causal?: boolean;
}

/** Queries in a workgroup, one for each thread. */
export const LESSON_QUERIES = 64;
/** Keys in a tile. */
export const LESSON_KEYS = 16;

/**
 * The whole shader. Bindings: o [H, T, S], logSumExp [H, T] ← q [H, T, S], k [H, U, S], v [H, U, S].
 *
 * @param absorb the WGSL of `fn absorb(score: f32, key: u32)`, which takes one more key into m, l and o
 * @throws RangeError when the head size is no multiple of 4, or there are fewer keys than queries under a causal mask
 */
export function lessonShader(problem: LessonProblem, absorb: string): string {
  const { queries, keys, headSize, causal = false } = problem;
  invariant(headSize > 0 && headSize % 4 === 0, () => `lessonShader: the head size must be a multiple of 4, got ${headSize}`);
  invariant(!causal || keys >= queries, () => `lessonShader: causal needs as many keys as queries, got ${keys} and ${queries}`);
  return `// The problem, written into the shader: T queries, U keys, and head vectors of S4 fours of numbers.
const T = ${queries}u;
const U = ${keys}u;
const S4 = ${headSize / 4}u;
const SCALE = ${1 / Math.sqrt(headSize)}; // 1 / √S
const CAUSAL = ${causal};
const QUERIES = ${LESSON_QUERIES}u; // a workgroup has one thread for each
const KEYS = ${LESSON_KEYS}u; // in a tile

// Slow memory.
@group(0) @binding(0) var<storage, read_write> outputs: array<vec4<f32>>; // [H, T, S]
@group(0) @binding(1) var<storage, read_write> logSumExp: array<f32>; // [H, T]
@group(0) @binding(2) var<storage, read> queries: array<vec4<f32>>; // [H, T, S]
@group(0) @binding(3) var<storage, read> keys: array<vec4<f32>>; // [H, U, S]
@group(0) @binding(4) var<storage, read> values: array<vec4<f32>>; // [H, U, S]

// Fast memory that the threads of a workgroup share: one tile of keys and its values.
var<workgroup> keyTile: array<vec4<f32>, KEYS * S4>;
var<workgroup> valueTile: array<vec4<f32>, KEYS * S4>;

// Registers, each thread's own: what its query knows so far.
var<private> m: f32 = -1.0e30; // the largest score
var<private> l: f32 = 0.0; // Σ exp(score - m)
var<private> o: array<vec4<f32>, S4>; // Σ exp(score - m) · value

// One more key for this thread's query: its score, and its number in the tile.
${absorb.trim()}

@compute @workgroup_size(QUERIES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let t = group.x * QUERIES + thread; // this thread's query
  let row = group.y * T + min(t, T - 1u); // group.y is the head
  var query: array<vec4<f32>, S4>;
  for (var d = 0u; d < S4; d++) { query[d] = queries[row * S4 + d] * SCALE; }

  // Keys that the last query of this workgroup sees: what lies behind them is never read.
  let end = select(U, min(U, (group.x + 1u) * QUERIES + U - T), CAUSAL);
  for (var first = 0u; first < end; first += KEYS) {
    workgroupBarrier(); // until nobody needs the tile before
    for (var i = thread; i < KEYS * S4; i += QUERIES) {
      let source = (group.y * U + min(first + i / S4, U - 1u)) * S4 + i % S4;
      keyTile[i] = keys[source];
      valueTile[i] = values[source];
    }
    workgroupBarrier(); // until the tile is whole

    let seen = select(U, t + 1u + U - T, CAUSAL); // this query sees keys 0 … seen - 1
    for (var key = 0u; key < KEYS && first + key < min(U, seen); key++) {
      var score = 0.0;
      for (var d = 0u; d < S4; d++) { score += dot(query[d], keyTile[key * S4 + d]); }
      absorb(score, key);
    }
  }

  if (t < T) {
    for (var d = 0u; d < S4; d++) { outputs[row * S4 + d] = o[d] / l; }
    logSumExp[row] = m + log(l);
  }
}
`;
}

/**
 * @file FlashAttention, forward, in WGSL. Dao 2023, algorithm 1: a workgroup owns Br queries and walks over the tiles of keys.
 */
import { columns, declarations, quarters, RANGES, ROWS, scoreFunctions, type ShaderFeatures } from './wgsl.ts';

/** Bindings: o [B, H, T, S], logSumExp [B, H, T] ← q, k, v, ranges of the queries, bias where there is one. */
export function forwardShader(features: ShaderFeatures): string {
  const [d4, Bc] = [quarters(features.headSize), columns(features.headSize)];
  return `
${declarations(
  [
    { name: 'o', type: 'vectors' },
    { name: 'logSumExp', type: 'f32' },
  ],
  [
    { name: 'q', type: 'vectors' },
    { name: 'k', type: 'vectors' },
    { name: 'v', type: 'vectors' },
    { name: 'ofQueries', type: 'i32' },
    ...(features.bias ? [{ name: 'bias', type: 'f32' } as const] : []),
  ],
  features,
)}
${RANGES('ofQueries', 'T')}
${scoreFunctions(features)}

var<workgroup> Kj: array<vec4<f32>, ${Bc * d4}>;
var<workgroup> Vj: array<vec4<f32>, ${Bc * d4}>;

@compute @workgroup_size(${ROWS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let lane = i32(local.x);
  let head = i32(group.y); // b · H + h
  let b = head / problem.H;
  let h = head % problem.H;
  let keyRow = head / problem.group * problem.U; // where this head's keys begin
  let firstQuery = i32(group.x) * ${ROWS};
  let lastQuery = min(firstQuery + ${ROWS}, problem.T) - 1;
  let t = min(firstQuery + lane, problem.T - 1); // threads beyond the end repeat the last query and store nothing

  // This thread's query Qi and its output Oi, in registers.
  var Qi: array<vec4<f32>, ${d4}>;
  var Oi: array<vec4<f32>, ${d4}>;
  for (var d = 0; d < ${d4}; d++) { Qi[d] = load_q(head * problem.T + t, d); Oi[d] = vec4<f32>(0.0); }
  var m = hidden; // the largest score so far
  var l = 0.0; // Σ exp(score − m) so far
  let range = range_ofQueries(b, t);

  // Only tiles that some query of this workgroup sees: the first query's first key to the last query's last.
  let firstTile = range_ofQueries(b, firstQuery).x / ${Bc};
  let endTile = (range_ofQueries(b, lastQuery).y + ${Bc - 1}) / ${Bc};
  for (var j = firstTile; j < endTile; j++) {
    // All threads together bring Kj and Vj from slow memory, once for all their queries.
    workgroupBarrier();
    for (var i = lane; i < ${Bc * d4}; i += ${ROWS}) {
      let u = j * ${Bc} + i / ${d4};
      let row = keyRow + min(u, problem.U - 1);
      Kj[i] = select(vec4<f32>(0.0), load_k(row, i % ${d4}), u < problem.U);
      Vj[i] = select(vec4<f32>(0.0), load_v(row, i % ${d4}), u < problem.U);
    }
    workgroupBarrier();

    // S = Qi Kjᵀ, four keys at a time, and the new maximum.
    var S: array<vec4<f32>, ${Bc / 4}>;
    var largest = vec4<f32>(m);
    for (var c = 0; c < ${Bc / 4}; c++) {
      var products = vec4<f32>(0.0);
      for (var d = 0; d < ${d4}; d++) {
        let at = 4 * c * ${d4} + d;
        products += vec4<f32>(dot(Qi[d], Kj[at]), dot(Qi[d], Kj[at + ${d4}]), dot(Qi[d], Kj[at + ${2 * d4}]), dot(Qi[d], Kj[at + ${3 * d4}]));
      }
      let u = vec4<i32>(j * ${Bc} + 4 * c) + vec4<i32>(0, 1, 2, 3);
      let seen = (u >= vec4<i32>(range.x)) & (u < vec4<i32>(range.y));
      S[c] = scores(products, b, h, vec4<i32>(t), u, range.z, seen);
      largest = max(largest, S[c]);
    }
    let next = max(max(largest.x, largest.y), max(largest.z, largest.w));

    // P = exp(S − m'), and what was summed up so far is rescaled to the new maximum: the online softmax.
    let rescale = exp(m - next);
    var sum = vec4<f32>(0.0);
    for (var c = 0; c < ${Bc / 4}; c++) {
      S[c] = exponentials(S[c], vec4<f32>(next));
      sum += S[c];
      ${features.dropout ? `S[c] *= keptFactors(b, h, vec4<i32>(t), vec4<i32>(j * ${Bc} + 4 * c) + vec4<i32>(0, 1, 2, 3));` : ''}
    }
    l = l * rescale + sum.x + sum.y + sum.z + sum.w;
    m = next;

    // Oi = rescale · Oi + P Vj
    for (var d = 0; d < ${d4}; d++) {
      var x = Oi[d] * rescale;
      for (var c = 0; c < ${Bc / 4}; c++) {
        let at = 4 * c * ${d4} + d;
        x += S[c].x * Vj[at] + S[c].y * Vj[at + ${d4}] + S[c].z * Vj[at + ${2 * d4}] + S[c].w * Vj[at + ${3 * d4}];
      }
      Oi[d] = x;
    }
  }

  // Oi / l, and L = m + log l for the backward pass; a query that saw nothing gets zeros.
  if (firstQuery + lane < problem.T) {
    let row = head * problem.T + t;
    let share = select(0.0, 1.0 / l, l > 0.0);
    for (var d = 0; d < ${d4}; d++) { store_o(row, d, Oi[d] * share); }
    logSumExp[row] = select(0.0, m + log(l), l > 0.0);
  }
}`;
}

/**
 * @file Attention for decoding, in WGSL: one query or a few, and a long cache. There are too few queries to keep a GPU busy, so
 * the keys are split over workgroups, each of which finds a softmax of its own part; a second shader joins the parts. Dao et
 * al. 2023, Flash-Decoding.
 */
import { declarations, quarters, RANGES, scoreFunctions, THREADS, type Binding, type ShaderFeatures } from './wgsl.ts';

/** Keys of a workgroup: four for each thread. */
export const SPLIT = 4 * THREADS;

/** With more queries than this the tiles of the other shader are full enough. */
export const MOST_QUERIES = 4;

/**
 * Bindings: part [B, H, T, splits, S] and mass [B, H, T, splits, 2] ← q, k, v, ranges of the queries, bias where there is one.
 */
export function decodeShader(features: ShaderFeatures): string {
  const all = quarters(features.headSize);
  const teams = Math.floor(THREADS / all);
  const outputs: readonly Binding[] = [
    { name: 'part', type: 'vectors' }, // Σ exp(score − m) · v over the keys of this workgroup
    { name: 'mass', type: 'vec2<f32>' }, // their m and Σ exp(score − m)
  ];
  const inputs: readonly Binding[] = [
    { name: 'q', type: 'vectors' },
    { name: 'k', type: 'vectors' },
    { name: 'v', type: 'vectors' },
    { name: 'ofQueries', type: 'i32' },
    ...(features.bias ? [{ name: 'bias', type: 'f32' } as const] : []),
  ];
  return `
${declarations(outputs, inputs, features)}
${RANGES('ofQueries', 'T')}
${scoreFunctions(features)}
var<workgroup> largest: array<f32, ${THREADS}>;
var<workgroup> sums: array<f32, ${THREADS}>;
var<workgroup> weights: array<vec4<f32>, ${THREADS}>;
var<workgroup> outputs: array<vec4<f32>, ${THREADS}>;

@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let lane = i32(local.x);
  let head = i32(group.y); // b · H + h
  let t = i32(group.z);
  let b = head / problem.H;
  let h = head % problem.H;
  let row = head * problem.T + t;
  let firstKey = head / problem.group * problem.capacity; // where this head's keys begin
  let start = i32(group.x) * ${SPLIT};
  let range = range_ofQueries(b, t);

  // S = q Kᵀ: each thread takes four keys.
  let u = vec4<i32>(start + lane) + vec4<i32>(0, ${THREADS}, ${2 * THREADS}, ${3 * THREADS});
  let key = vec4<i32>(firstKey) + min(u, vec4<i32>(problem.U - 1));
  var products = vec4<f32>(0.0);
  for (var d = 0; d < ${all}; d++) {
    products += load_q(row, d) * mat4x4<f32>(load_k(key.x, d), load_k(key.y, d), load_k(key.z, d), load_k(key.w, d));
  }
  let seen = (u >= vec4<i32>(range.x)) & (u < vec4<i32>(range.y));
  let S = scores(products, b, h, vec4<i32>(t), u, range.z, seen);

  // P = exp(S − m), m over all threads
  largest[lane] = max(max(S.x, S.y), max(S.z, S.w));
  workgroupBarrier();
  var m = hidden;
  for (var i = 0; i < ${THREADS}; i++) { m = max(m, largest[i]); }
  let P = exponentials(S, vec4<f32>(m));
  sums[lane] = dot(P, vec4<f32>(1.0));
  weights[lane] = P${features.dropout ? ' * keptFactors(b, h, vec4<i32>(t), u)' : ''};
  workgroupBarrier();

  // P V: each thread takes four numbers of the output, and with short heads a team of threads shares the keys.
  let d = lane % ${all};
  let team = lane / ${all};
  var O = vec4<f32>(0.0);
  for (var i = team; i < ${THREADS}; i += ${teams}) {
    let source = vec4<i32>(start + i) + vec4<i32>(0, ${THREADS}, ${2 * THREADS}, ${3 * THREADS});
    let value = vec4<i32>(firstKey) + min(source, vec4<i32>(problem.U - 1));
    O += mat4x4<f32>(load_v(value.x, d), load_v(value.y, d), load_v(value.z, d), load_v(value.w, d)) * weights[i];
  }
  outputs[lane] = O;
  workgroupBarrier();
  let place = row * i32(groups.x) + i32(group.x);
  if (team == 0) {
    for (var other = 1; other < ${teams}; other++) { O += outputs[other * ${all} + d]; }
    store_part(place, d, O);
  }
  if (lane == 0) {
    var l = 0.0;
    for (var i = 0; i < ${THREADS}; i++) { l += sums[i]; }
    mass[place] = vec2<f32>(m, l);
  }
}`;
}

/** Bindings: o [B, H, T, S], logSumExp [B, H, T] ← part, mass. The parts are rescaled to their largest maximum and added up. */
export function joinShader(features: ShaderFeatures): string {
  const outputs: readonly Binding[] = [
    { name: 'o', type: 'vectors' },
    { name: 'logSumExp', type: 'f32' },
  ];
  const inputs: readonly Binding[] = [
    { name: 'part', type: 'vectors' },
    { name: 'mass', type: 'vec2<f32>' },
  ];
  return `
${declarations(outputs, inputs, features)}

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let d = i32(local.x);
  let row = i32(group.y) * problem.T + i32(group.z);
  let splits = i32(arrayLength(&mass) / arrayLength(&logSumExp));
  var m = mass[row * splits].x;
  for (var i = 1; i < splits; i++) { m = max(m, mass[row * splits + i].x); }
  var l = 0.0;
  var O = vec4<f32>(0.0);
  for (var i = 0; i < splits; i++) {
    let place = row * splits + i;
    if (mass[place].y <= 0.0) { continue; } // nothing seen there; not so for NaN
    let rescale = exp(mass[place].x - m);
    l += rescale * mass[place].y;
    if (d < ${quarters(features.headSize)}) { O += rescale * load_part(place, d); }
  }
  if (d < ${quarters(features.headSize)}) { store_o(row, d, select(O / l, vec4<f32>(0.0), l <= 0.0)); }
  if (d == 0) { logSumExp[row] = select(m + log(l), 0.0, l <= 0.0); }
}`;
}

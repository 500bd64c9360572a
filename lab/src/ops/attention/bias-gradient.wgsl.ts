/**
 * @file The gradient of the bias, in WGSL: dBias = dS, summed over the axes along which the bias was broadcast. One thread for
 * each number of the bias goes through all weights that it entered, so that no matrix larger than the bias is ever there.
 */
import { declarations, quarters, RANGES, scoreFunctions, type ShaderFeatures, THREADS } from './wgsl.ts';

/** Bindings: dBias (shape of the bias) ← q, k, v, dO, rows, ranges of the queries, bias. */
export function biasGradientShader(features: ShaderFeatures): string {
  return `
${declarations(
  [{ name: 'dBias', type: 'f32' }],
  [
    { name: 'q', type: 'vectors' },
    { name: 'k', type: 'vectors' },
    { name: 'v', type: 'vectors' },
    { name: 'dO', type: 'vectors' },
    { name: 'rows', type: 'vec2<f32>' }, // L and D of each query
    { name: 'ofQueries', type: 'i32' },
    { name: 'bias', type: 'f32' },
  ],
  features,
)}
${RANGES('ofQueries', 'T')}
${scoreFunctions(features)}

// dS of one weight
fn gradientOf(b: i32, h: i32, t: i32, u: i32) -> f32 {
  let range = range_ofQueries(b, t);
  if (u < range.x || u >= range.y) { return 0.0; }
  let head = b * problem.H + h;
  let query = head * problem.T + t;
  let key = head / problem.group * problem.U + u;
  var product = 0.0;
  var dPui = 0.0;
  for (var d = 0; d < ${quarters(features.headSize)}; d++) {
    product += dot(load_q(query, d), load_k(key, d));
    dPui += dot(load_dO(query, d), load_v(key, d));
  }
  let products = vec4<f32>(product);
  let S = scores(products, b, h, vec4<i32>(t), vec4<i32>(u), range.z, vec4<bool>(true));
  let P = exponentials(S, vec4<f32>(rows[query].x)).x;
  ${features.dropout ? 'dPui *= keptFactors(b, h, vec4<i32>(t), vec4<i32>(u)).x;' : ''}
  return P * (dPui - rows[query].y); // the soft cap lies before the bias and bends nothing here
}

// Where to walk along an axis: everywhere if the bias was broadcast there (stride 0), else only at the entry's own place.
fn walk(stride: i32, place: i32, length: i32) -> vec2<i32> {
  return select(vec2<i32>(place, place + 1), vec2<i32>(0, length), stride == 0);
}

@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let entry = i32((group.y * groups.x + group.x) * ${THREADS}u + local.x);
  if (entry >= i32(arrayLength(&dBias))) { return; }
  // The entry's coordinates, the last axis first.
  var rest = entry;
  let lengths = vec4<i32>(problem.B, problem.H, problem.T, problem.U);
  let strides = vec4<i32>(problem.biasB, problem.biasH, problem.biasT, problem.biasU);
  var place = vec4<i32>(0);
  for (var axis = 3; axis >= 0; axis--) {
    let length = select(1, lengths[axis], strides[axis] > 0);
    place[axis] = rest % length;
    rest /= length;
  }
  let bs = walk(strides.x, place.x, lengths.x);
  let hs = walk(strides.y, place.y, lengths.y);
  let ts = walk(strides.z, place.z, lengths.z);
  let us = walk(strides.w, place.w, lengths.w);
  var sum = 0.0;
  for (var b = bs.x; b < bs.y; b++) {
    for (var h = hs.x; h < hs.y; h++) {
      for (var t = ts.x; t < ts.y; t++) {
        for (var u = us.x; u < us.y; u++) { sum += gradientOf(b, h, t, u); }
      }
    }
  }
  dBias[entry] = sum;
}`;
}

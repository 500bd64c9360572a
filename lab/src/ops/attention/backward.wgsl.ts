/**
 * @file FlashAttention, backward, in WGSL. Dao 2023, algorithm 2, in two passes, because WGSL cannot add floats atomically: one walks
 * over the keys for each query (dQ), one over the queries for each key (dK, dV). Both compute the weights again from L.
 */
import { columns, declarations, quarters, RANGES, ROWS, scoreFunctions, type Binding, type ShaderFeatures } from './wgsl.ts';

const INPUTS: readonly Binding[] = [
  { name: 'q', type: 'vectors' },
  { name: 'k', type: 'vectors' },
  { name: 'v', type: 'vectors' },
  { name: 'dO', type: 'vectors' },
  { name: 'rows', type: 'vec2<f32>' }, // L and D of each query
];

const biasOf = (features: ShaderFeatures): readonly Binding[] => (features.bias ? [{ name: 'bias', type: 'f32' }] : []);

/** Bindings: rows [B, H, T, 2] ← o, dO, logSumExp. Each thread puts L and D = rowsum(dO ∘ O) of one query side by side. */
export function rowsShader(features: ShaderFeatures): string {
  const d4 = quarters(features.headSize);
  const vectors = (['o', 'dO'] as const).map((name): Binding => ({ name, type: 'vectors' }));
  return `
${declarations([{ name: 'rows', type: 'vec2<f32>' }], [...vectors, { name: 'logSumExp', type: 'f32' }], features)}

@compute @workgroup_size(${ROWS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let t = i32(group.x) * ${ROWS} + i32(local.x);
  if (t >= problem.T) { return; }
  let row = i32(group.y) * problem.T + t;
  var D = 0.0;
  for (var d = 0; d < ${d4}; d++) { D += dot(load_dO(row, d), load_o(row, d)); }
  rows[row] = vec2<f32>(logSumExp[row], D);
}`;
}

/** dS = P ∘ (dP − D), through the soft cap where there is one; \`products\`, \`P\`, \`dP\` and \`D\` must be there. */
const dSOf = ({ softCap }: ShaderFeatures): string =>
  `P * (dP - D)${softCap ? ' * (1.0 - capped(products) * capped(products))' : ''}`;

/** Bindings: dq [B, H, T, S] ← q, k, v, dO, rows, ranges of the queries, bias where there is one. */
export function queryGradientShader(features: ShaderFeatures): string {
  const [d4, Bc] = [quarters(features.headSize), columns(features.headSize)];
  return `
${declarations([{ name: 'dq', type: 'vectors' }], [...INPUTS, { name: 'ofQueries', type: 'i32' }, ...biasOf(features)], features)}
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
  let keyRow = head / problem.group * problem.U;
  let firstQuery = i32(group.x) * ${ROWS};
  let lastQuery = min(firstQuery + ${ROWS}, problem.T) - 1;
  let t = min(firstQuery + lane, problem.T - 1);
  let row = head * problem.T + t;

  var Qi: array<vec4<f32>, ${d4}>;
  var dOi: array<vec4<f32>, ${d4}>;
  var dQi: array<vec4<f32>, ${d4}>;
  for (var d = 0; d < ${d4}; d++) { Qi[d] = load_q(row, d); dOi[d] = load_dO(row, d); dQi[d] = vec4<f32>(0.0); }
  let L = vec4<f32>(rows[row].x);
  let D = vec4<f32>(rows[row].y);
  let range = range_ofQueries(b, t);

  let firstTile = range_ofQueries(b, firstQuery).x / ${Bc};
  let endTile = (range_ofQueries(b, lastQuery).y + ${Bc - 1}) / ${Bc};
  for (var j = firstTile; j < endTile; j++) {
    workgroupBarrier();
    for (var i = lane; i < ${Bc * d4}; i += ${ROWS}) {
      let u = j * ${Bc} + i / ${d4};
      let source = keyRow + min(u, problem.U - 1);
      Kj[i] = select(vec4<f32>(0.0), load_k(source, i % ${d4}), u < problem.U);
      Vj[i] = select(vec4<f32>(0.0), load_v(source, i % ${d4}), u < problem.U);
    }
    workgroupBarrier();

    // S = Qi Kjᵀ and dP = dOi Vjᵀ, four keys at a time; from them dS.
    var dS: array<vec4<f32>, ${Bc / 4}>;
    for (var c = 0; c < ${Bc / 4}; c++) {
      var products = vec4<f32>(0.0);
      var dP = vec4<f32>(0.0);
      for (var d = 0; d < ${d4}; d++) {
        let at = 4 * c * ${d4} + d;
        products += vec4<f32>(dot(Qi[d], Kj[at]), dot(Qi[d], Kj[at + ${d4}]), dot(Qi[d], Kj[at + ${2 * d4}]), dot(Qi[d], Kj[at + ${3 * d4}]));
        dP += vec4<f32>(dot(dOi[d], Vj[at]), dot(dOi[d], Vj[at + ${d4}]), dot(dOi[d], Vj[at + ${2 * d4}]), dot(dOi[d], Vj[at + ${3 * d4}]));
      }
      let u = vec4<i32>(j * ${Bc} + 4 * c) + vec4<i32>(0, 1, 2, 3);
      let seen = (u >= vec4<i32>(range.x)) & (u < vec4<i32>(range.y));
      let P = exponentials(scores(products, b, h, vec4<i32>(t), u, range.z, seen), L);
      ${features.dropout ? 'dP *= keptFactors(b, h, vec4<i32>(t), u);' : ''}
      dS[c] = ${dSOf(features)};
    }

    // dQi += dS Kj
    for (var d = 0; d < ${d4}; d++) {
      var x = dQi[d];
      for (var c = 0; c < ${Bc / 4}; c++) {
        let at = 4 * c * ${d4} + d;
        x += dS[c].x * Kj[at] + dS[c].y * Kj[at + ${d4}] + dS[c].z * Kj[at + ${2 * d4}] + dS[c].w * Kj[at + ${3 * d4}];
      }
      dQi[d] = x;
    }
  }
  if (firstQuery + lane < problem.T) {
    for (var d = 0; d < ${d4}; d++) { store_dq(row, d, dQi[d] * problem.scale); }
  }
}`;
}

/** Bindings: dk, dv [B, K, U, S] ← q, k, v, dO, rows, ranges of the keys, bias where there is one. */
export function keyGradientShader(features: ShaderFeatures): string {
  const [d4, Bq] = [quarters(features.headSize), columns(features.headSize)];
  const outputs: readonly Binding[] = [
    { name: 'dk', type: 'vectors' },
    { name: 'dv', type: 'vectors' },
  ];
  return `
${declarations(outputs, [...INPUTS, { name: 'ofKeys', type: 'i32' }, ...biasOf(features)], features)}
${RANGES('ofKeys', 'U')}
${scoreFunctions(features)}

var<workgroup> Qi: array<vec4<f32>, ${Bq * d4}>;
var<workgroup> dOi: array<vec4<f32>, ${Bq * d4}>;

@compute @workgroup_size(${ROWS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let lane = i32(local.x);
  let keyHead = i32(group.y); // b · K + its head
  let b = keyHead * problem.group / problem.H;
  let firstKey = i32(group.x) * ${ROWS};
  let lastKey = min(firstKey + ${ROWS}, problem.U) - 1;
  let u = min(firstKey + lane, problem.U - 1); // threads beyond the end repeat the last key and store nothing
  let row = keyHead * problem.U + u;

  var Kj: array<vec4<f32>, ${d4}>;
  var Vj: array<vec4<f32>, ${d4}>;
  var dKj: array<vec4<f32>, ${d4}>;
  var dVj: array<vec4<f32>, ${d4}>;
  for (var d = 0; d < ${d4}; d++) {
    Kj[d] = load_k(row, d);
    Vj[d] = load_v(row, d);
    dKj[d] = vec4<f32>(0.0);
    dVj[d] = vec4<f32>(0.0);
  }
  let range = range_ofKeys(b, u);
  let firstTile = range_ofKeys(b, firstKey).x / ${Bq};
  let endTile = (range_ofKeys(b, lastKey).y + ${Bq - 1}) / ${Bq};

  // The query heads that share this key head, one after the other: their gradients add up here, in a fixed order.
  for (var g = 0; g < problem.group; g++) {
    let head = keyHead * problem.group + g;
    let h = head % problem.H;
    for (var i = firstTile; i < endTile; i++) {
      workgroupBarrier();
      for (var n = lane; n < ${Bq * d4}; n += ${ROWS}) {
        let t = i * ${Bq} + n / ${d4};
        let source = head * problem.T + min(t, problem.T - 1);
        Qi[n] = select(vec4<f32>(0.0), load_q(source, n % ${d4}), t < problem.T);
        dOi[n] = select(vec4<f32>(0.0), load_dO(source, n % ${d4}), t < problem.T);
      }
      workgroupBarrier();

      // Sᵀ = Kj Qiᵀ and dPᵀ = Vj dOiᵀ, four queries at a time; from them P and dS.
      var Z: array<vec4<f32>, ${Bq / 4}>; // P after dropout
      var dS: array<vec4<f32>, ${Bq / 4}>;
      for (var c = 0; c < ${Bq / 4}; c++) {
        var products = vec4<f32>(0.0);
        var dP = vec4<f32>(0.0);
        for (var d = 0; d < ${d4}; d++) {
          let at = 4 * c * ${d4} + d;
          products += vec4<f32>(dot(Kj[d], Qi[at]), dot(Kj[d], Qi[at + ${d4}]), dot(Kj[d], Qi[at + ${2 * d4}]), dot(Kj[d], Qi[at + ${3 * d4}]));
          dP += vec4<f32>(dot(Vj[d], dOi[at]), dot(Vj[d], dOi[at + ${d4}]), dot(Vj[d], dOi[at + ${2 * d4}]), dot(Vj[d], dOi[at + ${3 * d4}]));
        }
        let t = vec4<i32>(i * ${Bq} + 4 * c) + vec4<i32>(0, 1, 2, 3);
        let at = vec4<i32>(head * problem.T) + min(t, vec4<i32>(problem.T - 1));
        let L = vec4<f32>(rows[at.x].x, rows[at.y].x, rows[at.z].x, rows[at.w].x);
        let D = vec4<f32>(rows[at.x].y, rows[at.y].y, rows[at.z].y, rows[at.w].y);
        let seen = (t >= vec4<i32>(range.x)) & (t < vec4<i32>(range.y));
        let P = exponentials(scores(products, b, h, t, vec4<i32>(u), range.z, seen), L);
        Z[c] = P;
        ${features.dropout ? 'let kept = keptFactors(b, h, t, vec4<i32>(u)); Z[c] *= kept; dP *= kept;' : ''}
        dS[c] = ${dSOf(features)};
      }

      // dVj += Pᵀ dOi, dKj += dSᵀ Qi
      for (var d = 0; d < ${d4}; d++) {
        var x = dVj[d];
        var y = dKj[d];
        for (var c = 0; c < ${Bq / 4}; c++) {
          let at = 4 * c * ${d4} + d;
          x += Z[c].x * dOi[at] + Z[c].y * dOi[at + ${d4}] + Z[c].z * dOi[at + ${2 * d4}] + Z[c].w * dOi[at + ${3 * d4}];
          y += dS[c].x * Qi[at] + dS[c].y * Qi[at + ${d4}] + dS[c].z * Qi[at + ${2 * d4}] + dS[c].w * Qi[at + ${3 * d4}];
        }
        dVj[d] = x;
        dKj[d] = y;
      }
    }
  }
  if (firstKey + lane < problem.U) {
    for (var d = 0; d < ${d4}; d++) {
      store_dk(row, d, dKj[d] * problem.scale);
      store_dv(row, d, dVj[d]);
    }
  }
}`;
}

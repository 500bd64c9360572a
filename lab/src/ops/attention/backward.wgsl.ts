/**
 * @file FlashAttention, backward, in WGSL. Dao 2023, algorithm 2, in two passes, because WGSL cannot add floats atomically: one
 * walks over the keys for each tile of queries (dQ), one over the queries for each tile of keys (dK, dV). Both compute the
 * weights again from L.
 */
import * as tiles from './tiles.wgsl.ts';
import { declarations, quarters, RANGES, scoreFunctions, THREADS, type Binding, type ShaderFeatures } from './wgsl.ts';

const { eachRow, each, TILE, SIDE } = tiles;

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
  const vectors = (['o', 'dO'] as const).map((name): Binding => ({ name, type: 'vectors' }));
  return `
${declarations([{ name: 'rows', type: 'vec2<f32>' }], [...vectors, { name: 'logSumExp', type: 'f32' }], features)}

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let t = i32(group.x) * ${THREADS} + i32(local.x);
  if (t >= problem.T) { return; }
  let row = i32(group.y) * problem.T + t;
  var D = 0.0;
  for (var d = 0; d < ${quarters(features.headSize)}; d++) { D += dot(load_dO(row, d), load_o(row, d)); }
  rows[row] = vec2<f32>(logSumExp[row], D);
}`;
}

/** NAME0 … NAME3 = the products of all chunks of the vectors `row` and `column`; both buffers keep the last chunk. */
function products(name: string, row: string, column: string, chunks: tiles.Chunks): string {
  return `${eachRow((i) => `var ${name}${i} = vec4<f32>(0.0);`)}
    ${each(
      chunks.count,
      (chunk) => `workgroupBarrier();
    fill_A_${row}(firstRow, endRow, ${chunk}, lane);
    fill_B_${column}(firstColumn, endColumn, ${chunk}, lane);
    workgroupBarrier();
    ${tiles.multiplyTiles(name, chunks)}`,
    )}`;
}

/** SUMS += WEIGHTS · column vectors. With a single chunk the vectors may be those that `products` left behind. */
function addWeighted(sums: string, weights: string, column: string, chunks: tiles.Chunks, left: boolean): string {
  return each(chunks.count, (chunk) => {
    const fill =
      chunks.count > 1 || !left ? `workgroupBarrier();\n    fill_B_${column}(firstColumn, endColumn, ${chunk}, lane);` : '';
    return `${fill}
    workgroupBarrier();
    ${tiles.accumulate(sums, weights, chunk, chunks)}`;
  });
}

/** dS = P ∘ (dP − D), through the soft cap where there is one: its slope is 1 − tanh². */
const dSOf = ({ softCap }: ShaderFeatures, i: number, D: string): string =>
  `P${i} * (dP${i} - ${D})${softCap ? ` * (1.0 - capped(S${i}) * capped(S${i}))` : ''}`;

/** Bindings: dq [B, H, T, S] ← q, k, v, dO, rows, ranges of the queries, bias where there is one. */
export function queryGradientShader(features: ShaderFeatures): string {
  const chunks = tiles.chunksOf(features);
  const inputs: readonly Binding[] = [...INPUTS, { name: 'ofQueries', type: 'i32' }, ...biasOf(features)];
  return `
${declarations([{ name: 'dq', type: 'vectors' }], inputs, features)}
${RANGES('ofQueries', 'T')}
${scoreFunctions(features)}
${tiles.tileMemory(chunks, 'dS')}
${tiles.fillFunction('A', 'q', chunks)}
${tiles.fillFunction('A', 'dO', chunks)}
${tiles.fillFunction('B', 'k', chunks)}
${tiles.fillFunction('B', 'v', chunks)}

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let lane = i32(local.x);
  let x = lane % ${SIDE};
  let y = lane / ${SIDE};
  let head = i32(group.y); // b · H + h
  let b = head / problem.H;
  let h = head % problem.H;
  let firstKey = head / problem.group * problem.U; // where this head's keys begin
  let endColumn = firstKey + problem.U;
  let firstQuery = i32(group.x) * ${TILE};
  let lastQuery = min(firstQuery + ${TILE}, problem.T) - 1;
  let firstRow = head * problem.T + firstQuery;
  let endRow = (head + 1) * problem.T;

  let t = firstQuery + 4 * y; // the first of this thread's four queries
  ${eachRow((i) => `let range${i} = range_ofQueries(b, min(t + ${i}, problem.T - 1));`)}
  ${eachRow((i) => `let LD${i} = rows[min(firstRow + 4 * y + ${i}, endRow - 1)];`)}
  ${tiles.declareSums('dQ', chunks)}

  let firstTile = range_ofQueries(b, firstQuery).x / ${TILE};
  let endTile = (range_ofQueries(b, lastQuery).y + ${TILE - 1}) / ${TILE};
  for (var j = firstTile; j < endTile; j++) {
    let firstColumn = firstKey + j * ${TILE};

    // dP = dO Vᵀ and S = Q Kᵀ
    ${products('dP', 'dO', 'v', chunks)}
    ${products('S', 'q', 'k', chunks)}

    // P = exp(S − L) again, and dS = P ∘ (dP − D)
    let u = vec4<i32>(j * ${TILE} + x) + vec4<i32>(0, ${SIDE}, ${2 * SIDE}, ${3 * SIDE});
    ${eachRow(
      (i) => `let seen${i} = (u >= vec4<i32>(range${i}.x)) & (u < vec4<i32>(range${i}.y));
    let P${i} = exponentials(scores(S${i}, b, h, vec4<i32>(t + ${i}), u, range${i}.z, seen${i}), vec4<f32>(LD${i}.x));
    ${features.dropout ? `dP${i} *= keptFactors(b, h, vec4<i32>(t + ${i}), u);` : ''}
    dS[(4 * y + ${i}) * ${SIDE} + x] = ${dSOf(features, i, `LD${i}.y`)};`,
    )}

    // dQ += dS K
    ${addWeighted('dQ', 'dS', 'k', chunks, true)}
  }
  let row = firstRow + 4 * y;
  ${tiles.storeSums('dQ', 'dq', 'row', 'endRow', chunks, () => 'problem.scale')}
}`;
}

/** Bindings: dk, dv [B, K, U, S] ← q, k, v, dO, rows, ranges of the keys, bias where there is one. */
export function keyGradientShader(features: ShaderFeatures): string {
  const chunks = tiles.chunksOf(features);
  const outputs: readonly Binding[] = [
    { name: 'dk', type: 'vectors' },
    { name: 'dv', type: 'vectors' },
  ];
  return `
${declarations(outputs, [...INPUTS, { name: 'ofKeys', type: 'i32' }, ...biasOf(features)], features)}
${RANGES('ofKeys', 'U')}
${scoreFunctions(features)}
${tiles.tileMemory(chunks, 'P', 'dS')}
${tiles.fillFunction('A', 'k', chunks)}
${tiles.fillFunction('A', 'v', chunks)}
${tiles.fillFunction('B', 'q', chunks)}
${tiles.fillFunction('B', 'dO', chunks)}

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let lane = i32(local.x);
  let x = lane % ${SIDE};
  let y = lane / ${SIDE};
  let keyHead = i32(group.y); // b · K + its head
  let b = keyHead * problem.group / problem.H;
  let firstKey = i32(group.x) * ${TILE};
  let lastKey = min(firstKey + ${TILE}, problem.U) - 1;
  let firstRow = keyHead * problem.U + firstKey;
  let endRow = (keyHead + 1) * problem.U;

  let u = firstKey + 4 * y; // the first of this thread's four keys
  ${eachRow((i) => `let range${i} = range_ofKeys(b, min(u + ${i}, problem.U - 1));`)}
  ${tiles.declareSums('dK', chunks)}
  ${tiles.declareSums('dV', chunks)}

  let firstTile = range_ofKeys(b, firstKey).x / ${TILE};
  let endTile = (range_ofKeys(b, lastKey).y + ${TILE - 1}) / ${TILE};
  // The query heads that share this key head, one after the other: their gradients add up here, in a fixed order.
  for (var g = 0; g < problem.group; g++) {
    let head = keyHead * problem.group + g;
    let h = head % problem.H;
    let endColumn = (head + 1) * problem.T;
    for (var i = firstTile; i < endTile; i++) {
      let firstColumn = head * problem.T + i * ${TILE};

      // Sᵀ = K Qᵀ and dPᵀ = V dOᵀ
      ${products('S', 'k', 'q', chunks)}
      ${products('dP', 'v', 'dO', chunks)}

      // Pᵀ = exp(Sᵀ − L) again, and dSᵀ = Pᵀ ∘ (dPᵀ − D)
      let t = vec4<i32>(i * ${TILE} + x) + vec4<i32>(0, ${SIDE}, ${2 * SIDE}, ${3 * SIDE});
      let at = vec4<i32>(head * problem.T) + min(t, vec4<i32>(problem.T - 1));
      let L = vec4<f32>(rows[at.x].x, rows[at.y].x, rows[at.z].x, rows[at.w].x);
      let D = vec4<f32>(rows[at.x].y, rows[at.y].y, rows[at.z].y, rows[at.w].y);
      ${eachRow(
        (row) => `let seen${row} = (t >= vec4<i32>(range${row}.x)) & (t < vec4<i32>(range${row}.y));
      let P${row} = exponentials(scores(S${row}, b, h, t, vec4<i32>(u + ${row}), range${row}.z, seen${row}), L);
      ${features.dropout ? `let kept${row} = keptFactors(b, h, t, vec4<i32>(u + ${row})); dP${row} *= kept${row};` : ''}
      dS[(4 * y + ${row}) * ${SIDE} + x] = ${dSOf(features, row, 'D')};
      P[(4 * y + ${row}) * ${SIDE} + x] = P${row}${features.dropout ? ` * kept${row}` : ''};`,
      )}

      // dV += Pᵀ dO, dK += dSᵀ Q
      ${addWeighted('dV', 'P', 'dO', chunks, true)}
      ${addWeighted('dK', 'dS', 'q', chunks, false)}
    }
  }
  let row = firstRow + 4 * y;
  ${tiles.storeSums('dK', 'dk', 'row', 'endRow', chunks, () => 'problem.scale')}
  ${tiles.storeSums('dV', 'dv', 'row', 'endRow', chunks, () => '1.0')}
}`;
}

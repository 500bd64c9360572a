/**
 * @file FlashAttention, forward, in WGSL. Dao 2023, algorithm 1: a workgroup owns a tile of queries and walks over the tiles of
 * keys.
 */
import * as tiles from './tiles.wgsl.ts';
import { declarations, RANGES, scoreFunctions, THREADS, type Binding, type ShaderFeatures } from './wgsl.ts';

const { eachRow, each, TILE, SIDE } = tiles;

/** Bindings: o [B, H, T, S], logSumExp [B, H, T] ← q, k, v, ranges of the queries, bias where there is one. */
export function forwardShader(features: ShaderFeatures): string {
  const chunks = tiles.chunksOf(features);
  const outputs: readonly Binding[] = [
    { name: 'o', type: 'vectors' },
    { name: 'logSumExp', type: 'f32' },
  ];
  const inputs: readonly Binding[] = [
    { name: 'q', type: 'vectors' },
    { name: 'k', type: 'vectors' },
    { name: 'v', type: 'vectors' },
    { name: 'ofQueries', type: 'i32' },
    ...(features.bias ? [{ name: 'bias', type: 'f32' } as const] : []),
  ];
  const fillA = (chunk: number): string => `fill_A_q(firstRow, endRow, ${chunk}, lane);`;
  return `
${declarations(outputs, inputs, features)}
${RANGES('ofQueries', 'T')}
${scoreFunctions(features)}
${tiles.tileMemory(chunks, 'weights')}
var<workgroup> parts: array<vec4<f32>, ${THREADS}>; // what each thread found for its four rows
${tiles.fillFunction('A', 'q', chunks)}
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
  let firstKey = head / problem.group * problem.capacity; // where this head's keys begin
  let endKey = firstKey + problem.U;
  let firstQuery = i32(group.x) * ${TILE};
  let lastQuery = min(firstQuery + ${TILE}, problem.T) - 1;
  let firstRow = head * problem.T + firstQuery;
  let endRow = (head + 1) * problem.T;

  let t = firstQuery + 4 * y; // the first of this thread's four queries
  ${eachRow((i) => `let range${i} = range_ofQueries(b, min(t + ${i}, problem.T - 1));`)}
  var m = vec4<f32>(hidden); // the largest score so far, of each of the four
  var l = vec4<f32>(0.0); // Σ exp(score − m) so far, over this thread's columns
  ${tiles.declareSums('O', chunks)}
  ${chunks.count === 1 ? fillA(0) : ''}

  // Only tiles that some query of this workgroup sees: the first query's first key to the last query's last.
  let firstTile = range_ofQueries(b, firstQuery).x / ${TILE};
  let endTile = (range_ofQueries(b, lastQuery).y + ${TILE - 1}) / ${TILE};
  for (var j = firstTile; j < endTile; j++) {
    // S = Q Kᵀ; all threads together bring the vectors from slow memory, once for all their rows.
    ${eachRow((i) => `var S${i} = vec4<f32>(0.0);`)}
    ${each(
      chunks.count,
      (chunk) => `workgroupBarrier();
    ${chunks.count > 1 ? fillA(chunk) : ''}
    fill_B_k(firstKey + j * ${TILE}, endKey, ${chunk}, lane);
    workgroupBarrier();
    ${tiles.multiplyTiles('S', chunks)}`,
    )}
    let u = vec4<i32>(j * ${TILE} + x) + vec4<i32>(0, ${SIDE}, ${2 * SIDE}, ${3 * SIDE});
    ${eachRow(
      (i) => `let seen${i} = (u >= vec4<i32>(range${i}.x)) & (u < vec4<i32>(range${i}.y));
    S${i} = scores(S${i}, b, h, vec4<i32>(t + ${i}), u, range${i}.z, seen${i});`,
    )}

    // The new maximum of each row, over all threads of the row.
    parts[lane] = vec4<f32>(${[0, 1, 2, 3].map((i) => `max(max(S${i}.x, S${i}.y), max(S${i}.z, S${i}.w))`).join(', ')});
    workgroupBarrier();
    var next = m;
    for (var c = 0; c < ${SIDE}; c++) { next = max(next, parts[y * ${SIDE} + c]); }

    // P = exp(S − m'), and what was summed up so far is rescaled to the new maximum: the online softmax.
    let rescale = exp(m - next);
    m = next;
    ${eachRow((i) => `S${i} = exponentials(S${i}, vec4<f32>(m[${i}]));`)}
    l = l * rescale + vec4<f32>(${[0, 1, 2, 3].map((i) => `dot(S${i}, vec4<f32>(1.0))`).join(', ')});
    ${features.dropout ? eachRow((i) => `S${i} *= keptFactors(b, h, vec4<i32>(t + ${i}), u);`) : ''}
    ${eachRow((i) => `weights[(4 * y + ${i}) * ${SIDE} + x] = S${i};`)}

    // O = rescale · O + P V
    ${each(
      chunks.count,
      (chunk) => `${chunk > 0 ? 'workgroupBarrier();' : ''}
    fill_B_v(firstKey + j * ${TILE}, endKey, ${chunk}, lane);
    workgroupBarrier();
    ${each(chunks.owned, (n) => eachRow((i) => `O_${chunk}_${n}_${i} *= rescale[${i}];`))}
    ${tiles.accumulate('O', 'weights', chunk, chunks)}`,
    )}
  }

  // O / l, and L = m + log l for the backward pass; a query that saw nothing gets zeros.
  workgroupBarrier();
  parts[lane] = l;
  workgroupBarrier();
  l = vec4<f32>(0.0);
  for (var c = 0; c < ${SIDE}; c++) { l += parts[y * ${SIDE} + c]; }
  let nothing = l <= vec4<f32>(0.0); // not so for NaN
  let share = select(1.0 / l, vec4<f32>(0.0), nothing);
  let row = firstRow + 4 * y;
  ${tiles.storeSums('O', 'o', 'row', 'endRow', chunks, (i) => `share[${i}]`)}
  let L = select(m + log(l), vec4<f32>(0.0), nothing);
  ${eachRow((i) => `if (x == 0 && row + ${i} < endRow) { logSumExp[row + ${i}] = L[${i}]; }`)}
}`;
}

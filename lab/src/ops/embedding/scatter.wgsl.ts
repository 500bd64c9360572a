/**
 * @file The gradient of an embedding in WGSL: row r of the table collects the gradients of the tokens whose id is r, always in
 * the order of the text. WGSL has no atomic addition of floats, and its result would depend on who came first. So the tokens
 * are sorted by id, and each row finds its own by bisection.
 *
 * Shapes: V vocabulary, D width, N ids.
 */
import { bindings, mainFunction, THREADS } from '../webgpu/shader.ts';

/**
 * sorted (id, place in the text) [N, 2] ← ids [N]. Uniforms: N.
 * A token's place in the order is the number of those before it: N² comparisons, but in one dispatch, where sorting by exchange
 * takes log² N of them. For the 10⁴ tokens of a usual batch that is little work for a GPU.
 */
export function sortShader(): string {
  return `
${bindings({ sorted: 'vec2<i32>' }, { ids: 'i32' }, { N: 'i32' })}
var<workgroup> others: array<i32, ${THREADS}>;
${mainFunction(
  THREADS,
  `if (group * ${THREADS} >= given.N) { return; }
  let place_ = group * ${THREADS} + lane;
  let id = ids[min(place_, given.N - 1)];
  var before = 0;
  for (var start = 0; start < given.N; start += ${THREADS}) {
    workgroupBarrier();
    others[lane] = ids[min(start + lane, given.N - 1)];
    workgroupBarrier();
    for (var i = 0; i < min(${THREADS}, given.N - start); i++) {
      let other = others[i];
      before += select(0, 1, other < id || (other == id && start + i < place_));
    }
  }
  if (place_ < given.N) { sorted[before] = vec2<i32>(id, place_); }`,
)}`;
}

/** gradient [V, D] ← sorted, dy [N, D], a workgroup for each row. Uniforms: V, D, N. */
export function collectShader(): string {
  return `
${bindings({ gradient: 'f32' }, { sorted: 'vec2<i32>', dy: 'f32' }, { V: 'i32', D: 'i32', N: 'i32' })}
${mainFunction(
  THREADS,
  `if (group >= given.V) { return; }
  var first = 0; // of the tokens with this id, or where they would be
  var end = given.N;
  while (first < end) {
    let middle = (first + end) / 2;
    if (sorted[middle].x < group) { first = middle + 1; } else { end = middle; }
  }
  for (var column = lane; column < given.D; column += ${THREADS}) {
    var sum = 0.0;
    for (var i = first; i < given.N; i++) {
      if (sorted[i].x != group) { break; }
      sum += dy[sorted[i].y * given.D + column];
    }
    gradient[group * given.D + column] = sum;
  }`,
)}`;
}

/**
 * @file Cross-entropy from logits in WGSL: log Σ exp(x − top) − (x[target] − top) with top the largest logit, a workgroup for
 * each row, and its gradient exp((x − top) − log Σ exp(x − top)) − onehot, element by element.
 */
import { bindings, joinFunction, mainFunction, MANY_THREADS } from '../webgpu/shader.ts';

/**
 * losses [rows], normalizer (top and log Σ exp(x − top)) [rows, 2] ← logits [rows, V], ids [rows]. Uniforms: rows, V, NaN.
 * A target outside of 0 … V − 1 has the loss NaN.
 */
export function crossEntropyShader(threads: number): string {
  const outputs = { losses: 'f32', normalizer: 'vec2<f32>' };
  return `
${bindings(outputs, { logits: 'f32', ids: 'i32' }, { rows: 'i32', V: 'i32', nan: 'f32' })}
${joinFunction('largestOf', 'f32', threads, (a, b) => `max(${a}, ${b})`)}
${joinFunction('sumOf', 'f32', threads)}
${mainFunction(
  threads,
  `if (group >= given.rows) { return; }
  let start = group * given.V;
  var most = logits[start];
  for (var i = lane; i < given.V; i += ${threads}) { most = max(most, logits[start + i]); }
  let top = largestOf(most, lane);
  var sum = 0.0;
  for (var i = lane; i < given.V; i += ${threads}) { sum += exp(logits[start + i] - top); }
  let logSum = log(sumOf(sum, lane));
  if (lane == 0) {
    let target_ = ids[group];
    let inside = target_ >= 0 && target_ < given.V;
    let chosen = logits[start + clamp(target_, 0, given.V - 1)] - top;
    losses[group] = select(given.nan, logSum - chosen, inside);
    normalizer[group] = vec2<f32>(top, logSum);
  }`,
)}`;
}

/** gradient [rows, V] ← logits, ids, normalizer, dy [rows]. Uniforms: elements, V. */
export function crossEntropyGradientShader(): string {
  const inputs = { logits: 'f32', ids: 'i32', normalizer: 'vec2<f32>', dy: 'f32' };
  return `
${bindings({ gradient: 'f32' }, inputs, { elements: 'i32', V: 'i32' })}
${mainFunction(
  MANY_THREADS,
  `let at = group * ${MANY_THREADS} + lane;
  if (at >= given.elements) { return; }
  let row = at / given.V;
  let probability = exp((logits[at] - normalizer[row].x) - normalizer[row].y);
  gradient[at] = (probability - select(0.0, 1.0, at - row * given.V == ids[row])) * dy[row];`,
)}`;
}

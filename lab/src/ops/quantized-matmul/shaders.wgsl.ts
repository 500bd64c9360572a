/**
 * @file The product with quantized weights in WGSL: packed words are decoded to four weights at a time, in registers for a few
 * rows, into workgroup memory for many. The layout is described in layout.ts.
 */
import { codesInRun, type BitWidth } from './layout.ts';

/** What makes one shader differ from another; everything else is a uniform. */
export interface QuantizedShaderFeatures {
  readonly bits: BitWidth;
  /** Several groups make a run. */
  readonly shared: boolean;
  readonly zeros: boolean;
  readonly bias: boolean;
}

/** Threads of a workgroup. */
export const THREADS = 64;
/** Rows and columns of a tile of C, and terms in a step: 64 threads of 4 × 4 sums each, and 8 KiB of workgroup memory. */
export const TILE = 32;

/** One run of codes in registers, and the four at step k of it. */
function runFunctions(bits: BitWidth): string {
  if (bits !== 3) {
    return `
alias Run = vec4<u32>;
fn loadRun(at: i32) -> Run { return words[at]; }
fn codesOf(run: Run, k: u32) -> vec4<u32> { return (run >> vec4<u32>(${bits}u * k)) & vec4<u32>(${2 ** bits - 1}u); }`;
  }
  return `
struct Run { first: vec4<u32>, second: vec4<u32>, high: vec4<u32> }
fn loadRun(at: i32) -> Run { return Run(words[3 * at], words[3 * at + 1], words[3 * at + 2]); }
fn codesOf(run: Run, k: u32) -> vec4<u32> {
  let low = select(run.first, run.second, k >= 16u) >> vec4<u32>(2u * (k & 15u));
  let high = run.high >> vec4<u32>(k);
  return (low & vec4<u32>(3u)) | ((high & vec4<u32>(1u)) << vec4<u32>(2u));
}`;
}

/** The bindings: one output, then the inputs in the order of `names`, then the uniforms; and how weights are read. */
function declarations({ bits, zeros }: QuantizedShaderFeatures, output: string, inputs: readonly string[]): string {
  const names = [...inputs, 'words', 'scales', ...(zeros ? ['zeros'] : [])];
  const elements: Readonly<Record<string, string>> = { words: 'vec4<u32>', x: 'vec4<f32>' };
  const declare = (name: string, i: number): string =>
    `@group(0) @binding(${i + 1}) var<storage, read> ${name}: array<${elements[name] ?? 'f32'}>;`;
  return `
@group(0) @binding(0) var<storage, read_write> ${output};
${names.map(declare).join('\n')}
struct Problem { m: i32, n: i32, k: i32, outputs: i32, places: i32, groups: i32, inGroup: i32 }
@group(0) @binding(${names.length + 1}) var<uniform> problem: Problem;
${runFunctions(bits)}
// What follows the last group has its numbers: x is 0 there, but they must be finite.
fn scaleAndZero(output: i32, place: i32) -> vec2<f32> {
  let group = output * problem.groups + min(place / problem.inGroup, problem.groups - 1);
  return vec2<f32>(scales[group], ${zeros ? 'zeros[group]' : `${2 ** (bits - 1)}.0`});
}
fn dequantized(codes: vec4<u32>, affine: vec2<f32>) -> vec4<f32> { return affine.x * (vec4<f32>(codes) - vec4<f32>(affine.y)); }
fn fourWeights(output: i32, place: i32) -> vec4<f32> {
  let run = loadRun((output * problem.places + place) / ${codesInRun(bits)});
  return dequantized(codesOf(run, u32(place % ${codesInRun(bits)}) / 4u), scaleAndZero(output, place));
}`;
}

/** weights [outputs, places], four for each thread. Bindings: weights ← words, scales, zeros */
export function dequantizeShader(features: QuantizedShaderFeatures): string {
  return `
${declarations(features, 'weights: array<vec4<f32>>', [])}
@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let at = i32((group.y * groups.x + group.x) * ${THREADS}u + local.x);
  let fours = problem.places / 4;
  if (at < problem.outputs * fours) { weights[at] = fourWeights(at / fours, 4 * (at % fours)); }
}`;
}

/**
 * A few rows: a workgroup for each output and row, whose threads take a run in turn and add up at the end.
 * Bindings: y [m, outputs] ← x [m, places], words, scales, zeros, bias
 */
export function rowsShader(features: QuantizedShaderFeatures): string {
  const codes = codesInRun(features.bits);
  const affine = (place: string): string => `let affine = scaleAndZero(output, ${place});`;
  return `
${declarations(features, 'y: array<f32>', ['x', ...(features.bias ? ['bias'] : [])])}
var<workgroup> sums: array<f32, ${THREADS}>;

@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let lane = i32(local.x);
  let output = i32(group.y * groups.x + group.x);
  let row = i32(group.z);
  let runs = problem.places / ${codes};
  var sum = 0.0;
  if (output < problem.outputs) {
    for (var i = lane; i < runs; i += ${THREADS}) {
      let run = loadRun(output * runs + i);
      ${features.shared ? '' : affine(`i * ${codes}`)}
      let start = (row * problem.places + i * ${codes}) / 4;
      for (var k = 0; k < ${codes / 4}; k++) {
        ${features.shared ? affine(`i * ${codes} + 4 * k`) : ''}
        sum += dot(dequantized(codesOf(run, u32(k)), affine), x[start + k]);
      }
    }
  }
  sums[lane] = sum;
  for (var half = ${THREADS / 2}; half > 0; half /= 2) {
    workgroupBarrier();
    if (lane < half) { sums[lane] += sums[lane + half]; }
  }
  if (lane == 0 && output < problem.outputs) {
    y[row * problem.outputs + output] = sums[0]${features.bias ? ' + bias[output]' : ''};
  }
}`;
}

/**
 * Many rows: C [m, n] = A [m, k] B, tile by tile, B the transposed weights (`ofOutputs`: the product) or the weights (its
 * gradient).
 * Bindings: c ← a, words, scales, zeros, bias
 */
export function tileShader(features: QuantizedShaderFeatures, ofOutputs: boolean): string {
  // Four weights lie along the places: along k in the product, along n in the gradient.
  const loadB = ofOutputs
    ? `
      let j = four / ${TILE / 4};
      let i = 4 * (four % ${TILE / 4});
      if (column + j < problem.n && start + i < problem.k) { w = fourWeights(column + j, start + i); }
      for (var e = 0; e < 4; e++) { tileB[(i + e) * ${TILE} + j] = w[e]; }`
    : `
      let i = four / ${TILE / 4};
      let j = 4 * (four % ${TILE / 4});
      if (start + i < problem.k && column + j < problem.n) { w = fourWeights(start + i, column + j); }
      for (var e = 0; e < 4; e++) { tileB[i * ${TILE} + j + e] = w[e]; }`;
  return `
${declarations(features, 'c: array<f32>', ['a', ...(features.bias ? ['bias'] : [])])}
var<workgroup> tileA: array<f32, ${TILE * TILE}>; // k by k
var<workgroup> tileB: array<f32, ${TILE * TILE}>; // k by k

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
  let lane = i32(local.x);
  let column = i32(group.x) * ${TILE};
  let row = i32(group.y) * ${TILE};
  let down = 4 * (lane / 8); // this thread's 4 × 4 sums
  let right = 4 * (lane % 8);
  var sums: array<vec4<f32>, 4>;
  for (var start = 0; start < problem.k; start += ${TILE}) {
    for (var at = lane; at < ${TILE * TILE}; at += ${THREADS}) {
      let i = at / ${TILE};
      let k = at % ${TILE};
      var value = 0.0;
      if (row + i < problem.m && start + k < problem.k) { value = a[(row + i) * problem.k + start + k]; }
      tileA[k * ${TILE} + i] = value;
    }
    for (var four = lane; four < ${(TILE * TILE) / 4}; four += ${THREADS}) {
      var w = vec4<f32>(0.0);${loadB}
    }
    workgroupBarrier();
    for (var k = 0; k < ${TILE}; k++) {
      let at = k * ${TILE} + right;
      let b = vec4<f32>(tileB[at], tileB[at + 1], tileB[at + 2], tileB[at + 3]);
      for (var i = 0; i < 4; i++) { sums[i] += tileA[k * ${TILE} + down + i] * b; }
    }
    workgroupBarrier();
  }
  for (var i = 0; i < 4; i++) {
    for (var j = 0; j < 4; j++) {
      let to = vec2<i32>(row + down + i, column + right + j);
      if (to.x < problem.m && to.y < problem.n) {
        c[to.x * problem.n + to.y] = sums[i][j]${features.bias ? ' + bias[to.y]' : ''};
      }
    }
  }
}`;
}

/**
 * @file Layer norm and RMS norm in WGSL: a workgroup for each row, and for the gradients of gain and bias a thread for each
 * column of a piece of the rows.
 *
 * n = (x − mean) · r with r = 1/√(variance + ε); backward, with g = dy · gain: dx = (g − mean(g) − n · mean(g · n)) · r.
 */
import { bindings, joinFunction, mainFunction, THREADS } from '../webgpu/shader.ts';

/** What makes one shader differ from another. */
export interface NormFeatures {
  readonly threads: number;
  /** Take off the mean: layer norm. */
  readonly centered: boolean;
  readonly bias: boolean;
}

/** y [rows, width], statistics [rows, 2] ← x, gain, bias where there is one. Uniforms: rows, width, ε. */
export function normShader({ threads, centered, bias }: NormFeatures): string {
  const inputs = { x: 'f32', gain: 'f32', ...(bias && { bias: 'f32' }) };
  return `
${bindings({ y: 'f32', statistics: 'vec2<f32>' }, inputs, { rows: 'i32', width: 'i32', epsilon: 'f32' })}
${joinFunction('sumOf', 'f32', threads)}
${mainFunction(
  threads,
  `if (group >= given.rows) { return; }
  let start = group * given.width;
  var mean = 0.0;
  ${
    centered
      ? `var sum = 0.0;
  for (var i = lane; i < given.width; i += ${threads}) { sum += x[start + i]; }
  mean = sumOf(sum, lane) / f32(given.width);`
      : ''
  }
  var squares = 0.0;
  for (var i = lane; i < given.width; i += ${threads}) {
    let distance = x[start + i] - mean;
    squares += distance * distance;
  }
  let r = 1.0 / sqrt(sumOf(squares, lane) / f32(given.width) + given.epsilon);
  for (var i = lane; i < given.width; i += ${threads}) {
    y[start + i] = (x[start + i] - mean) * r * gain[i]${bias ? ' + bias[i]' : ''};
  }
  if (lane == 0) { statistics[group] = vec2<f32>(mean, r); }`,
)}`;
}

/** dx [rows, width] ← x, gain, statistics, dy. Uniforms: rows, width. */
export function inputGradientShader({ threads, centered }: Omit<NormFeatures, 'bias'>): string {
  const inputs = { x: 'f32', gain: 'f32', statistics: 'vec2<f32>', dy: 'f32' };
  return `
${bindings({ dx: 'f32' }, inputs, { rows: 'i32', width: 'i32' })}
${joinFunction('sumOf', 'vec2<f32>', threads)}
${mainFunction(
  threads,
  `if (group >= given.rows) { return; }
  let start = group * given.width;
  let mean = statistics[group].x;
  let r = statistics[group].y;
  var sums = vec2<f32>(0.0); // of g and of g · n
  for (var i = lane; i < given.width; i += ${threads}) {
    let g = dy[start + i] * gain[i];
    sums += vec2<f32>(g, g * (x[start + i] - mean) * r);
  }
  let means = sumOf(sums, lane) / f32(given.width);
  for (var i = lane; i < given.width; i += ${threads}) {
    let n = (x[start + i] - mean) * r;
    dx[start + i] = (dy[start + i] * gain[i] - ${centered ? 'means.x - ' : ''}n * means.y) * r;
  }`,
)}`;
}

/**
 * Σ dy · n and Σ dy over the rows of each piece: dGain and dBias [pieces, width] ← x, statistics, dy.
 * Uniforms: rows, width, rows in a piece, blocks of columns.
 */
export function columnSumsShader({ bias }: Pick<NormFeatures, 'bias'>): string {
  const outputs = { dGain: 'f32', ...(bias && { dBias: 'f32' }) };
  const inputs = { x: 'f32', statistics: 'vec2<f32>', dy: 'f32' };
  const uniforms = { rows: 'i32', width: 'i32', rowsInPiece: 'i32', blocks: 'i32' };
  return `
${bindings(outputs, inputs, uniforms)}
${mainFunction(
  THREADS,
  `let column = group % given.blocks * ${THREADS} + lane;
  let piece = group / given.blocks;
  let first = piece * given.rowsInPiece;
  if (column >= given.width || first >= given.rows) { return; }
  var ofGain = 0.0;
  ${bias ? 'var ofBias = 0.0;' : ''}
  for (var row = first; row < min(first + given.rowsInPiece, given.rows); row++) {
    let d = dy[row * given.width + column];
    ofGain += d * (x[row * given.width + column] - statistics[row].x) * statistics[row].y;
    ${bias ? 'ofBias += d;' : ''}
  }
  dGain[piece * given.width + column] = ofGain;
  ${bias ? 'dBias[piece * given.width + column] = ofBias;' : ''}`,
)}`;
}

/** The sums over the first axis of so many tensors [pieces, width], an output [width] each. Uniforms: pieces, width. */
export function joinPiecesShader(tensors: number): string {
  const named = (name: string): Record<string, string> =>
    Object.fromEntries(Array.from({ length: tensors }, (_, i) => [`${name}${i}`, 'f32']));
  const sum = (i: number): string => `var sum${i} = 0.0;
  for (var piece = 0; piece < given.pieces; piece++) { sum${i} += pieces${i}[piece * given.width + column]; }
  sums${i}[column] = sum${i};`;
  return `
${bindings(named('sums'), named('pieces'), { pieces: 'i32', width: 'i32' })}
${mainFunction(
  THREADS,
  `let column = group * ${THREADS} + lane;
  if (column >= given.width) { return; }
  ${Array.from({ length: tensors }, (_, i) => sum(i)).join('\n  ')}`,
)}`;
}

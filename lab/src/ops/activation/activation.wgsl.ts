/**
 * @file GELU by its tanh formula and SwiGLU in WGSL, element by element, forward and backward in one pass each.
 * gelu(x) = x · sigmoid(z) with z = 2√(2/π) · (x + 0.044715 x³).
 */
import { bindings, mainFunction, MANY_THREADS, type Fields } from '../webgpu/shader.ts';

/** Beyond that exp overflows or vanishes; the sigmoid has long been 0 or 1. */
const SIGMOID = 'fn sigmoid(x: f32) -> f32 { return 1.0 / (1.0 + exp(-clamp(x, -85.0, 85.0))); }';

const linear = 2 * Math.sqrt(2 / Math.PI);
const cubic = 0.044715 * linear;

const GELU_SHARE = `fn share(x: f32) -> f32 { return sigmoid(x * (${cubic} * x * x + ${linear})); }`;

function elementwise(written: Fields, read: Fields, functions: string, body: string): string {
  return `
${bindings(written, read, { elements: 'i32' })}
${SIGMOID}
${functions}
${mainFunction(
  MANY_THREADS,
  `let i = group * ${MANY_THREADS} + lane;
  if (i >= given.elements) { return; }
  ${body}`,
)}`;
}

/** y ← x. Uniforms here and below: elements. */
export const geluShader = (): string => elementwise({ y: 'f32' }, { x: 'f32' }, GELU_SHARE, 'y[i] = x[i] * share(x[i]);');

/** dx ← x, dy. Where x is so large that x² is none any more, the slope is 0 or 1 as it has long been. */
export const geluGradientShader = (): string =>
  elementwise(
    { dx: 'f32' },
    { x: 'f32', dy: 'f32' },
    GELU_SHARE,
    `let bounded = clamp(x[i], -100.0, 100.0);
  let s = share(bounded);
  let steepness = ${3 * cubic} * bounded * bounded + ${linear};
  dx[i] = dy[i] * (s + bounded * s * (1.0 - s) * steepness);`,
  );

/** y ← gate, up */
export const swigluShader = (): string =>
  elementwise({ y: 'f32' }, { gate: 'f32', up: 'f32' }, '', 'y[i] = gate[i] * sigmoid(gate[i]) * up[i];');

/** dgate, dup ← gate, up, dy; d silu/dx = s · (1 + x · (1 − s)) */
export const swigluGradientShader = (): string =>
  elementwise(
    { dgate: 'f32', dup: 'f32' },
    { gate: 'f32', up: 'f32', dy: 'f32' },
    '',
    `let s = sigmoid(gate[i]);
  dgate[i] = dy[i] * up[i] * s * (1.0 + gate[i] * (1.0 - s));
  dup[i] = dy[i] * gate[i] * s;`,
  );

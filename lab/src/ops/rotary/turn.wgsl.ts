/** @file Rotary positions in WGSL: a thread for each pair. */
import { bindings, mainFunction, MANY_THREADS } from '../webgpu/shader.ts';

/**
 * y [B, H, T, S] ← x, or without one y itself; angles [positions, S], S/2 cosines and behind them S/2 sines of each.
 * Uniforms: pairs in all, T, S/2, position of the first token, 1 or −1 for forwards or back.
 */
export function turnShader(inPlace: boolean): string {
  const source = inPlace ? 'y' : 'x';
  const inputs = { ...(!inPlace && { x: 'f32' }), angles: 'f32' };
  const uniforms = { pairs: 'i32', T: 'i32', half: 'i32', offset: 'i32', direction: 'f32' };
  return `
${bindings({ y: 'f32' }, inputs, uniforms)}
${mainFunction(
  MANY_THREADS,
  `let pair = group * ${MANY_THREADS} + lane;
  if (pair >= given.pairs) { return; }
  let row = pair / given.half;
  let i = pair - row * given.half;
  let angle = (given.offset + row % given.T) * 2 * given.half + i;
  let cosine = angles[angle];
  let sine = angles[angle + given.half] * given.direction;
  let at = row * 2 * given.half + i;
  let first = ${source}[at];
  let second = ${source}[at + given.half];
  y[at] = first * cosine - second * sine;
  y[at + given.half] = second * cosine + first * sine;`,
)}`;
}

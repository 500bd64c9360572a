/** @file Appending to a key/value cache in WGSL: a thread for each number of a new key, and the same of its value. */
import { bindings, mainFunction, MANY_THREADS } from '../webgpu/shader.ts';

/**
 * keys and values [B, K, C, S] changed ← k, v [B, K, T, S], and where keys are turned, angles [positions, S].
 * Uniforms: elements of k, T, S, C, place and position of the first token.
 */
export function appendShader(rotary: boolean): string {
  const inputs = { k: 'f32', v: 'f32', ...(rotary && { angles: 'f32' }) };
  const uniforms = { elements: 'i32', T: 'i32', S: 'i32', C: 'i32', offset: 'i32' };
  return `
${bindings({ keys: 'f32', values: 'f32' }, inputs, uniforms)}
${mainFunction(
  MANY_THREADS,
  `let at = group * ${MANY_THREADS} + lane;
  if (at >= given.elements) { return; }
  let row = at / given.S;
  let i = at - row * given.S;
  let t = row % given.T;
  let to = (row / given.T * given.C + given.offset + t) * given.S + i;
  ${
    rotary
      ? `let half = given.S / 2;
  let angle = (given.offset + t) * given.S + i % half;
  let other = select(k[max(at - half, 0)], -k[min(at + half, given.elements - 1)], i < half);
  keys[to] = k[at] * angles[angle] + other * angles[angle + half];`
      : 'keys[to] = k[at];'
  }
  values[to] = v[at];`,
)}`;
}

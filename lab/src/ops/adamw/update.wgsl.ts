/**
 * @file AdamW in WGSL, in place, on as many parameters in a dispatch as a shader may have buffers. Parameters are cut into pieces,
 * a workgroup each; a table of slots in the uniforms says which pieces are whose. Loshchilov and Hutter 2019, algorithm 2.
 */
import { bindings, joinFunction, mainFunction, MANY_THREADS, type Fields } from '../webgpu/shader.ts';

/** Numbers in a piece: sixteen for each thread. */
export const PIECE = 16 * MANY_THREADS;

const numbered = (name: string, count: number): Fields =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`${name}${i}`, 'f32']));

/** Which slot a workgroup works for, and which numbers of it. A slot is: its first piece, its size, where its moments begin. */
function pieceOf(slots: number): string {
  return `if (group >= given.pieces) { return; }
  var slot = 0;
  for (var other = 1; other < ${slots}; other++) { if (group >= given.slots[other].x) { slot = other; } }
  let start = (group - given.slots[slot].x) * ${PIECE};
  let end = min(start + ${PIECE}, given.slots[slot].y);`;
}

/** A shader cannot choose a buffer by number: the text once for every slot. */
function forSlot(slots: number, text: (slot: number) => string): string {
  return `switch slot {
    ${Array.from({ length: slots }, (_, slot) => `case ${slot}: { ${text(slot)} }`).join('\n    ')}
    default: {}
  }`;
}

const forPiece = (text: string): string => `for (var i = start + lane; i < end; i += ${MANY_THREADS}) { ${text} }`;

/** sums [pieces of all dispatches] changed ← gradients. Uniforms: pieces, where their sums begin; slots. */
export function squaresShader(slots: number): string {
  const uniforms = { pieces: 'i32', first: 'i32', slots: `array<vec4<i32>, ${slots}>` };
  return `
${bindings({ sums: 'f32' }, numbered('gradient', slots), uniforms)}
${joinFunction('sumOf', 'f32', MANY_THREADS)}
${mainFunction(
  MANY_THREADS,
  `${pieceOf(slots)}
  var squares = 0.0;
  ${forSlot(slots, (slot) => forPiece(`squares += gradient${slot}[i] * gradient${slot}[i];`))}
  let sum = sumOf(squares, lane);
  if (lane == 0) { sums[given.first + group] = sum; }`,
)}`;
}

/**
 * length [] of all gradients together, and factor [1], what they must be multiplied by to be no longer than `most` ← sums.
 * Uniforms: pieces, most. See `clipFactor`.
 */
export function lengthShader(): string {
  return `
${bindings({ length_: 'f32', factor: 'f32' }, { sums: 'f32' }, { pieces: 'i32', most: 'f32' })}
${joinFunction('sumOf', 'f32', MANY_THREADS)}
${mainFunction(
  MANY_THREADS,
  `var sum = 0.0;
  for (var i = lane; i < given.pieces; i += ${MANY_THREADS}) { sum += sums[i]; }
  let root = sqrt(sumOf(sum, lane));
  if (lane == 0) {
    length_[0] = root;
    factor[0] = min(1.0, given.most / (root + 1e-6));
  }`,
)}`;
}

export interface UpdateFeatures {
  readonly slots: number;
  /** Gradients are multiplied by a factor. */
  readonly clip: boolean;
}

/**
 * first and second moments [elements of the group] and values changed ← gradients, factor [1] where they are clipped.
 * Uniforms: pieces, β₁, β₂, 1 − β₁, 1 − β₂, ε; decay, rate, correction (see AdamWGroup); slots.
 */
export function updateShader({ slots, clip }: UpdateFeatures): string {
  const numbers = ['beta1', 'beta2', 'rest1', 'rest2', 'epsilon', 'decay', 'rate', 'correction'];
  const uniforms = {
    pieces: 'i32',
    ...Object.fromEntries(numbers.map((name) => [name, 'f32'])),
    slots: `array<vec4<i32>, ${slots}>`,
  };
  const read = { ...numbered('gradient', slots), ...(clip && { factor: 'f32' }) };
  return `
${bindings({ m: 'f32', v: 'f32', ...numbered('value', slots) }, read, uniforms)}
fn moved(p: f32, gradient: f32, at: i32) -> f32 {
  let g = gradient${clip ? ' * factor[0]' : ''};
  let first = given.beta1 * m[at] + given.rest1 * g;
  let second = given.beta2 * v[at] + given.rest2 * g * g;
  m[at] = first;
  v[at] = second;
  return p * given.decay - given.rate * first / (sqrt(second) * given.correction + given.epsilon);
}
${mainFunction(
  MANY_THREADS,
  `${pieceOf(slots)}
  let moments = given.slots[slot].z;
  ${forSlot(slots, (slot) => forPiece(`value${slot}[i] = moved(value${slot}[i], gradient${slot}[i], moments + i);`))}`,
)}`;
}

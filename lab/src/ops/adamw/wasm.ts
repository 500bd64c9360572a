/**
 * @file AdamW on wasm: all parameters in one call, changed where they lie. The gradients' length is measured on the way, piece by
 * piece, and what must be cut off is multiplied in as they are read.
 */
import type { WasmBackend } from '../../backend/index.ts';
import { floatsOf, makeFloats, offsetOf, sizeOf, wasmKernel, type Inputs } from '../wasm/index.ts';
import { ADAMW, SUM_SQUARES } from '../wasm/operations.ts';
import { clipFactor, type AdamWSettings } from './settings.ts';

/** Numbers in a piece: 32 KiB of each of four tensors, all in the second-level cache. */
const PIECE = 8 * 1024;
const WORDS = 8; // in the table, as in update.as.ts

/** Writes the table of pieces at `table`. */
function writeTable(backend: WasmBackend, inputs: Inputs, { groups }: AdamWSettings, table: number): void {
  const words = new Int32Array(backend.wasm.HEAPU8.buffer, table);
  const floats = new Float32Array(backend.wasm.HEAPU8.buffer, table);
  let at = 0;
  for (const [i, { parameters, decay, rate, correction }] of groups.entries()) {
    let [first, second] = [offsetOf(backend, inputs[`first${i}`]!), offsetOf(backend, inputs[`second${i}`]!)];
    for (const name of parameters) {
      const size = sizeOf(inputs[`value.${name}`]!.shape);
      const [value, gradient] = [offsetOf(backend, inputs[`value.${name}`]!), offsetOf(backend, inputs[`gradient.${name}`]!)];
      for (let start = 0; start < size; start += PIECE) {
        const bytes = 4 * start;
        words.set([value + bytes, gradient + bytes, first + bytes, second + bytes, Math.min(PIECE, size - start)], at);
        floats.set([decay, rate, correction], at + 5);
        at += WORDS;
      }
      first += 4 * size;
      second += 4 * size;
    }
  }
}

function piecesOf(inputs: Inputs, { groups }: AdamWSettings): number {
  const names = groups.flatMap(({ parameters }) => parameters);
  return names.reduce((sum, name) => sum + Math.ceil(sizeOf(inputs[`value.${name}`]!.shape) / PIECE), 0);
}

/** All inputs but the gradients are changed. → [the length of all gradients together, 0 when it is not asked for] */
wasmKernel('lab.adamw', ({ backend, pool }, inputs, attributes) => {
  const settings = attributes as unknown as AdamWSettings;
  const { beta1, beta2, epsilon, clipNorm } = settings;
  const pieces = piecesOf(inputs, settings);
  const norm = makeFloats(backend, []);
  floatsOf(backend, norm)[0] = 0;
  const table = pool.scratch(4 * pieces * (WORDS + 1));
  writeTable(backend, inputs, settings, table);
  let factor = 1;
  if (clipNorm !== Infinity) {
    const sums = table + 4 * pieces * WORDS;
    pool.run(SUM_SQUARES, pieces, [table, sums]);
    const length = Math.sqrt(new Float32Array(backend.wasm.HEAPU8.buffer, sums, pieces).reduce((sum, square) => sum + square, 0));
    floatsOf(backend, norm)[0] = length;
    factor = clipFactor(length, clipNorm);
  }
  const floats = [beta1, beta2, 1 - beta1, 1 - beta2, epsilon, factor].map((float) => ({ float }));
  pool.run(ADAMW, pieces, [table, ...floats]);
  return [norm];
});

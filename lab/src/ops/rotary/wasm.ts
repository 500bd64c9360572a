/** @file Rotary positions on wasm (turn.as.ts). */
import { makeFloats, offsetOf, share, sizeOf, wasmKernel, type WasmContext } from '../wasm/index.ts';
import { TURN } from '../wasm/operations.ts';
import { angleTable } from './angles.ts';
import type { RotaryScaling } from './frequencies.ts';

/** Elements that are worth a claim. */
const CHUNK = 16 * 1024;

/** Copies the angles of T positions from `offset` on to where the threads can read them. Valid until the next operation. */
export function placeAngles(
  context: WasmContext,
  base: number,
  headSize: number,
  { offset, tokens, scaling = null }: { readonly offset: number; readonly tokens: number; readonly scaling?: RotaryScaling | null },
): number {
  const { backend, pool } = context;
  const { values } = angleTable(base, headSize, offset + tokens, scaling);
  const place = pool.scratch(4 * tokens * headSize);
  const wanted = values.subarray(offset * headSize, (offset + tokens) * headSize);
  new Float32Array(backend.wasm.HEAPU8.buffer, place, wanted.length).set(wanted);
  return place;
}

/** x [B, H, T, S] → [x turned], in the same memory if `inPlace`. */
wasmKernel('lab.rotary', (context, { x }, { base, scaling, offset, direction, inPlace }) => {
  const { backend, pool } = context;
  const [, , tokens, headSize] = x!.shape as [number, number, number, number];
  const output = inPlace === true ? share(backend, x!, x!.shape) : makeFloats(backend, x!.shape);
  const rows = sizeOf(x!.shape) / headSize;
  const rowsInChunk = Math.max(1, Math.floor(CHUNK / headSize));
  const range = { offset: Number(offset), tokens, scaling: scaling as RotaryScaling | null };
  const angles = placeAngles(context, Number(base), headSize, range);
  pool.run(TURN, Math.ceil(rows / rowsInChunk), [
    offsetOf(backend, x!), offsetOf(backend, output), angles, rows, tokens, headSize, rowsInChunk, { float: Number(direction) },
  ]);
  return output;
});

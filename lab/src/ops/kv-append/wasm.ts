/** @file Appending to a key/value cache on wasm (append.as.ts). */
import { placeAngles } from '../rotary/wasm.ts';
import { offsetOf, sizeOf, wasmKernel } from '../wasm/index.ts';
import { APPEND } from '../wasm/operations.ts';

/** Elements that are worth a claim. */
const CHUNK = 16 * 1024;

/** k, v [B, K, T, S], keys, values [B, K, C, S], which are changed → nothing */
wasmKernel('lab.kvAppend', (context, { k, v, keys, values }, { offset, rotaryBase }) => {
  const { backend, pool } = context;
  const [, , tokens, headSize] = k!.shape as [number, number, number, number];
  const rows = sizeOf(k!.shape) / headSize;
  const rowsInChunk = Math.max(1, Math.floor(CHUNK / headSize));
  const angles = rotaryBase === undefined ? 0 : placeAngles(context, Number(rotaryBase), headSize, { offset: Number(offset), tokens });
  const tensors = [k!, v!, keys!, values!].map((info) => offsetOf(backend, info));
  pool.run(APPEND, Math.ceil(rows / rowsInChunk), [
    ...tensors, angles, rows, tokens, headSize, keys!.shape[2]!, Number(offset), rowsInChunk,
  ]);
  return [];
});

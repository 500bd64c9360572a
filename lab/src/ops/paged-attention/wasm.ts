/** @file Attention over blocks, and writing into them, on wasm (paged.as.ts). */
import { CHANGES_SCORES } from '../attention/shared.ts';
import { makeFloats, offsetOf, wasmKernel, type WasmContext } from '../wasm/index.ts';
import { ATTEND_PAGED, SCATTER_ROWS } from '../wasm/operations.ts';

const WORD = 4;
/** Elements that are worth a claim. */
const CHUNK = 16 * 1024;

/** Copies numbers to where the threads can read them. */
function place({ backend }: WasmContext, offset: number, numbers: ArrayLike<number>): void {
  new Int32Array(backend.wasm.HEAPU8.buffer, offset, numbers.length).set(numbers);
}

/** q [N, H, S], keys, values [1, K, C, S] → [output [N, H, S]] */
wasmKernel('lab.pagedAttention', (context, { q, keys, values }, attributes) => {
  const { backend, pool } = context;
  const { rows, tables, blockSize, scale } = attributes as unknown as {
    rows: Int32Array;
    tables: Int32Array;
    blockSize: number;
    scale: number;
  };
  const [count, heads, headSize] = q!.shape as [number, number, number];
  const [, keyValueHeads, slots] = keys!.shape as [number, number, number];
  const output = makeFloats(backend, q!.shape);
  const scratch = pool.scratch(WORD * (rows.length + tables.length + count * heads));
  const [ofTables, ofSums] = [scratch + WORD * rows.length, scratch + WORD * (rows.length + tables.length)];
  place(context, scratch, rows);
  place(context, ofTables, tables);
  pool.run(ATTEND_PAGED, count * keyValueHeads, [
    ...[q!, keys!, values!, output].map((info) => offsetOf(backend, info)), ofSums,
    heads, keyValueHeads, count, slots, headSize, { float: scale }, scratch, ofTables, blockSize, 0, 0, 0, 0, 0, 0,
    // Nothing is asked besides, but the quick way to a softmax is for positive scales.
    scale > 0 ? 0 : CHANGES_SCORES, { float: 0 }, 0, 0, 0, 0, 0, 0, 0, 0, { float: 1 },
  ]);
  return output;
});

/** k, v [N, K, S], keys, values [1, K, C, S], which are changed → nothing */
wasmKernel('lab.scatterRows', (context, { k, v, keys, values }, attributes) => {
  const { backend, pool } = context;
  const slots = attributes!['slots'] as number[];
  const [count, heads, headSize] = k!.shape as [number, number, number];
  const rowsInChunk = Math.max(1, Math.floor(CHUNK / (heads * headSize)));
  const scratch = pool.scratch(WORD * slots.length);
  place(context, scratch, slots);
  const tensors = [k!, v!, keys!, values!].map((info) => offsetOf(backend, info));
  pool.run(SCATTER_ROWS, Math.ceil(count / rowsInChunk), [
    ...tensors, scratch, count, heads, headSize, keys!.shape[2]!, rowsInChunk,
  ]);
  return [];
});

/**
 * @file Reductions and softmax on wasm. The reduced axes must be neighbours; anything else is left to TensorFlow.js.
 */
import { wasmKernel, type WasmContext } from './kernels.ts';
import { REDUCE_ROWS, ROW_MAX, ROW_MEAN, ROW_SUM, SOFTMAX, SUM_COLUMNS } from './operations.ts';
import { floatsOf, makeFloats, offsetOf, share, sizeOf, type Info } from './tensors.ts';

const CHUNK = 16 * 1024;
/** exp is dearer than an addition. */
const SOFTMAX_CHUNK = 4 * 1024;
/** Rows that are added up one after the other; more are added in parts, which is quicker and loses fewer digits. */
const ROWS_IN_PART = 128;
const COLUMNS_IN_CHUNK = 256;
/** Numbers above which a sum over everything is taken in this many pieces. */
const LONG_SUM = 64 * 1024;
const PIECES = 64;

/** x seen as [outer, rows, columns], of which the rows go. */
interface Reduction {
  readonly outer: number;
  readonly rows: number;
  readonly columns: number;
  readonly shape: readonly number[];
}

/** @returns undefined when the axes are no neighbours */
function reductionOf(x: Info, axis: unknown, keepDims: unknown): Reduction | undefined {
  const rank = x.shape.length;
  const given = axis === undefined || axis === null ? [] : [axis].flat().map(Number);
  const axes = new Set(given.length === 0 ? x.shape.keys() : given.map((a) => (a < 0 ? a + rank : a)));
  const first = Math.min(...axes);
  const last = Math.max(...axes);
  if (rank === 0 || last - first + 1 !== axes.size) return undefined;
  return {
    outer: sizeOf(x.shape.slice(0, first)),
    rows: sizeOf(x.shape.slice(first, last + 1)),
    columns: sizeOf(x.shape.slice(last + 1)),
    shape: x.shape.map((n, i) => (axes.has(i) ? 1 : n)).filter((_, i) => keepDims === true || !axes.has(i)),
  };
}

function reduceEachRow({ pool }: WasmContext, from: number, to: number, rows: number, columns: number, kind: number): void {
  const rowsInChunk = Math.max(1, Math.floor(CHUNK / columns));
  pool.run(REDUCE_ROWS, Math.ceil(rows / rowsInChunk), [from, to, rows, columns, rowsInChunk, kind]);
}

function sumDown({ pool }: WasmContext, from: number, to: number, { outer, rows, columns }: Omit<Reduction, 'shape'>): void {
  const columnChunks = Math.ceil(columns / COLUMNS_IN_CHUNK);
  const pass = (source: number, target: number, length: number, inPart: number): void => {
    const parts = Math.ceil(length / inPart);
    const args = [source, target, outer, length, columns, inPart, parts, COLUMNS_IN_CHUNK, columnChunks];
    pool.run(SUM_COLUMNS, outer * parts * columnChunks, args);
  };
  const parts = Math.ceil(rows / ROWS_IN_PART);
  if (parts === 1) return pass(from, to, rows, rows);
  const partial = pool.scratch(4 * outer * parts * columns);
  pass(from, partial, rows, ROWS_IN_PART);
  pass(partial, to, parts, parts);
}

function sum(context: WasmContext, x: Info, reduction: Reduction): Info {
  const { outer, rows, columns, shape } = reduction;
  const { backend, pool } = context;
  const output = makeFloats(backend, shape);
  const from = offsetOf(backend, x);
  const to = offsetOf(backend, output);
  if (rows === 0) floatsOf(backend, output).fill(0);
  else if (columns > 1) sumDown(context, from, to, reduction);
  else if (outer === 1 && rows >= LONG_SUM && rows % PIECES === 0) {
    const partial = pool.scratch(4 * PIECES);
    reduceEachRow(context, from, partial, PIECES, rows / PIECES, ROW_SUM);
    reduceEachRow(context, partial, to, 1, PIECES, ROW_SUM);
  } else reduceEachRow(context, from, to, outer, rows, ROW_SUM);
  return output;
}

wasmKernel('Sum', (context, { x }, { axis, keepDims }) => {
  const reduction = x?.dtype === 'float32' ? reductionOf(x, axis, keepDims) : undefined;
  if (!x || !reduction) return undefined;
  if (reduction.rows === 1) return share(context.backend, x, reduction.shape);
  return sum(context, x, reduction);
});

for (const [name, kind] of [['Mean', ROW_MEAN], ['Max', ROW_MAX]] as const) {
  wasmKernel(name, (context, { x }, { axis, reductionIndices, keepDims }) => {
    const reduction = x?.dtype === 'float32' ? reductionOf(x, axis ?? reductionIndices, keepDims) : undefined;
    if (!x || !reduction || reduction.columns !== 1 || reduction.rows === 0) return undefined;
    const output = makeFloats(context.backend, reduction.shape);
    reduceEachRow(context, offsetOf(context.backend, x), offsetOf(context.backend, output), reduction.outer, reduction.rows, kind);
    return output;
  });
}

wasmKernel('Softmax', ({ backend, pool }, { logits }, { dim }) => {
  const axis = Number(dim);
  const rank = logits?.shape.length ?? 0;
  const columns = logits?.shape.at(-1) ?? 0;
  if (logits?.dtype !== 'float32' || columns === 0 || (axis !== -1 && axis !== rank - 1)) return undefined;
  const output = makeFloats(backend, logits.shape);
  const rows = sizeOf(logits.shape) / columns;
  const rowsInChunk = Math.max(1, Math.floor(SOFTMAX_CHUNK / columns));
  const args = [offsetOf(backend, logits), offsetOf(backend, output), rows, columns, rowsInChunk];
  pool.run(SOFTMAX, Math.ceil(rows / rowsInChunk), args);
  return output;
});

/**
 * @file Layer norm and RMS norm on wasm (rows.as.ts). Of the forward pass only two numbers a row are kept; the gradients of gain
 * and bias are summed in pieces of some rows, and the pieces then added up.
 */
import { floatsOf, makeFloats, offsetOf, sizeOf, wasmKernel, type Info, type WasmContext } from '../wasm/index.ts';
import { NORMALIZE, NORMALIZE_GRADIENT, SUM_COLUMNS } from '../wasm/operations.ts';

/** Elements that are worth a claim. */
const CHUNK = 16 * 1024;
const COLUMNS_IN_CHUNK = 256;
/** The most pieces that the gradients of gain and bias are summed in. */
const PIECES = 64;

/** x [..., D], gain [D], bias [D] or none → [y [..., D], mean and 1/σ of each row [N, 2]]; without `centered` the mean counts as 0. */
wasmKernel('lab.norm', ({ backend, pool }, { x, gain, bias }, { epsilon, centered }) => {
  const [width] = gain!.shape as [number];
  const rows = sizeOf(x!.shape) / width;
  const y = makeFloats(backend, x!.shape);
  const statistics = makeFloats(backend, [rows, 2]);
  const rowsInChunk = Math.max(1, Math.floor(CHUNK / width));
  pool.run(NORMALIZE, Math.ceil(rows / rowsInChunk), [
    offsetOf(backend, x!), offsetOf(backend, gain!), bias ? offsetOf(backend, bias) : 0, offsetOf(backend, y),
    offsetOf(backend, statistics), rows, width, rowsInChunk, { float: Number(epsilon) }, centered === true ? 1 : 0,
  ]);
  return [y, statistics];
});

/** The same x, gain and what the forward pass gave, dy [..., D] → [dx, dgain], and dbias if `bias`. */
wasmKernel('lab.normGradient', (context, { x, gain, statistics, dy }, { centered, bias }) => {
  const { backend, pool } = context;
  const [width] = gain!.shape as [number];
  const rows = sizeOf(x!.shape) / width;
  const dx = makeFloats(backend, x!.shape);
  const dGain = makeFloats(backend, [width]);
  const gradients = bias === true ? [dx, dGain, makeFloats(backend, [width])] : [dx, dGain];
  if (rows === 0) {
    for (const gradient of gradients) floatsOf(backend, gradient).fill(0);
    return gradients;
  }
  const rowsInChunk = Math.max(16, Math.ceil(rows / PIECES));
  const chunks = Math.ceil(rows / rowsInChunk);
  const bytes = 4 * chunks * width;
  const sums = pool.scratch(2 * bytes);
  pool.run(NORMALIZE_GRADIENT, chunks, [
    offsetOf(backend, x!), offsetOf(backend, gain!), offsetOf(backend, dy!), offsetOf(backend, dx),
    offsetOf(backend, statistics!), rows, width, rowsInChunk, sums, centered === true ? 1 : 0, sums + bytes,
  ]);
  addPieces(context, sums, dGain, chunks, width);
  if (gradients[2]) addPieces(context, sums + bytes, gradients[2], chunks, width);
  return gradients;
});

/** The sum over the first axis of [pieces, width]. */
function addPieces({ backend, pool }: WasmContext, from: number, to: Info, pieces: number, width: number): void {
  const columnChunks = Math.ceil(width / COLUMNS_IN_CHUNK);
  pool.run(SUM_COLUMNS, columnChunks, [from, offsetOf(backend, to), 1, pieces, width, pieces, 1, COLUMNS_IN_CHUNK, columnChunks]);
}

/** @file Cross-entropy on wasm: one pass over each row of logits forward and one backward, and no probabilities in between. */
import { makeFloats, offsetOf, wasmKernel } from '../wasm/index.ts';
import { CROSS_ENTROPY, CROSS_ENTROPY_GRADIENT } from '../wasm/operations.ts';

/** Logits that are worth a claim. */
const CHUNK = 4 * 1024;

const chunksOf = (rows: number, columns: number): [rowsInChunk: number, chunks: number] => {
  const rowsInChunk = Math.max(1, Math.floor(CHUNK / columns));
  return [rowsInChunk, Math.ceil(rows / rowsInChunk)];
};

/** logits [N, V], ids [N] int32 → [losses [N], the largest logit and log Σ exp(logits − it) [N, 2]] */
wasmKernel('lab.crossEntropy', ({ backend, pool }, { logits, ids }) => {
  const [rows, columns] = logits!.shape as [number, number];
  const losses = makeFloats(backend, [rows]);
  const normalizer = makeFloats(backend, [rows, 2]);
  const [rowsInChunk, chunks] = chunksOf(rows, columns);
  const args = [logits!, ids!, losses, normalizer].map((info) => offsetOf(backend, info));
  pool.run(CROSS_ENTROPY, chunks, [...args, rows, columns, rowsInChunk]);
  return [losses, normalizer];
});

/** The same, the normalizer, and the gradients of the losses dy [N] → [the gradient of the logits [N, V]] */
wasmKernel('lab.crossEntropyGradient', ({ backend, pool }, { logits, ids, normalizer, dy }) => {
  const [rows, columns] = logits!.shape as [number, number];
  const gradient = makeFloats(backend, [rows, columns]);
  const [rowsInChunk, chunks] = chunksOf(rows, columns);
  const args = [logits!, ids!, dy!, normalizer!].map((info) => offsetOf(backend, info));
  pool.run(CROSS_ENTROPY_GRADIENT, chunks, [...args, rows, columns, rowsInChunk, offsetOf(backend, gradient)]);
  return [gradient];
});

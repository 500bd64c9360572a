/** @file Cross-entropy on wasm: one pass over each row of logits forward and one backward, and no probabilities in between. */
import { makeFloats, offsetOf, wasmKernel, type WasmContext } from '../wasm/index.ts';
import { CROSS_ENTROPY, CROSS_ENTROPY_GRADIENT } from '../wasm/operations.ts';

/** Logits that are worth a claim. */
const CHUNK = 4 * 1024;

/** Rows of logits in the heap, by their offsets. */
export interface LogitRows {
  /** [rows, V] */
  readonly logits: number;
  /** [rows] int32 */
  readonly ids: number;
  /** The largest logit and log Σ exp(logits − it) of each row, [rows, 2]. */
  readonly normalizer: number;
  readonly rows: number;
  readonly vocabSize: number;
}

const chunksOf = ({ rows, vocabSize }: LogitRows): [rowsInChunk: number, chunks: number] => {
  const rowsInChunk = Math.max(1, Math.floor(CHUNK / vocabSize));
  return [rowsInChunk, Math.ceil(rows / rowsInChunk)];
};

/** Writes the normalizer, and the losses [rows]. */
export function crossEntropyRows({ pool }: WasmContext, problem: LogitRows, losses: number): void {
  const { logits, ids, normalizer, rows, vocabSize } = problem;
  const [rowsInChunk, chunks] = chunksOf(problem);
  pool.run(CROSS_ENTROPY, chunks, [logits, ids, losses, normalizer, rows, vocabSize, rowsInChunk]);
}

/** Writes the gradient of the logits from that of the losses dy [rows]; it may take the place of the logits. */
export function crossEntropyRowsGradient({ pool }: WasmContext, problem: LogitRows, dy: number, gradient: number): void {
  const { logits, ids, normalizer, rows, vocabSize } = problem;
  const [rowsInChunk, chunks] = chunksOf(problem);
  pool.run(CROSS_ENTROPY_GRADIENT, chunks, [logits, ids, dy, normalizer, rows, vocabSize, rowsInChunk, gradient]);
}

/** logits [N, V], ids [N] int32 → [losses [N], the largest logit and log Σ exp(logits − it) [N, 2]] */
wasmKernel('lab.crossEntropy', (context, { logits, ids }) => {
  const { backend } = context;
  const [rows, vocabSize] = logits!.shape as [number, number];
  const losses = makeFloats(backend, [rows]);
  const normalizer = makeFloats(backend, [rows, 2]);
  const [from, targets, to] = [logits!, ids!, normalizer].map((info) => offsetOf(backend, info)) as [number, number, number];
  crossEntropyRows(context, { logits: from, ids: targets, normalizer: to, rows, vocabSize }, offsetOf(backend, losses));
  return [losses, normalizer];
});

/** The same, the normalizer, and the gradients of the losses dy [N] → [the gradient of the logits [N, V]] */
wasmKernel('lab.crossEntropyGradient', (context, { logits, ids, normalizer, dy }) => {
  const { backend } = context;
  const [rows, vocabSize] = logits!.shape as [number, number];
  const gradient = makeFloats(backend, [rows, vocabSize]);
  const [from, targets, by] = [logits!, ids!, normalizer!].map((info) => offsetOf(backend, info)) as [number, number, number];
  const problem = { logits: from, ids: targets, normalizer: by, rows, vocabSize };
  crossEntropyRowsGradient(context, problem, offsetOf(backend, dy!), offsetOf(backend, gradient));
  return [gradient];
});

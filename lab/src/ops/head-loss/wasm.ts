/**
 * @file The head with its loss on wasm: the products and the cross-entropy of a few rows at a time. The logits are overwritten
 * by their own gradient, and the gradients of the weights are summed up where they stay.
 */
import { multiply, seen } from '../matmul/product.ts';
import { floatsOf, makeFloats, offsetOf, share, wasmKernel, type Info, type WasmContext } from '../wasm/index.ts';
import { crossEntropyRows, crossEntropyRowsGradient } from '../cross-entropy/wasm.ts';

const FLOAT = 4;

/** Everything that a chunk reads and writes, as offsets in the heap. */
interface Places {
  readonly width: number;
  readonly vocabSize: number;
  readonly x: number;
  readonly weight: number;
  readonly bias: number | undefined;
  readonly ids: number;
  readonly shares: number;
  readonly losses: number;
  /** Working memory for one chunk. */
  readonly logits: number;
  readonly normalizer: number;
  /** Undefined when no gradient is wanted. */
  readonly gradients: { readonly x: number; readonly weight: number; readonly bias: number | undefined } | undefined;
}

function runChunk(context: WasmContext, places: Places, first: number, rows: number): void {
  const { width, vocabSize, logits, gradients } = places;
  const x = places.x + FLOAT * first * width;
  const ids = places.ids + FLOAT * first;
  multiply(context, {
    batch: 1,
    m: rows,
    n: vocabSize,
    k: width,
    a: seen(x, width, false),
    b: seen(places.weight, width, true),
    c: logits,
    finish: { bias: places.bias },
  });
  const problem = { logits, ids, normalizer: places.normalizer, rows, vocabSize };
  crossEntropyRows(context, problem, places.losses + FLOAT * first);
  if (!gradients) return;
  crossEntropyRowsGradient(context, problem, places.shares + FLOAT * first, logits);
  multiply(context, {
    batch: 1,
    m: rows,
    n: width,
    k: vocabSize,
    a: seen(logits, vocabSize, false),
    b: seen(places.weight, width, false),
    c: gradients.x + FLOAT * first * width,
  });
  multiply(context, {
    batch: 1,
    m: vocabSize,
    n: width,
    k: rows,
    a: seen(logits, vocabSize, true),
    b: seen(x, width, false),
    c: gradients.weight,
    rowSums: gradients.bias,
    onto: first > 0,
  });
}

/**
 * x [N, D], weight [V, D], bias [V] or none, ids [N] int32, shares [N] → [losses [N]], and with `gradients` those of
 * Σ losses · shares: [N, D], [V, D], and [V] for the bias. `rowsInChunk` rows at a time.
 */
wasmKernel('lab.linearCrossEntropy', (context, { x, weight, bias, ids, shares }, { gradients, rowsInChunk }) => {
  const { backend } = context;
  const [rows, width] = x!.shape as [number, number];
  const [vocabSize] = weight!.shape as [number];
  const step = rowsInChunk as number;
  const losses = makeFloats(backend, [rows]);
  const trained = [x!, weight!, ...(bias ? [bias] : [])];
  const results = gradients === true ? trained.map(({ shape }) => makeFloats(backend, shape)) : [];
  const logits = makeFloats(backend, [step, vocabSize]);
  const normalizer = makeFloats(backend, [step, 2]);
  const at = (info: Info): number => offsetOf(backend, info);
  const [dx, dWeight, dBias] = results;
  const places: Places = {
    width,
    vocabSize,
    x: at(x!),
    weight: at(weight!),
    bias: bias && at(bias),
    ids: at(ids!),
    shares: at(shares!),
    losses: at(losses),
    logits: at(logits),
    normalizer: at(normalizer),
    gradients: dx && { x: at(dx), weight: at(dWeight!), bias: dBias && at(dBias) },
  };
  for (let first = 0; first < rows; first += step) runChunk(context, places, first, Math.min(step, rows - first));
  for (const { dataId } of [logits, normalizer]) backend.disposeData(dataId);
  return [losses, ...results];
});

/** x and a factor that is one number → [x · factor]: x itself, without a copy, when that is 1. */
wasmKernel('lab.scaled', ({ backend }, { x, factor }) => {
  const [by] = floatsOf(backend, factor!);
  if (by === 1) return [share(backend, x!, x!.shape)];
  const output = makeFloats(backend, x!.shape);
  const [from, to] = [floatsOf(backend, x!), floatsOf(backend, output)];
  for (let i = 0; i < to.length; i++) to[i] = from[i]! * by!;
  return [output];
});

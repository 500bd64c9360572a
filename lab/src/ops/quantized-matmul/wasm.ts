/**
 * @file The product with quantized weights on wasm: a few rows are multiplied with the codes in registers (rows.as.ts), more by
 * way of decoded panels (blocks.as.ts).
 */
import { makeFloats, offsetOf, sizeOf, wasmKernel, type Info, type Inputs, type WasmContext } from '../wasm/index.ts';
import {
  ADD_BIAS, AS_IT_IS, DEQUANTIZE, MULTIPLY_QUANTIZED, MULTIPLY_QUANTIZED_ROWS, PREPARE_QUANTIZED,
} from '../wasm/operations.ts';
import { codesInRun, type BitWidth, type PackedLayout } from './layout.ts';

const FLOAT = 4;
/**
 * With more rows than this, decoding once and packing costs less than decoding for every row (measured: it breaks even at about
 * 9 rows with 4 bits, 7 with 8). Codes of 3 bits lie in two words, which takes longer to put together than to pack.
 */
const fewRows = (bits: BitWidth): number => (bits === 3 ? 0 : 8);
/** Codes that are worth a claim: some ten microseconds of work. */
const CODES_IN_CHUNK = 2 ** 16;
/** Four vectors, as in rows.as.ts. */
const MASKS = 16;
/** As in blocks.as.ts. */
const MOST_COLUMNS = 128;
/** Pieces to aim at: enough to keep eight threads busy to the end. */
const PIECES = 16;

const roundUp = (n: number, step: number): number => Math.ceil(n / step) * step;

/** What all these kernels are told of the weights. */
function weightArguments({ backend }: WasmContext, { words, scales, zeros }: Inputs, layout: PackedLayout) {
  return {
    words: offsetOf(backend, words!),
    // The arguments 6 … 10.
    common: [layout.bits, layout.groups, offsetOf(backend, scales!), zeros ? offsetOf(backend, zeros) : 0, layout.wordsInRow],
  };
}

function multiplyFewRows(context: WasmContext, inputs: Inputs, layout: PackedLayout, y: Info): void {
  const { backend, pool } = context;
  const { outputs, places, groups, paddedGroup } = layout;
  const rows = y.shape[0]!;
  const { words, common } = weightArguments(context, inputs, layout);
  const masks = pool.scratch(FLOAT * (MASKS + rows * (places + groups)));
  const prepared = masks + FLOAT * MASKS;
  const sums = prepared + FLOAT * rows * places;
  const mask = 2 ** layout.bits - 1;
  new Int32Array(backend.wasm.HEAPU8.buffer, masks, MASKS).forEach((_, i, all) => (all[i] = mask << ((i >> 2) * layout.bits)));
  const unused = 0;
  pool.run(PREPARE_QUANTIZED, rows, [
    offsetOf(backend, inputs['x']!), prepared, sums, places, unused, unused, ...common, unused, unused, paddedGroup,
  ]);
  const inChunk = Math.max(1, Math.ceil(CODES_IN_CHUNK / (rows * places)));
  pool.run(MULTIPLY_QUANTIZED_ROWS, Math.ceil(outputs / inChunk), [
    words, prepared, sums, rows, offsetOf(backend, y), outputs, ...common,
    inChunk, places, paddedGroup, inputs['bias'] ? offsetOf(backend, inputs['bias']) : 0, masks,
  ]);
}

/** C [m, n] = A [m, k] B; `ofOutputs`: the columns of C are outputs, else they are places. */
function multiplyPanels(context: WasmContext, inputs: Inputs, layout: PackedLayout, a: Info, c: Info, ofOutputs: boolean): void {
  const { backend, pool } = context;
  const [m, n] = c.shape as [number, number];
  const k = a.shape[1]!;
  const { words, common } = weightArguments(context, inputs, layout);
  const step = ofOutputs ? pool.tile.columns : codesInRun(layout.bits);
  const columns = Math.min(MOST_COLUMNS, roundUp(Math.ceil(n / PIECES), step));
  const bias = inputs['bias'];
  const unused = 0;
  pool.run(MULTIPLY_QUANTIZED, Math.ceil(n / columns), [
    offsetOf(backend, a), words, offsetOf(backend, c), m, n, k, ...common,
    columns, ofOutputs ? 1 : 0, layout.paddedGroup, unused, unused, unused, unused,
    bias ? ADD_BIAS : AS_IT_IS, bias ? offsetOf(backend, bias) : 0, 0,
  ]);
}

/** x [N, places], words, scales, zeros or none, bias or none → [y [N, O]] */
wasmKernel('lab.quantizedMatmul', (context, inputs, { layout }) => {
  const packed = layout as PackedLayout;
  const rows = inputs['x']!.shape[0]!;
  const y = makeFloats(context.backend, [rows, packed.outputs]);
  if (rows > fewRows(packed.bits)) multiplyPanels(context, inputs, packed, inputs['x']!, y, true);
  else if (rows > 0) multiplyFewRows(context, inputs, packed, y);
  return [y];
});

/** dy [N, O], words, scales, zeros or none → [dx [N, places]] */
wasmKernel('lab.quantizedMatmulGradient', (context, inputs, { layout }) => {
  const packed = layout as PackedLayout;
  const dx = makeFloats(context.backend, [inputs['dy']!.shape[0]!, packed.places]);
  if (sizeOf(dx.shape) > 0) multiplyPanels(context, inputs, packed, inputs['dy']!, dx, false);
  return [dx];
});

/** words, scales, zeros or none → [weights [O, places]] */
wasmKernel('lab.dequantize', (context, inputs, { layout }) => {
  const { backend, pool } = context;
  const { outputs, places, paddedGroup } = layout as PackedLayout;
  const { words, common } = weightArguments(context, inputs, layout as PackedLayout);
  const weights = makeFloats(backend, [outputs, places]);
  const inChunk = Math.max(1, Math.ceil(CODES_IN_CHUNK / places));
  const unused = 0;
  pool.run(DEQUANTIZE, Math.ceil(outputs / inChunk), [
    words, offsetOf(backend, weights), outputs, inChunk, places, unused, ...common, unused, unused, paddedGroup,
  ]);
  return [weights];
});

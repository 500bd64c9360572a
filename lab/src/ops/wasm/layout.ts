/**
 * @file Operations that only move numbers, on wasm: transposition, slices, rows of a table, and the sum of rows by label.
 */
import { invariant } from '../../base/index.ts';
import { tf } from '../../backend/index.ts';
import { mergeAxes, stridesOf, type Axis } from './axes.ts';
import { wasmKernel, type WasmContext } from './kernels.ts';
import { ADD_SEGMENTS, GATHER_ROWS, REARRANGE } from './operations.ts';
import { makeFloats, offsetOf, share, sizeOf, type Info } from './tensors.ts';

const CHUNK = 16 * 1024;
/** Rows that one matrix is cut into, so that several threads can share it. */
const BAND = 64;
const COLUMNS_IN_CHUNK = 16;

/** A single large matrix becomes a stack of bands. */
function cutBands(axes: Axis[]): Axis[] {
  const [down, across] = axes as [Axis, Axis];
  if (axes.length !== 2 || down.size <= BAND || down.size % BAND !== 0) return axes;
  return [{ size: down.size / BAND, steps: [BAND * down.steps[0]!] }, { size: BAND, steps: down.steps }, across];
}

/** Copies a strided view of x, `skipped` elements from its start, to a tensor of that shape. Elements have four bytes. */
function rearrange({ backend, pool }: WasmContext, x: Info, shape: number[], strides: readonly number[], skipped = 0): Info {
  const output = backend.makeOutput(shape, x.dtype);
  if (sizeOf(shape) === 0) return output;
  const merged = mergeAxes(shape, [strides]);
  const single: Axis = { size: 1, steps: [0] };
  const axes = cutBands([...(merged.length < 2 ? [single] : []), ...(merged.length < 1 ? [{ size: 1, steps: [1] }] : []), ...merged]);
  const outer = axes.slice(0, -2);
  const [down, across] = axes.slice(-2) as [Axis, Axis];
  const matrices = outer.reduce((product, axis) => product * axis.size, 1);
  const inChunk = Math.max(1, Math.floor(CHUNK / (down.size * across.size)));
  pool.run(REARRANGE, Math.ceil(matrices / inChunk), [
    offsetOf(backend, x) + 4 * skipped, offsetOf(backend, output), matrices, inChunk,
    down.size, across.size, down.steps[0]!, across.steps[0]!,
    outer.length, ...outer.flatMap((axis) => [axis.size, axis.steps[0]!]),
  ]);
  return output;
}

const hasFourBytes = (x: Info | undefined): x is Info => x?.dtype === 'float32' || x?.dtype === 'int32';

wasmKernel('Transpose', (context, { x }, { perm }) => {
  if (!hasFourBytes(x)) return undefined;
  const order = perm as number[];
  const strides = stridesOf(x.shape);
  const shape = order.map((axis) => x.shape[axis]!);
  const moved = order.filter((axis) => x.shape[axis] !== 1);
  if (moved.every((axis, i) => i === 0 || axis > moved[i - 1]!)) return share(context.backend, x, shape);
  return rearrange(context, x, shape, order.map((axis) => strides[axis]!));
});

wasmKernel('Slice', (context, { x }, { begin, size }) => {
  if (!hasFourBytes(x)) return undefined;
  const [start, shape] = tf.slice_util.parseSliceParams(x as tf.Tensor, begin as number[], size as number[]) as [number[], number[]];
  tf.slice_util.assertParamsValid(x as tf.Tensor, start, shape);
  const strides = stridesOf(x.shape);
  return rearrange(context, x, shape, strides, strides.reduce((sum, step, axis) => sum + step * start[axis]!, 0));
});

wasmKernel('Unpack', (context, { value }, { axis }) => {
  if (!hasFourBytes(value)) return undefined;
  const along = Number(axis) < 0 ? Number(axis) + value.shape.length : Number(axis);
  const strides = stridesOf(value.shape);
  const without = <T>(list: readonly T[]): T[] => list.filter((_, i) => i !== along);
  const pieces = Array.from({ length: value.shape[along]! }, (_, i) => i * strides[along]!);
  return pieces.map((skipped) => rearrange(context, value, without(value.shape), without(strides), skipped));
});

/** Rows of a table by their numbers; along another axis it is left to TensorFlow.js. */
wasmKernel('GatherV2', ({ backend, pool }, { x, indices }, { axis, batchDims }) => {
  if (!hasFourBytes(x) || indices?.dtype !== 'int32' || Number(axis) !== 0 || Number(batchDims ?? 0) !== 0) return undefined;
  const rows = x.shape[0]!;
  const chosen = new Int32Array(backend.wasm.HEAPU8.buffer, offsetOf(backend, indices), sizeOf(indices.shape));
  const wrong = chosen.find((index) => !(index >= 0 && index < rows));
  invariant(wrong === undefined, () => `gather: index ${wrong} is not in 0..${rows - 1}`);
  const columns = sizeOf(x.shape.slice(1));
  const count = chosen.length;
  const output = backend.makeOutput([...indices.shape, ...x.shape.slice(1)], x.dtype);
  const inChunk = Math.max(1, Math.floor(CHUNK / Math.max(1, columns)));
  pool.run(GATHER_ROWS, Math.ceil(count / inChunk), [
    offsetOf(backend, x), offsetOf(backend, indices), offsetOf(backend, output), count, columns, inChunk,
  ]);
  return output;
});

/** TensorFlow.js's own copies a tensor that has that type already. */
wasmKernel('Cast', ({ backend }, { x }, { dtype }) => (x && x.dtype === dtype && dtype !== 'string' ? share(backend, x, x.shape) : undefined));

/** The gradient of gather, which TensorFlow.js lacks on wasm. */
wasmKernel('UnsortedSegmentSum', ({ backend, pool }, { x, segmentIds }, { numSegments }) => {
  if (x?.dtype !== 'float32' || segmentIds?.dtype !== 'int32') return undefined;
  const columnShape = x.shape.slice(segmentIds.shape.length);
  const output = makeFloats(backend, [Number(numSegments), ...columnShape]);
  const columns = sizeOf(columnShape);
  pool.run(ADD_SEGMENTS, Math.ceil(columns / COLUMNS_IN_CHUNK), [
    offsetOf(backend, x), offsetOf(backend, segmentIds), offsetOf(backend, output),
    sizeOf(segmentIds.shape), columns, Number(numSegments), COLUMNS_IN_CHUNK,
  ]);
  return output;
});

/**
 * @file Element-by-element operations on wasm: which rows of the operands meet in which rows of the output.
 */
import { tf } from '../../backend/index.ts';
import { mergeAxes, stridesOf, type Axis } from './axes.ts';
import { wasmKernel, type WasmContext } from './kernels.ts';
import {
  ADD, BINARY, DIVIDE, EXP, MULTIPLY_ELEMENTS, NEGATE, RSQRT, SIGMOID, SQRT, SQUARE, SQUARED_DIFFERENCE, SUBTRACT, TANH, UNARY,
} from './operations.ts';
import { makeFloats, offsetOf, share, sizeOf, type Info } from './tensors.ts';

/** Elements in a chunk: 64 KiB of each operand, and enough work that claiming a chunk costs nothing beside it. */
const CHUNK = 16 * 1024;
/** A vector is cut into rows of this many elements. */
const ROW = 4 * 1024;

/** Operands without broadcasting are one long vector; it is cut into rows, the last of which may be short. */
function cutVector(axis: Axis): { outer: readonly Axis[]; row: Axis } {
  const [a, b] = axis.steps as [number, number];
  return {
    outer: [{ size: Math.ceil(axis.size / ROW), steps: [a * ROW, b * ROW] }],
    row: { size: Math.min(axis.size, ROW), steps: axis.steps },
  };
}

function runBinary({ backend, pool }: WasmContext, kind: number, a: Info, b: Info): Info {
  const shape = tf.broadcast_util.assertAndGetBroadcastShape([...a.shape], [...b.shape]);
  const output = makeFloats(backend, shape);
  const total = sizeOf(shape);
  if (total === 0) return output;
  const axes = mergeAxes(shape, [stridesOf(a.shape, shape), stridesOf(b.shape, shape)]);
  const last = axes.at(-1) ?? { size: 1, steps: [1, 1] };
  const { outer, row } = axes.length > 1 ? { outer: axes.slice(0, -1), row: last } : cutVector(last);
  const rows = outer.reduce((product, axis) => product * axis.size, 1);
  const rowsInChunk = Math.max(1, Math.floor(CHUNK / row.size));
  pool.run(BINARY, Math.ceil(rows / rowsInChunk), [
    offsetOf(backend, a), offsetOf(backend, b), offsetOf(backend, output),
    rows, row.size, rowsInChunk, kind, total, row.steps[0]!, row.steps[1]!,
    outer.length, ...outer.flatMap((axis) => [axis.size, axis.steps[0]!, axis.steps[1]!]),
  ]);
  return output;
}

const binaryKinds = {
  Add: ADD,
  Sub: SUBTRACT,
  Multiply: MULTIPLY_ELEMENTS,
  RealDiv: DIVIDE,
  SquaredDifference: SQUARED_DIFFERENCE,
};

for (const [name, kind] of Object.entries(binaryKinds)) {
  wasmKernel(name, (context, { a, b }) => {
    if (a?.dtype !== 'float32' || b?.dtype !== 'float32') return undefined;
    return runBinary(context, kind, a, b);
  });
}

const unaryKinds = { Exp: EXP, Tanh: TANH, Sqrt: SQRT, Rsqrt: RSQRT, Square: SQUARE, Neg: NEGATE, Sigmoid: SIGMOID };

for (const [name, kind] of Object.entries(unaryKinds)) {
  wasmKernel(name, ({ backend, pool }, { x }) => {
    if (x?.dtype !== 'float32') return undefined;
    const output = makeFloats(backend, x.shape);
    const size = sizeOf(x.shape);
    pool.run(UNARY, Math.ceil(size / CHUNK), [offsetOf(backend, x), offsetOf(backend, output), size, CHUNK, kind]);
    return output;
  });
}

/** TensorFlow.js's own copies the tensor, although nothing ever changes one in place. */
wasmKernel('Identity', ({ backend }, { x }) => (x && x.dtype !== 'string' ? share(backend, x, x.shape) : undefined));

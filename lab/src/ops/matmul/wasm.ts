/**
 * @file TensorFlow.js's matrix product on wasm, by the kernels in gemm.as.ts: equally fast for every transposition and for
 * batches, on all threads.
 */
import { invariant } from '../../base/index.ts';
import { tf } from '../../backend/index.ts';
import { floatsOf, makeFloats, offsetOf, sizeOf, wasmKernel, type Info, type KernelPool, type WasmContext } from '../wasm/index.ts';
import { ADD_PARTS, MULTIPLY, MULTIPLY_ROWS } from '../wasm/operations.ts';
import { planProduct } from './plan.ts';

/** A matrix in the heap: element (i, j) lies at `offset + 4 · (i · down + j · right)`. */
interface Matrix {
  readonly offset: number;
  readonly down: number;
  readonly right: number;
}

interface Product {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly a: Matrix;
  readonly b: Matrix;
  /** Where the result goes: [batch, m, n]. */
  readonly c: number;
  /** For each matrix of the batch, how far its A and its B lie from the first, in bytes; for a batch of one, nothing. */
  readonly steps?: Int32Array;
}

const FLOAT = 4;

/** The heap's bytes, as they are now: the heap may grow at any allocation. */
type Heap = () => ArrayBufferLike;

/** Up to so many rows are multiplied without packing: half a register tile would be idle anyway. */
const FEW_ROWS = 3;
const COLUMNS_IN_CHUNK = 64;

/** Copies the batch's steps to the heap; 0 for a batch of one. */
function placeSteps(heap: Heap, offset: number, steps: Int32Array | undefined): number {
  if (!steps) return 0;
  new Int32Array(heap(), offset, steps.length).set(steps);
  return offset;
}

/** A few rows times a matrix that is stored by rows, or by columns if the rows are contiguous. */
function multiplyFewRows(pool: KernelPool, heap: Heap, product: Product): void {
  const { batch, m, n, k, a, b, c, steps } = product;
  const table = placeSteps(heap, steps ? pool.scratch(steps.byteLength) : 0, steps);
  // Columns are shared out so that a chunk is worth a claim: some ten thousand multiply-adds.
  const columns = Math.max(COLUMNS_IN_CHUNK, Math.ceil(2 ** 15 / (m * k) / COLUMNS_IN_CHUNK) * COLUMNS_IN_CHUNK);
  const chunks = Math.ceil(n / columns);
  pool.run(MULTIPLY_ROWS, batch * chunks, [
    a.offset, b.offset, c, m, n, k, a.down, a.right, b.down, b.right, columns, chunks, table,
  ]);
}

/** Runs the product on the pool. The scratch memory holds the partial sums, then the table of steps. */
function multiplyBlocks(pool: KernelPool, heap: Heap, product: Product): void {
  const { batch, m, n, k, a, b, c, steps } = product;
  const plan = planProduct(product, pool.tile.columns);
  const sums = FLOAT * (plan.parts - 1) * m * n;
  const partial = plan.parts > 1 || steps ? pool.scratch(sums + (steps?.byteLength ?? 0)) : 0;
  const table = placeSteps(heap, partial + sums, steps);
  pool.run(MULTIPLY, batch * plan.parts * plan.columnBlocks * plan.rowBlocks, [
    a.offset, b.offset, c, m, n, k, a.down, a.right, b.down, b.right,
    plan.rows, plan.rowBlocks, plan.columns, plan.columnBlocks, plan.terms, plan.parts, partial, table,
  ]);
  if (plan.parts > 1) {
    const piece = Math.max(1024, Math.ceil((m * n) / 64) * 4);
    pool.run(ADD_PARTS, Math.ceil((m * n) / piece), [c, partial, plan.parts - 1, m * n, piece]);
  }
}

function multiply(pool: KernelPool, heap: Heap, product: Product): void {
  const fewRows = product.m <= FEW_ROWS && (product.b.right === 1 || (product.b.down === 1 && product.a.right === 1));
  (fewRows ? multiplyFewRows : multiplyBlocks)(pool, heap, product);
}

/** The strides of a stored [rows, columns] matrix, seen as it is or transposed. */
function seen(offset: number, columns: number, transposed: boolean): Matrix {
  return transposed ? { offset, down: 1, right: columns } : { offset, down: columns, right: 1 };
}

/** For each matrix of the broadcast batch, the distance of the operand's matrix from its first, in bytes. */
function batchSteps(shape: readonly number[], batchShape: readonly number[], matrixSize: number): Int32Array {
  const padded = [...new Array<number>(batchShape.length - shape.length).fill(1), ...shape];
  let steps = [0];
  let inner = FLOAT * matrixSize;
  const strides = padded.map(() => 0);
  for (let axis = padded.length - 1; axis >= 0; axis--) {
    strides[axis] = padded[axis] === 1 ? 0 : inner;
    inner *= padded[axis]!;
  }
  for (const [axis, size] of batchShape.entries()) {
    steps = steps.flatMap((start) => Array.from({ length: size }, (_, i) => start + i * strides[axis]!));
  }
  return Int32Array.from(steps);
}

interface Dimensions {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly batchShape: number[];
}

function dimensionsOf(a: Info, b: Info, transposeA: boolean, transposeB: boolean): Dimensions {
  const [aDown, aRight] = a.shape.slice(-2) as [number, number];
  const [bDown, bRight] = b.shape.slice(-2) as [number, number];
  const [m, k] = transposeA ? [aRight, aDown] : [aDown, aRight];
  const [kb, n] = transposeB ? [bRight, bDown] : [bDown, bRight];
  invariant(k === kb, () => `matMul: [${a.shape.join(', ')}] and [${b.shape.join(', ')}] do not fit: the inner sizes are ${k} and ${kb}`);
  const batchShape = tf.broadcast_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  return { m, n, k, batchShape };
}

/** op(a) op(b) with broadcast batch axes: [..., m, k] × [..., k, n] → [..., m, n]. */
export function multiplyTensors({ backend, pool }: WasmContext, a: Info, b: Info, transposeA: boolean, transposeB: boolean): Info {
  const { m, n, k, batchShape } = dimensionsOf(a, b, transposeA, transposeB);
  const output = makeFloats(backend, [...batchShape, m, n]);
  if (sizeOf(output.shape) === 0) return output;
  if (k === 0) {
    floatsOf(backend, output).fill(0);
    return output;
  }
  const product = {
    k,
    n,
    a: seen(offsetOf(backend, a), a.shape.at(-1)!, transposeA),
    b: seen(offsetOf(backend, b), b.shape.at(-1)!, transposeB),
    c: offsetOf(backend, output),
  };
  const heap: Heap = () => backend.wasm.HEAPU8.buffer;
  const batch = sizeOf(batchShape);
  const sharedB = sizeOf(b.shape.slice(0, -2)) === 1;
  // Many matrices times one are one tall matrix times it, unless transposition tears the tall one apart.
  if (sharedB && !transposeA) multiply(pool, heap, { ...product, batch: 1, m: batch * m });
  else {
    const aSteps = batchSteps(a.shape.slice(0, -2), batchShape, m * k);
    const bSteps = batchSteps(b.shape.slice(0, -2), batchShape, k * n);
    const steps = Int32Array.from({ length: 2 * batch }, (_, i) => (i % 2 === 0 ? aSteps : bSteps)[i >> 1]!);
    multiply(pool, heap, { ...product, batch, m, steps });
  }
  return output;
}

wasmKernel('BatchMatMul', (context, { a, b }, { transposeA, transposeB }) => {
  if (a?.dtype !== 'float32' || b?.dtype !== 'float32') return undefined;
  return multiplyTensors(context, a, b, transposeA === true, transposeB === true);
});

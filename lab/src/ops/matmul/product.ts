/**
 * @file A matrix product on the wasm pool, from JavaScript: which kernel, cut how, and what is done to the result in passing.
 */
import type { WasmContext } from '../wasm/index.ts';
import { ADD_BIAS, ADD_PARTS, AS_IT_IS, FINISH, GELU, MULTIPLY, MULTIPLY_ROWS, TIMES } from '../wasm/operations.ts';
import { planProduct } from './plan.ts';

/** A matrix in the heap: element (i, j) lies at `offset + 4 · (i · down + j · right)`. */
export interface Matrix {
  readonly offset: number;
  readonly down: number;
  readonly right: number;
}

/** What becomes of C = A B before it leaves the cache. Offsets in the heap. */
export interface Finish {
  /** [n], added to each row. */
  readonly bias?: number | undefined;
  /** Bend by GELU afterwards. */
  readonly gelu?: boolean;
  /** Where GELU's derivative is kept, [m, n]. */
  readonly derivative?: number | undefined;
  /** [m, n]: C is multiplied by it, element by element; not together with the others. */
  readonly factor?: number | undefined;
}

export interface Product {
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
  /** Only for a batch of one. */
  readonly finish?: Finish;
  /** Where the sum of each row of A goes, [m]; only for a batch of one. */
  readonly rowSums?: number | undefined;
  /** Add C and the row sums to what stands there (default false); only for a batch of one, and not with `finish`. */
  readonly onto?: boolean;
}

const FLOAT = 4;

/** Up to so many rows are multiplied without packing: half a register tile would be idle anyway. */
const FEW_ROWS = 3;
const COLUMNS_IN_CHUNK = 64;
/** Elements that are worth a claim when a product is finished after all. */
const FINISH_CHUNK = 16 * 1024;

/** Copies the batch's steps to the heap; 0 for a batch of one. */
function placeSteps({ backend }: WasmContext, offset: number, steps: Int32Array | undefined): number {
  if (!steps) return 0;
  new Int32Array(backend.wasm.HEAPU8.buffer, offset, steps.length).set(steps);
  return offset;
}

/** The arguments 18 … 20 of MULTIPLY and FINISH. */
function finishArguments({ bias = 0, gelu = false, derivative = 0, factor = 0 }: Finish = {}): [number, number, number] {
  if (factor !== 0) return [TIMES, 0, factor];
  if (gelu) return [GELU, bias, derivative];
  return bias === 0 ? [AS_IT_IS, 0, 0] : [ADD_BIAS, bias, 0];
}

/** A few rows times a matrix that is stored by rows, or by columns if the rows are contiguous. */
function multiplyFewRows(context: WasmContext, product: Product): void {
  const { batch, m, n, k, a, b, c, steps } = product;
  const { pool } = context;
  const table = placeSteps(context, steps ? pool.scratch(steps.byteLength) : 0, steps);
  // Columns are shared out so that a chunk is worth a claim: some ten thousand multiply-adds.
  const columns = Math.max(COLUMNS_IN_CHUNK, Math.ceil(2 ** 15 / (m * k) / COLUMNS_IN_CHUNK) * COLUMNS_IN_CHUNK);
  const chunks = Math.ceil(n / columns);
  pool.run(MULTIPLY_ROWS, batch * chunks, [
    a.offset, b.offset, c, m, n, k, a.down, a.right, b.down, b.right, columns, chunks, table,
  ]);
  finishAfterwards(context, product);
}

/** Runs the product on the pool. The scratch memory holds the partial sums, then the table of steps. */
function multiplyBlocks(context: WasmContext, product: Product): void {
  const { batch, m, n, k, a, b, c, steps, finish, rowSums = 0, onto = false } = product;
  const { pool } = context;
  const plan = planProduct(product, pool.tile.columns);
  const cut = plan.parts > 1;
  const sums = FLOAT * (plan.parts - 1) * m * n;
  const partialRowSums = rowSums && cut ? FLOAT * (plan.parts - 1) * m : 0;
  const partial = cut || steps ? pool.scratch(sums + partialRowSums + (steps?.byteLength ?? 0)) : 0;
  const table = placeSteps(context, partial + sums, steps);
  pool.run(MULTIPLY, batch * plan.parts * plan.columnBlocks * plan.rowBlocks, [
    a.offset, b.offset, c, m, n, k, a.down, a.right, b.down, b.right,
    plan.rows, plan.rowBlocks, plan.columns, plan.columnBlocks, plan.terms, plan.parts, partial, table,
    ...finishArguments(cut ? undefined : finish), rowSums, partial + sums, onto ? 1 : 0,
  ]);
  if (!cut) return;
  addParts(context, c, partial, plan.parts, m * n);
  if (rowSums) addParts(context, rowSums, partial + sums, plan.parts, m);
  finishAfterwards(context, product);
}

/** Adds to c, of `size` elements, the parts of the sums that lie apart from it. */
function addParts({ pool }: WasmContext, c: number, partial: number, parts: number, size: number): void {
  const piece = Math.max(1024, Math.ceil(size / 64) * 4);
  pool.run(ADD_PARTS, Math.ceil(size / piece), [c, partial, parts - 1, size, piece]);
}

/** For products whose sums are complete only at the end. */
function finishAfterwards({ pool }: WasmContext, { m, n, c, finish }: Product): void {
  const [how, bias, beside] = finishArguments(finish);
  if (how === AS_IT_IS) return;
  const rows = Math.max(1, Math.floor(FINISH_CHUNK / n));
  const unused = 0;
  pool.run(FINISH, Math.ceil(m / rows), [
    unused, unused, c, m, n, unused, unused, unused, unused, unused,
    rows, unused, unused, unused, unused, unused, unused, unused, how, bias, beside,
  ]);
}

/** C = A B on all threads. m, n and k are at least 1. */
export function multiply(context: WasmContext, product: Product): void {
  const { m, a, b, rowSums, onto } = product;
  const readable = b.right === 1 || (b.down === 1 && a.right === 1);
  (m <= FEW_ROWS && readable && !rowSums && !onto ? multiplyFewRows : multiplyBlocks)(context, product);
}

/** The strides of a stored [rows, columns] matrix, seen as it is or transposed. */
export function seen(offset: number, columns: number, transposed: boolean): Matrix {
  return transposed ? { offset, down: 1, right: columns } : { offset, down: columns, right: 1 };
}

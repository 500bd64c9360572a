/**
 * @file How a matrix product is cut into blocks: pieces large enough to be worth packing, small enough to fit the caches and
 * to share out, and the same for every number of threads, so that the sums are always taken in the same order.
 */

/** C[m, n] = A[m, k] B[k, n], for each of `batch` matrices. */
export interface ProductShape {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

export interface Plan {
  readonly rows: number;
  readonly rowBlocks: number;
  readonly columns: number;
  readonly columnBlocks: number;
  readonly terms: number;
  /** Parts of k that are summed apart and added at the end. */
  readonly parts: number;
}

/** Multiply-adds below which it does not pay to wake another thread: some 20 microseconds of work. */
const SMALL = 1 << 15;
/** Floats of B that a thread packs at once, as in gemm.as.ts. */
const PACKED_B = 128 * 1024;
/** Rows of A that a thread packs at once, as in gemm.as.ts: 22 tiles of 6. */
const MOST_ROWS = 132;
/** 8 tiles of 6 rows: the usual block, enough for B's packing to pay. */
const USUAL_ROWS = 48;
/** With more terms than this, narrower column blocks would cost more packing of A than a second panel of B does. */
const LONG = 1024;
/** Pieces to aim at: enough to keep eight threads busy to the end. */
const PIECES = 16;

const roundUp = (n: number, step: number): number => Math.ceil(n / step) * step;

/** A weight gradient has few sums of many terms: k is cut, or there would be too few pieces to share. */
function partsOfK({ batch, m, n, k }: ProductShape, blocks: number): number {
  if (batch > 1 || k < LONG || m * n > 1 << 18) return 1;
  return Math.max(1, Math.min(8, Math.ceil(PIECES / blocks), Math.floor(k / 256)));
}

/** @param tileColumns columns of the register tile */
export function planProduct(shape: ProductShape, tileColumns: number): Plan {
  const { batch, m, n, k } = shape;
  if (m * n * k <= SMALL && k * roundUp(n, tileColumns) <= PACKED_B && m <= MOST_ROWS) {
    return { rows: m, rowBlocks: 1, columns: n, columnBlocks: 1, terms: k, parts: 1 };
  }
  const widest = Math.max(tileColumns, Math.floor(PACKED_B / Math.min(k, LONG) / tileColumns) * tileColumns);
  const columnBlocks = Math.ceil(n / Math.min(roundUp(n, tileColumns), widest));
  const columns = roundUp(Math.ceil(n / columnBlocks), tileColumns);
  const manyPieces = batch * columnBlocks >= PIECES || k >= LONG;
  const rows = Math.min(m, manyPieces ? MOST_ROWS : USUAL_ROWS);
  const rowBlocks = Math.ceil(m / rows);
  const parts = partsOfK(shape, batch * rowBlocks * columnBlocks);
  const terms = roundUp(Math.ceil(k / parts), 4);
  return { rows, rowBlocks, columns, columnBlocks: Math.ceil(n / columns), terms, parts: Math.ceil(k / terms) };
}

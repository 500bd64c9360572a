/**
 * @file Which shader takes a matrix product on WebGPU, and how it is cut: a pure function of the sizes, of what the device can
 * do and of the precision asked for.
 */
import type { MatmulPrecision } from '../precision.ts';
import { depthFits, MATRICES_BYTES, MATRICES_TILE, threadsOf, type SubgroupMatrix } from './matrices.wgsl.ts';
import type { ProductShape } from './plan.ts';
import type { Operand } from './product.wgsl.ts';
import { lanesOf, MOST_ROWS } from './rows.wgsl.ts';
import type { TileSize } from './tile.wgsl.ts';

/** What a device can do, as far as products care. */
export interface GpuFeatures {
  /** `shader-f16` */
  readonly half: boolean;
  /** The fewest and the most threads of a subgroup; 0 without `subgroups`. */
  readonly smallestSubgroup: number;
  readonly largestSubgroup: number;
  /** What its matrix units multiply, the best first; none without the feature. */
  readonly matrices: readonly SubgroupMatrix[];
  /** Threads that a workgroup may have, and bytes of memory. */
  readonly threads: number;
  readonly workgroupBytes: number;
}

/** C[m, n] = A[m, k] B[k, n], and what else is asked of it. */
export interface GpuProductShape extends ProductShape {
  readonly transposeA: boolean;
  readonly rowSums: boolean;
}

export type ShaderPlan =
  | { readonly kind: 'rows'; readonly operand: Operand; readonly shuffled: number }
  | (Cut & { readonly kind: 'tile'; readonly operand: Operand; readonly size: TileSize })
  | (Cut & { readonly kind: 'matrices'; readonly operand: Operand; readonly matrix: SubgroupMatrix; readonly lanes: number });

/** k in parts that are summed apart, for products with many terms and few tiles. */
interface Cut {
  readonly parts: number;
  /** Terms in each part but the last: whole strips of every shader. */
  readonly terms: number;
}

/**
 * Workgroups to aim at: two for each multiprocessor of a large GPU (132 on an H100); WebGPU does not tell how many there are.
 */
const WORKGROUPS = 256;
/** Fewer terms than this are not worth another dispatch, of some 30 µs, to add parts. */
const LONG = 1024;
const LEAST_TERMS = 256;
/** With a larger C the parts cost more memory traffic than the idle processors do time. */
const LARGEST_CUT = 1 << 18;
/** Tiles of 64 that make the large tile worth while: below, four times as many small ones keep more of a GPU busy. */
const ENOUGH_TILES = 64;
/** The longest strip of a shader. */
const STRIP = 32;

function cut({ batch, m, n, k }: ProductShape, tiles: number): Cut {
  const worth = batch === 1 && k >= LONG && m * n <= LARGEST_CUT;
  const parts = worth ? Math.max(1, Math.min(Math.ceil(WORKGROUPS / tiles), Math.floor(k / LEAST_TERMS))) : 1;
  const terms = Math.max(STRIP, Math.ceil(k / parts / STRIP) * STRIP);
  return { parts: Math.max(1, Math.ceil(k / terms)), terms };
}

const tilesOf = ({ batch, m, n }: ProductShape, size: number): number => batch * Math.ceil(m / size) * Math.ceil(n / size);

/**
 * Only where 'mixed' is asked for: operands in float16 with sums in float32, or, as on Apple's, rounded to it and in float32.
 * (Units that take float32 would do for 'float32' too, but what has never run on hardware must be asked for.)
 */
function chooseMatrices(shape: ProductShape, gpu: GpuFeatures): ShaderPlan | undefined {
  const { smallestSubgroup: lanes, largestSubgroup, threads, workgroupBytes } = gpu;
  if (lanes === 0 || lanes !== largestSubgroup || workgroupBytes < MATRICES_BYTES) return undefined;
  if (Math.min(shape.m, shape.n) < MATRICES_TILE) return undefined; // most of a tile would be for nothing
  const find = (type: string, operand: Operand): SubgroupMatrix | undefined =>
    gpu.matrices.find((matrix) => {
      const used = threadsOf(matrix, lanes);
      const fits = used > 0 && used <= threads && depthFits(matrix, operand);
      return matrix.componentType === type && matrix.resultComponentType === 'f32' && fits;
    });
  const half = gpu.half ? find('f16', 'half') : undefined;
  const operand: Operand = half ? 'half' : 'rounded';
  const matrix = half ?? find('f32', operand);
  return matrix && { kind: 'matrices', operand, matrix, lanes, ...cut(shape, tilesOf(shape, MATRICES_TILE)) };
}

/**
 * Measured on SwiftShader, two processors that others used too; GFLOP/s, the best of six runs in turn, mean of the four
 * transpositions:
 *
 * | m × k × n | tile of 32 | tile of 64 | TensorFlow.js's shader |
 * | --- | --- | --- | --- |
 * | 256 × 256 × 256 | 1.1 | 1.4 | 0.3 |
 * | 512 × 512 × 512 | 1.3 | 2.3 | 0.4 |
 * | 128 × 2048 × 512 | 0.45 | 0.67 | 0.14 |
 *
 * So the large tile is the faster one everywhere here. No hardware was measured: that few tiles should be small ones, as in
 * llama.cpp's shader, so that there are workgroups for all of a GPU, is from the literature.
 */
export function planShader(shape: GpuProductShape, gpu: GpuFeatures, precision: MatmulPrecision): ShaderPlan {
  const { m, n, transposeA, rowSums } = shape;
  if (m <= MOST_ROWS && !rowSums && (!transposeA || m === 1)) {
    return { kind: 'rows', operand: precision === 'mixed' ? 'rounded' : 'float32', shuffled: lanesOf(gpu.smallestSubgroup) };
  }
  const matrices = precision === 'mixed' ? chooseMatrices(shape, gpu) : undefined;
  if (matrices) return matrices;
  const operand: Operand = precision === 'float32' ? 'float32' : gpu.half ? 'half' : 'rounded';
  const large = cut(shape, tilesOf(shape, 64));
  const size: TileSize = Math.min(m, n) > 32 && tilesOf(shape, 64) * large.parts >= ENOUGH_TILES ? 64 : 32;
  return { kind: 'tile', operand, size, ...cut(shape, tilesOf(shape, size)) };
}

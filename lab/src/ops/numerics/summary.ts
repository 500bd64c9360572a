/**
 * @file What can be said of a tensor's numbers in a line: how many are not finite, where the first of those is, and how large
 * the others are.
 */
import { tf, type Tensor } from '../../backend/index.ts';
import { runningWebGpu, type WebGpuContext } from '../webgpu/index.ts';
import { summaryShader, SUMMARY_NUMBERS } from './summary.wgsl.ts';

export interface NumberSummary {
  readonly shape: readonly number[];
  readonly nan: number;
  readonly infinite: number;
  /** Where the first number is that is not finite: its index along each axis. */
  readonly first: readonly number[] | null;
  /** The largest magnitude among the finite ones. */
  readonly largest: number;
}

export const allFinite = ({ nan, infinite }: NumberSummary): boolean => nan + infinite === 0;

/**
 * The numbers as they are now, though the tensor may be changed or gone when the summary is read. On webgpu that must be waited
 * for: the function that is returned may be called once.
 *
 * @param x float32
 */
export function summarize(x: Tensor): NumberSummary | (() => Promise<NumberSummary>) {
  const gpu = tf.getBackend() === 'webgpu' ? runningWebGpu() : undefined;
  return gpu ? summarizeOnGpu(gpu, x) : summaryOf(x.dataSync(), x.shape);
}

function summaryOf(values: ArrayLike<number>, shape: readonly number[]): NumberSummary {
  let [nan, infinite, largest, first] = [0, 0, 0, -1];
  for (let i = 0; i < values.length; i++) {
    const magnitude = Math.abs(values[i]!);
    if (magnitude <= Number.MAX_VALUE) {
      if (magnitude > largest) largest = magnitude;
      continue;
    }
    if (first < 0) first = i;
    if (Number.isNaN(magnitude)) nan++;
    else infinite++;
  }
  return { shape, nan, infinite, largest, first: first < 0 ? null : place(first, shape) };
}

function summarizeOnGpu({ runner }: WebGpuContext, { dataId, shape, dtype, size }: Tensor): () => Promise<NumberSummary> {
  const [info] = runner.run({
    key: 'summary of numbers',
    code: () => summaryShader,
    inputs: [{ dataId, shape, dtype }],
    outputs: [[SUMMARY_NUMBERS]],
    uniforms: [{ type: 'uint32', data: [size] }],
    workgroups: [1, 1, 1],
  });
  return async () => {
    try {
      const [nan, infinite, largest, high, low] = (await tf.backend().read(info!.dataId)) as Float32Array;
      const first = nan! + infinite! > 0 ? place(high! * 65536 + low!, shape) : null;
      return { shape, nan: nan!, infinite: infinite!, largest: largest!, first };
    } finally {
      runner.dispose(info!);
    }
  };
}

/** The index along each axis of the number that stands at `at` in the row of all. */
function place(at: number, shape: readonly number[]): number[] {
  const indices: number[] = [];
  for (const length of shape.toReversed()) {
    indices.unshift(at % length);
    at = Math.floor(at / length);
  }
  return indices;
}

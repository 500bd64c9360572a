/**
 * @file What layer norm and RMS norm have in common: the way to a kernel that does a whole row at once, and its gradient.
 *
 * Shapes: D width; any leading axes.
 */
import type { Tensor, Tensor1D } from '../../backend/index.ts';
import { fusedKernel } from '../fused.ts';
import { withGradient } from '../with-gradient.ts';
import './wasm.ts';
import './webgpu.ts';

export interface NormOptions {
  /** Added to the variance. */
  readonly epsilon: number;
  /** Take off the mean: layer norm; not: RMS norm. */
  readonly centered: boolean;
}

/**
 * The norm by the running backend's own kernels, or undefined when it has none.
 *
 * @param x [..., D]
 * @param gain [D]
 * @param bias [D] or null
 */
export function fusedNorm<T extends Tensor>(x: T, gain: Tensor1D, bias: Tensor1D | null, options: NormOptions): T | undefined {
  const [forward, backward] = [fusedKernel('norm'), fusedKernel('normGradient')];
  if (!forward || !backward) return undefined;
  const { epsilon, centered } = options;
  return withGradient<T>(bias ? [x, gain, bias] : [x, gain], (save) => {
    const [y, statistics] = forward({ x, gain, bias }, { epsilon, centered });
    save(x, gain, statistics!);
    return {
      value: y as T,
      gradient: (dy, [savedX, savedGain, savedStatistics]) =>
        backward(
          { x: savedX!, gain: savedGain!, statistics: savedStatistics!, dy },
          { centered, bias: bias !== null },
        ),
    };
  });
}

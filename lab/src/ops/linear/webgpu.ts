/**
 * @file The linear layer on webgpu: bias and GELU are done to the sums before they leave the registers, and the gradient of the
 * bias is summed in passing, from what the gradient of the weight brings anyway.
 */
import type { Info } from '../kernel-registry.ts';
import { filled, multiplyOnGpu, sizeOf } from '../matmul/gpu-product.ts';
import { withMatmulPrecision } from '../precision.ts';
import { webGpuKernel, type WebGpuContext } from '../webgpu/index.ts';

/**
 * x [..., I], weight [O, I], bias [O] or none → [y] with y = x Wᵀ + b [..., O];
 * `gelu` bends it, and `derivative` then gives GELU's derivative too, [..., O].
 */
webGpuKernel('lab.linear', (context, { x, weight, bias }, { gelu, derivative }) => {
  const [outputs, inputs] = weight!.shape as [number, number];
  const leading = x!.shape.slice(0, -1);
  return multiplyOnGpu(context, {
    batch: 1,
    m: sizeOf(leading),
    n: outputs,
    k: inputs,
    a: x!,
    b: weight!,
    transposeA: false,
    transposeB: true,
    shape: [...leading, outputs],
    finish: { bias, gelu: gelu === true, derivative: derivative === true },
  });
});

/**
 * x [..., I], weight [O, I], dy [..., O], factor [..., I] or none → [dx, dW], and db if `bias`:
 * dx = dy W (times the factor, the derivative of what bent x), dW = dyᵀ x, db = Σ dy.
 */
webGpuKernel('lab.linearGradient', (context, { x, weight, dy, factor }, { bias }) => {
  const [outputs, inputs] = weight!.shape as [number, number];
  const rows = sizeOf(x!.shape.slice(0, -1));
  const sizes = { batch: 1, n: inputs, a: dy!, transposeB: false };
  const [dx] = multiplyOnGpu(context, {
    ...sizes,
    m: rows,
    k: outputs,
    b: weight!,
    transposeA: false,
    shape: x!.shape,
    finish: { factor },
  });
  const summed = bias === true && sizeOf(weight!.shape) > 0; // along with dW, if there is one
  const ofWeight = multiplyOnGpu(context, {
    ...sizes,
    m: outputs,
    k: rows,
    b: x!,
    transposeA: true,
    shape: [outputs, inputs],
    rowSums: summed,
  });
  return [dx!, ...ofWeight, ...(bias === true && !summed ? [sumOfRows(context, dy!, rows, outputs)] : [])];
});

/** Σ dy as a product with ones, for a layer of no inputs: [rows, outputs] → [outputs]. */
function sumOfRows(context: WebGpuContext, dy: Info, rows: number, outputs: number): Info {
  const ones = filled(context.runner, [1, rows], 1);
  const sizes = { batch: 1, m: 1, n: outputs, k: rows, shape: [outputs] };
  const product = { ...sizes, a: ones, b: dy, transposeA: false, transposeB: false };
  const [sum] = withMatmulPrecision('float32', () => multiplyOnGpu(context, product));
  context.runner.dispose(ones);
  return sum!;
}

/**
 * @file How exactly matrix products are taken: in float32, or with operands rounded to float16, as tensor cores want them.
 * Micikevicius et al. 2018, "Mixed Precision Training", section 3: weights, activations and gradients are rounded to float16,
 * products are summed in float32.
 */

/**
 * 'float32': nothing is rounded beyond float32.
 * 'mixed': the operands of products are rounded to float16 (10 bits of mantissa, at most 65,504 in size: more becomes
 * infinite), their products are summed in float32, and the result is float32. The webgpu backend obeys it; the others know no
 * float16 and compute in float32 all the same. So does attention, on every backend.
 */
export type MatmulPrecision = 'float32' | 'mixed';

let precision: MatmulPrecision = 'float32';

/** How matrix products are taken now; 'float32' unless `withMatmulPrecision` says otherwise. */
export function matmulPrecision(): MatmulPrecision {
  return precision;
}

/**
 * Runs `f` with matrix products taken in that precision, and puts the one before back, also when `f` throws. Gradients obey the
 * precision that holds when they are computed. `f` must not be asynchronous: others would run meanwhile.
 */
export function withMatmulPrecision<T>(wanted: MatmulPrecision, f: () => T): T {
  const before = precision;
  precision = wanted;
  try {
    return f();
  } finally {
    precision = before;
  }
}

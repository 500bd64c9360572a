/**
 * @file The end of a product whose sums were cut along k, in WGSL: adds the parts, always in the same order, and finishes the
 * sum.
 */
import {
  declareBuffers,
  finishInputs,
  finishOutputs,
  loadFunction,
  OWN_GROUP,
  PARAMETERS,
  putFunction,
  type ProductFeatures,
} from './product.wgsl.ts';

/** Sums that a workgroup finishes: each thread a four. */
export const JOINED = 256;

/** Buffers: c, derivative ← parts [parts, m, n], bias, factor. */
export function joinShader(features: ProductFeatures): string {
  const { wholeC } = features;
  return `
${declareBuffers(finishOutputs(features), [{ name: 'sums', type: wholeC ? 'vec4<f32>' : 'f32' }, ...finishInputs(features)])}
${loadFunction('sums', wholeC)}
${putFunction(features, 4)}
@compute @workgroup_size(${JOINED / 4})
fn main(${PARAMETERS}) {
  ${OWN_GROUP}
  let fours = (product.n + 3) / 4; // of a row
  let four = group * ${JOINED / 4} + lane;
  if (four >= product.m * fours) { return; }
  let row = four / fours;
  let column = four % fours * 4;
  var sum = vec4<f32>(0.0);
  for (var part = 0; part < product.parts; part++) { sum += load_sums((part * product.m + row) * product.n + column); }
  put(0, row, column, sum);
}`;
}

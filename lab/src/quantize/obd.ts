/**
 * @file Optimal brain damage: which weights can be taken away? Those that change the loss least, by a Taylor series at its
 * minimum, where the gradient is zero, with the diagonal of the Hessian alone. LeCun, Denker and Solla 1990.
 */

/**
 * ½ · h_qq · w_q²: by how much the loss grows when weight q becomes zero and no other weight reacts.
 *
 * @param weights [n]
 * @param curvature the diagonal of the Hessian, [n]
 * @returns [n]
 */
export function damageSaliencies(weights: ArrayLike<number>, curvature: ArrayLike<number>): Float64Array {
  return Float64Array.from(weights, (weight, q) => 0.5 * curvature[q]! * weight ** 2);
}

/** Takes the `count` weights of the least saliency away: a copy with zeros. */
export function pruneByDamage(weights: ArrayLike<number>, curvature: ArrayLike<number>, count: number): Float64Array {
  const pruned = Float64Array.from(weights);
  const saliencies = damageSaliencies(weights, curvature);
  const order = Array.from(saliencies.keys()).sort((a, b) => saliencies[a]! - saliencies[b]!);
  for (const q of order.slice(0, count)) pruned[q] = 0;
  return pruned;
}

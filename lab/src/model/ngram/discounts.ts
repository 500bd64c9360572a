/**
 * @file What modified Kneser–Ney smoothing takes off each count and gives to what was not seen.
 * Chen and Goodman 1999, section 3.4 (equation 17), after Ney, Essen and Kneser 1994.
 */

/** What is taken off counts of 1, of 2, and of 3 or more. */
export type Discounts = readonly [one: number, two: number, more: number];

/** For texts too small or too regular for an estimate. */
const fallback: Discounts = [0.5, 1, 1.5];

/**
 * Y = n₁ / (n₁ + 2 n₂);  D₁ = 1 − 2Y n₂/n₁,  D₂ = 2 − 3Y n₃/n₂,  D₃₊ = 3 − 4Y n₄/n₃
 *
 * where nᵢ is how many n-grams of that length have the count i. Where one of n₁, n₂, n₃ is 0 or a discount falls outside
 * 0 … its count, the length gets 0.5, 1, 1.5.
 *
 * @param counts by n-gram
 * @param lengths by n-gram; 0 for the empty one
 * @returns one for each length 1 … order
 */
export function estimateDiscounts(counts: readonly number[], lengths: readonly number[], order: number): Discounts[] {
  const withCount = Array.from({ length: order + 1 }, () => [0, 0, 0, 0, 0] as [number, number, number, number, number]);
  for (const [node, count] of counts.entries()) if (count >= 1 && count <= 4) withCount[lengths[node]!]![count]!++;
  return withCount.slice(1).map(([, n1, n2, n3, n4]) => {
    if (n1 === 0 || n2 === 0 || n3 === 0) return fallback;
    const y = n1 / (n1 + 2 * n2);
    const discounts: Discounts = [1 - (2 * y * n2) / n1, 2 - (3 * y * n3) / n2, 3 - (4 * y * n4) / n3];
    return discounts.every((discount, i) => discount >= 0 && discount <= i + 1) ? discounts : fallback;
  });
}

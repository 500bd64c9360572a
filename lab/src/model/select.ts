/**
 * @file The k-th largest of many numbers without sorting them. Hoare 1961, algorithm 65 (FIND).
 */

/**
 * @param values left as they are; no NaN
 * @param k from 1 (the largest) to their count
 */
export function kthLargest(values: Float32Array, k: number): number {
  const numbers = values.slice();
  const wanted = numbers.length - k; // its place in ascending order
  let low = 0;
  let high = numbers.length - 1;
  while (low < high) {
    const pivot = medianOfThree(numbers[low]!, numbers[(low + high) >>> 1]!, numbers[high]!);
    let [i, j] = [low, high];
    // Afterwards what lies before i is at most the pivot, and what lies behind j is at least the pivot.
    while (i <= j) {
      while (numbers[i]! < pivot) i++;
      while (numbers[j]! > pivot) j--;
      if (i > j) break;
      const moved = numbers[i]!;
      numbers[i++] = numbers[j]!;
      numbers[j--] = moved;
    }
    if (wanted <= j) high = j;
    else if (wanted >= i) low = i;
    else break;
  }
  return numbers[wanted]!;
}

/** Of sorted numbers, too, this is the middle one, and not the worst choice. */
function medianOfThree(a: number, b: number, c: number): number {
  return Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));
}

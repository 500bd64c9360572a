/** @file How many rows of logits are held at once. */

/**
 * Logits in a chunk, 32 MiB of them. Every chunk reads the weights of the head twice, and reads and writes their gradient: with
 * 128 rows of GPT-2's vocabulary that costs 1% of the time, with 64 rows 16%.
 */
export const LOGITS_AT_ONCE = 2 ** 23;

/** Chunks of about the same size, of one row at least. */
export function rowsInChunk(rows: number, vocabSize: number, logitsAtOnce: number): number {
  const chunks = Math.min(rows, Math.ceil((rows * vocabSize) / logitsAtOnce));
  return Math.ceil(rows / Math.max(1, chunks));
}

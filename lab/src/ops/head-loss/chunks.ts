/** @file How many rows of logits are held at once. */

/**
 * Logits in a chunk, 16 MiB of them: enough rows that the weights of the head, read twice and their gradient once for each
 * chunk, do not set the pace.
 */
const MOST_LOGITS = 2 ** 22;

/** Chunks of about the same size. */
export function rowsInChunk(rows: number, vocabSize: number): number {
  const chunks = Math.min(rows, Math.ceil((rows * vocabSize) / MOST_LOGITS));
  return Math.ceil(rows / Math.max(1, chunks));
}

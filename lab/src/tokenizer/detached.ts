/**
 * @file A word to keep: V8 makes a longer slice of a text a pointer into it, so that keeping the word keeps the whole text.
 */

/** V8 copies shorter slices. */
const SHORTEST_POINTER = 13;

/** The same characters in memory of their own. */
export function detached(slice: string): string {
  return slice.length < SHORTEST_POINTER ? slice : ` ${slice}`.slice(1);
}

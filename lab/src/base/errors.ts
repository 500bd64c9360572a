/**
 * @file Errors that are written for the reader: what was given, what was expected, what to do about it.
 */

/** Bad input, a missing file, a broken checkpoint: the command line prints the message alone, without a stack trace. */
export class LabError extends Error {
  override readonly name: string = 'LabError';
}

/**
 * Checks what must hold for a computation to make sense, typically that shapes agree.
 *
 * @param message names the place, what was given and what was expected: `attention: query head size 8, key head size 4`
 * @throws RangeError with that message when the condition is false.
 */
export function invariant(condition: unknown, message: string | (() => string)): asserts condition {
  if (!condition) throw new RangeError(typeof message === 'string' ? message : message());
}

/** The message of anything that can be thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

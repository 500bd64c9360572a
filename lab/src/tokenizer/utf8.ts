/**
 * @file Text as the bytes of UTF-8, the alphabet of 256 letters that any text can be written in.
 */

const encoder = new TextEncoder();
/** A byte order mark is a character like any other here: it must not vanish. */
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** The UTF-8 bytes of a text. A lone surrogate, which UTF-8 cannot write, becomes U+FFFD: EF BF BD. */
export function utf8Bytes(text: string): Uint8Array {
  return encoder.encode(text);
}

/**
 * The text that the bytes spell. Where they are no valid UTF-8, each longest piece that begins a character but does not
 * complete it becomes one U+FFFD (Unicode Standard, section 3.9, and Python's `errors='replace'`).
 */
export function utf8Text(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

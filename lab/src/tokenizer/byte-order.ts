/**
 * @file GPT-2's order of the 256 bytes, and the characters that its files write them as: a byte that prints stands for itself, the
 * others are U+0100 and on, so that every token of a vocabulary can be read and has no spaces in it. Radford et al. 2019, in the
 * published code; the library `tokenizers` does the same.
 */

function prints(byte: number): boolean {
  return (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
}

/** The bytes that print, then the others. */
export function gpt2ByteOrder(): number[] {
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  return [...bytes.filter(prints), ...bytes.filter((byte) => !prints(byte))];
}

/** The character that stands for each byte. */
export const byteCharacters: readonly string[] = (() => {
  const characters: string[] = [];
  let others = 0;
  for (let byte = 0; byte < 256; byte++) characters.push(String.fromCodePoint(prints(byte) ? byte : 256 + others++));
  return characters;
})();

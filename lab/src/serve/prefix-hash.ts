/**
 * @file The name of a block's content: a hash of the tokens in it and, through its parent's hash, of everything before them.
 * Keys and values depend on all earlier tokens, so the same tokens behind another beginning are another content.
 */

/** The parent of a first block. */
export const NO_PARENT = 0;

/**
 * hash(parent, tokens, extras): 53 bits, from two 32-bit mixes with MurmurHash3's multipliers (Appleby 2011).
 *
 * @param parent the hash of the block before, `NO_PARENT` for the first
 * @param extras what else the keys and values depend on: an adapter's name, an image, a tenant's salt
 */
export function prefixHash(parent: number, tokens: ArrayLike<number>, extras = ''): number {
  let a = mix(0x9e3779b9, parent >>> 0, 0xcc9e2d51);
  let b = mix(0x85ebca6b, Math.floor(parent / 2 ** 32), 0x1b873593);
  for (let i = 0; i < tokens.length; i++) {
    a = mix(a, tokens[i]!, 0xcc9e2d51);
    b = mix(b, tokens[i]!, 0x1b873593);
  }
  for (let i = 0; i < extras.length; i++) {
    a = mix(a, extras.charCodeAt(i) + 1, 0x1b873593);
    b = mix(b, extras.charCodeAt(i) + 1, 0xcc9e2d51);
  }
  return (finish(a) & 0x1fffff) * 2 ** 32 + finish(b ^ extras.length);
}

function mix(state: number, value: number, multiplier: number): number {
  const scrambled = Math.imul(value, multiplier);
  const x = state ^ Math.imul((scrambled << 15) | (scrambled >>> 17), 0x85ebca6b);
  return (Math.imul((x << 13) | (x >>> 19), 5) + 0xe6546b64) | 0;
}

function finish(state: number): number {
  let x = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

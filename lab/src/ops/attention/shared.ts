/**
 * @file Numbers of attention that the kernels in AssemblyScript and the TypeScript around them must agree on.
 * Both sides compile this very file.
 */

/** Floats of keys, or of values, that a thread packs at once: 128 KiB. */
export const PACKED = 32 * 1024;
/** The most keys in a tile, and queries in a row block: 192 KiB of scores. */
export const MOST_KEYS = 512;
export const FORWARD_QUERIES = 96;
/** Half as many backward, as there are two matrices [queries, keys]. */
export const BACKWARD_QUERIES = 48;
/** The register tiles of the widest kernels are so wide, and rows of a head are filled up to that. */
export const WIDEST_TILE = 16;
/** With larger heads a packed tile of values would not fit. */
export const LARGEST_HEAD = 256;

/** Up to so many queries go without packing, over the cache where it lies, this many keys a chunk. */
export const FEW_QUERIES = 4;
export const SPLIT_KEYS = 256;

/** What a problem asks of a kernel beyond the plain path; bits of one number. */
export const CHANGES_SCORES = 1; // soft cap, ALiBi, bias, or a scale that is not above 0
export const FORGETS = 2; // dropout

/**
 * Odd numbers that spread dropout's counters over 32 bits: 2³² times the golden ratio's fraction, and MurmurHash3's multipliers,
 * which its hash multiplies by, too.
 */
export const HEAD_STEP = 0x9e3779b9;
export const QUERY_STEP = 0x85ebca6b;
export const KEY_STEP = 0xc2b2ae35;

/**
 * @file The shader that looks for numbers which are not finite. It reads their bits: a compiler of shaders may assume that
 * there is no NaN and no infinity, and leave out a test for them (WGSL, section 15.7.2).
 */

/** NaN, infinite, largest magnitude of the others; the index of the first that is not finite: its upper and lower 16 bits. */
export const SUMMARY_NUMBERS = 5;

const THREADS = 256;

export const summaryShader = `
  @group(0) @binding(0) var<storage, read_write> summary: array<f32>;
  @group(0) @binding(1) var<storage, read> bits: array<u32>;
  @group(0) @binding(2) var<uniform> size: u32;

  const INFINITY = 0x7f800000u;

  struct Found { nan: u32, infinite: u32, largest: u32, first: u32 };
  var<workgroup> found: array<Found, ${THREADS}>;

  @compute @workgroup_size(${THREADS})
  fn main(@builtin(local_invocation_index) thread: u32) {
    var mine = Found(0, 0, 0, size);
    for (var i = thread; i < size; i += ${THREADS}u) {
      let magnitude = bits[i] & 0x7fffffffu; // without the sign, floats are ordered as their bits are
      if (magnitude >= INFINITY) { mine.first = min(mine.first, i); }
      if (magnitude > INFINITY) { mine.nan++; }
      else if (magnitude == INFINITY) { mine.infinite++; }
      else { mine.largest = max(mine.largest, magnitude); }
    }
    found[thread] = mine;
    workgroupBarrier();
    if (thread > 0u) { return; }
    for (var i = 1u; i < ${THREADS}u; i++) {
      let other = found[i];
      mine.nan += other.nan;
      mine.infinite += other.infinite;
      mine.largest = max(mine.largest, other.largest);
      mine.first = min(mine.first, other.first);
    }
    summary[0] = f32(mine.nan);
    summary[1] = f32(mine.infinite);
    summary[2] = bitcast<f32>(mine.largest);
    summary[3] = f32(mine.first >> 16u);
    summary[4] = f32(mine.first & 0xffffu);
  }`;

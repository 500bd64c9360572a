/**
 * @file 16-bit floats, which JavaScript has no arrays for: F16 (IEEE 754 binary16: 5 bits of exponent, 10 of fraction) and BF16
 * (the upper half of a binary32: 8 and 7). Widening is exact; narrowing rounds to nearest, ties to even, as hardware does.
 */

const scratch = new DataView(new ArrayBuffer(4));

let halfValues: Float32Array | undefined;

/** The values of all 65,536 bit patterns: looking one up is several times faster than computing it. */
function valuesOfHalf(): Float32Array {
  return (halfValues ??= Float32Array.from({ length: 65536 }, (_, bits) => halfToNumber(bits)));
}

function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
}

/** F16 bits as 32-bit floats. */
export function widenHalf(source: Uint16Array, target: Float32Array): void {
  const values = valuesOfHalf();
  for (let i = 0; i < source.length; i++) target[i] = values[source[i]!]!;
}

/** BF16 bits as 32-bit floats. */
export function widenBrain(source: Uint16Array, target: Float32Array): void {
  const bits = new Uint32Array(target.buffer, target.byteOffset, source.length);
  // Two at a time, where they lie in one 32-bit word.
  const pairs = source.byteOffset % 4 === 0 ? source.length >> 1 : 0;
  const words = new Uint32Array(source.buffer, pairs > 0 ? source.byteOffset : 0, pairs);
  for (let i = 0; i < pairs; i++) {
    const word = words[i]!;
    bits[2 * i] = word << 16;
    bits[2 * i + 1] = word & 0xffff0000;
  }
  for (let i = 2 * pairs; i < source.length; i++) bits[i] = source[i]! << 16;
}

/** 32-bit floats as the nearest F16; from 65,520 on that is infinity. */
export function narrowToHalf(values: Float32Array): Uint16Array {
  return Uint16Array.from(values, numberToHalf);
}

function numberToHalf(value: number): number {
  scratch.setFloat32(0, value);
  const bits = scratch.getUint32(0);
  const sign = (bits >>> 16) & 0x8000;
  const size = Math.abs(value);
  if (Number.isNaN(value)) return sign | 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  // The distance to the next F16: 2⁻²⁴ below 2⁻¹⁴, else the number's own power of two · 2⁻¹⁰.
  const exponent = Math.max(-14, ((bits >>> 23) & 255) - 127);
  const steps = roundToEven(size / 2 ** (exponent - 10));
  return sign | (steps < 1024 ? steps : ((exponent + 14) << 10) + steps);
}

/** To the nearest integer, halves to the even one. */
function roundToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

/** 32-bit floats as the nearest BF16. */
export function narrowToBrain(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const narrow = new Uint16Array(values.length);
  for (let i = 0; i < narrow.length; i++) {
    const word = bits[i]!;
    const isNaN = (word & 0x7fffffff) > 0x7f800000;
    narrow[i] = isNaN ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return narrow;
}

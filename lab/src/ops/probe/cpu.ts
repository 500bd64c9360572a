/** @file Probes of the cpu backend: loops in plain JavaScript, which is what that backend is made of. */
import type { Probes } from './probe.ts';

/** Keeps the engine from leaving out loops whose result nobody asks for. */
let result = 0;

export function cpuProbes(largestBytes: number): Probes {
  const memory = new Float32Array(largestBytes / 4).fill(1);
  return {
    largestBytes,
    smallestBytes: 16 * 1024,
    read: (bytes) => ({
      bytes,
      async run(turns) {
        for (let turn = 0; turn < turns; turn++) result = sumOf(memory, bytes / 4);
      },
    }),
    compute: {
      flops: 16,
      async run(turns) {
        result = multiplyAdd(turns, result > 0 ? 0.5 : 0.25);
      },
    },
    call: {
      async run(turns) {
        for (let turn = 0; turn < turns; turn++) result = sumOf(memory, 4);
      },
    },
    dispose: () => {},
  };
}

/** @param length a multiple of four */
function sumOf(values: Float32Array, length: number): number {
  let [a, b, c, d] = [0, 0, 0, 0];
  for (let i = 0; i < length; i += 4) {
    a += values[i]!;
    b += values[i + 1]!;
    c += values[i + 2]!;
    d += values[i + 3]!;
  }
  return a + b + c + d;
}

/** Eight chains, so that one need not wait for another. */
function multiplyAdd(turns: number, factor: number): number {
  let [a, b, c, d, e, f, g, h] = [0, 1, 2, 3, 4, 5, 6, 7];
  for (let turn = 0; turn < turns; turn++) {
    a = a * factor + 1;
    b = b * factor + 1;
    c = c * factor + 1;
    d = d * factor + 1;
    e = e * factor + 1;
    f = f * factor + 1;
    g = g * factor + 1;
    h = h * factor + 1;
  }
  return a + b + c + d + e + f + g + h;
}

/**
 * @file Chapter 07: plausible wrong answers, each under the hint that its author must be given, and right answers that are
 * written differently from the solution.
 */
import type { ChapterMistakes } from 'lab';

interface Grid {
  bits: number;
  scale: number;
  zero: number;
}
interface Shape {
  outputs: number;
  inputs: number;
}

/** By way of the remainder. */
function toEven(x: number): number {
  const rest = Math.abs(x % 1);
  const down = Math.trunc(x);
  if (rest < 0.5 || (rest === 0.5 && down % 2 === 0)) return down;
  return down + Math.sign(x);
}
const largestOf = (weights: Float32Array) => weights.reduce((most, w) => (Math.abs(w) > most ? Math.abs(w) : most), 0);

/** absmax with its parts exchanged. */
const absmaxWith =
  ({
    largest = largestOf,
    levels = (bits: number) => 2 ** (bits - 1) - 1,
    guard = (scale: number) => scale || 1,
    code = (w: number, scale: number) => toEven(w / scale),
    store = (codes: number[]): ArrayLike<number> => Int8Array.from(codes),
    give = (scale: number) => scale,
  }) =>
  (weights: Float32Array, bits: number) => {
    const scale = guard(largest(weights) / levels(bits));
    return { scale: give(scale), codes: store([...weights].map((w) => code(w, scale))) };
  };

/** fitGrid with its parts exchanged. */
const fitWith =
  ({
    range = (weights: Float32Array): [number, number] => [Math.min(...weights, 0), Math.max(...weights, 0)],
    steps = (bits: number) => 2 ** bits - 1,
    zero = (low: number, scale: number, _bits: number) => toEven(-low / scale),
    guard = true,
  }) =>
  (weights: Float32Array, bits: number): Grid => {
    const [low, high] = range(weights);
    if (guard && low === high) return { bits, scale: 1, zero: 0 };
    const scale = (high - low) / steps(bits);
    return { bits, scale, zero: zero(low, scale, bits) };
  };

const encodeWith =
  (code: (w: number, grid: Grid, most: number) => number, store = (codes: number[]): ArrayLike<number> => codes) =>
  (weights: Float32Array, grid: Grid) =>
    store(Array.from(weights, (w) => code(w, grid, 2 ** grid.bits - 1)));
const between = (x: number, most: number) => (x < 0 ? 0 : x > most ? most : x);

const decodeWith = (value: (code: number, grid: Grid) => number) => (codes: Uint8Array, grid: Grid) =>
  Array.from(codes, (code) => value(code, grid));

/** Rounding with any division into groups: the members of a group, and where its grid is kept. */
const groupsWith =
  (
    groupOf: (o: number, i: number, shape: Shape, groupSize: number) => number,
    gridFor: (group: number, shape: Shape, groupSize: number) => number = (group) => group,
  ) =>
  (weights: Float32Array, shape: Shape, bits: number, groupSize: number) => {
    const numbers = Array.from(weights, (_, at) => groupOf(Math.floor(at / shape.inputs), at % shape.inputs, shape, groupSize));
    const count = Math.max(...numbers) + 1;
    const fit = fitWith({});
    const grids = Array.from({ length: count }, (_, group) =>
      fit(
        weights.filter((__, at) => numbers[at] === group),
        bits,
      ),
    );
    const codes = Uint8Array.from(weights, (w, at) => {
      const { scale, zero } = grids[gridFor(numbers[at]!, shape, groupSize)]!;
      return between(toEven(w / scale) + zero, 2 ** bits - 1);
    });
    return { codes, scales: grids.map(({ scale }) => scale), zeros: grids.map(({ zero }) => zero) };
  };
const perRow = ({ inputs }: Shape, groupSize: number) => inputs / groupSize;

const total = (values: ArrayLike<number>, term: (x: number, i: number) => number) => {
  let result = 0;
  for (let i = 0; i < values.length; i++) result += term(values[i]!, i);
  return result;
};
const squares = (values: ArrayLike<number>) => total(values, (x) => x ** 2);
const errorsOf = (weights: Float32Array, rounded: Float32Array) => weights.map((w, i) => rounded[i]! - w);
const noiseWith =
  (finish: (weights: Float32Array, errors: Float32Array, rounded: Float32Array) => number) =>
  (weights: Float32Array, rounded: Float32Array) =>
    finish(weights, errorsOf(weights, rounded), rounded);
const predictedWith = (noise: (scale: number) => number, signal = (w: Float32Array) => squares(w) / w.length) => ({
  predictedSignalToNoise: (weights: Float32Array, scale: number) => 10 * Math.log10(signal(weights) / noise(scale)),
});

/** The search with its parts exchanged. */
const searchWith =
  ({
    bound = (code: number, most: number) => Math.sign(code) * Math.min(Math.abs(code), most),
    terms = (weights: number[], _reach: number) => weights,
    aim = (w: number, _reach: number) => w,
    size = (e: number) => e ** 2,
    finish = (sum: number, count: number) => sum / count,
    choose = (tried: { share: number; error: number }[]) => [...tried].sort((a, b) => a.error - b.error)[0],
  }) =>
  (weights: Float32Array, bits: number, shares: number[]) => {
    const most = 2 ** (bits - 1) - 1;
    const largest = largestOf(weights);
    const tried = shares.map((share) => {
      const reach = share * largest;
      const scale = reach / most;
      const chosen = terms([...weights], reach);
      const sum = total(chosen, (w) => size(aim(w, reach) - scale * bound(toEven(w / scale), most)));
      return { share, error: finish(sum, chosen.length) };
    });
    return choose(tried);
  };

/** Bit by bit. */
function packBits(
  codes: ArrayLike<number>,
  bits: number,
  placeOf = (at: number) => at,
  orderOf = (bit: number) => bit,
): Uint32Array {
  const words = new Uint32Array(Math.ceil((codes.length * bits) / 32));
  for (let i = 0; i < codes.length; i++) {
    for (let bit = 0; bit < bits; bit++) {
      const at = i * bits + bit;
      if ((codes[i]! >> orderOf(bit)) & 1) words[at >> 5]! |= 1 << placeOf(at % 32);
    }
  }
  return words;
}
const packWith =
  (put: (words: Uint32Array, word: number, shift: number, code: number, bits: number) => void) =>
  (codes: Uint8Array, bits: number) => {
    const words = new Uint32Array(Math.ceil((codes.length * bits) / 32));
    codes.forEach((code, i) => put(words, (i * bits) >> 5, (i * bits) & 31, code, bits));
    return words;
  };
const unpackWith =
  (
    get: (words: Uint32Array, word: number, shift: number, bits: number) => number,
    store = (codes: number[]): ArrayLike<number> => codes,
  ) =>
  (words: Uint32Array, bits: number, count: number) =>
    store(Array.from({ length: count }, (_, i) => get(words, (i * bits) >> 5, (i * bits) & 31, bits)));
const orNext = (words: Uint32Array, word: number, value: number) => {
  if (word < words.length) words[word] = words[word]! | value;
};

interface PackedLayer extends Shape {
  groupSize: number;
  words: Uint32Array;
  scales: Float32Array;
  zeros: Float32Array;
}
/** A product that makes each weight where it is needed, with its parts exchanged. */
const linearWith =
  ({
    word = (layer: PackedLayer, o: number, i: number) => layer.words[(o * layer.inputs + i) >>> 3]!,
    code = (packed: number, k: number) => (packed >>> (k * 4)) & 0xf,
    group = (layer: PackedLayer, o: number, i: number) => Math.floor((o * layer.inputs + i) / layer.groupSize),
    weight = (c: number, scale: number, zero: number) => (c - zero) * scale,
  }) =>
  (x: Float32Array, layer: PackedLayer) => {
    const y = new Float64Array(layer.outputs);
    for (let o = 0; o < layer.outputs; o++) {
      for (let i = 0; i < layer.inputs; i++) {
        const g = group(layer, o, i);
        y[o]! += x[i]! * weight(code(word(layer, o, i), i & 7), layer.scales[g]!, layer.zeros[g]!);
      }
    }
    return y;
  };

export default {
  '7.1': {
    mistakes: {
      'halves-up': { roundHalfToEven: (x: number) => Math.floor(x + 0.5) },
      'halves-away': { roundHalfToEven: (x: number) => (x < 0 ? -Math.floor(0.5 - x) : Math.floor(x + 0.5)) },
      truncates: { roundHalfToEven: (x: number) => x - (x % 1), absmax: absmaxWith({ code: (w, scale) => ~~(w / scale) }) },
      'rounds-down': { roundHalfToEven: (x: number) => Math.floor(x) },
      'largest-without-size': { absmax: absmaxWith({ largest: (weights) => Math.max(...weights, 0) }) },
      'one-code-too-many': { absmax: absmaxWith({ levels: (bits) => 2 ** (bits - 1) }) },
      'all-codes-on-one-side': { absmax: absmaxWith({ levels: (bits) => 2 ** bits - 1 }) },
      'upside-down': { absmax: absmaxWith({ give: (scale) => 1 / scale }) },
      'sign-lost': { absmax: absmaxWith({ code: (w, scale) => Math.abs(toEven(w / scale)) }) },
      'sign-wrapped': { absmax: absmaxWith({ store: (codes) => Uint8Array.from(codes) }) },
      'multiplied-by-the-scale': { absmax: absmaxWith({ code: (w, scale) => toEven(w * scale) }) },
      values: { absmax: absmaxWith({ code: (w, scale) => scale * toEven(w / scale), store: (codes) => codes }) },
      'zeros-are-nan': { absmax: absmaxWith({ guard: (scale) => scale }) },
    },
    right: [
      { roundHalfToEven: toEven, absmax: absmaxWith({}) },
      {
        // There is no room for a fraction beside 2^52: the processor rounds by itself.
        roundHalfToEven: (x: number) => x + 1.5 * 2 ** 52 - 1.5 * 2 ** 52,
        absmax: absmaxWith({ store: (codes) => codes, guard: (scale) => Math.max(scale, 1e-30) }),
      },
    ],
  },
  '7.2': {
    mistakes: {
      'range-without-zero': { fitGrid: fitWith({ range: (weights) => [Math.min(...weights), Math.max(...weights)] }) },
      'levels-not-steps': { fitGrid: fitWith({ steps: (bits) => 2 ** bits }) },
      'zero-off-by-one': { fitGrid: fitWith({ zero: (low, scale) => toEven(-low / scale) - 1 }) },
      'zero-with-the-wrong-sign': { fitGrid: fitWith({ zero: (low, scale) => toEven(low / scale) }) },
      'zero-in-the-middle': { fitGrid: fitWith({ zero: (_low, _scale, bits) => 1 << (bits - 1) }) },
      'zero-not-whole': { fitGrid: fitWith({ zero: (low, scale) => Math.abs(low) / scale }) },
      'zero-as-weight': { fitGrid: fitWith({ zero: (low) => low }) },
      'zeros-are-nan': { fitGrid: fitWith({ guard: false }) },
      'not-clamped': { encodeWeights: encodeWith((w, { scale, zero }) => toEven(w / scale) + zero) },
      'wrapped-around': {
        encodeWeights: encodeWith(
          (w, { scale, zero }) => toEven(w / scale) + zero,
          (codes) => Uint8Array.from(codes),
        ),
      },
      'clamped-before-the-zero': {
        encodeWeights: encodeWith((w, { scale, zero }, most) => between(toEven(w / scale), most) + zero),
      },
      'zero-left-out': { encodeWeights: encodeWith((w, { scale }, most) => between(toEven(w / scale), most)) },
      truncates: { encodeWeights: encodeWith((w, { scale, zero }, most) => between(~~(w / scale) + zero, most)) },
      'rounds-down': { encodeWeights: encodeWith((w, { scale, zero }, most) => between(Math.floor(w / scale + zero), most)) },
      'zero-added': { decodeWeights: decodeWith((code, { scale, zero }) => scale * (code + zero)) },
      'zero-after-the-scale': { decodeWeights: decodeWith((code, { scale, zero }) => scale * code - zero) },
    },
    right: [
      {
        fitGrid: fitWith({}),
        encodeWeights: encodeWith((w, { scale, zero }, most) => between(toEven(w / scale) + zero, most)),
        decodeWeights: decodeWith((code, { scale, zero }) => scale * code - scale * zero),
      },
      {
        // Halves do not matter here: Math.round will do.
        fitGrid: fitWith({ zero: (low, scale) => Math.round(-low / scale) }),
        encodeWeights: encodeWith((w, { scale, zero }, most) => Math.max(0, Math.min(most, zero + Math.round(w / scale)))),
        decodeWeights: decodeWith((code, { scale, zero }) => (code - zero) / (1 / scale)),
      },
    ],
  },
  '7.3': {
    mistakes: {
      'one-grid-for-all': { quantizeGroups: groupsWith(() => 0) },
      'one-grid-for-a-row': { quantizeGroups: groupsWith((o) => o) },
      'down-the-columns': { quantizeGroups: groupsWith((o, i, { inputs }, size) => Math.floor(o / size) * inputs + i) },
      'size-taken-for-number': {
        quantizeGroups: groupsWith((o, i, { inputs }, number) => o * number + Math.floor((i * number) / inputs)),
      },
      'groups-before-outputs': { quantizeGroups: groupsWith((o, i, { outputs }, size) => Math.floor(i / size) * outputs + o) },
      'grids-of-the-first-row': {
        quantizeGroups: (weights: Float32Array, shape: Shape, bits: number, groupSize: number) => {
          const right = groupsWith((o, i, all, size) => o * perRow(all, size) + Math.floor(i / size));
          const { codes, scales, zeros } = right(weights, shape, bits, groupSize);
          const groups = perRow(shape, groupSize);
          return { codes, scales: scales.map((_, g) => scales[g % groups]!), zeros: zeros.map((_, g) => zeros[g % groups]!) };
        },
      },
      'codes-on-the-first-grid': {
        quantizeGroups: groupsWith(
          (o, i, shape, size) => o * perRow(shape, size) + Math.floor(i / size),
          (group, shape, size) => group - (group % perRow(shape, size)),
        ),
      },
    },
    right: [
      { quantizeGroups: groupsWith((o, i, shape, size) => o * perRow(shape, size) + Math.floor(i / size)) },
      {
        quantizeGroups: (weights: Float32Array, { outputs, inputs }: Shape, bits: number, groupSize: number) => {
          const codes: number[] = [];
          const scales: number[] = [];
          const zeros: number[] = [];
          for (let o = 0; o < outputs; o++) {
            for (let first = 0; first < inputs; first += groupSize) {
              const run = weights.slice(o * inputs + first, o * inputs + first + groupSize);
              const { scale, zero } = fitWith({})(run, bits);
              scales.push(scale);
              zeros.push(zero);
              codes.push(...Array.from(run, (w) => between(toEven(w / scale) + zero, 2 ** bits - 1)));
            }
          }
          return { codes, scales, zeros };
        },
      },
    ],
  },
  '7.4': {
    mistakes: {
      'twice-the-decibels': { signalToNoise: noiseWith((w, e) => 20 * Math.log10(squares(w) / squares(e))) },
      'noise-over-signal': { signalToNoise: noiseWith((w, e) => 10 * Math.log10(squares(e) / squares(w))) },
      'not-in-decibels': { signalToNoise: noiseWith((w, e) => squares(w) / squares(e)) },
      'natural-logarithm': { signalToNoise: noiseWith((w, e) => 10 * Math.log(squares(w) / squares(e))) },
      'sizes-not-squares': {
        signalToNoise: noiseWith((w, e) => 10 * Math.log10(total(w, (x) => Math.abs(x)) / total(e, (x) => Math.abs(x)))),
      },
      'rounded-for-the-signal': { signalToNoise: noiseWith((_, e, q) => 10 * Math.log10(squares(q) / squares(e))) },
      'the-whole-step': predictedWith((scale) => scale * scale),
      'half-a-step': predictedWith((scale) => (scale / 2) ** 2),
      'a-step-to-both-sides': predictedWith((scale) => (2 * scale) ** 2 / 12),
      'step-not-squared': predictedWith((scale) => scale / 12),
      'signal-not-mean': predictedWith((scale) => scale ** 2 / 12, squares),
    },
    right: [
      {
        signalToNoise: noiseWith((w, e) => 20 * Math.log10(Math.hypot(...w) / Math.hypot(...e))),
        ...predictedWith((scale) => scale ** 2 / 12),
      },
      {
        signalToNoise: noiseWith((w, e) => 10 * (Math.log10(squares(w)) - Math.log10(squares(e)))),
        predictedSignalToNoise: (weights: Float32Array, scale: number) =>
          20 * Math.log10((Math.sqrt(12) * Math.hypot(...weights)) / (scale * Math.sqrt(weights.length))),
      },
    ],
  },
  '7.5': {
    mistakes: {
      'not-clamped': { searchClip: searchWith({ bound: (code) => code }) },
      'ignores-what-is-cut': {
        searchClip: searchWith({ terms: (weights, reach) => weights.filter((w) => w <= reach && w >= -reach) }),
      },
      'compares-with-the-clipped': {
        searchClip: searchWith({ aim: (w, reach) => (w > reach ? reach : w < -reach ? -reach : w) }),
      },
      'sizes-not-squares': { searchClip: searchWith({ size: (e) => (e < 0 ? -e : e) }) },
      'sum-not-mean': { searchClip: searchWith({ finish: (sum) => sum }) },
      'root-of-the-mean': { searchClip: searchWith({ finish: (sum, count) => (sum / count) ** 0.5 }) },
      'the-worst': { searchClip: searchWith({ choose: (tried) => [...tried].sort((a, b) => b.error - a.error)[0] }) },
      'the-last': { searchClip: searchWith({ choose: (tried) => tried.at(-1) }) },
      'the-first': { searchClip: searchWith({ choose: (tried) => tried[0] }) },
    },
    right: [
      { searchClip: searchWith({}) },
      {
        // The squares of what is cut off, and of what is rounded, apart.
        searchClip: (weights: Float32Array, bits: number, shares: number[]) => {
          const most = 2 ** (bits - 1) - 1;
          const whole = largestOf(weights) / most;
          const errors = shares.map((share) => {
            const [scale, reach] = [share * whole, share * whole * most];
            const cut = total(weights, (w) => Math.max(0, Math.abs(w) - reach) ** 2);
            const kept = total(weights, (w) => (Math.abs(w) > reach ? 0 : (w - scale * toEven(w / scale)) ** 2));
            return (cut + kept) / weights.length;
          });
          const error = Math.min(...errors);
          return { share: shares[errors.indexOf(error)]!, error };
        },
      },
    ],
  },
  '7.6': {
    mistakes: {
      'highest-bits-first': {
        pack: (codes: Uint8Array, bits: number) =>
          packBits(
            codes,
            bits,
            (at) => 31 - at,
            (bit) => bits - 1 - bit,
          ),
      },
      'straddling-lost': {
        pack: packWith((words, word, shift, code) => orNext(words, word, code << shift)),
        unpack: unpackWith((words, word, shift, bits) => (words[word]! >>> shift) & (2 ** bits - 1)),
      },
      'gaps-at-the-end-of-words': {
        pack: (codes: Uint8Array, bits: number) => {
          const inWord = Math.floor(32 / bits);
          const words = new Uint32Array(Math.ceil(codes.length / inWord));
          codes.forEach((code, i) => orNext(words, Math.floor(i / inWord), code << (bits * (i % inWord))));
          return words;
        },
      },
      overwritten: {
        pack: packWith((words, word, shift, code, bits) => {
          words[word] = code << shift;
          if (shift + bits > 32) words[word + 1] = code >>> (32 - shift);
        }),
      },
      'shift-by-32': {
        pack: packWith((words, word, shift, code) => {
          orNext(words, word, code << shift);
          orNext(words, word + 1, code >>> (32 - shift));
        }),
        unpack: unpackWith(
          (words, word, shift, bits) => ((words[word]! >>> shift) | (words[word + 1]! << (32 - shift))) & ((1 << bits) - 1),
        ),
      },
      'a-word-for-each': { pack: (codes: Uint8Array) => Uint32Array.from(codes) },
      'not-masked': {
        unpack: unpackWith(
          (words, word, shift, bits) => (words[word]! >>> shift) | (shift + bits > 32 ? words[word + 1]! << (32 - shift) : 0),
          (codes) => Uint8Array.from(codes),
        ),
      },
      'sign-smeared': {
        unpack: unpackWith(
          (words, word, shift, bits) =>
            ((words[word]! >> shift) | (shift + bits > 32 ? words[word + 1]! << (32 - shift) : 0)) & (2 ** bits - 1),
        ),
      },
      signed: {
        unpack: (words: Uint32Array, bits: number, count: number) =>
          Array.from({ length: count }, (_, i) => {
            const at = i * bits;
            const low = words[at >> 5]! >>> (at & 31);
            const all = low | ((at & 31) + bits > 32 ? words[(at >> 5) + 1]! << (32 - (at & 31)) : 0);
            return (all << (32 - bits)) >> (32 - bits);
          }),
      },
    },
    right: [
      {
        pack: (codes: Uint8Array, bits: number) => packBits(codes, bits),
        unpack: (words: Uint32Array, bits: number, count: number) =>
          Uint8Array.from({ length: count }, (_, i) => {
            let code = 0;
            for (let bit = 0; bit < bits; bit++) {
              const at = i * bits + bit;
              code += ((words[Math.floor(at / 32)]! >>> (at % 32)) & 1) * 2 ** bit;
            }
            return code;
          }),
      },
      {
        // A buffer of bits that words are taken from, or put into, when it is full.
        pack: (codes: Uint8Array, bits: number) => {
          const words: number[] = [];
          let [buffer, held] = [0n, 0n];
          for (const code of codes) {
            buffer |= BigInt(code) << held;
            held += BigInt(bits);
            if (held < 32n) continue;
            words.push(Number(buffer & 0xffffffffn));
            buffer >>= 32n;
            held -= 32n;
          }
          if (held > 0n) words.push(Number(buffer));
          return words;
        },
        unpack: (words: Uint32Array, bits: number, count: number) => {
          const codes: number[] = [];
          let [buffer, held, word] = [0n, 0, 0];
          while (codes.length < count) {
            if (held < bits) {
              buffer |= BigInt(words[word++]!) << BigInt(held);
              held += 32;
            }
            codes.push(Number(buffer & ((1n << BigInt(bits)) - 1n)));
            buffer >>= BigInt(bits);
            held -= bits;
          }
          return codes;
        },
      },
    ],
  },
  '7.7': {
    mistakes: {
      'zeros-left-out': { packedLinear: linearWith({ weight: (c, scale) => c * scale }) },
      'zero-outside-the-scale': { packedLinear: linearWith({ weight: (c, scale, zero) => c * scale - zero }) },
      'scales-left-out': { packedLinear: linearWith({ weight: (c, _, zero) => c - zero }) },
      'first-group-only': { packedLinear: linearWith({ group: ({ inputs, groupSize }, o) => o * (inputs / groupSize) }) },
      'grids-of-the-first-row': { packedLinear: linearWith({ group: ({ groupSize }, _, i) => Math.floor(i / groupSize) }) },
      'words-of-the-first-row': { packedLinear: linearWith({ word: ({ words }, _, i) => words[i >>> 3]! }) },
      'highest-bits-first': { packedLinear: linearWith({ code: (packed, k) => (packed >>> (28 - 4 * k)) & 15 }) },
      'not-masked': { packedLinear: linearWith({ code: (packed, k) => packed >>> (4 * k) }) },
      'codes-signed': { packedLinear: linearWith({ code: (packed, k) => (packed << (28 - 4 * k)) >> 28 }) },
    },
    right: [
      { packedLinear: linearWith({}) },
      {
        // Σ x (code - zero) = Σ x code - zero Σ x
        packedLinear: (x: Float32Array, { outputs, inputs, groupSize, words, scales, zeros }: PackedLayer) =>
          Array.from({ length: outputs }, (_, o) => {
            let y = 0;
            for (let g = 0; g < inputs / groupSize; g++) {
              const run = x.subarray(g * groupSize, (g + 1) * groupSize);
              const at = (o * inputs) / groupSize + g;
              const withCodes = total(run, (input, i) => {
                const place = at * groupSize + i;
                return input * ((words[Math.floor(place / 8)]! >>> (4 * (place % 8))) % 16);
              });
              y += scales[at]! * (withCodes - zeros[at]! * total(run, (input) => input));
            }
            return y;
          }),
      },
    ],
  },
} satisfies ChapterMistakes;

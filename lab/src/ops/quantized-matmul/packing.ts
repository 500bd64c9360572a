/** @file Codes to packed words and back, exactly. */
import { invariant } from '../../base/index.ts';
import { codesInRun, packedLayout, wordsInRun, type BitWidth, type PackedLayout } from './layout.ts';

export interface PackOptions {
  readonly outputs: number;
  readonly inputs: number;
  readonly bits: BitWidth;
  /** Neighbouring inputs that share a scale; all inputs of a row unless told. */
  readonly groupSize?: number;
  /** [outputs, groups] */
  readonly scales: Float32Array;
  /** [outputs, groups], in the units of the values; the middle of the codes (0 for signed values) unless told. */
  readonly zeros?: Float32Array | null;
  /** The group of each input, [inputs], where they are not runs of neighbours: g_idx in GPTQ checkpoints. */
  readonly groupIndex?: Int32Array | null;
}

/** Packed weights as plain data: what a file holds. The layout is described in layout.ts. */
export interface PackedWeights {
  readonly outputs: number;
  readonly inputs: number;
  readonly bits: BitWidth;
  readonly groupSize: number;
  readonly words: Int32Array;
  readonly scales: Float32Array;
  readonly zeros: Float32Array | null;
  readonly order: Int32Array | null;
}

export interface UnpackedWeights {
  /** [outputs, inputs], 0 … 2^bits − 1 */
  readonly codes: Uint8Array;
  /** [outputs, groups] */
  readonly scales: Float32Array;
  /** [outputs, groups], in the units of the codes */
  readonly zeros: Float32Array;
  /** [inputs] */
  readonly groupIndex: Int32Array;
}

/**
 * @param values [outputs, inputs]: codes 0 … 2^bits − 1 in a Uint8Array, or signed ones from −2^(bits − 1) on in an Int8Array
 * @throws RangeError naming the first value, scale, zero or group that does not belong.
 */
export function packWeights(values: Uint8Array | Int8Array, options: PackOptions): PackedWeights {
  const { outputs, inputs, bits, groupSize = inputs, scales } = options;
  const layout = packedLayout({ outputs, inputs, bits, groupSize });
  const middle = values instanceof Int8Array ? 2 ** (bits - 1) : 0;
  checkValues(values, layout, middle);
  checkGroupNumbers('scale', scales, layout);
  const zeros = options.zeros?.map((zero) => zero + middle) ?? null;
  if (zeros) checkGroupNumbers('zero', zeros, layout);
  const order = orderOf(options.groupIndex ?? null, layout);
  const words = new Int32Array(outputs * layout.wordsInRow);
  const fields = Array.from({ length: inputs }, (_, place) => fieldsOf(layout, place));
  for (let output = 0; output < outputs; output++) {
    for (let place = 0; place < inputs; place++) {
      const code = values[output * inputs + (order ? order[place]! : place)]! + middle;
      for (const { word, shift, low, bits: width } of fields[place]!) {
        words[output * layout.wordsInRow + word]! |= ((code >> low) & (2 ** width - 1)) << shift;
      }
    }
  }
  return { outputs, inputs, bits, groupSize, words, scales: scales.slice(), zeros, order };
}

/** What was packed; signed values are the codes − 2^(bits − 1). */
export function unpackWeights(packed: PackedWeights): UnpackedWeights {
  const { outputs, inputs, bits, groupSize, words, scales, zeros, order } = packed;
  const layout = packedLayout({ outputs, inputs, bits, groupSize });
  const codes = new Uint8Array(outputs * inputs);
  for (let place = 0; place < inputs; place++) {
    const input = order ? order[place]! : place;
    for (const { word, shift, low, bits: width } of fieldsOf(layout, place)) {
      for (let output = 0; output < outputs; output++) {
        codes[output * inputs + input]! |= ((words[output * layout.wordsInRow + word]! >>> shift) & (2 ** width - 1)) << low;
      }
    }
  }
  const groupIndex = new Int32Array(inputs);
  for (let place = 0; place < inputs; place++) groupIndex[order ? order[place]! : place] = Math.floor(place / groupSize);
  return { codes, scales: scales.slice(), zeros: zeros?.slice() ?? scales.map(() => 2 ** (bits - 1)), groupIndex };
}

/** Some bits of a code: those from `low` on lie in a word of the row, from `shift` on. */
interface Field {
  readonly word: number;
  readonly shift: number;
  readonly low: number;
  readonly bits: number;
}

/** Where the code of a place lies, padding not counted. */
function fieldsOf({ bits, groupSize, paddedGroup }: PackedLayout, place: number): Field[] {
  const padded = Math.floor(place / groupSize) * paddedGroup + (place % groupSize);
  const run = Math.floor(padded / codesInRun(bits));
  const inRun = padded % codesInRun(bits);
  const [lane, k] = [inRun % 4, inRun >> 2];
  const word = run * wordsInRun(bits) + lane;
  if (bits !== 3) return [{ word, shift: k * bits, low: 0, bits }];
  return [
    { word: word + 4 * (k >> 4), shift: 2 * (k & 15), low: 0, bits: 2 },
    { word: word + 8, shift: k, low: 2, bits: 1 },
  ];
}

/** The inputs sorted by their groups, those of a group in their order; null when they are sorted already. */
function orderOf(groupIndex: Int32Array | null, { inputs, groups, groupSize }: PackedLayout): Int32Array | null {
  if (!groupIndex) return null;
  invariant(groupIndex.length === inputs, () => `packWeights: groupIndex must have ${inputs} entries, got ${groupIndex.length}`);
  const members = Array.from({ length: groups }, (): number[] => []);
  for (const [input, group] of groupIndex.entries()) {
    invariant(group >= 0 && group < groups, () => `packWeights: input ${input} is in group ${group}, but there are ${groups}`);
    members[group]!.push(input);
  }
  for (const [group, { length }] of members.entries()) {
    invariant(length === groupSize, () => `packWeights: group ${group} has ${length} inputs, not groupSize ${groupSize}`);
  }
  const order = Int32Array.from(members.flat());
  return order.every((input, place) => input === place) ? null : order;
}

function checkValues(values: Uint8Array | Int8Array, { outputs, inputs, bits }: PackedLayout, middle: number): void {
  invariant(
    values.length === outputs * inputs,
    () => `packWeights: ${outputs} × ${inputs} weights need ${outputs * inputs} values, got ${values.length}`,
  );
  const [least, most] = [-middle, 2 ** bits - 1 - middle];
  const wrong = values.findIndex((value) => value < least || value > most);
  invariant(
    wrong < 0,
    () =>
      `packWeights: with ${bits} bits values are ${least} … ${most}, ` +
      `but output ${Math.floor(wrong / inputs)}, input ${wrong % inputs} is ${values[wrong]}`,
  );
}

function checkGroupNumbers(what: string, numbers: Float32Array, { outputs, groups }: PackedLayout): void {
  invariant(
    numbers.length === outputs * groups,
    () => `packWeights: ${outputs} outputs of ${groups} groups need ${outputs * groups} ${what}s, got ${numbers.length}`,
  );
  const wrong = numbers.findIndex((number) => !Number.isFinite(number));
  invariant(
    wrong < 0,
    () =>
      `packWeights: the ${what} of output ${Math.floor(wrong / groups)}, group ${wrong % groups} is ${numbers[wrong]}; ` +
      'it must be a finite number',
  );
}

/**
 * @file How quantized weights lie in memory: one layout for all bit widths, made so that a kernel reads a row forward in runs
 * of 16 bytes, and finds four neighbouring weights in the four lanes of a vector after one shift and one mask.
 *
 * A weight is scale · (code − zero), its code an unsigned number of `bits` bits. `groupSize` neighbouring inputs of a row share
 * a scale and a zero point. Rows are outputs, as in PyTorch.
 *
 * - **words** [O, words in a row] int32. A row is its groups one after the other. A group is whole runs, or several groups make
 *   a run, if that is so without a rest and a kernel can take them in steps of 16 codes: 32 codes of 3 bits are a quarter of a
 *   run. What a group leaves of its last run, or the last group of its row, is filled with zero bits.
 * - **2, 4, 8 bits**: a run is four words, 128 / bits codes. Word j (0 … 3) holds code 4 k + j in its bits from k · bits on: at
 *   4 bits word 0 has, from the lowest nibble up, the codes 0, 4, 8, … 28; word 1 the codes 1, 5, 9, … 29.
 * - **3 bits**: a run is twelve words, 128 codes. The low two bits of the codes 0 … 63 are a run of 2 bits, those of 64 … 127
 *   the next; the last four words have the high bits: word j holds that of code 4 k + j in its bit k.
 * - **scales** [O, groups] float32; **zeros** [O, groups] float32, in the units of the codes and not necessarily integers.
 *   Without zeros all are 2^(bits − 1), the middle: signed, symmetric weights.
 * - **order** [I] int32, only where the groups are not runs of neighbours (GPTQ's act-order): place p of the packed rows,
 *   padding not counted, belongs to input order[p].
 *
 * Bytes for each weight at 4 bits, groups of 128: 1/2 + 4/128 for the scale + 4/128 for the zero = 0.5625, 1/7.1 of float32.
 *
 * A GPTQ checkpoint has the same codes: at 4 bits its qweight [I / 8, O] holds code 8 r + k of output o in nibble k of word
 * [r, o]; its g_idx is `groupIndex` in packing.ts.
 */
import { invariant } from '../../base/index.ts';

export const BIT_WIDTHS = [2, 3, 4, 8] as const;
export type BitWidth = (typeof BIT_WIDTHS)[number];

/** The sizes that follow from the shape of the weights. */
export interface PackedLayout {
  readonly outputs: number;
  readonly inputs: number;
  readonly bits: BitWidth;
  readonly groupSize: number;
  readonly groups: number;
  /** Places of a group: `groupSize`, rounded up to whole runs unless several groups make a run. */
  readonly paddedGroup: number;
  /** Places of a row, in whole runs. */
  readonly places: number;
  readonly wordsInRow: number;
}

/** Codes in a run. */
export function codesInRun(bits: BitWidth): number {
  return bits === 3 ? 128 : 128 / bits;
}

/** Codes that a kernel decodes at once, with one scale. */
const STEP = 16;

export function wordsInRun(bits: BitWidth): number {
  return bits === 3 ? 12 : 4;
}

/** @throws RangeError for bits that there are not, and for groups that do not divide the inputs. */
export function packedLayout(shape: Pick<PackedLayout, 'outputs' | 'inputs' | 'bits' | 'groupSize'>): PackedLayout {
  const { outputs, inputs, bits, groupSize } = shape;
  const known = BIT_WIDTHS.includes(bits);
  invariant(known, () => `quantized weights: bits must be one of ${BIT_WIDTHS.join(', ')}, got ${bits}`);
  for (const [name, size] of Object.entries({ outputs, inputs, groupSize })) {
    invariant(Number.isInteger(size) && size > 0, () => `quantized weights: ${name} must be a positive integer, got ${size}`);
  }
  invariant(
    inputs % groupSize === 0,
    () => `quantized weights: groupSize ${groupSize} must divide the ${inputs} inputs; ${inputs} itself makes one group of a row`,
  );
  const groups = inputs / groupSize;
  const run = codesInRun(bits);
  const inWholeRuns = (codes: number): number => Math.ceil(codes / run) * run;
  const paddedGroup = run % groupSize === 0 && groupSize % STEP === 0 ? groupSize : inWholeRuns(groupSize);
  const places = inWholeRuns(groups * paddedGroup);
  return {
    outputs,
    inputs,
    bits,
    groupSize,
    groups,
    paddedGroup,
    places,
    wordsInRow: (places / run) * wordsInRun(bits),
  };
}

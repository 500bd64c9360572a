/**
 * @file A quantized matrix as a GPTQ checkpoint holds it, bit for bit (AutoGPTQ, GPTQModel; references: their QuantLinear.pack).
 *
 * Codes of b bits are streams of bits in words of 32, the lowest bit first; with 3 bits some lie in two words.
 * - **qweight** int32 [I · b/32, O]: a stream for each output, along the inputs;
 * - **qzeros** int32 [G, O · b/32]: a stream for each group, along the outputs. Format `gptq` (v1) stores zero − 1, `gptq_v2` zero.
 *   A zero of 0 has no place in v1: some programs store the highest code, others let it borrow from its neighbour (GPTQModel).
 *   It is never written so here, and read as the former;
 * - **scales** float16 [G, O];
 * - **g_idx** int32 [I]: the group of each input.
 *
 * Shapes: O outputs, I inputs, G groups.
 */
import { invariant } from '../base/index.ts';
import type { BitWidth } from '../ops/index.ts';
import type { QuantizedMatrix } from '../quantize/index.ts';

export const GPTQ_FORMATS = ['gptq', 'gptq_v2'] as const;
export type GPTQFormat = (typeof GPTQ_FORMATS)[number];

export interface GPTQArrays {
  readonly qweight: Int32Array;
  readonly qzeros: Int32Array;
  readonly scales: Float32Array;
  readonly g_idx: Int32Array;
}

/** So many streams of so many codes. */
interface Streams {
  readonly count: number;
  readonly streams: number;
  readonly bits: BitWidth;
}

/** The number of words that hold so many codes; they must fill them. */
export function wordsFor(codes: number, bits: BitWidth): number {
  invariant(
    (codes * bits) % 32 === 0,
    () => `a GPTQ checkpoint packs ${bits}-bit codes into words of 32 bits, which ${codes} of them do not fill`,
  );
  return (codes * bits) / 32;
}

/**
 * @throws RangeError when codes do not fill their words, or a zero point is no code, which the format cannot hold.
 */
export function packGPTQ(matrix: QuantizedMatrix, format: GPTQFormat): GPTQArrays {
  const { outputs, inputs, bits, groupSize, codes, scales, zeros, groupIndex } = matrix;
  const groups = inputs / groupSize;
  const most = 2 ** bits - 1;
  const wrong = zeros.find((zero) => !(Number.isInteger(zero) && zero >= 0 && zero <= most));
  invariant(wrong === undefined, () => `a GPTQ checkpoint's zero points are codes 0 … ${most}, but one is ${wrong}`);
  invariant(
    format === 'gptq_v2' || holdsZeros(matrix),
    "a zero point of 0 has no place in checkpointFormat 'gptq', which stores zero − 1; 'gptq_v2' can hold it",
  );
  const qweight = new Int32Array(wordsFor(inputs, bits) * outputs);
  pack(qweight, { count: inputs, streams: outputs, bits }, outputs, 1, (input, output) => codes[output * inputs + input]!);
  const inRow = wordsFor(outputs, bits);
  const qzeros = new Int32Array(groups * inRow);
  const less = format === 'gptq' ? 1 : 0;
  pack(qzeros, { count: outputs, streams: groups, bits }, 1, inRow, (output, group) => zeros[output * groups + group]! - less);
  return {
    qweight,
    qzeros,
    scales: turned(scales, outputs, groups),
    g_idx: groupIndex?.slice() ?? Int32Array.from({ length: inputs }, (_, input) => Math.floor(input / groupSize)),
  };
}

/** What was packed. The arrays must have the lengths that belong to the shape. */
export function unpackGPTQ(
  { qweight, qzeros, scales, g_idx }: GPTQArrays,
  { outputs, inputs, bits, groupSize }: Pick<QuantizedMatrix, 'outputs' | 'inputs' | 'bits' | 'groupSize'>,
  format: GPTQFormat,
): QuantizedMatrix {
  const groups = inputs / groupSize;
  const codes = new Uint8Array(outputs * inputs);
  unpack(qweight, { count: inputs, streams: outputs, bits }, outputs, 1, (input, output, code) => {
    codes[output * inputs + input] = code;
  });
  const zeros = new Float32Array(outputs * groups);
  const most = 2 ** bits - 1;
  unpack(qzeros, { count: outputs, streams: groups, bits }, 1, wordsFor(outputs, bits), (output, group, code) => {
    zeros[output * groups + group] = format === 'gptq' ? (code + 1) & most : code;
  });
  const isRuns = g_idx.every((group, input) => group === Math.floor(input / groupSize));
  const groupIndex = isRuns ? null : g_idx.slice();
  return { outputs, inputs, bits, groupSize, codes, scales: turned(scales, groups, outputs), zeros, groupIndex };
}

/** Whether the zero points can be written less one. */
export function holdsZeros({ zeros }: QuantizedMatrix): boolean {
  return zeros.every((zero) => zero >= 1);
}

/** Several matrices with the same inputs as one, output after output. */
export function joinOutputs(matrices: readonly QuantizedMatrix[]): QuantizedMatrix {
  const [first] = matrices as [QuantizedMatrix];
  const joined = (part: 'scales' | 'zeros'): Float32Array => Float32Array.from(matrices.flatMap((matrix) => [...matrix[part]]));
  const codes = new Uint8Array(matrices.reduce((sum, matrix) => sum + matrix.codes.length, 0));
  let at = 0;
  for (const matrix of matrices) {
    codes.set(matrix.codes, at);
    at += matrix.codes.length;
  }
  const outputs = codes.length / first.inputs;
  return { ...first, outputs, codes, scales: joined('scales'), zeros: joined('zeros') };
}

/** A matrix as several with the same number of outputs. */
export function splitOutputs(matrix: QuantizedMatrix, parts: number): QuantizedMatrix[] {
  const { codes, scales, zeros } = matrix;
  const part = <T extends Uint8Array | Float32Array>(array: T, i: number): T =>
    array.slice((i * array.length) / parts, ((i + 1) * array.length) / parts) as T;
  return Array.from({ length: parts }, (_, i) => ({
    ...matrix,
    outputs: matrix.outputs / parts,
    codes: part(codes, i),
    scales: part(scales, i),
    zeros: part(zeros, i),
  }));
}

/** Word w of stream s lies at w · wordStep + s · streamStep. */
function pack(
  words: Int32Array,
  { count, streams, bits }: Streams,
  wordStep: number,
  streamStep: number,
  codeOf: (k: number, stream: number) => number,
): void {
  for (let k = 0; k < count; k++) {
    const [word, shift] = [(k * bits) >> 5, (k * bits) & 31];
    for (let stream = 0; stream < streams; stream++) {
      const code = codeOf(k, stream);
      const at = word * wordStep + stream * streamStep;
      words[at]! |= code << shift;
      if (shift + bits > 32) words[at + wordStep]! |= code >>> (32 - shift);
    }
  }
}

function unpack(
  words: Int32Array,
  { count, streams, bits }: Streams,
  wordStep: number,
  streamStep: number,
  take: (k: number, stream: number, code: number) => void,
): void {
  const mask = 2 ** bits - 1;
  for (let k = 0; k < count; k++) {
    const [word, shift] = [(k * bits) >> 5, (k * bits) & 31];
    for (let stream = 0; stream < streams; stream++) {
      const at = word * wordStep + stream * streamStep;
      const low = words[at]! >>> shift;
      const high = shift + bits > 32 ? words[at + wordStep]! << (32 - shift) : 0;
      take(k, stream, (low | high) & mask);
    }
  }
}

/** [rows, columns] → [columns, rows] */
function turned(matrix: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from({ length: matrix.length }, (_, at) => matrix[(at % rows) * columns + Math.floor(at / rows)]!);
}

/**
 * @file The operations on rows and elements in double precision, by their definitions, and gradients by finite differences.
 */

export type Numbers = Float64Array;

/** Rows of that width, each through f. */
function byRow(x: Numbers, width: number, f: (row: Numbers, index: number) => ArrayLike<number>): Numbers {
  const parts = Array.from({ length: x.length / width }, (_, row) => f(x.subarray(row * width, (row + 1) * width), row));
  return Float64Array.from(parts.flatMap((part) => Array.from(part)));
}

const mean = (x: Numbers): number => x.reduce((a, b) => a + b, 0) / x.length;

export const layerNormTruth = (x: Numbers, gain: Numbers, bias: Numbers | undefined, epsilon: number): Numbers =>
  byRow(x, gain.length, (row) => {
    const middle = mean(row);
    const deviation = Math.sqrt(mean(row.map((v) => (v - middle) ** 2)) + epsilon);
    return row.map((v, i) => ((v - middle) / deviation) * gain[i]! + (bias?.[i] ?? 0));
  });

export const rmsNormTruth = (x: Numbers, gain: Numbers, epsilon: number): Numbers =>
  byRow(x, gain.length, (row) => {
    const root = Math.sqrt(mean(row.map((v) => v * v)) + epsilon);
    return row.map((v, i) => (v / root) * gain[i]!);
  });

/** One loss a row; 0 where the target is `ignored`. */
export const crossEntropyTruth = (logits: Numbers, targets: readonly number[], ignored?: number): Numbers =>
  byRow(logits, logits.length / targets.length, (row, i) => {
    if (targets[i] === ignored) return [0];
    const top = row.reduce((a, b) => Math.max(a, b), -Infinity);
    return [Math.log(row.reduce((sum, v) => sum + Math.exp(v - top), 0)) + top - row[targets[i]!]!];
  });

export const geluTruth = (x: Numbers): Numbers =>
  x.map((v) => (v / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3))));

export const swigluTruth = (gate: Numbers, up: Numbers): Numbers => gate.map((g, i) => (g / (1 + Math.exp(-g))) * up[i]!);

/** The rows of the table [V, D] that the ids name. */
export const embeddingTruth = (table: Numbers, width: number, ids: readonly number[]): Numbers =>
  Float64Array.from(ids.flatMap((id) => Array.from(table.subarray(id * width, (id + 1) * width))));

/** Su et al. 2021, equation 34, with number i beside number i + S/2. x [B, H, T, S] */
export const rotaryTruth = (x: Numbers, tokens: number, headSize: number, base: number, offset: number): Numbers =>
  byRow(x, headSize, (row, index) =>
    row.map((v, i) => {
      const half = headSize / 2;
      const angle = (offset + (index % tokens)) * base ** (-(2 * (i % half)) / headSize);
      const other = i < half ? -row[i + half]! : row[i - half]!;
      return v * Math.cos(angle) + other * Math.sin(angle);
    }),
  );

/** The gradient of Σ upstream · f(inputs) for each input, by central differences. */
export function gradientsTruth(
  f: (...inputs: Numbers[]) => Numbers,
  inputs: readonly Numbers[],
  upstream: ArrayLike<number>,
): Numbers[] {
  const step = 1e-5;
  return inputs.map((input, which) =>
    input.map((value, at) => {
      const moved = (to: number): Numbers =>
        f(...inputs.map((x, i) => (i === which ? x.map((v, j) => (j === at ? to : v)) : x)));
      const [above, below] = [moved(value + step), moved(value - step)];
      return above.reduce((sum, v, i) => sum + (v - below[i]!) * upstream[i]!, 0) / (2 * step);
    }),
  );
}

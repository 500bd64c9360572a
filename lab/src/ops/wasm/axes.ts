/**
 * @file Axes and steps: how a loop over the elements of one shape walks through operands stored in another.
 */

/** One loop: so many places, and for each operand how many elements lie from one place to the next. */
export interface Axis {
  readonly size: number;
  readonly steps: readonly number[];
}

/** The steps of a contiguous tensor along the axes of a shape that it is broadcast to: 0 where it is repeated. */
export function stridesOf(shape: readonly number[], broadcastShape: readonly number[] = shape): number[] {
  const missing = broadcastShape.length - shape.length;
  const strides: number[] = new Array<number>(broadcastShape.length).fill(0);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1) strides[axis + missing] = step;
    step *= shape[axis]!;
  }
  return strides;
}

/**
 * The fewest loops that visit the same elements in the same order: axes of size 1 go, and neighbours that are walked as one
 * by every operand become one.
 */
export function mergeAxes(shape: readonly number[], strides: readonly (readonly number[])[]): Axis[] {
  const merged: Axis[] = [];
  for (const [i, size] of shape.entries()) {
    if (size === 1) continue;
    const steps = strides.map((operand) => operand[i]!);
    const before = merged.at(-1);
    const runsOn = before?.steps.every((step, operand) => step === steps[operand]! * size);
    if (before && runsOn) merged[merged.length - 1] = { size: before.size * size, steps };
    else merged.push({ size, steps });
  }
  return merged;
}

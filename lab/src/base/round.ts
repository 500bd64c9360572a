/**
 * @file Rounding as IEEE 754 and Python do it, halves to the even one. `Math.round` takes halves up, and so does `toFixed`.
 */
import { invariant } from './errors.ts';

/** Added and taken away again, it leaves no room for a fraction: the processor rounds, halves to even. */
const NO_FRACTION = 1.5 * 2 ** 52;

/** To the nearest whole number, halves to the even one, as PyTorch rounds. */
export function roundHalfToEven(x: number): number {
  return Math.abs(x) < 2 ** 51 ? x + NO_FRACTION - NO_FRACTION : x;
}

/**
 * To decimal places as Python's `round` does it: the decimal nearest to the exact value of the double, and of two that are
 * equally near the even one. `toFixed` agrees except on such ties.
 *
 * @param digits behind the point, 0 … 15
 * @returns the double nearest to the rounded decimal; what is not finite stays what it is
 */
export function roundToDecimals(value: number, digits = 0): number {
  invariant(
    Number.isInteger(digits) && digits >= 0 && digits <= 15,
    `roundToDecimals: digits must be a whole number from 0 to 15, got ${digits}`,
  );
  if (!Number.isFinite(value)) return value;
  const rounded = Number(value.toFixed(digits));
  // A double lies exactly between two decimals of so many digits only when it is an odd multiple of 2^-(digits + 1).
  const halves = value * 2 ** (digits + 1);
  const isTie = Number.isInteger(halves) && halves % 2 !== 0;
  if (!isTie) return rounded;
  const lastDigit = Number(Math.abs(rounded).toFixed(digits).at(-1));
  if (lastDigit % 2 === 0) return rounded;
  const towardsZero = Math.abs(rounded) - 10 ** -digits;
  return Number((Math.sign(value) * towardsZero).toFixed(digits));
}

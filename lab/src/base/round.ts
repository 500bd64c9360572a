/**
 * @file Rounding to decimal places as IEEE 754 and Python's `round` do it: the decimal nearest to the exact value of the
 * double, and of two that are equally near the even one. `toFixed` agrees except on such ties, which it always rounds up.
 */
import { invariant } from './errors.ts';

/**
 * @param digits behind the point, 0 … 15
 * @returns the double nearest to the rounded decimal; what is not finite stays what it is
 */
export function roundHalfEven(value: number, digits = 0): number {
  invariant(
    Number.isInteger(digits) && digits >= 0 && digits <= 15,
    `roundHalfEven: digits must be a whole number from 0 to 15, got ${digits}`,
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

/**
 * @file From values to pixels: the scale of one axis, its range and its ticks (linear, logarithmic, categories).
 */
import type { Coordinate, FigureAxis } from './figure.ts';

export interface Tick {
  readonly pixel: number;
  readonly label: string;
}

/** One axis laid out between two pixels. */
export interface Scale {
  /** The pixel of a value, or undefined where it cannot be drawn (zero on a logarithmic axis, an unknown category). */
  pixel(value: Coordinate | null): number | undefined;
  readonly ticks: readonly Tick[];
  /** How many pixels a step of one takes; for categories, from one to the next. */
  readonly unit: number;
}

/**
 * @param values all that is to be drawn on this axis
 * @param from the pixel of its lower end, @param to that of its upper end (smaller than `from` on a vertical axis)
 * @param spacing how many pixels a tick should have for itself
 */
export function makeScale(
  axis: FigureAxis,
  values: readonly (Coordinate | null)[],
  from: number,
  to: number,
  spacing: number,
): Scale {
  if (axis.autorange === 'reversed') [from, to] = [to, from];
  if (axis.type === 'category' || values.some((value) => typeof value === 'string')) return categories(values, from, to);
  const numbers = values.filter((value): value is number => typeof value === 'number' && Number.isFinite(value));
  const scale = axis.type === 'log' ? logarithmic(axis, numbers, from, to, spacing) : linear(axis, numbers, from, to, spacing);
  if (!axis.tickvals) return scale;
  const label = (value: number, i: number): string => axis.ticktext?.[i] ?? String(value);
  return { ...scale, ticks: axis.tickvals.map((value, i) => ({ pixel: scale.pixel(value) ?? NaN, label: label(value, i) })) };
}

function categories(values: readonly (Coordinate | null)[], from: number, to: number): Scale {
  const names = [...new Set(values.filter((value) => value !== null).map(String))];
  const unit = (to - from) / Math.max(1, names.length);
  const places = new Map(names.map((name, i) => [name, from + (i + 0.5) * unit]));
  const every = Math.ceil(14 / Math.max(1, Math.abs(unit)));
  return {
    pixel: (value) => places.get(String(value)),
    ticks: names.flatMap((label, i) => (i % every === 0 ? [{ pixel: places.get(label)!, label }] : [])),
    unit,
  };
}

function linear(axis: FigureAxis, numbers: readonly number[], from: number, to: number, spacing: number): Scale {
  const [low, high] = axis.range ?? padded(numbers, true);
  const unit = (to - from) / (high - low);
  const pixel = (value: number): number => from + (value - low) * unit;
  const step = axis.dtick ?? niceStep(((high - low) * spacing) / Math.abs(to - from));
  const ticks: Tick[] = [];
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k++)
    ticks.push({ pixel: pixel(k * step), label: tickLabel(k * step, step) });
  return { pixel: (value) => (typeof value === 'number' ? pixel(value) : undefined), ticks, unit };
}

function logarithmic(axis: FigureAxis, numbers: readonly number[], from: number, to: number, spacing: number): Scale {
  const [low, high] = axis.range ?? padded(numbers.filter((value) => value > 0).map(Math.log10), false);
  const unit = (to - from) / (high - low);
  const pixel = (value: number): number => from + (Math.log10(value) - low) * unit;
  const every = Math.max(1, Math.ceil(((high - low) * spacing) / Math.abs(to - from)));
  const fine = high - low < 2;
  const ticks: Tick[] = [];
  for (let decade = Math.floor(low); decade <= high; decade++) {
    for (const digit of fine ? [1, 2, 5] : [1]) {
      const exponent = decade + Math.log10(digit);
      if (exponent < low - 1e-9 || exponent > high + 1e-9 || (!fine && decade % every !== 0)) continue;
      const value = digit * 10 ** decade;
      ticks.push({ pixel: pixel(value), label: fine ? tickLabel(value, 10 ** decade) : powerOfTen(decade) });
    }
  }
  return { pixel: (value) => (typeof value === 'number' && value > 0 ? pixel(value) : undefined), ticks, unit };
}

/** From the least to the greatest with a little air, unless it ends at a zero; a range of its own around a single value. */
function padded(numbers: readonly number[], zeroIsAnEnd: boolean): [number, number] {
  if (numbers.length === 0) return [0, 1];
  let low = Infinity;
  let high = -Infinity;
  for (const value of numbers) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const air = (high - low) * 0.05 || Math.abs(high) * 0.1 || 1;
  return [zeroIsAnEnd && low === 0 ? 0 : low - air, zeroIsAnEnd && high === 0 ? 0 : high + air];
}

/** The next of 1, 2, 5, 10, 20, … */
function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  const digit = rough / power;
  return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
}

function tickLabel(value: number, step: number): string {
  const size = Math.abs(value);
  if (size < step / 1e6) return '0';
  for (const [factor, letter] of [
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ] as const) {
    if (size >= factor && size >= 10_000) return `${fixed(value / factor, step / factor)}${letter}`;
  }
  if (size < 1e-3 || size >= 1e15) return value.toExponential(Math.min(6, Math.max(0, Math.round(Math.log10(size / step)))));
  return fixed(value, step);
}

/** As many decimals as the step between ticks needs. */
function fixed(value: number, step: number): string {
  return value.toFixed(Math.min(10, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)))).replace('-', '−');
}

function powerOfTen(exponent: number): string {
  if (exponent >= 0 && exponent <= 3) return String(10 ** exponent);
  const digits = [...String(exponent)].map((character) => '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'['-0123456789'.indexOf(character)]);
  return `10${digits.join('')}`;
}

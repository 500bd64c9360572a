/**
 * @file The charts of the lab, built from plain numbers: lines, points, bars, histograms.
 */
import { invariant } from '../base/index.ts';
import {
  axis,
  color,
  layout,
  markup,
  rounded,
  type BarTrace,
  type ChartOptions,
  type Figure,
  type ScatterTrace,
} from './figure.ts';

/** y over x; without x over 0, 1, 2, … */
export interface CurvePoints {
  readonly x?: ArrayLike<number>;
  readonly y: ArrayLike<number>;
  /** Broken lines are for what is not measured: theory, a target, a baseline. */
  readonly dash?: boolean;
  /** Also mark the points themselves. */
  readonly points?: boolean;
}

/** Curves by name; the names are the legend. */
export type Curves = Readonly<Record<string, ArrayLike<number> | CurvePoints>>;

/** More points than this in one line cannot be told apart on a screen. */
const mostPoints = 2000;

/**
 * Curves over a common x axis. Long ones are thinned in a way that keeps every peak.
 *
 * @example show(lineChart({ train, validation }, { x: 'step', y: 'loss (nats per token)' }))
 */
export function lineChart(curves: Curves, options: ChartOptions = {}): Figure {
  const data = Object.entries(curves).map(([name, given], i): ScatterTrace => {
    const curve = isCurvePoints(given) ? given : { y: given };
    const { x, y } = thinned(coordinates(name, curve.x, curve.y));
    return {
      type: 'scatter',
      mode: curve.points ? 'lines+markers' : 'lines',
      name: markup(name),
      x,
      y,
      line: { color: color(i), width: 2, ...(curve.dash ? { dash: 'dash' as const } : {}) },
      ...(curve.points ? { marker: { color: color(i), size: 7 } } : {}),
    };
  });
  return { data, layout: layout(options, {}, data) };
}

/** A cloud of points; `labels` are shown when the mouse is on a point. */
export interface ScatterPoints {
  readonly x: ArrayLike<number>;
  readonly y: ArrayLike<number>;
  readonly labels?: readonly string[];
}

export interface ScatterOptions extends ChartOptions {
  /** Write the labels above the points, where there are few; else only the mouse says them. */
  readonly written?: boolean;
}

/** Clouds of points by name. */
export function scatter(clouds: Readonly<Record<string, ScatterPoints>>, options: ScatterOptions = {}): Figure {
  const data = Object.entries(clouds).map(([name, cloud], i): ScatterTrace => {
    const { x, y } = coordinates(name, cloud.x, cloud.y);
    const labelled = cloud.labels
      ? { text: cloud.labels.map(markup), hovertemplate: '%{text}<br>(%{x}, %{y})<extra></extra>' }
      : {};
    return {
      type: 'scatter',
      mode: options.written && cloud.labels ? 'markers+text' : 'markers',
      name: markup(name),
      x,
      y,
      marker: { color: color(i), size: 7 },
      opacity: 0.8,
      ...labelled,
      ...(options.written && cloud.labels ? { textposition: 'top center' as const, cliponaxis: false } : {}),
    };
  });
  return { data, layout: layout(options, {}, data) };
}

/** `x` names what is compared and `y` the quantity, also where the bars lie down. */
export interface BarChartOptions extends ChartOptions {
  /** Bars that lie down leave room for long names. */
  readonly horizontal?: boolean;
  /** Several series on top of one another instead of side by side. */
  readonly stacked?: boolean;
}

/**
 * Bars for named things: either `{ name: value }`, or several series as `{ series: { name: value } }`.
 *
 * @example show(barChart({ embedding: 8320, attention: 65536, mlp: 131072 }, { y: 'parameters', horizontal: true }))
 */
export function barChart(
  values: Readonly<Record<string, number>> | Readonly<Record<string, Readonly<Record<string, number>>>>,
  options: BarChartOptions = {},
): Figure {
  const several = Object.values(values).every((value) => typeof value === 'object');
  const series = (several ? values : { '': values }) as Readonly<Record<string, Readonly<Record<string, number>>>>;
  const data = Object.entries(series).map(([name, bars], i): BarTrace => {
    const names = Object.keys(bars).map(markup);
    const heights = Object.values(bars).map((value) => rounded(value));
    return {
      type: 'bar',
      orientation: options.horizontal ? 'h' : 'v',
      name: markup(name),
      x: options.horizontal ? heights : names,
      y: options.horizontal ? names : heights,
      marker: { color: color(i) },
    };
  });
  const names = axis(options.x, { type: 'category', ...(options.horizontal ? { autorange: 'reversed' as const } : {}) });
  const heights = axis(options.y, { log: options.logY });
  const attributes = { barmode: options.stacked ? ('stack' as const) : ('group' as const) };
  const axes = options.horizontal ? { xaxis: heights, yaxis: names } : { xaxis: names, yaxis: heights };
  return { data, layout: layout(options, { ...attributes, ...axes }, data) };
}

export interface HistogramOptions extends ChartOptions {
  readonly bins?: number;
  /** From where to where to count; all the values unless told. */
  readonly range?: readonly [number, number];
  /** Single values to compare with: a line from bottom to top for each, by name. */
  readonly marks?: Readonly<Record<string, number>>;
}

/** How often values fall into equal bins: counted here, so that a figure of a million values stays small. */
export function histogram(samples: Readonly<Record<string, ArrayLike<number>>>, options: HistogramOptions = {}): Figure {
  const bins = options.bins ?? 50;
  invariant(Number.isInteger(bins) && bins > 0, `histogram: bins must be a positive integer, got ${bins}`);
  const [low, high] = options.range ?? spread(Object.values(samples));
  const width = (high - low) / bins || 1;
  const centers = Array.from({ length: bins }, (_, i) => rounded(low + (i + 0.5) * width));
  const bars = Object.entries(samples).map(([name, values], i): BarTrace => {
    const counts = new Array<number>(bins).fill(0);
    for (let j = 0; j < values.length; j++) {
      const value = values[j]!;
      if (value >= low && value <= high) counts[Math.min(bins - 1, Math.floor((value - low) / width))]!++;
    }
    const bar = { type: 'bar' as const, orientation: 'v' as const, name: markup(name), width };
    return { ...bar, x: centers, y: counts, marker: { color: color(i) }, opacity: 0.7 };
  });
  const most = Math.max(1, ...bars.flatMap(({ y }) => y as number[]));
  const marks = Object.entries(options.marks ?? {}).map(([name, value], i): ScatterTrace => {
    const line = { color: color(bars.length + i), width: 3 };
    const x = [rounded(value)!, rounded(value)!];
    return { type: 'scatter', mode: 'lines', name: markup(name), x, y: [0, most], line };
  });
  const data = [...bars, ...marks];
  return { data, layout: layout({ y: 'count', ...options }, { barmode: 'overlay', bargap: 0 }, data) };
}

/** Least and greatest finite value of all, widened where they are the same. */
function spread(samples: readonly ArrayLike<number>[]): [number, number] {
  let low = Infinity;
  let high = -Infinity;
  for (const values of samples) {
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      if (!Number.isFinite(value)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (low > high) return [0, 1];
  return low === high ? [low - 0.5, high + 0.5] : [low, high];
}

function isCurvePoints(given: ArrayLike<number> | CurvePoints): given is CurvePoints {
  return 'y' in given;
}

interface Coordinates {
  readonly x: number[];
  readonly y: (number | null)[];
}

function coordinates(name: string, x: ArrayLike<number> | undefined, y: ArrayLike<number>): Coordinates {
  invariant(x === undefined || x.length === y.length, `chart: '${name}' has ${x?.length} x values but ${y.length} y values`);
  return {
    x: Array.from({ length: y.length }, (_, i) => (x ? (rounded(x[i], 8) ?? NaN) : i)),
    y: Array.from(y, (value) => rounded(value)),
  };
}

/** Keeps of each stretch of the curve its lowest and its highest point. */
function thinned({ x, y }: Coordinates): Coordinates {
  if (y.length <= mostPoints) return { x, y };
  const stretches = mostPoints / 2;
  const kept = new Set([0, y.length - 1]);
  for (let s = 0; s < stretches; s++) {
    const from = Math.floor((s * y.length) / stretches);
    const to = Math.floor(((s + 1) * y.length) / stretches);
    let lowest = from;
    let highest = from;
    for (let i = from + 1; i < to; i++) {
      if ((y[i] ?? Infinity) < (y[lowest] ?? Infinity)) lowest = i;
      if ((y[i] ?? -Infinity) > (y[highest] ?? -Infinity)) highest = i;
    }
    kept.add(lowest).add(highest);
  }
  const indices = [...kept].sort((a, b) => a - b);
  return { x: indices.map((i) => x[i]!), y: indices.map((i) => y[i] ?? null) };
}

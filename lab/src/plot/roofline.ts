/**
 * @file The roofline: how fast an operation runs over how much it computes for each byte, under the two roofs of the machine.
 * Williams, Waterman and Patterson 2009. And the time of each operation as bars.
 */
import { color, layout, axis, ink, markup, rounded, type ChartOptions, type Figure, type ScatterTrace } from './figure.ts';
import { barChart } from './charts.ts';

/** An operation under the roof. */
export interface RooflineDot {
  readonly name: string;
  readonly milliseconds: number;
  /** Floating-point operations; one without any has no place in the figure. */
  readonly flops?: number;
  readonly bytes: number;
}

/** The roofs. */
export interface Roofs {
  readonly flopsPerSecond: number;
  /** Of the memory that everything must come from. */
  readonly slowBytesPerSecond: number;
  /** Of the memory next to the arithmetic. */
  readonly fastBytesPerSecond: number;
}

/** The largest dot, in pixels, and the smallest. */
const LARGEST = 30;
const SMALLEST = 6;
/** Operations with a dot of their own colour. */
const MOST_DOTS = 12;

/** A roof: as fast as memory of that speed can bring numbers, and never faster than the arithmetic. */
function roof(
  name: string,
  bytesPerSecond: number,
  flopsPerSecond: number,
  [low, high]: readonly [number, number],
  dash: boolean,
): ScatterTrace {
  const x = [low, flopsPerSecond / bytesPerSecond, high].filter((at) => at >= low && at <= high);
  return {
    type: 'scatter',
    mode: 'lines',
    name,
    x: x.map((at) => rounded(at)!),
    y: x.map((at) => rounded(Math.min(flopsPerSecond, at * bytesPerSecond) / 1e9)),
    line: { color: ink, width: 2, ...(dash ? { dash: 'dash' as const } : {}) },
  };
}

/**
 * Speed over intensity, both in powers of ten. A dot's area is the operation's time.
 *
 * @param dots rows of a profile report
 * @param machine what measureMachine found
 * @example show(rooflinePlot(report.rows, machine))
 */
export function rooflinePlot(dots: readonly RooflineDot[], machine: Roofs, options: ChartOptions = {}): Figure {
  const { flopsPerSecond, slowBytesPerSecond, fastBytesPerSecond } = machine;
  const shown = dots
    .filter(({ flops = 0, bytes, milliseconds }) => flops > 0 && bytes > 0 && milliseconds > 0)
    .toSorted((a, b) => b.milliseconds - a.milliseconds)
    .slice(0, MOST_DOTS);
  const places = shown.map(({ flops, bytes }) => flops! / bytes);
  const bends = [flopsPerSecond / slowBytesPerSecond, flopsPerSecond / fastBytesPerSecond];
  const range = [Math.min(...places, ...bends) / 4, Math.max(...places, ...bends) * 4] as const;
  const longest = Math.max(...shown.map(({ milliseconds }) => milliseconds));
  const traces = shown.map(
    ({ name, flops, milliseconds }, i): ScatterTrace => ({
      type: 'scatter',
      mode: 'markers',
      name: markup(name),
      x: [rounded(places[i])!],
      y: [rounded(flops! / milliseconds / 1e6)],
      text: [markup(`${name}: ${milliseconds.toPrecision(3)} ms`)],
      hovertemplate: '%{text}<br>%{x} FLOP/byte, %{y} GFLOP/s<extra></extra>',
      marker: { color: color(i), size: rounded(Math.max(SMALLEST, LARGEST * Math.sqrt(milliseconds / longest)), 3)! },
      opacity: 0.8,
    }),
  );
  const data = [
    roof('slow memory', slowBytesPerSecond, flopsPerSecond, range, false),
    roof('fast memory', fastBytesPerSecond, flopsPerSecond, range, true),
    ...traces,
  ];
  const labels = { x: 'FLOPs per byte', y: 'GFLOP/s', ...options };
  const axes = { xaxis: axis(labels.x, { log: true }), yaxis: axis(labels.y, { log: true }) };
  return { data, layout: layout({ height: 460, ...labels }, axes, data) };
}

/** What the bars stand for. */
export interface ProfileTimes {
  readonly rows: readonly { readonly name: string; readonly shape?: string; readonly milliseconds: number }[];
  /** What passed outside kernels. */
  readonly outsideMs: number;
  readonly runsOnGpu?: boolean;
}

/** More bars than this are one at the end. */
const MOST_BARS = 14;

/** The milliseconds of each operation, the longest first, and of what is no operation. */
export function profileBars({ rows, outsideMs, runsOnGpu = false }: ProfileTimes, options: ChartOptions = {}): Figure {
  const sorted = rows.toSorted((a, b) => b.milliseconds - a.milliseconds);
  const [first, rest] = [sorted.slice(0, MOST_BARS), sorted.slice(MOST_BARS)];
  const times: Record<string, number> = {};
  for (const { name, shape, milliseconds } of first) times[shape ? `${name} ${shape}` : name] = milliseconds;
  if (rest.length > 0) times[`${rest.length} others`] = rest.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  if (!runsOnGpu) times['outside kernels'] = outsideMs;
  const height = 120 + 24 * Object.keys(times).length;
  return barChart(times, { horizontal: true, y: 'milliseconds', height, ...options });
}

/**
 * @file Estimates with their intervals, one below the other, and a line to compare with: what is sure, and what may be chance.
 */
import { invariant } from '../base/index.ts';
import { axis, color, layout, markup, rounded, type ChartOptions, type Figure, type ScatterTrace } from './figure.ts';

export interface Estimate {
  readonly name: string;
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

export interface IntervalPlotOptions extends Omit<ChartOptions, 'logX' | 'logY' | 'ticksX'> {
  /** Where the line stands (default 0); intervals that it does not cross are drawn in another colour. */
  readonly reference?: number;
  /** What it means that an interval does not cross the line, and that it does, for the legend. */
  readonly names?: readonly [apart: string, crossing: string];
}

/**
 * A point and its interval for each estimate, the first on top.
 *
 * @param estimates their ends must be finite; with different names
 */
export function intervalPlot(estimates: readonly Estimate[], options: IntervalPlotOptions = {}): Figure {
  const { reference = 0, names = ['differs', 'may be chance'], ...look } = options;
  invariant(estimates.length > 0, 'intervalPlot: there is nothing to draw');
  for (const { name, value, low, high } of estimates) {
    invariant(
      [value, low, high].every(Number.isFinite) && low <= high,
      `intervalPlot: '${name}' has the value ${value} and the interval ${low} … ${high}`,
    );
  }
  const isApart = ({ low, high }: Estimate): boolean => low > reference || high < reference;
  const groups = [estimates.filter(isApart), estimates.filter((one) => !isApart(one))] as const;
  const data = groups.flatMap((group, i) => (group.length === 0 ? [] : tracesOf(group, names[i]!, [color(2), color(6)][i]!)));
  const ends = [estimates[0]!, estimates.at(-1)!].map(({ name }) => markup(name));
  const line: ScatterTrace = {
    type: 'scatter',
    mode: 'lines',
    x: [reference, reference],
    y: ends,
    showlegend: false,
    hoverinfo: 'skip',
    line: { color: color(1), width: 1.5, dash: 'dash' },
  };
  // The order of the categories is that of their first mention.
  const order = estimates.map(({ name }) => markup(name));
  const yaxis = axis(options.y, { type: 'category', autorange: 'reversed', categoryorder: 'array', categoryarray: order });
  const height = options.height ?? 120 + 34 * estimates.length;
  const all = [ordering(order, reference), line, ...data];
  return { data: all, layout: layout({ ...look, height }, { xaxis: axis(options.x), yaxis }, all) };
}

/** Nothing to be seen: brings the names into their order, whichever group they are drawn with. */
function ordering(order: readonly string[], reference: number): ScatterTrace {
  const x = order.map(() => reference);
  return { type: 'scatter', mode: 'markers', x, y: order, showlegend: false, hoverinfo: 'skip', marker: { color: '#ffffff00', size: 1 } };
}

function tracesOf(group: readonly Estimate[], name: string, colour: string): ScatterTrace[] {
  const x: number[] = [];
  const y: (string | null)[] = [];
  for (const one of group) {
    x.push(rounded(one.low)!, rounded(one.high)!, rounded(one.high)!);
    y.push(markup(one.name), markup(one.name), null);
  }
  const shared = { type: 'scatter', name: markup(name) } as const;
  return [
    { ...shared, mode: 'lines', x, y, showlegend: false, hoverinfo: 'skip', line: { color: colour, width: 3 } },
    {
      ...shared,
      mode: 'markers',
      x: group.map(({ value }) => rounded(value)!),
      y: group.map((one) => markup(one.name)),
      marker: { color: colour, size: 10 },
    },
  ];
}

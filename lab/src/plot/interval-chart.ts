/**
 * @file Bars that say how sure they are: a value for each name, and the ends of its interval.
 */
import { invariant } from '../base/index.ts';
import { barChart } from './charts.ts';
import { ink, markup, rounded, type ChartOptions, type Figure, type ScatterTrace } from './figure.ts';

export interface IntervalBar {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

export interface IntervalChartOptions extends ChartOptions {
  /** A value to compare with: a broken line across all bars. */
  readonly mark?: number;
}

/** Lying bars, in the order given; `x` names what is compared and `y` the quantity, as in `barChart`. */
export function intervalChart(bars: Readonly<Record<string, IntervalBar>>, { mark, ...options }: IntervalChartOptions = {}): Figure {
  const names = Object.keys(bars);
  for (const [name, { low, value, high }] of Object.entries(bars)) {
    invariant(low <= value && value <= high, `intervalChart: '${name}' has ${value} outside of ${low} … ${high}`);
  }
  const values = Object.fromEntries(Object.entries(bars).map(([name, { value }]) => [name, value]));
  const chart = barChart(values, { ...options, horizontal: true });
  const line = (x: (number | null)[], y: string[], attributes: Partial<ScatterTrace>): ScatterTrace => ({
    type: 'scatter',
    mode: 'lines',
    x: x as number[],
    y,
    hoverinfo: 'skip',
    showlegend: false,
    ...attributes,
  });
  const intervals = Object.entries(bars).map(([name, { low, high }]) =>
    line([rounded(low), rounded(high)], [markup(name), markup(name)], { line: { color: ink, width: 2.5 } }),
  );
  const ends = [names[0]!, names.at(-1)!].map(markup);
  const marks = mark === undefined ? [] : [line([mark, mark], ends, { line: { color: ink, width: 1.5, dash: 'dash' } })];
  const layout = { ...chart.layout, height: options.height ?? 110 + 26 * names.length };
  return { data: [...chart.data, ...intervals, ...marks], layout };
}

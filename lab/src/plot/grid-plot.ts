/**
 * @file Where the values of quantization grids lie under the weights that they stand for: the histogram of the weights above,
 * below it a row of points for each grid.
 */
import { invariant } from '../base/index.ts';
import { histogram } from './charts.ts';
import { axis, color, layout, markup, rounded, type Figure, type ScatterTrace } from './figure.ts';

export interface GridPlotOptions {
  readonly title?: string;
  /** What the weights are: `weight`. */
  readonly x?: string;
  readonly bins?: number;
  /** From where to where; all weights and grids unless told. What lies beyond is left out. */
  readonly range?: readonly [number, number];
}

/** Pixels of the histogram, of a grid's row, and between them. */
const [ABOVE, ROW, GAP] = [190, 30, 26];
const MARGIN = { t: 48, b: 56 };

/**
 * @param weights at least one
 * @param grids the values that each grid has, by name, the first on top
 * @example show(gridPlot(weights, { '3 bits': values }, { x: 'weight' }))
 */
export function gridPlot(
  weights: ArrayLike<number>,
  grids: Readonly<Record<string, ArrayLike<number>>>,
  { title, x = 'weight', bins = 80, range }: GridPlotOptions = {},
): Figure {
  const names = Object.keys(grids);
  invariant(weights.length > 0 && names.length > 0, 'gridPlot: there must be a weight and a grid');
  const [low, high] = range ?? rangeOf([weights, ...Object.values(grids)]);
  const [bars] = histogram({ weights }, { bins, range: [low, high] }).data;
  const inner = ABOVE + GAP + ROW * names.length;
  const rows = names.map((name, i): ScatterTrace => {
    const shown = Array.from(grids[name]!).filter((value) => value >= low && value <= high);
    return {
      type: 'scatter',
      mode: 'markers',
      name: markup(name),
      x: shown.map((value) => rounded(value)!),
      y: shown.map(() => markup(name)),
      xaxis: 'x2',
      yaxis: 'y2',
      marker: { color: color(i + 1), size: 6 },
      hovertemplate: '%{x}<extra></extra>',
    };
  });
  const air = (high - low) * 0.03;
  const across = { range: [low - air, high + air] as const };
  const figure = layout({ ...(title ? { title } : {}), height: inner + MARGIN.t + MARGIN.b });
  return {
    data: [bars!, ...rows],
    layout: {
      ...figure,
      margin: { l: 120, r: 24, ...MARGIN },
      bargap: 0,
      xaxis: axis(undefined, { ...across, showticklabels: false, ticks: '' }),
      yaxis: axis('count', { domain: [1 - ABOVE / inner, 1] }),
      // Zooming into one zooms into both.
      xaxis2: axis(x, { ...across, anchor: 'y2', matches: 'x' }),
      yaxis2: axis(undefined, {
        domain: [0, (ROW * names.length) / inner],
        anchor: 'x2',
        type: 'category',
        autorange: 'reversed',
        ticks: '',
      }),
    },
  };
}

function rangeOf(all: readonly ArrayLike<number>[]): [low: number, high: number] {
  let [low, high] = [Infinity, -Infinity];
  for (const values of all) {
    for (let i = 0; i < values.length; i++) [low, high] = [Math.min(low, values[i]!), Math.max(high, values[i]!)];
  }
  return low < high ? [low, high] : [low - 0.5, high + 0.5];
}

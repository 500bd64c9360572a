/**
 * @file Heatmaps: a grid of numbers as colours.
 */
import { invariant } from '../base/index.ts';
import {
  axis,
  divergingColors,
  layout,
  markup,
  rounded,
  sequentialColors,
  type ChartOptions,
  type Coordinate,
  type Figure,
  type FigureAxis,
  type HeatmapTrace,
} from './figure.ts';

/** Rows of numbers, the first row on top: nested arrays as `await tensor.array()` gives them, or typed arrays. */
export type Grid = ArrayLike<ArrayLike<number>>;

export interface HeatmapOptions extends ChartOptions {
  /** Names of the columns and of the rows; their numbers unless told. */
  readonly columns?: readonly string[];
  readonly rows?: readonly string[];
  /** The values of the lightest and of the darkest colour. */
  readonly range?: readonly [number, number];
  /** What is shown: `weight`. */
  readonly value?: string;
}

/** Values as colours: white to blue, or orange through white to blue where some are negative (white is zero then). */
export function heatmap(values: Grid, options: HeatmapOptions = {}): Figure {
  const z = Array.from(values, (row) => Array.from(row, (value) => rounded(value)));
  const columns = z[0]?.length ?? 0;
  invariant(
    z.every((row) => row.length === columns),
    'heatmap: all rows must be equally long',
  );
  const x = uniqueLabels(options.columns, columns, 'heatmap: columns');
  const y = uniqueLabels(options.rows, z.length, 'heatmap: rows');
  const trace: HeatmapTrace = {
    type: 'heatmap',
    x,
    y,
    z,
    ...colors(z, options.range),
    showscale: true,
    colorbar: { title: { text: markup(options.value ?? '') }, thickness: 14 },
    hovertemplate: 'row %{y}, column %{x}: %{z}<extra></extra>',
  };
  const axes = {
    xaxis: axis(options.x, { showgrid: false, ...labelled(options.columns) }),
    yaxis: axis(options.y, { showgrid: false, autorange: 'reversed', ...labelled(options.rows) }),
  };
  return { data: [trace], layout: layout(options, { ...axes, margin: { l: 70, r: 84, t: options.title ? 48 : 24, b: 56 } }) };
}

/**
 * Plotly takes categories of the same name for one, and the same token may well occur twice: zero-width spaces, which nobody
 * sees, tell them apart.
 */
export function uniqueLabels(labels: readonly string[] | undefined, count: number, where: string): Coordinate[] {
  invariant(!labels || labels.length === count, `${where}: ${labels?.length} labels for ${count} places`);
  if (!labels) return Array.from({ length: count }, (_, i) => i);
  const seen = new Map<string, number>();
  return labels.map((label) => {
    const times = seen.get(label) ?? 0;
    seen.set(label, times + 1);
    return markup(label) + '\u200b'.repeat(times);
  });
}

function labelled(labels: readonly string[] | undefined): Partial<FigureAxis> {
  return labels ? { type: 'category', tickmode: 'auto' } : {};
}

function colors(
  z: readonly (readonly (number | null)[])[],
  range?: readonly [number, number],
): Pick<HeatmapTrace, 'zmin' | 'zmax' | 'colorscale'> {
  const values = z.flat().filter((value) => value !== null);
  const [low, high] = range ?? [
    values.reduce((a, b) => Math.min(a, b), Infinity),
    values.reduce((a, b) => Math.max(a, b), -Infinity),
  ];
  if (!(low <= high)) return { zmin: 0, zmax: 1, colorscale: sequentialColors };
  if (low >= 0) return { zmin: low, zmax: high, colorscale: sequentialColors };
  const most = Math.max(-low, high);
  return { zmin: -most, zmax: most, colorscale: divergingColors };
}

/**
 * @file Tile maps: what an attention kernel does with each tile of the scores under a mask, masks side by side.
 */
import { invariant } from '../base/index.ts';
import {
  axis,
  layout,
  markup,
  type Colorscale,
  type Figure,
  type FigureAnnotation,
  type FigureAxis,
  type HeatmapTrace,
  type ScatterTrace,
} from './figure.ts';

/** The kinds in the order of their colours: nothing to do, some of it hidden, all of it. */
const KINDS = { skipped: '#ececec', partial: '#E69F00', full: '#0072B2' } as const;
const NAMES = Object.keys(KINDS) as (keyof typeof KINDS)[];
const COLORS: Colorscale = NAMES.map((name, i) => [i / (NAMES.length - 1), KINDS[name]]);

/** Rows of kinds, the first queries on top, as `tileMap` gives them. */
export type TileKinds = readonly (readonly (keyof typeof KINDS)[])[];

export interface TileMapOptions {
  readonly title?: string;
  /** How many maps stand side by side; three unless told. */
  readonly columns?: number;
}

/** Pixels of a map's longer side, and between maps. */
const SIDE = 210;
const GAP = { x: 36, y: 76 };
const MARGIN = { l: 70, r: 24, b: 56 };

/**
 * A map for each mask: a row for each tile of queries, a column for each tile of keys.
 *
 * @param maps by name; the names stand above
 * @example show(tileMapPlot({ causal: tileMap(visibility({ causal: true }, 512, 512), 32, 32) }))
 */
export function tileMapPlot(maps: Readonly<Record<string, TileKinds>>, options: TileMapOptions = {}): Figure {
  const entries = Object.entries(maps);
  const columns = Math.max(1, Math.min(options.columns ?? 3, entries.length));
  const rows = Math.ceil(entries.length / columns);
  const inner = { width: columns * SIDE + (columns - 1) * GAP.x, height: rows * SIDE + (rows - 1) * GAP.y };
  const axes: Record<string, FigureAxis> = {};
  const annotations: FigureAnnotation[] = [];
  const data = entries.map(([name, kinds], i): HeatmapTrace => {
    const width = kinds[0]?.length ?? 0;
    invariant(
      width > 0 && kinds.every((row) => row.length === width),
      `tileMapPlot: '${name}' must have rows of equal length, at least one`,
    );
    const key = i === 0 ? '' : String(i + 1);
    // Tiles are squares: a mask with fewer queries than keys is a lower map.
    const cell = SIDE / Math.max(width, kinds.length);
    const left = (i % columns) * (SIDE + GAP.x);
    const top = inner.height - Math.floor(i / columns) * (SIDE + GAP.y);
    const look = {
      showgrid: false,
      automargin: false,
      ticks: '',
      dtick: Math.ceil(Math.max(width, kinds.length) / 8),
    } as const;
    const across = [left / inner.width, (left + cell * width) / inner.width] as const;
    const up = [(top - cell * kinds.length) / inner.height, top / inner.height] as const;
    const label = i % columns === 0 ? 'tile of queries' : undefined;
    axes[`xaxis${key}`] = axis('tile of keys', { ...look, domain: across, anchor: `y${key}`, range: [-0.5, width - 0.5] });
    axes[`yaxis${key}`] = axis(label, { ...look, domain: up, anchor: `x${key}`, autorange: 'reversed' });
    const place = { x: (across[0] + across[1]) / 2, y: up[1], xref: 'paper', yref: 'paper' };
    annotations.push({ text: markup(name), ...place, xanchor: 'center', yanchor: 'bottom', showarrow: false });
    return {
      type: 'heatmap',
      x: Array.from({ length: width }, (_, column) => column),
      y: kinds.map((_, row) => row),
      z: kinds.map((row) => row.map((kind) => NAMES.indexOf(kind))),
      zmin: 0,
      zmax: NAMES.length - 1,
      colorscale: COLORS,
      showscale: false,
      ...(i > 0 ? { xaxis: `x${key}`, yaxis: `y${key}` } : {}),
      hovertemplate: 'queries %{y}, keys %{x}<extra></extra>',
    };
  });
  const margin = { ...MARGIN, t: (options.title ? 52 : 16) + 52 };
  const size = { width: inner.width + margin.l + margin.r, height: inner.height + margin.t + margin.b };
  const figure = layout({ ...(options.title ? { title: options.title } : {}), ...size }, { ...axes, annotations, margin });
  const legend = { orientation: 'h', x: 0, xanchor: 'left', y: 1 + 26 / inner.height, yanchor: 'bottom' };
  return { data: [...data, ...NAMES.map(legendEntry)], layout: { ...figure, showlegend: true, legend } };
}

/** A trace without points, for its line in the legend. */
function legendEntry(name: keyof typeof KINDS): ScatterTrace {
  return { type: 'scatter', mode: 'markers', name, x: [0], y: [null], marker: { color: KINDS[name], size: 12 } };
}

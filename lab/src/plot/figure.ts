/**
 * @file A figure is plain data in Plotly's own terms (traces and a layout), so that it can be drawn here, saved, or taken
 * elsewhere. Only the few kinds of trace that the lab draws are typed; the house style is decided in this file alone.
 *
 * White ground with dark text, because a figure must read the same on JupyterLab's light and dark pages and on paper.
 */

/** Where a point lies: a number, or a category's name. */
export type Coordinate = number | string;

interface TraceOnAxes {
  readonly name?: string;
  /** `x`, `x2`, …: which of the layout's axes it belongs to. */
  readonly xaxis?: string;
  readonly yaxis?: string;
  readonly showlegend?: boolean;
  readonly hovertemplate?: string;
  readonly hoverinfo?: 'skip';
  readonly opacity?: number;
}

export interface ScatterTrace extends TraceOnAxes {
  readonly type: 'scatter';
  readonly mode: 'lines' | 'markers' | 'lines+markers' | 'markers+text';
  readonly x: readonly Coordinate[];
  /** null leaves a gap. */
  readonly y: readonly (Coordinate | null)[];
  /** What to say of each point when the mouse is on it. */
  readonly text?: readonly string[];
  /** Where it stands, with 'markers+text'. */
  readonly textposition?: 'top center';
  /** false: it may reach over the edge of the axes. */
  readonly cliponaxis?: boolean;
  readonly line?: { readonly color?: string; readonly width?: number; readonly dash?: 'solid' | 'dash' | 'dot' };
  readonly marker?: { readonly color?: string; readonly size?: number };
}

export interface BarTrace extends TraceOnAxes {
  readonly type: 'bar';
  readonly orientation: 'v' | 'h';
  readonly x: readonly (Coordinate | null)[];
  readonly y: readonly (Coordinate | null)[];
  readonly width?: number;
  readonly marker?: { readonly color?: string };
}

export interface HeatmapTrace extends TraceOnAxes {
  readonly type: 'heatmap';
  readonly x: readonly Coordinate[];
  readonly y: readonly Coordinate[];
  /** One row for each y. */
  readonly z: readonly (readonly (number | null)[])[];
  readonly zmin: number;
  readonly zmax: number;
  readonly colorscale: Colorscale;
  readonly showscale: boolean;
  readonly colorbar?: { readonly title: { readonly text: string }; readonly thickness: number };
}

export type Trace = ScatterTrace | BarTrace | HeatmapTrace;

/** Colours at positions from 0 to 1. */
export type Colorscale = readonly (readonly [number, string])[];

export interface FigureAxis {
  readonly title?: { readonly text: string; readonly standoff?: number };
  readonly type?: 'linear' | 'log' | 'category';
  /** For a logarithmic axis in powers of ten, as Plotly has it. */
  readonly range?: readonly [number, number];
  readonly autorange?: true | 'reversed';
  /** The share of the figure's width or height that it takes. */
  readonly domain?: readonly [number, number];
  readonly anchor?: string;
  readonly tickangle?: number;
  readonly dtick?: number;
  readonly tickvals?: readonly number[];
  /** What stands at `tickvals`; the values themselves unless told. */
  readonly ticktext?: readonly string[];
  readonly [plotlyAttribute: string]: unknown;
}

export interface FigureAnnotation {
  readonly text: string;
  readonly x: number;
  readonly y: number;
  readonly [plotlyAttribute: string]: unknown;
}

export interface FigureLayout {
  readonly title?: { readonly text: string; readonly [plotlyAttribute: string]: unknown };
  readonly width: number;
  readonly height: number;
  readonly margin: { readonly l: number; readonly r: number; readonly t: number; readonly b: number };
  readonly showlegend: boolean;
  readonly barmode?: 'group' | 'stack' | 'overlay';
  readonly xaxis: FigureAxis;
  readonly yaxis: FigureAxis;
  readonly annotations?: readonly FigureAnnotation[];
  readonly [plotlyAttribute: string]: unknown;
}

export interface Figure {
  readonly data: readonly Trace[];
  readonly layout: FigureLayout;
}

/** What every chart takes. Labels name the quantity and its unit: `loss (nats per token)`. */
export interface ChartOptions {
  readonly title?: string;
  readonly x?: string;
  readonly y?: string;
  readonly logX?: boolean;
  readonly logY?: boolean;
  /** The values that get a tick, where those that were measured say more than round ones. */
  readonly ticksX?: readonly number[];
  /** In pixels. */
  readonly width?: number;
  readonly height?: number;
}

/** Okabe and Ito's colours, told apart by colour-blind readers too; without their yellow, which white swallows. */
export const palette: readonly string[] = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#555555'];

export const ink = '#222222';
export const gridColor = '#e3e3e3';
export const fontFamily = '"Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif';

/** From nothing (white) to much (dark blue): readable in grey, too. */
export const sequentialColors: Colorscale = [
  [0, '#ffffff'],
  [0.2, '#d6e6f4'],
  [0.4, '#9cc8e3'],
  [0.6, '#519ccc'],
  [0.8, '#1f6eb3'],
  [1, '#08306b'],
];

/** From negative (orange) through zero (white) to positive (blue). */
export const divergingColors: Colorscale = [
  [0, '#a34700'],
  [0.25, '#eb9a4a'],
  [0.5, '#ffffff'],
  [0.75, '#5ba3d0'],
  [1, '#00457a'],
];

/** An axis of the house: light grid, outward ticks, labelled. */
export function axis(label: string | undefined, options: { log?: boolean | undefined } & Partial<FigureAxis> = {}): FigureAxis {
  const { log, ...attributes } = options;
  return {
    ...(label ? { title: { text: markup(label), standoff: 10 } } : {}),
    ...(log ? { type: 'log' as const, exponentformat: 'power' } : {}),
    gridcolor: gridColor,
    linecolor: '#888888',
    zeroline: false,
    ticks: 'outside',
    tickcolor: '#888888',
    automargin: true,
    ...attributes,
  };
}

/**
 * The layout that all figures share; `axes` and the rest override it.
 *
 * @param series what a legend has to name; a single one needs none
 */
export function layout(
  options: ChartOptions,
  attributes: Partial<FigureLayout> = {},
  series: readonly { readonly name?: string }[] = [],
): FigureLayout {
  const width = options.width ?? 720;
  const margin = { l: 70, r: 24, b: 56 };
  const names = series.length > 1 ? series.flatMap(({ name }) => name ?? []) : [];
  return {
    ...(options.title ? { title: { text: markup(options.title), font: { size: 16 }, x: 0.02, xanchor: 'left' } } : {}),
    width,
    height: options.height ?? 380,
    margin: { ...margin, t: (options.title ? 48 : 24) + 24 * legendRows(names, width - margin.l - margin.r) },
    font: { family: fontFamily, size: 13, color: ink },
    paper_bgcolor: '#ffffff',
    plot_bgcolor: '#ffffff',
    colorway: [...palette],
    hovermode: 'closest',
    showlegend: names.length > 0,
    // Above the plot, where it hides no point.
    legend: { orientation: 'h', x: 0, xanchor: 'left', y: 1, yanchor: 'bottom' },
    xaxis: axis(options.x, {
      log: options.logX,
      ...(options.ticksX ? { tickmode: 'array', tickvals: [...options.ticksX] } : {}),
    }),
    yaxis: axis(options.y, { log: options.logY }),
    ...attributes,
  };
}

/** Plotly gives all names of a legend the room of the longest. */
function legendRows(names: readonly string[], width: number): number {
  const perRow = Math.floor(width / (50 + Math.max(0, ...names.map(textWidth))));
  return Math.ceil(names.length / Math.max(1, perRow));
}

/** Plotly's markup as plain text: tags away, entities resolved. */
export function plainText(text: string): string {
  const bare = text.replace(/<br>/g, ' ').replace(/<\/?\w+>/g, '');
  return bare.replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&amp;/g, '&');
}

/** A guess: letters are seven pixels wide; zero-width characters are not. */
export function textWidth(text: string): number {
  return [...plainText(text).replace(/\u200b/g, '')].length * 7.2;
}

/** The i-th colour of the house, from the start again after the last. */
export function color(i: number): string {
  return palette[i % palette.length]!;
}

/** Plotly reads `<b>` and `&amp;` in its texts as markup: what a reader or a tokenizer wrote is to be shown as it is. */
export function markup(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

/** Five significant digits are more than a figure shows, and a third of the bytes; what is not finite leaves a gap. */
export function rounded(value: number | undefined, digits = 5): number | null {
  return value === undefined || !Number.isFinite(value) ? null : Number(value.toPrecision(digits));
}

/**
 * @file A timeline: what each of many did over time, one row each, a colour for each kind of thing to do.
 */
import { invariant } from '../base/index.ts';
import { axis, color, layout, markup, rounded, type ChartOptions, type Figure, type ScatterTrace } from './figure.ts';

/** From when to when something of that kind went on. */
export interface TimelineSpan {
  readonly kind: string;
  readonly from: number;
  readonly to: number;
}

export interface TimelineSpans {
  readonly name: string;
  readonly spans: readonly TimelineSpan[];
}

export interface TimelineOptions extends ChartOptions {
  /** The kinds in the order of the legend, each with its colour; unless told those that occur, in the colours of the house. */
  readonly kinds?: Readonly<Record<string, string>>;
}

/** Colours of what a request does on a server: pale while it waits, loud where work is lost. */
export const servingColors: Readonly<Record<string, string>> = {
  waiting: '#d9d9d9',
  prefill: '#0072B2',
  decode: '#56B4E9',
  wasted: '#E69F00',
  preempted: '#CC79A7',
  recomputed: '#D55E00',
};

/** More rows than this have no name each. */
const MOST_NAMES = 40;
const ROW_PIXELS = { most: 22, least: 3 };

/**
 * Rows from top to bottom, time from left to right.
 *
 * @example show(timelinePlot(simulate(workload, { scheduler, cost, blocks, log: true }).log!.rows(), { kinds: servingColors }))
 * @throws RangeError for a span of a kind that `kinds` does not name, or one that ends before it begins.
 */
export function timelinePlot(rows: readonly TimelineSpans[], options: TimelineOptions = {}): Figure {
  const occurring = new Set(rows.flatMap(({ spans }) => spans.map(({ kind }) => kind)));
  const kinds = options.kinds ?? Object.fromEntries([...occurring].map((kind, i) => [kind, color(i)]));
  for (const kind of occurring) {
    invariant(Object.hasOwn(kinds, kind), `timelinePlot: no colour for '${kind}'; there are ${Object.keys(kinds).join(', ')}`);
  }
  const pitch = Math.max(ROW_PIXELS.least, Math.min(ROW_PIXELS.most, 560 / Math.max(1, rows.length)));
  const data = Object.entries(kinds)
    .filter(([kind]) => occurring.has(kind))
    .map(([kind, shade]) => spansOf(kind, shade, rows, 0.7 * pitch));
  const height = options.height ?? Math.round(130 + pitch * rows.length);
  const named = rows.length <= MOST_NAMES;
  const names = named
    ? { tickmode: 'array', tickvals: rows.map((_, row) => row), ticktext: rows.map(({ name }) => markup(name)) }
    : {};
  const axes = {
    xaxis: axis(options.x ?? 'seconds'),
    yaxis: axis(options.y, { range: [rows.length - 0.5, -0.5], showgrid: false, ...names }),
  };
  const figure = layout({ ...options, height }, axes, data);
  return { data, layout: { ...figure, showlegend: true } };
}

/** All spans of a kind as one trace of thick strokes, with gaps between them. */
function spansOf(kind: string, shade: string, rows: readonly TimelineSpans[], width: number): ScatterTrace {
  const [x, y, text]: [number[], (number | null)[], string[]] = [[], [], []];
  for (const [row, { name, spans }] of rows.entries()) {
    for (const span of spans) {
      if (span.kind !== kind) continue;
      invariant(span.to >= span.from, `timelinePlot: '${name}' has a span from ${span.from} to ${span.to}`);
      const label = markup(`${name}: ${kind}, ${(span.to - span.from).toPrecision(3)}`);
      x.push(rounded(span.from, 8)!, rounded(span.to, 8)!, rounded(span.to, 8)!);
      y.push(row, row, null);
      text.push(label, label, '');
    }
  }
  return {
    type: 'scatter',
    mode: 'lines',
    name: markup(kind),
    x,
    y,
    text,
    hovertemplate: '%{text}<extra></extra>',
    line: { color: shade, width: rounded(width, 3)! },
  };
}

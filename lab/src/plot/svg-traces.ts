/**
 * @file The kinds of trace, drawn as SVG into a panel: points and lines, bars, cells.
 */
import { escapeMarkup } from '../base/index.ts';
import {
  plainText,
  textWidth,
  type BarTrace,
  type Coordinate,
  type HeatmapTrace,
  type ScatterTrace,
  type Trace,
} from './figure.ts';
import { palettePng } from './png.ts';
import type { Scale } from './scale.ts';

/** One pair of axes on the page, in pixels. */
export interface Panel {
  readonly x: Scale;
  readonly y: Scale;
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
  readonly barmode: 'group' | 'stack' | 'overlay';
}

/** @param traces all of the panel, of which this is the i-th: bars stand beside or on one another */
export function drawTrace(trace: Trace, panel: Panel, traces: readonly Trace[], i: number): string {
  const drawn =
    trace.type === 'scatter' ? points(trace, panel) : trace.type === 'bar' ? bars(trace, panel, traces, i) : cells(trace, panel);
  return trace.opacity === undefined ? drawn : `<g opacity="${trace.opacity}">${drawn}</g>`;
}

function points(trace: ScatterTrace, panel: Panel): string {
  let path = '';
  let circles = '';
  let names = '';
  let pen = 'M';
  trace.y.forEach((value, i) => {
    const x = panel.x.pixel(trace.x[i] ?? null);
    const y = panel.y.pixel(value);
    if (x === undefined || y === undefined || Number.isNaN(x)) {
      pen = 'M';
      return;
    }
    path += `${pen}${x.toFixed(1)} ${y.toFixed(1)}`;
    pen = 'L';
    circles += `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="${(trace.marker?.size ?? 7) / 2}"/>`;
    if (trace.mode.includes('text')) names += nameAbove(trace.text?.[i] ?? '', x, y, panel);
  });
  const dashes = { solid: '', dash: ' stroke-dasharray="8 5"', dot: ' stroke-dasharray="2 4"' }[trace.line?.dash ?? 'solid'];
  const stroke = `stroke="${trace.line?.color}" stroke-width="${trace.line?.width ?? 2}"${dashes}`;
  const line = trace.mode.includes('lines') ? `<path d="${path}" fill="none" stroke-linejoin="round" ${stroke}/>` : '';
  return line + (trace.mode.includes('markers') ? `<g fill="${trace.marker?.color}">${circles}</g>` : '') + names;
}

/** Near an edge the name stands beside its point, so that it is not cut off. */
function nameAbove(name: string, x: number, y: number, { left, right }: Panel): string {
  const text = plainText(name);
  const half = textWidth(text) / 2;
  const anchor = x - half < left ? 'start' : x + half > right ? 'end' : 'middle';
  const place = `x="${x.toFixed(1)}" y="${(y - 8).toFixed(1)}" text-anchor="${anchor}"`;
  return `<text ${place} font-size="11">${escapeMarkup(text)}</text>`;
}

function bars(trace: BarTrace, panel: Panel, traces: readonly Trace[], i: number): string {
  const upright = trace.orientation === 'v';
  const [along, across] = upright ? [panel.x, panel.y] : [panel.y, panel.x];
  const [names, lengths] = upright ? [trace.x, trace.y] : [trace.y, trace.x];
  const side = panel.barmode === 'group' ? traces.filter((other) => other.type === 'bar').length : 1;
  const thickness = trace.width ? Math.abs(along.unit) * trace.width : (Math.abs(along.unit) * 0.8) / side;
  const floor = across.pixel(0) ?? (upright ? panel.bottom : panel.left);
  const rectangles = lengths.map((length, j) => {
    const middle = along.pixel(names[j] ?? null);
    const below = panel.barmode === 'stack' ? stackedBelow(traces.slice(0, i), names[j] ?? null) : 0;
    const start = below === 0 ? floor : across.pixel(below)!;
    const end = across.pixel(typeof length === 'number' ? length + below : null);
    if (middle === undefined || end === undefined) return '';
    const edge = middle - thickness / 2 + (panel.barmode === 'group' ? (i - (side - 1) / 2) * thickness : 0);
    const [low, size] = [Math.min(start, end).toFixed(1), Math.abs(end - start).toFixed(1)];
    const [e, t] = [edge.toFixed(1), thickness.toFixed(1)];
    return upright
      ? `<rect x="${e}" y="${low}" width="${t}" height="${size}"/>`
      : `<rect x="${low}" y="${e}" width="${size}" height="${t}"/>`;
  });
  return `<g fill="${trace.marker?.color}">${rectangles.join('')}</g>`;
}

/** How high the bars of this name are that were drawn before. */
function stackedBelow(earlier: readonly Trace[], name: Coordinate | null): number {
  let sum = 0;
  for (const trace of earlier) {
    if (trace.type !== 'bar') continue;
    const [names, lengths] = trace.orientation === 'v' ? [trace.x, trace.y] : [trace.y, trace.x];
    sum += Number(lengths[names.indexOf(name)] ?? 0);
  }
  return sum;
}

function cells(trace: HeatmapTrace, panel: Panel): string {
  const xs = trace.x.map((value) => panel.x.pixel(value)!);
  const ys = trace.y.map((value) => panel.y.pixel(value)!);
  const rightwards = panel.x.unit > 0;
  const downwards = panel.y.unit > 0;
  // Colour 64 is that of a cell without a value.
  const rows = trace.z.map((row) => {
    const indices = row.map((value) => (value === null ? 64 : Math.round(63 * share(trace, value))));
    return rightwards ? indices : indices.reverse();
  });
  if (!downwards) rows.reverse();
  const colors = Array.from({ length: 64 }, (_, i) => colorAt(trace, i / 63)).concat('#eeeeee');
  const [w, h] = [Math.abs(panel.x.unit), Math.abs(panel.y.unit)];
  const scale = Math.max(1, Math.min(16, Math.ceil(w)));
  const source = palettePng(rows, colors, scale).toString('base64');
  const corner = `x="${Math.min(...xs) - w / 2}" y="${Math.min(...ys) - h / 2}"`;
  const place = `${corner} width="${w * xs.length}" height="${h * ys.length}"`;
  return `<image ${place} preserveAspectRatio="none" style="image-rendering:pixelated" href="data:image/png;base64,${source}"/>`;
}

/** The legend of a heatmap: its colours from least to most, beside the panel. */
export function colorbar(trace: HeatmapTrace, panel: Panel): string {
  const height = panel.bottom - panel.top;
  const size = `width="14" height="${(height / 32 + 0.5).toFixed(1)}"`;
  const steps = Array.from({ length: 32 }, (_, i) => {
    const y = panel.bottom - ((i + 1) * height) / 32;
    return `<rect x="${panel.right + 12}" y="${y.toFixed(1)}" ${size} fill="${colorAt(trace, i / 31)}"/>`;
  });
  const label = (value: number, y: number): string =>
    `<text x="${panel.right + 31}" y="${y}">${Number(value.toPrecision(3))}</text>`;
  return steps.join('') + label(trace.zmax, panel.top + 10) + label(trace.zmin, panel.bottom);
}

/** Where a value lies between the least and the greatest colour. */
function share(trace: HeatmapTrace, value: number): number {
  return Math.min(1, Math.max(0, (value - trace.zmin) / (trace.zmax - trace.zmin || 1)));
}

/** Between two colours of the scale, mixed in proportion. */
function colorAt(trace: HeatmapTrace, at: number): string {
  const above = Math.max(
    1,
    trace.colorscale.findIndex(([position]) => position >= at),
  );
  const [low, lowColor] = trace.colorscale[above - 1]!;
  const [high, highColor] = trace.colorscale[above]!;
  const mix = (at - low) / (high - low);
  const channel = (i: number): string => {
    const [from, to] = [lowColor, highColor].map((color) => Number.parseInt(color.slice(1 + 2 * i, 3 + 2 * i), 16));
    return Math.round(from! + (to! - from!) * mix)
      .toString(16)
      .padStart(2, '0');
  };
  return `#${channel(0)}${channel(1)}${channel(2)}`;
}

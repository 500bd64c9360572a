/**
 * @file A figure as SVG, drawn without a browser: for pages and front ends where Plotly is missing, and for redrawing often.
 * It knows what the lab's figures contain, not all of Plotly.
 */
import { escapeMarkup } from '../base/index.ts';
import { fontFamily, gridColor, ink, plainText, textWidth, type Figure, type FigureAxis, type Trace } from './figure.ts';
import { colorbar, drawTrace, type Panel } from './svg-traces.ts';
import { makeScale, type Scale } from './scale.ts';

interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** The figure as one self-contained SVG document of its layout's size. */
export function renderSvg(figure: Figure): string {
  const { width, height, title } = figure.layout;
  const box = plotBox(figure);
  const parts = panels(figure).map(([x, y, traces]) => drawPanel(figure, box, x, y, traces));
  if (title) parts.push(textAt(14, 28, title.text, 'font-size="16"'));
  parts.push(...annotations(figure, box), legend(figure, box));
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" ` +
    `font-family="${escapeMarkup(fontFamily)}" font-size="13" fill="${ink}">` +
    `<rect width="${width}" height="${height}" fill="#ffffff"/>${parts.join('')}</svg>`
  );
}

function textAt(x: number, y: number, text: string, attributes = ''): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escapeMarkup(plainText(text))}</text>`;
}

/** The pairs of axes that traces use, with their traces. */
function panels(figure: Figure): [string, string, Trace[]][] {
  const found = new Map<string, [string, string, Trace[]]>();
  for (const trace of figure.data) {
    const x = axisName(trace.xaxis ?? 'x');
    const y = axisName(trace.yaxis ?? 'y');
    const panel = found.get(x + y) ?? [x, y, []];
    panel[2].push(trace);
    found.set(x + y, panel);
  }
  return found.size > 0 ? [...found.values()] : [['xaxis', 'yaxis', []]];
}

/** Plotly calls the axis of `x2` traces `xaxis2`. */
function axisName(reference: string): string {
  return `${reference.slice(0, 1)}axis${reference.slice(1)}`;
}

function axisOf(figure: Figure, name: string): FigureAxis {
  return (figure.layout[name] as FigureAxis | undefined) ?? {};
}

/** The margins, widened where tick labels are long (Plotly calls it automargin). */
function plotBox(figure: Figure): Box {
  const { width, height, margin } = figure.layout;
  const longest = (values: readonly unknown[]): number =>
    Math.max(0, ...values.map((value) => (typeof value === 'string' ? textWidth(value) : 0)));
  const left = longest([...figure.data.flatMap((trace) => [...trace.y]), ...(axisOf(figure, 'yaxis').ticktext ?? [])]);
  const names = figure.data.flatMap((trace) => [...trace.x]);
  const crowded = longest(names) > (width - 90) / Math.max(1, new Set(names).size) && longest(names) > 0;
  return {
    left: Math.max(margin.l, left + (axisOf(figure, 'yaxis').title ? 40 : 16)),
    right: width - margin.r,
    top: margin.t,
    bottom: height - Math.max(margin.b, crowded ? longest(names) + 40 : 0),
  };
}

function drawPanel(figure: Figure, box: Box, xName: string, yName: string, traces: readonly Trace[]): string {
  const xAxis = axisOf(figure, xName);
  const yAxis = axisOf(figure, yName);
  const [fromX, toX] = xAxis.domain ?? [0, 1];
  const [fromY, toY] = yAxis.domain ?? [0, 1];
  const area: Box = {
    left: box.left + fromX * (box.right - box.left),
    right: box.left + toX * (box.right - box.left),
    top: box.bottom - toY * (box.bottom - box.top),
    bottom: box.bottom - fromY * (box.bottom - box.top),
  };
  const stacked = figure.layout.barmode === 'stack';
  const x = makeScale(xAxis, extent(traces, 'x', xAxis, stacked), area.left, area.right, 85);
  const y = makeScale(yAxis, extent(traces, 'y', yAxis, stacked), area.bottom, area.top, 36);
  const panel: Panel = { x, y, ...area, barmode: figure.layout.barmode ?? 'group' };
  const clip = `clip-${xName}-${yName}`;
  const size = `width="${area.right - area.left}" height="${area.bottom - area.top}"`;
  return [
    horizontalAxis(xAxis, x, area),
    verticalAxis(yAxis, y, area),
    `<clipPath id="${clip}"><rect x="${area.left}" y="${area.top}" ${size}/></clipPath>`,
    `<g clip-path="url(#${clip})">${traces.map((trace, i) => drawTrace(trace, panel, traces, i)).join('')}</g>`,
    ...traces.map((trace) => (trace.type === 'heatmap' && trace.showscale ? colorbar(trace, panel) : '')),
  ].join('');
}

/** All values on an axis; with zero where bars stand on it, with the sums where they are stacked, with the edges of cells. */
function extent(traces: readonly Trace[], key: 'x' | 'y', axis: FigureAxis, stacked: boolean): (string | number | null)[] {
  const values: (string | number | null)[] = [];
  const sums = new Map<unknown, number>();
  for (const trace of traces) {
    const own = [...trace[key]];
    const standing = trace.type === 'bar' && axis.type !== 'log' && key === (trace.orientation === 'v' ? 'y' : 'x');
    if (!standing || !stacked) for (const value of own) values.push(value);
    if (trace.type === 'heatmap')
      values.push(...own.flatMap((value) => (typeof value === 'number' ? [value - 0.5, value + 0.5] : [])));
    if (!standing) continue;
    values.push(0);
    const names = key === 'y' ? trace.x : trace.y;
    if (stacked) own.forEach((value, i) => sums.set(names[i], (sums.get(names[i]) ?? 0) + Number(value)));
  }
  return values.concat([...sums.values()]);
}

function horizontalAxis(axis: FigureAxis, scale: Scale, area: Box): string {
  if (axis['visible'] === false) return '';
  const room = Math.abs((scale.ticks[1]?.pixel ?? Infinity) - (scale.ticks[0]?.pixel ?? 0));
  const turned = axis.tickangle === -90 || scale.ticks.some((tick) => textWidth(tick.label) > room);
  const ticks = scale.ticks.map(({ pixel, label }) => {
    const at = pixel.toFixed(1);
    const line = axis['showgrid'] === false ? '' : `<path d="M${at} ${area.top}V${area.bottom}" stroke="${gridColor}"/>`;
    const mark = `<path d="M${at} ${area.bottom}v5" stroke="#888888"/>`;
    const turn = `text-anchor="end" transform="rotate(-90 ${at} ${area.bottom + 10})" dy="0.35em"`;
    const text = turned
      ? textAt(pixel, area.bottom + 10, label, turn)
      : textAt(pixel, area.bottom + 20, label, 'text-anchor="middle"');
    return axis['showticklabels'] === false ? line : line + mark + text;
  });
  const longest = turned ? Math.max(0, ...scale.ticks.map((tick) => textWidth(tick.label))) - 4 : 0;
  const title = axis.title
    ? textAt((area.left + area.right) / 2, area.bottom + 42 + longest, axis.title.text, 'text-anchor="middle"')
    : '';
  return `${ticks.join('')}<path d="M${area.left} ${area.bottom}H${area.right}" stroke="#888888"/>${title}`;
}

function verticalAxis(axis: FigureAxis, scale: Scale, area: Box): string {
  if (axis['visible'] === false) return '';
  let widest = 0;
  const ticks = scale.ticks.map(({ pixel, label }) => {
    const at = pixel.toFixed(1);
    const line = axis['showgrid'] === false ? '' : `<path d="M${area.left} ${at}H${area.right}" stroke="${gridColor}"/>`;
    const mark = `<path d="M${area.left} ${at}h-5" stroke="#888888"/>`;
    if (axis['showticklabels'] === false) return line;
    widest = Math.max(widest, textWidth(label));
    return line + mark + textAt(area.left - 8, pixel, label, 'text-anchor="end" dy="0.35em"');
  });
  const middle = (area.top + area.bottom) / 2;
  const left = Math.max(14, area.left - widest - 22);
  const turn = `text-anchor="middle" transform="rotate(-90 ${left} ${middle})"`;
  const title = axis.title ? textAt(left, middle, axis.title.text, turn) : '';
  return `${ticks.join('')}<path d="M${area.left} ${area.top}V${area.bottom}" stroke="#888888"/>${title}`;
}

/** Those that are placed on the figure as a whole, such as the names of panels. */
function annotations(figure: Figure, box: Box): string[] {
  return (figure.layout.annotations ?? [])
    .filter((annotation) => annotation['xref'] === 'paper')
    .map(({ x, y, text }) =>
      textAt(box.left + x * (box.right - box.left), box.bottom - y * (box.bottom - box.top) - 6, text, 'text-anchor="middle"'),
    );
}

/** Above the plot, row after row as they fit. */
function legend(figure: Figure, box: Box): string {
  if (!figure.layout.showlegend) return '';
  const rows: string[][] = [[]];
  let x = box.left;
  for (const trace of figure.data) {
    if (!trace.name || trace.showlegend === false) continue;
    const width = textWidth(trace.name) + 50;
    if (x + width > box.right && x > box.left) {
      rows.push([]);
      x = box.left;
    }
    const look = 'line' in trace ? trace.line : undefined;
    const stroke = look?.color ?? ('marker' in trace ? trace.marker?.color : undefined) ?? ink;
    const dash = look?.dash === 'dash' ? ' stroke-dasharray="6 4"' : '';
    const sample = `<path d="M${x.toFixed(1)} 0h22" stroke="${stroke}" stroke-width="${look ? 3 : 9}"${dash}/>`;
    rows.at(-1)!.push(sample + textAt(x + 28, 0, trace.name, 'dy="0.35em"'));
    x += width;
  }
  return rows
    .map((row, i) => `<g transform="translate(0 ${box.top - 14 - (rows.length - 1 - i) * 20})">${row.join('')}</g>`)
    .join('');
}

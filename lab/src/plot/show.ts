/**
 * @file Showing a figure where the reader is: drawn by Plotly in a notebook, a line of blocks for each curve in a terminal.
 */
import { notebook, svgImage, type MimeBundle } from '../base/index.ts';
import { plainText, type Figure, type Trace } from './figure.ts';
import { renderSvg } from './svg.ts';

/**
 * Shows a figure. A notebook gets it in three forms and draws the best it can: Plotly's (zoom, values under the mouse), an image
 * (in pages made by nbconvert, or where Plotly's extension is missing), and text.
 */
export function show(figure: Figure): void {
  const display = notebook();
  if (display) display.bundle(figureBundle(figure));
  else console.log(describeFigure(figure));
}

/** The figure in all its forms, by MIME type. */
export function figureBundle(figure: Figure): MimeBundle {
  const text = describeFigure(figure);
  return {
    'application/vnd.plotly.v1+json': { ...figure, config: { responsive: true, displaylogo: false } },
    'text/html': svgImage(renderSvg(figure), text),
    'text/plain': text,
  };
}

/** The figure in words: its title, its axes, and the course and range of each curve. */
export function describeFigure({ data, layout }: Figure): string {
  const label = (text: string | undefined): string => plainText(text ?? '');
  const [x, y] = [label(layout.xaxis.title?.text), label(layout.yaxis.title?.text)];
  const heading = [label(layout.title?.text), x && y ? `${y} over ${x}` : y || x].filter((part) => part !== '');
  return [heading.join(': '), ...data.map((trace) => describeTrace(trace, layout.yaxis.type === 'log'))]
    .filter((line) => line !== '')
    .join('\n');
}

function describeTrace(trace: Trace, logarithmic: boolean): string {
  const lying = trace.type === 'bar' && trace.orientation === 'h';
  const values = (trace.type === 'heatmap' ? trace.z.flat() : lying ? trace.x : trace.y).filter(
    (value) => typeof value === 'number',
  );
  if (values.length === 0) return plainText(trace.name ?? '');
  const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
  const size =
    trace.type === 'heatmap'
      ? `${trace.y.length} × ${trace.x.length}`
      : sparkline(logarithmic ? values.filter((value) => value > 0).map(Math.log10) : values);
  const name = trace.name ? `${plainText(trace.name)} ` : '';
  return `${name}${size} ${Number(low.toPrecision(3))} … ${Number(high.toPrecision(3))}`;
}

/** Numbers as a row of blocks, lowest to highest: ▇▅▃▂▁ */
export function sparkline(values: readonly number[], width = 40): string {
  const low = values.reduce((a, b) => Math.min(a, b), Infinity);
  const high = values.reduce((a, b) => Math.max(a, b), -Infinity);
  const cells = Math.min(width, values.length);
  return Array.from({ length: cells }, (_, i) => {
    const from = Math.floor((i * values.length) / cells);
    const part = values.slice(from, Math.max(from + 1, Math.floor(((i + 1) * values.length) / cells)));
    const mean = part.reduce((a, b) => a + b, 0) / part.length;
    return '▁▂▃▄▅▆▇█'[Math.min(7, Math.floor((8 * (mean - low)) / (high - low || 1)))];
  }).join('');
}

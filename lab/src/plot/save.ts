/**
 * @file A figure as a file that needs nothing else: a page with Plotly inside, a drawing, or the bare data.
 */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { extname } from 'node:path';
import { escapeMarkup, LabError } from '../base/index.ts';
import { writeAtomically } from '../files/index.ts';
import { plainText, type Figure } from './figure.ts';
import { renderSvg } from './svg.ts';

/**
 * Writes a figure in the form that the name asks for: `.html` (opens in any browser, without a network: plotly.js is inside, some
 * megabytes), `.svg`, or `.json` (Plotly's own: `{ data, layout }`). All or nothing: an interrupted write leaves the old file.
 *
 * @throws LabError for any other ending
 */
export async function saveFigure(figure: Figure, path: string): Promise<void> {
  const contents = await figureFile(figure, extname(path).toLowerCase(), path);
  await writeAtomically(path, [Buffer.from(contents)]);
}

async function figureFile(figure: Figure, ending: string, path: string): Promise<string> {
  if (ending === '.svg') return renderSvg(figure);
  if (ending === '.json') return JSON.stringify(figure);
  if (ending === '.html') return page(figure);
  throw new LabError(`saveFigure: '${path}' must end in .html, .svg or .json`);
}

async function page(figure: Figure): Promise<string> {
  const plotly = await readFile(createRequire(import.meta.url).resolve('plotly.js-dist-min'), 'utf8');
  const title = escapeMarkup(plainText(figure.layout.title?.text ?? 'figure'));
  // Inside <script>, `</script>` would end it, and in JSON `<` may always be written as an escape.
  const data = JSON.stringify({ ...figure, config: { responsive: true, displaylogo: false } }).replace(/</g, '\\u003c');
  return (
    `<!doctype html><html><head><meta charset="utf-8"><title>${title}</title></head><body><div id="figure"></div>` +
    `<script>${plotly}</script><script>Plotly.newPlot('figure', ${data})</script></body></html>\n`
  );
}

/**
 * @file What a newcomer does, in a real browser: `npm start`, open a notebook, run it, see a chart, solve an exercise.
 * No request may leave this machine. Pictures of what was seen lie in `.lab/screenshots`.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { filesOf, solvedNotebook, theCourse } from 'lab';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { root } from '../lab/setup/processes.mjs';
import { findChromium } from './browser/chromium.ts';
import { launchBrowser, runAll, showCell, startServer, visit, type Server, type Visit } from './browser/jupyterlab.ts';

interface Cell {
  readonly cell_type: string;
  readonly metadata: { readonly lab?: { readonly exercise?: string; readonly check?: string } };
  source: string | readonly string[];
}

interface Notebook {
  readonly cells: Cell[];
}

const setUpLimitMs = 300_000;
const runLimitMs = 240_000;
const screenshots = path.join(root, '.lab', 'screenshots');
/** Copies are run, so that nothing is ever saved into the notebooks themselves. Jupyter does not serve hidden folders. */
const copies = `notebooks/browser-test-${process.pid}`;

const shipped = (slug: string) => path.join(root, 'notebooks', `${slug}.ipynb`);
const read = (file: string) => JSON.parse(readFileSync(file, 'utf8')) as Notebook;
const digest = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex');
const indexOf = (notebook: Notebook, tag: 'exercise' | 'check', id: string) =>
  notebook.cells.findIndex((cell) => cell.metadata.lab?.[tag] === id);

/** A copy of a chapter in which the first exercise is solved and the others are open. */
function copyWithOneAnswer(slug: string): { file: string; notebook: Notebook; solved: string; open: string } {
  const course = theCourse();
  const chapter = course.chapters.find((one) => one.slug === slug)!;
  const notebook = read(shipped(slug));
  const solution = solvedNotebook(notebook, readFileSync(filesOf(chapter, course).solution, 'utf8'));
  const [solved, open] = notebook.cells.flatMap((cell) => cell.metadata.lab?.exercise ?? []);
  const at = indexOf(notebook, 'exercise', solved!);
  notebook.cells[at]!.source = solution.cells[indexOf(solution, 'exercise', solved!)]!.source;
  const file = `${copies}/${slug}.ipynb`;
  writeFileSync(path.join(root, file), JSON.stringify(notebook, null, 1));
  return { file, notebook, solved: solved!, open: open! };
}

/** Scrolls through the notebook until a chart of Plotly's with something drawn in it is on the screen. */
async function findChart(page: Page, cells: number): Promise<number> {
  for (let index = 0; index < cells; index++) {
    await showCell(page, index);
    const drawn = page.locator(
      `[data-windowed-list-index="${index}"] .js-plotly-plot .main-svg :is(.trace, .hm, .bars, .image-layer image)`,
    );
    if ((await drawn.count()) > 0) return index;
  }
  throw new Error('No cell shows a chart.');
}

describe('JupyterLab in a browser', () => {
  let server: Server;
  let browser: Browser;

  beforeAll(async () => {
    const chromium = await findChromium();
    mkdirSync(screenshots, { recursive: true });
    mkdirSync(path.join(root, copies), { recursive: true });
    browser = await launchBrowser(chromium);
    console.log(`Chromium ${browser.version()}: ${chromium.origin}`);
    server = await startServer();
  }, setUpLimitMs);

  afterAll(async () => {
    await browser?.close();
    await server?.interrupt();
    rmSync(path.join(root, copies), { recursive: true, force: true });
  }, 30_000);

  const expectQuiet = ({ strangers, errors }: Visit) => {
    expect(strangers).toEqual([]);
    expect(errors).toEqual([]);
  };

  it('opens the welcome at the address that npm start prints', { timeout: 120_000 }, async () => {
    const before = digest(shipped('00-welcome'));
    const seen = await visit(browser, server.address);
    await seen.page.waitForSelector('.jp-NotebookPanel h1');
    await seen.page.screenshot({ path: path.join(screenshots, '00-welcome open.png') });
    expect(await seen.page.title()).toContain('00-welcome');
    await seen.page.context().close();
    expectQuiet(seen);
    expect(digest(shipped('00-welcome'))).toBe(before);
  });

  it.each(['00-welcome', '03-attention'])(
    'runs %s: charts are drawn, a right answer passes, an open one says so',
    { timeout: runLimitMs + 120_000 },
    async (slug) => {
      const { file, notebook, solved, open } = copyWithOneAnswer(slug);
      const seen = await visit(browser, server.notebook(file));
      await runAll(seen, file, runLimitMs);
      const shoot = (what: string) => seen.page.screenshot({ path: path.join(screenshots, `${slug} ${what}.png`) });

      await findChart(seen.page, notebook.cells.length);
      await shoot('chart');

      const outputOf = async (id: string) => {
        const index = indexOf(notebook, 'check', id);
        await showCell(seen.page, index);
        return seen.page.locator(`[data-windowed-list-index="${index}"] .jp-OutputArea`).innerText();
      };
      const passed = await outputOf(solved);
      expect(passed).toMatch(/tests? pass/);
      expect(passed).not.toContain('✗');
      await shoot('check passed');
      expect(await outputOf(open)).toContain('not written yet');
      await shoot('check open');

      await seen.page.context().close();
      expectQuiet(seen);
    },
  );

  it('ends with Ctrl-C and leaves no server behind', { timeout: 30_000 }, async () => {
    await server.interrupt();
    await expect(fetch(server.address)).rejects.toThrow('fetch failed');
  });
});

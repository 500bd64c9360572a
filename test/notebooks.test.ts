/**
 * @file The notebooks are what they should be as files, and run from top to bottom in the kernel that readers use: as
 * shipped, where every exercise is still open, and with the solutions in the exercise cells, where every check passes.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { filesOf, solvedNotebook, theCourse } from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { jupyterEnvironment, registerKernel, venvPython } from '../lab/setup/jupyter.mjs';

interface Output {
  readonly output_type: string;
  readonly text?: string | readonly string[];
  readonly data?: Readonly<Record<string, unknown>>;
}

interface Cell {
  readonly cell_type: string;
  readonly id: string;
  readonly source: string | readonly string[];
  readonly metadata: {
    readonly lab?: Readonly<Record<string, unknown>>;
    readonly editable?: boolean;
    readonly deletable?: boolean;
  };
  readonly outputs?: readonly Output[];
  readonly execution_count?: number | null;
}

interface Notebook {
  readonly nbformat: number;
  readonly nbformat_minor: number;
  readonly metadata: { readonly kernelspec?: unknown; readonly language_info?: { readonly name?: string } };
  readonly cells: readonly Cell[];
}

/** What `lab/setup/run_notebook.py` prints. */
interface Report {
  readonly seconds: number;
  readonly trouble: string | null;
}

const root = path.resolve(import.meta.dirname, '..');
const folder = path.join(root, 'notebooks');
const slugs = readdirSync(folder)
  .filter((name) => /^\d\d-.*\.ipynb$/.test(name))
  .map((name) => path.basename(name, '.ipynb'))
  .sort();

/** A chapter should take about a minute; beyond this it hangs. */
const limitMs = 300_000;

const textOf = (slug: string) => readFileSync(path.join(folder, `${slug}.ipynb`), 'utf8');
const read = (slug: string) => JSON.parse(textOf(slug)) as Notebook;
const sourceOf = (cell: Cell) => (typeof cell.source === 'string' ? cell.source : cell.source.join(''));
const codeCells = (notebook: Notebook) => notebook.cells.filter((cell) => cell.cell_type === 'code');
const tagged = (notebook: Notebook, tag: 'exercise' | 'check') =>
  notebook.cells.filter((cell) => cell.metadata.lab?.[tag] !== undefined);
const tagOf = (cell: Cell, tag: 'exercise' | 'check') => String(cell.metadata.lab?.[tag]);

const course = theCourse();
const chapterOf = (slug: string) => course.chapters.find((chapter) => chapter.slug === slug)!;
const solutionOf = (slug: string) => readFileSync(filesOf(chapterOf(slug), course).solution, 'utf8');

it('the course has a notebook for each of its chapters, and a chapter for each notebook', () => {
  expect(slugs).toEqual(course.chapters.map((chapter) => chapter.slug));
});

describe.each(slugs)('%s as a file', (slug) => {
  const notebook = read(slug);

  it('is nbformat 4.5, written the one way that keeps differences small', () => {
    expect([notebook.nbformat, notebook.nbformat_minor]).toEqual([4, 5]);
    expect(textOf(slug)).toBe(`${JSON.stringify(notebook, null, 1)}\n`);
  });

  it('asks for the TypeScript kernel', () => {
    expect(notebook.metadata.kernelspec).toEqual({ display_name: 'TypeScript', language: 'typescript', name: 'tslab' });
    expect(notebook.metadata.language_info?.name).toBe('typescript');
  });

  it('holds no outputs', () => {
    for (const cell of codeCells(notebook)) {
      expect(cell.outputs, cell.id).toEqual([]);
      expect(cell.execution_count, cell.id).toBeNull();
    }
  });

  it('gives each cell an id of its own', () => {
    const ids = notebook.cells.map((cell) => cell.id);
    expect(ids.every((id) => /^[\w-]{1,64}$/.test(id))).toBe(true);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('begins with the same first cell as every other notebook', () => {
    const [first] = codeCells(notebook);
    const [reference] = codeCells(read(slugs[0]!));
    expect(sourceOf(first!)).toBe(sourceOf(reference!));
    expect(first!.metadata.lab).toEqual({ setup: true });
  });

  it('has a cell for each exercise of the chapter, in order, and a locked check as the next code', () => {
    const ids = chapterOf(slug).exercises.map((exercise) => exercise.id);
    expect(tagged(notebook, 'exercise').map((cell) => tagOf(cell, 'exercise'))).toEqual(ids);
    expect(tagged(notebook, 'check').map((cell) => tagOf(cell, 'check'))).toEqual(ids);
    for (const cell of tagged(notebook, 'exercise')) {
      const id = tagOf(cell, 'exercise');
      const next = codeCells(notebook)[codeCells(notebook).indexOf(cell) + 1]!;
      expect(sourceOf(cell)).toContain(`lab.todo('${id}')`);
      expect(sourceOf(next)).toBe(`await check('${id}');`);
      expect(next.metadata).toEqual({ lab: { check: id }, editable: false, deletable: false });
    }
  });
});

/** Everything a cell put out that can be read. */
function readable(cell: Cell): string {
  const parts = (cell.outputs ?? []).flatMap(({ text, data }) => [text, data?.['text/plain'], data?.['text/html']]);
  return parts.flatMap((part) => (Array.isArray(part) ? part.join('') : typeof part === 'string' ? part : [])).join('\n');
}

const drawsPlotly = (cell: Cell) =>
  (cell.outputs ?? []).some((output) => output.data?.['application/vnd.plotly.v1+json'] !== undefined);

/** Ends with the status of the process: a child is never left behind. */
function run(command: string, args: readonly string[]): Promise<{ status: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      env: jupyterEnvironment(),
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: limitMs,
    });
    const got = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const)
      child[stream].setEncoding('utf8').on('data', (text: string) => (got[stream] += text));
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, ...got }));
  });
}

/** vitest looks up the source of every line that looks like one of a stack, which takes minutes when a kernel repeats itself. */
function shortened(text: string, most = 8000): string {
  if (text.length <= most) return text;
  return `${text.slice(0, most / 2)}\n… ${text.length - most} characters …\n${text.slice(-most / 2)}`;
}

describe('in the kernel', () => {
  const scratch = mkdtempSync(path.join(tmpdir(), 'lab-notebooks-'));
  const times: string[] = [];

  beforeAll(registerKernel);
  afterAll(() => {
    rmSync(scratch, { recursive: true });
    console.log(times.join('\n'));
  });

  async function execute(name: string, notebook: unknown): Promise<Notebook> {
    const [given, executed] = [path.join(scratch, `${name}.ipynb`), path.join(scratch, `${name} executed.ipynb`)];
    writeFileSync(given, JSON.stringify(notebook));
    const script = path.join(root, 'lab', 'setup', 'run_notebook.py');
    const { status, stdout, stderr } = await run(venvPython, [
      script,
      given,
      executed,
      '--folder',
      folder,
      '--timeout',
      String(limitMs / 1000),
    ]);
    if (status !== 0) throw new Error(`${name}: a cell failed.\n\n${shortened(stderr)}`);
    const { seconds } = JSON.parse(stdout.trim().split('\n').at(-1)!) as Report;
    times.push(`${seconds.toFixed(1).padStart(6)} s  ${name}`);
    return JSON.parse(readFileSync(executed, 'utf8')) as Notebook;
  }

  describe.each(slugs)('%s', (slug) => {
    it('runs as shipped: every check says that its exercise is not written yet', { timeout: limitMs }, async () => {
      const notebook = await execute(`${slug} as shipped`, read(slug));
      for (const cell of tagged(notebook, 'check')) expect(readable(cell), tagOf(cell, 'check')).toContain('not written yet');
      expect(notebook.cells.some(drawsPlotly)).toBe(true);
    });

    it('runs with the solutions: every check passes', { timeout: limitMs }, async () => {
      const notebook = await execute(`${slug} with the solutions`, solvedNotebook(read(slug), solutionOf(slug)));
      for (const cell of tagged(notebook, 'check')) {
        const text = readable(cell);
        expect(text, tagOf(cell, 'check')).toMatch(/✓ .*(all \d+ tests pass|the test passes)/);
        expect(text, tagOf(cell, 'check')).not.toMatch(/✗|not written yet/);
      }
    });
  });
});

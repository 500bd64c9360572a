/**
 * @file Handing the course out: the students' copy holds no answers, works, and takes fixes without losing what students wrote.
 */
import { execFileSync, spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import {
  applyUpdate,
  filesOf,
  handOutOf,
  LabError,
  makeRelease,
  mergeNotebook,
  planUpdate,
  projectRoot,
  readHandOut,
  readNotebook,
  selectChapters,
  solvedNotebook,
  theCourse,
  type Course,
  type HandOut,
  type NotebookCell,
  type NotebookDocument,
} from 'lab';
import { afterAll, describe, expect, it } from 'vitest';
import { writtenFiles } from '../../lab/dist/course/release/hand-out.js';

const course = theCourse();
const scratch = mkdtempSync(join(tmpdir(), 'lab-release-'));
// Thousands of small files.
afterAll(() => rmSync(scratch, { recursive: true, force: true }), 60_000);

let folders = 0;
const newFolder = (): string => join(scratch, `copy-${++folders}`);
const numbers = (text?: string): number[] => selectChapters(text, course).map(({ number }) => number);

const exercisesIn = (text: string): number => selectChapters(text, course).flatMap(({ exercises }) => exercises).length;

const filesIn = (root: string): string[] =>
  readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));

/** The lab, but with notebooks of its own. */
function courseBeside(): Course {
  const root = newFolder();
  mkdirSync(root);
  for (const name of readdirSync(course.root)) {
    if (name !== 'notebooks') symlinkSync(join(course.root, name), join(root, name));
  }
  cpSync(join(course.root, 'notebooks'), join(root, 'notebooks'), { recursive: true });
  return { ...course, root };
}

describe('chapters', () => {
  it('are chosen by number, range and list; a range takes what there is', () => {
    expect(numbers()).toEqual(course.chapters.map(({ number }) => number));
    expect(numbers('0-2, 4')).toEqual([0, 1, 2, 4]);
    expect(numbers('9,3,3')).toEqual([3, 9]);
  });

  it.each(['x', '77', '3-1', '', '1-'])('%j is refused with the list of what there is', (text) => {
    expect(() => numbers(text)).toThrow(/There is no chapter[\s\S]*3 {2}Attention/);
  });
});

describe('a release', () => {
  it('holds the chosen chapters unsolved and nothing of the answers', async () => {
    const folder = newFolder();
    await makeRelease(folder, selectChapters('1,3', course), course);
    const files = filesIn(folder);
    expect(files.filter((file) => file.endsWith('.ipynb')).sort()).toEqual(
      ['01-tokens', '03-attention'].flatMap((slug) => [`.release/notebooks/${slug}.ipynb`, `notebooks/${slug}.ipynb`]).sort(),
    );
    expect(files.filter((file) => file.startsWith('test/')).sort()).toEqual([
      'test/01-tokens.test.ts',
      'test/03-attention.test.ts',
      'test/setup.ts',
    ]);
    expect(files.filter((file) => /^solutions|mistakes|\.git\/|^\.lab|dist\/|node_modules/.test(file))).toEqual([]);
    // What only the solutions say: the lines of their code that the library does not share.
    const solution = readFileSync(filesOf({ slug: '03-attention' }, course).solution, 'utf8');
    const [line] = /const query = tf\.range\(.*/.exec(solution)!;
    expect(files.filter((file) => readFileSync(join(folder, file), 'utf8').includes(line))).toEqual([]);
    expect(readFileSync(join(folder, 'README.md'), 'utf8')).toContain('notebooks/03-attention.ipynb');
    expect([...readHandOut(folder).files.keys()].sort()).toEqual(files.filter((file) => !file.startsWith('.release/')).sort());
  });

  it('is refused while a notebook holds an answer, naming the exercise; then nothing is written', async () => {
    const beside = courseBeside();
    const file = filesOf({ slug: '03-attention' }, beside).notebook;
    const solution = readFileSync(filesOf({ slug: '03-attention' }, course).solution, 'utf8');
    const solved = solvedNotebook(readNotebook(file), solution).cells;
    const notebook = readNotebook(file);
    const cells = notebook.cells.map((cell, i) => (cell.metadata?.lab?.exercise === '3.4' ? solved[i] : cell));
    writeFileSync(file, JSON.stringify({ ...notebook, cells }));
    const folder = newFolder();
    const made = makeRelease(folder, selectChapters('3', beside), beside);
    await expect(made).rejects.toThrow(/answers where[^:]*stubs[^:]*: 3\.4\./);
    expect(existsSync(folder)).toBe(false);
    expect(handOutOf(beside, selectChapters('0', beside)).chapters).toEqual([0]);
  });

  it('hands out no outputs of the instructor’s', () => {
    const beside = courseBeside();
    const file = filesOf({ slug: '00-welcome' }, beside).notebook;
    const notebook = readNotebook(file);
    const cells = notebook.cells.map((cell) =>
      cell.cell_type === 'code' ? { ...cell, outputs: [{ output_type: 'stream', name: 'stdout', text: 'SEEN' }] } : cell,
    );
    writeFileSync(file, JSON.stringify({ ...notebook, cells }));
    const { files } = handOutOf(beside, selectChapters('0', beside));
    const given = Buffer.from(files.get('notebooks/00-welcome.ipynb')!).toString('utf8');
    expect(given).toBe(readFileSync(filesOf({ slug: '00-welcome' }, course).notebook, 'utf8'));
  });

  it('goes into no folder that holds something, or that lies in the lab', async () => {
    const folder = newFolder();
    mkdirSync(folder);
    writeFileSync(join(folder, 'mine.txt'), '');
    const chapters = selectChapters('0', course);
    await expect(makeRelease(folder, chapters, course)).rejects.toThrow('is not empty');
    const inside = join(course.root, 'notebooks', 'copy');
    await expect(makeRelease(inside, chapters, course)).rejects.toThrow('inside the lab itself');
    expect(readdirSync(folder)).toEqual(['mine.txt']);
  });
});

type Cell = NotebookCell & { readonly id?: string };
const text = (id: string, source: string): Cell => ({ cell_type: 'markdown', id, metadata: {}, source });
const code = (id: string, source: string, lab?: object): Cell =>
  ({ cell_type: 'code', id, metadata: lab ? { lab } : {}, source, outputs: [], execution_count: null }) as Cell;
const doc = (...cells: Cell[]): NotebookDocument =>
  ({ nbformat: 4, nbformat_minor: 5, metadata: {}, cells }) as NotebookDocument;
const sources = ({ cells }: NotebookDocument): unknown[] => cells.map(({ source }) => source);

describe('a notebook that is fixed under a student’s hands', () => {
  const stub = (id: string): string => `f() { lab.todo('${id}') }`;
  const base = doc(
    text('t1', 'prose'),
    code('e1', stub('1.1'), { exercise: '1.1' }),
    code('c1', 'check', { check: '1.1' }),
    code('r1', 'run'),
    code('e2', stub('1.2'), { exercise: '1.2' }),
  );
  const fixed = doc(
    text('t1', 'better prose'),
    text('t2', 'new prose'),
    code('e1', stub('1.1'), { exercise: '1.1' }),
    code('c1', 'check', { check: '1.1' }),
    code('r1', 'run faster'),
    code('e2', `// new\n${stub('1.2')}`, { exercise: '1.2' }),
  );
  const withAnswer = (id: string, answer: string): NotebookDocument => ({
    ...base,
    cells: base.cells.map((cell) => (cell.metadata?.lab?.exercise === id ? { ...cell, source: answer } : cell)),
  });

  it('keeps the answers and takes everything else', () => {
    const { notebook, conflicts } = mergeNotebook(base, fixed, withAnswer('1.1', 'my answer'));
    const others = ['check', 'run faster', `// new\n${stub('1.2')}`];
    expect(sources(notebook)).toEqual(['better prose', 'new prose', 'my answer', ...others]);
    expect(conflicts).toEqual([]);
  });

  it('is the fixed one where the student has done nothing, and the student’s where nothing was fixed', () => {
    expect(mergeNotebook(base, fixed, base)).toEqual({ notebook: fixed, conflicts: [] });
    const own = withAnswer('1.2', 'mine');
    expect(mergeNotebook(base, base, own)).toEqual({ notebook: own, conflicts: [] });
    const { notebook } = mergeNotebook(base, fixed, own);
    expect(mergeNotebook(fixed, fixed, notebook)).toEqual({ notebook, conflicts: [] });
  });

  it('keeps the answer to an exercise whose stub is new, and says so', () => {
    const { notebook, conflicts } = mergeNotebook(base, fixed, withAnswer('1.2', 'mine'));
    expect(sources(notebook).at(-1)).toBe('mine');
    expect(conflicts).toEqual([expect.stringContaining('exercise 1.2 has a new stub')]);
  });

  it('replaces another cell that the student has changed, and says so', () => {
    const cells = base.cells.map((cell) => (cell.source === 'run' ? { ...cell, source: 'run mine' } : cell));
    const { notebook, conflicts } = mergeNotebook(base, fixed, { ...base, cells });
    expect(sources(notebook)).toEqual(sources(fixed));
    expect(conflicts).toEqual(["the cell that begins with “run mine” was changed by you; it is the course's again."]);
  });

  it('keeps the cells that the student has added where they were, copies of an exercise’s cell too', () => {
    const [t1, e1, c1, ...rest] = withAnswer('1.1', 'answer').cells as Cell[];
    const again = code('e1', 'second try', { exercise: '1.1' });
    const own = doc(text('n0', 'first note'), t1!, e1!, again, code('n1', 'note'), c1!, ...rest);
    const { notebook, conflicts } = mergeNotebook(base, fixed, own);
    expect(sources(notebook).slice(0, 7)).toEqual([
      'first note',
      'better prose',
      'new prose',
      'answer',
      'second try',
      'note',
      'check',
    ]);
    expect(conflicts).toEqual([]);
  });

  it('keeps the outputs of cells that stay as they are', () => {
    const outputs = [{ output_type: 'stream' }];
    const cells = base.cells.map((cell) => (cell.cell_type === 'code' ? { ...cell, outputs, execution_count: 3 } : cell));
    const { notebook } = mergeNotebook(base, fixed, { ...base, cells } as NotebookDocument);
    const left = (notebook.cells as readonly { outputs?: unknown[] }[]).map((cell) => cell.outputs?.length);
    expect(left).toEqual([undefined, undefined, 1, 1, 0, 0]);
  });

  it('puts back a cell that the student has deleted, and knows cells that have lost their ids', () => {
    const own = doc(...(withAnswer('1.1', 'mine').cells as Cell[]).filter((cell) => cell.source !== 'check'));
    const cells = own.cells.map((cell) => Object.fromEntries(Object.entries(cell).filter(([key]) => key !== 'id')));
    const { notebook, conflicts } = mergeNotebook(base, fixed, { ...own, cells } as unknown as NotebookDocument);
    expect(sources(notebook)).toEqual(['better prose', 'new prose', 'mine', 'check', 'run faster', `// new\n${stub('1.2')}`]);
    expect(conflicts).toEqual([]);
  });

  it('keeps the answer to an exercise that is gone, and lets go of its stub', () => {
    const without = doc(...(fixed.cells as Cell[]).slice(0, -1));
    expect(mergeNotebook(base, without, base)).toEqual({ notebook: without, conflicts: [] });
    const { notebook, conflicts } = mergeNotebook(base, without, withAnswer('1.2', 'mine'));
    expect(sources(notebook).at(-1)).toBe('mine');
    expect(conflicts).toEqual([expect.stringContaining('1.2 is no longer part')]);
  });
});

describe('an update', () => {
  const notebook = (prose: string): string =>
    JSON.stringify(doc(text('t', prose), code('e', `lab.todo('90.1')`, { exercise: '90.1' })));
  const handOut = (files: Readonly<Record<string, string>>, chapters = [90]): HandOut => ({
    chapters,
    files: new Map(Object.entries(files).map(([path, content]) => [path, Buffer.from(content)])),
  });
  const old = { 'notebooks/90.ipynb': notebook('old'), 'lab/src/a.ts': 'a', 'lab/src/b.ts': 'b', 'lab/src/c.ts': 'c' };
  const fixed = { 'notebooks/90.ipynb': notebook('fixed'), 'lab/src/a.ts': 'a2', 'lab/src/d.ts': 'd' };

  function copyOf(given: HandOut): string {
    const root = newFolder();
    for (const [path, bytes] of writtenFiles(given)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), bytes);
    }
    return root;
  }
  const contents = (root: string): Record<string, string> =>
    Object.fromEntries(
      filesIn(root)
        .filter((file) => file.startsWith('lab/'))
        .map((file) => [file, readFileSync(join(root, file), 'utf8')]),
    );

  it('replaces, adds and removes, keeps what it replaced, and has nothing to do the second time', async () => {
    const root = copyOf(handOut(old));
    const solved = readNotebook(join(root, 'notebooks/90.ipynb'));
    const cells = solved.cells.map((cell) => (cell.cell_type === 'code' ? { ...cell, source: 'mine' } : cell));
    writeFileSync(join(root, 'notebooks/90.ipynb'), JSON.stringify({ ...solved, cells }));
    const plan = planUpdate(root, handOut(fixed));
    expect(contents(root)).toEqual({ 'lab/src/a.ts': 'a', 'lab/src/b.ts': 'b', 'lab/src/c.ts': 'c' });
    const { backup } = await applyUpdate(plan);
    expect(contents(root)).toEqual({ 'lab/src/a.ts': 'a2', 'lab/src/d.ts': 'd' });
    expect(sources(readNotebook(join(root, 'notebooks/90.ipynb')))).toEqual(['fixed', 'mine']);
    expect(plan.conflicts).toEqual([]);
    expect(filesIn(backup!).sort()).toEqual(['lab/src/a.ts', 'lab/src/b.ts', 'lab/src/c.ts', 'notebooks/90.ipynb']);
    expect(sources(readNotebook(join(backup!, 'notebooks/90.ipynb')))).toEqual(['old', 'mine']);
    expect(planUpdate(root, handOut(fixed))).toMatchObject({ changes: [], conflicts: [] });
  });

  it('says which files were changed by the student: replaced ones are in the backup, removed ones stay', async () => {
    const root = copyOf(handOut(old));
    for (const name of ['a', 'b']) writeFileSync(join(root, `lab/src/${name}.ts`), `my ${name}`);
    const plan = planUpdate(root, handOut(fixed));
    expect(plan.conflicts).toEqual([
      "lab/src/a.ts was changed here; it is the course's again.",
      'lab/src/b.ts is no longer part of the course, but was changed here: it was kept.',
    ]);
    const { backup } = await applyUpdate(plan);
    expect(readFileSync(join(backup!, 'lab/src/a.ts'), 'utf8')).toBe('my a');
    expect(contents(root)).toEqual({ 'lab/src/a.ts': 'a2', 'lab/src/b.ts': 'my b', 'lab/src/d.ts': 'd' });
  });

  it('does not touch a notebook in which nothing was fixed, however Jupyter has saved it', () => {
    const root = copyOf(handOut(old));
    const [prose, answer] = readNotebook(join(root, 'notebooks/90.ipynb')).cells;
    const saved = {
      nbformat_minor: 5,
      nbformat: 4,
      metadata: { kernelspec: { name: 'tslab' } },
      cells: [
        { ...prose, source: ['old'] },
        { ...answer, source: ['my\n', 'answer'], metadata: { scrolled: true, ...answer!.metadata }, execution_count: 4 },
      ],
    };
    writeFileSync(join(root, 'notebooks/90.ipynb'), JSON.stringify(saved, null, 3));
    expect(planUpdate(root, handOut(old))).toMatchObject({ changes: [], conflicts: [] });
    expect(planUpdate(root, handOut(fixed)).changes).toContainEqual({ path: 'notebooks/90.ipynb', kind: 'merged' });
  });

  it('leaves a notebook alone that cannot be read, and goes on', async () => {
    const root = copyOf(handOut(old));
    writeFileSync(join(root, 'notebooks/90.ipynb'), '<<<<<<< HEAD');
    const plan = planUpdate(root, handOut(fixed));
    await applyUpdate(plan);
    expect(plan.conflicts).toEqual([expect.stringContaining('notebooks/90.ipynb was left as it is')]);
    expect(readFileSync(join(root, 'notebooks/90.ipynb'), 'utf8')).toBe('<<<<<<< HEAD');
    expect(contents(root)['lab/src/a.ts']).toBe('a2');
  });

  it('that was interrupted before its end is finished by the next one', async () => {
    const root = copyOf(handOut(old));
    const plan = planUpdate(root, handOut(fixed));
    const [[path, bytes] = []] = [...plan.contents];
    writeFileSync(join(root, path!), bytes!);
    await applyUpdate(planUpdate(root, handOut(fixed)));
    expect(planUpdate(root, handOut(fixed))).toMatchObject({ changes: [], conflicts: [] });
    expect(contents(root)).toEqual({ 'lab/src/a.ts': 'a2', 'lab/src/d.ts': 'd' });
  });

  it('is refused where it would lose chapters, or where there is no copy, or the release was worked in', () => {
    const root = copyOf(handOut(old, [90, 91]));
    expect(() => planUpdate(root, handOut(fixed))).toThrow('lacks chapters that are in');
    expect(() => planUpdate(scratch, handOut(fixed))).toThrow(LabError);
    writeFileSync(join(root, 'lab/src/a.ts'), 'x');
    expect(() => readHandOut(root)).toThrow(/not as it was handed out: lab\/src\/a\.ts is changed/);
    rmSync(join(root, 'lab/src/a.ts'));
    expect(() => readHandOut(root)).toThrow('is missing');
  });

  it.each(['../outside.ts', '/etc/x', '.git/hooks/pre-commit', 'a/../../b', 'C:/x', 'a\\..\\b'])(
    'is refused when the release would write to %s',
    (path) => {
      const root = copyOf(handOut(old));
      const manifest = { version: 1, chapters: [90], files: { [path]: 'x' } };
      writeFileSync(join(root, '.release/release.json'), JSON.stringify(manifest));
      expect(() => readHandOut(root)).toThrow('is damaged');
    },
  );
});

describe('a student’s copy, started for real', () => {
  const run = (root: string, ...args: string[]): Promise<{ status: number | null; output: string }> =>
    new Promise((resolve) => {
      // The packages are links: npm must not touch them, whatever it thinks of their versions.
      const npm = join(scratch, 'no-npm.js');
      const env = { ...process.env, npm_execpath: npm, LAB_PROGRESS: 'on', VITEST: undefined, LAB_ANSWERS: undefined };
      const child = spawn(process.execPath, args, { cwd: root, env: env as NodeJS.ProcessEnv });
      let output = '';
      const hear = (part: string): void => void (output += part);
      for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', hear);
      child.on('close', (status) => resolve({ status, output }));
    });

  /** As `npm install` and the build would leave it. */
  function install(root: string): void {
    const packages = join(projectRoot(), 'node_modules');
    mkdirSync(join(root, 'node_modules'));
    for (const name of readdirSync(packages)) {
      if (name !== 'lab' && !name.startsWith('.')) symlinkSync(join(packages, name), join(root, 'node_modules', name));
    }
    symlinkSync(join('..', 'lab'), join(root, 'node_modules', 'lab'));
    cpSync(join(packages, '.package-lock.json'), join(root, 'node_modules', '.package-lock.json'));
    cpSync(join(projectRoot(), 'lab', 'dist'), join(root, 'lab', 'dist'), { recursive: true });
  }

  it('judges its notebooks, knows its own chapters only, and takes an update', { timeout: 240_000 }, async () => {
    const root = newFolder();
    await makeRelease(root, selectChapters('0,1', course), course);
    install(root);
    const file = join(root, 'notebooks', '00-welcome.ipynb');
    const solution = readFileSync(filesOf({ slug: '00-welcome' }, course).solution, 'utf8');
    const notebook = readNotebook(file);
    const solved = solvedNotebook(notebook, solution).cells;
    const cells = notebook.cells.map((cell, i) => (cell.metadata?.lab?.exercise === '0.1' ? solved[i] : cell));
    writeFileSync(file, JSON.stringify({ ...notebook, cells }));

    const tested = await run(root, 'lab/setup/test.mjs', 'test/00');
    expect(tested.output).toMatch(/\n[1-9]\d* passed, [1-9]\d* failed/);
    expect(tested.output).toMatch(/FAIL .*0\.2/);
    expect(tested.output).not.toMatch(/FAIL .*0\.1/);
    expect(tested.output).not.toMatch(/FAIL .*(Cannot find|failed to load)/i);
    const checked = await run(root, 'lab/setup/lab.mjs', 'check', '0');
    expect(checked.output).toMatch(/✓ 0\.1[\s\S]*○ 0\.2[\s\S]*1 passed, 0 failed, 2 not written yet/);
    const progress = await run(root, 'lab/setup/lab.mjs', 'progress');
    expect(progress.output).toMatch(new RegExp(`1 of ${exercisesIn('0,1')} exercises[^]*00 Welcome +✓○○[^]*Next: 0\\.2`));
    expect(progress.output).not.toContain('Attention');
    expect((await run(root, 'lab/setup/lab.mjs', 'solution', '0.1')).output).toContain('handed out without solutions');

    const from = newFolder();
    await makeRelease(from, selectChapters('0-2', course), course);
    const updated = await run(root, 'lab/setup/lab.mjs', 'update', from);
    expect(updated.output).toMatch(/added +notebooks\/02-language-modelling\.ipynb/);
    expect(updated.status).toBe(0);
    expect((await run(root, 'lab/setup/lab.mjs', 'progress')).output).toContain(`1 of ${exercisesIn('0-2')} exercises`);
  });
});

it('this project itself is no student’s copy', () => {
  expect(existsSync(join(projectRoot(), '.release'))).toBe(false);
  expect(execFileSync('git', ['-C', projectRoot(), 'ls-files', 'solutions'], { encoding: 'utf8' })).not.toBe('');
});

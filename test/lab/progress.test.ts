/**
 * @file The learner's view: what was checked is remembered with the code it was about, and shown; hints, stubs and watching.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import {
  checkSaved,
  courseProgress,
  filesOf,
  hintsOf,
  LabError,
  progress,
  progressFile,
  progressHtml,
  progressText,
  projectRoot,
  readNotebook,
  readProgress,
  recordChecks,
  resetExercise,
  selectExercises,
  solutionFor,
  stopWatchdog,
  theCourse,
  watchExercises,
  type Course,
  type ExerciseState,
  type NotebookCell,
  type Verdict,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cellDigest, liveDigest } from '../../lab/dist/course/learner/code-digest.js';
import { kernel } from './fake-kernel.ts';
import { cell, counting, courseOf, courseWith, fixtureCourse, RIGHT } from './course-fixture.ts';

const courses: Course[] = [];
const fresh = (...given: Parameters<typeof courseWith>): Course => (courses.push(courseWith(...given)), courses.at(-1)!);
beforeAll(() => void (process.env['LAB_PROGRESS'] = 'on'));
afterAll(async () => {
  process.env['LAB_PROGRESS'] = 'off';
  for (const { root } of courses) rmSync(root, { recursive: true });
  await stopWatchdog();
});

const all = (course: Course) => selectExercises(['all'], course);
const notebookOf = (course: Course): string => filesOf(counting, course).notebook;
const STUB = `function sum(numbers: readonly number[]): Promise<number> {\n  return lab.todo('90.2');\n}`;
const states = async (course: Course): Promise<ExerciseState[]> =>
  (await courseProgress(course)).chapters[0]!.exercises.map(({ state }) => state);
const verdict = (id: string, state: Verdict['state']): Verdict => ({ id, title: '', state, rows: [] });

/** Puts another source into a cell of the saved notebook. */
function edit(course: Course, id: string, source: string): void {
  const notebook = readNotebook(notebookOf(course));
  const cells = notebook.cells.map((one) => (one.metadata?.lab?.exercise === id ? { ...one, source } : one));
  writeFileSync(notebookOf(course), JSON.stringify({ ...notebook, cells }));
}

describe('the digest of an answer', () => {
  const source = [
    '/** Doc */',
    'const NEG: number = -1e9; // hidden',
    'async function causalMask(queries: number): Promise<number> {',
    '  // why',
    '  return other(helper) + NEG * queries;',
    '}',
  ].join('\n');
  // What tslab 1.0.22 makes of that cell, with `helper` and `other` from an earlier one.
  const inKernel = [
    '(function(exports, require) { Object.defineProperty(exports, "__esModule", { value: true });',
    'exports.causalMask = exports.NEG = void 0;',
    '/** Doc */',
    'const NEG = -1e9; // hidden',
    'exports.NEG = NEG;',
    'async function causalMask(queries) {',
    '    // why',
    '    return exports.other(exports.helper) + NEG * queries;',
    '}',
    'exports.causalMask = causalMask;',
    '',
    '})(__tslab__.exports, __tslab__.require)',
    '',
  ].join('\n');

  it('is the same for the saved cell and for what the kernel ran', async () => {
    const exercise = { ...counting.exercises[0]!, names: ['causalMask'] };
    // As the kernel runs it: under its name for cells.
    const { Script } = await import('node:vm');
    const exports: Record<string, unknown> = {};
    Object.assign(globalThis, { __tslab__: { exports, require: () => undefined } });
    new Script(inKernel, { filename: 'evalmachine.<anonymous>' }).runInThisContext();
    Reflect.deleteProperty(globalThis, '__tslab__');
    expect(liveDigest(exercise, exports)).toBe(cellDigest(source));
    expect(liveDigest({ ...exercise, names: ['causalMask', 'missing'] }, exports)).toBeUndefined();
  });

  it('counts code only, and all of it', () => {
    const digest = cellDigest(source);
    expect(cellDigest(source.replaceAll('  ', '    ').replace('// why', '/* another reason */'))).toBe(digest);
    expect(cellDigest(source.replace(': number = -1e9', ' = -1e9'))).toBe(digest);
    expect(cellDigest(source.replace('1e9', '1e8'))).not.toBe(digest);
    expect(cellDigest('const broken = (')).not.toBe(cellDigest('const broken = ['));
  });
});

describe('progress', () => {
  it('follows an exercise from its stub to a pass, a change and back', async () => {
    const course = fresh({ '90.2': STUB });
    expect(await states(course)).toEqual(['written', 'open', 'written']);
    await checkSaved(all(course), course);
    expect(await states(course)).toEqual(['passed', 'open', 'waiting']);
    edit(course, '90.2', RIGHT['90.2']!);
    expect(await states(course)).toEqual(['passed', 'written', 'waiting']);
    await checkSaved(selectExercises(['90.2', '90.3'], course), course);
    expect(await states(course)).toEqual(['passed', 'passed', 'passed']);
    edit(course, '90.1', 'const double = (x: number) => x + x;');
    expect(await states(course)).toEqual(['changed', 'passed', 'passed']);
    edit(course, '90.1', 'const double = (x: number) => x * x;');
    await checkSaved(selectExercises(['90.1'], course), course);
    expect(await states(course)).toEqual(['failed', 'passed', 'passed']);
    edit(course, '90.1', RIGHT['90.1']!);
    expect(await states(course)).toEqual(['passed', 'passed', 'passed']);
    const { next } = await courseProgress(course);
    expect(next).toBeUndefined();
  });

  it('tells a pass in the running notebook that was not saved yet from one that was undone', async () => {
    const course = fresh({ '90.1': `function double() { return lab.todo('90.1'); }` });
    const past = new Date(Date.now() - 60_000);
    utimesSync(notebookOf(course), past, past);
    await recordChecks([{ verdict: verdict('90.1', 'passed'), digest: 'of the kernel' }], course);
    expect((await states(course))[0]).toBe('unsaved');
    const later = new Date(Date.now() + 60_000);
    utimesSync(notebookOf(course), later, later);
    expect((await states(course))[0]).toBe('open');
  });

  it('gives the time between two checks to what was worked on, but not a pause, nor what comes after a pass', async () => {
    const course = fresh({});
    const minute = 60_000;
    const at = async (minutes: number, id: string, state: Verdict['state'], digest: string): Promise<number> => {
      await recordChecks([{ verdict: verdict(id, state), digest }], course, minutes * minute);
      return (await readProgress(course)).exercises[id]!.seconds / 60;
    };
    expect(await at(0, '90.1', 'unwritten', 'stub')).toBe(0);
    expect(await at(5, '90.1', 'failed', 'a')).toBe(5);
    expect(await at(6, '90.1', 'failed', 'a')).toBe(5);
    expect(await at(36, '90.1', 'failed', 'b')).toBe(35);
    expect(await at(67, '90.1', 'failed', 'c')).toBe(35);
    expect(await at(68, '90.1', 'passed', 'd')).toBe(36);
    expect(await at(70, '90.1', 'passed', 'e')).toBe(36);
    expect(await at(72, '90.2', 'failed', 'f')).toBe(2);
    expect((await readProgress(course)).exercises['90.1']!.checks).toBe(7);
  });

  it('loses no check when many are recorded at once, and takes over a lock that was left behind', async () => {
    const course = fresh({});
    mkdirSync(join(course.root, '.lab'));
    const lock = `${progressFile(course)}.lock`;
    writeFileSync(lock, '');
    utimesSync(lock, new Date(0), new Date(0));
    const ids = Array.from({ length: 12 }, (_, i) => `90.${i}`);
    await Promise.all(ids.map((id) => recordChecks([{ verdict: verdict(id, 'passed'), digest: id }], course)));
    expect(Object.keys((await readProgress(course)).exercises).sort()).toEqual(ids.sort());
    expect(readdirSync(join(course.root, '.lab'))).toEqual(['progress.json']);
  });

  it.each(['{', '[]', '{"version":2,"exercises":{}}', '{"version":1,"exercises":{"90.1":null}}'])(
    'refuses a damaged record, naming the file, and leaves it alone: %s',
    async (text) => {
      const course = fresh({});
      mkdirSync(join(course.root, '.lab'));
      writeFileSync(progressFile(course), text);
      await expect(courseProgress(course)).rejects.toThrow(LabError);
      const recorded = recordChecks([{ verdict: verdict('90.1', 'passed'), digest: '' }], course);
      await expect(recorded).rejects.toThrow(/progress\.json/);
      expect(readFileSync(progressFile(course), 'utf8')).toBe(text);
    },
  );

  it('says what is wrong with a notebook, and goes on', async () => {
    const course = courseOf('<<<<<<< HEAD');
    courses.push(course);
    const [chapter] = (await courseProgress(course)).chapters;
    expect(chapter!.problem).toContain('90-counting.ipynb is not a notebook');
    expect(chapter!.exercises.map(({ state }) => state)).toEqual(['missing', 'missing', 'missing']);
    rmSync(notebookOf(course));
    expect(progressText(await courseProgress(course))).toContain('there is no notebook');
  });

  it('is shown as lines and as HTML: signs, counts, and what comes next', async () => {
    const course = fresh({ '90.2': STUB });
    const check = (id: string, state: Verdict['state']) => ({ verdict: verdict(id, state), digest: cellDigest(RIGHT[id]!) });
    await recordChecks([check('90.1', 'passed'), check('90.3', 'unwritten')], course);
    const found = await courseProgress(course);
    const text = progressText(found);
    expect(text).toContain('1 of 3 exercises · 15 minutes planned');
    expect(text).toMatch(/90 Counting ✓○… +1\/3/);
    expect(text).toContain('Next: 90.2 sum (difficulty 1/5, 5 minutes), in notebooks/90-counting.ipynb');
    expect(progressText(found, [counting])).toContain('… 90.3 mean: waits for an exercise that is not written yet');
    const html = progressHtml(found);
    expect(html).toContain('aria-label="33%"');
    expect(html).toContain('title="90.3 mean: waits for');
  });

  it('suggests the chapter that is being worked on, then what comes after it', async () => {
    const second = { ...counting, number: 91, slug: '91-more', exercises: [{ ...counting.exercises[0]!, id: '91.1' }] };
    const course = { ...fresh({ '90.2': STUB }), chapters: [counting, second] };
    const nextAfter = async (id: string): Promise<string | undefined> => {
      const source = id.startsWith('90') ? RIGHT[id]! : '';
      const now = Date.now() + Number(id) * 1000;
      await recordChecks([{ verdict: verdict(id, 'passed'), digest: cellDigest(source) }], course, now);
      return (await courseProgress(course)).next?.exercise.id;
    };
    expect(await nextAfter('90.1')).toBe('90.2');
    expect(await nextAfter('91.1')).toBe('91.1'); // no notebook: nothing there is done
  });
});

describe('hints', () => {
  it('are there for every exercise of the course', () => {
    const course = theCourse();
    for (const { chapter, exercise } of all(course)) {
      const hints = hintsOf(exercise.id, filesOf(chapter, course).notebook);
      expect(hints.length, exercise.id).toBeGreaterThan(0);
      expect(hints[0]).not.toMatch(/<\/?(details|summary)/);
    }
  });

  it('come in order, from the exercise’s own text', () => {
    const text = (source: string): object => ({ cell_type: 'markdown', metadata: {}, source });
    const fold = (title: string, body: string): string => `<details><summary>${title}</summary>\n\n${body}\n\n</details>`;
    const course = courseOf(
      JSON.stringify({
        cells: [
          text(fold('Hint', 'another one’s')),
          cell('', { check: '90.1' }),
          text(`${fold('Why?', 'no hint')} ${fold('Hint', 'first')}`),
          text(fold('A second hint', 'second')),
          cell('', { exercise: '90.2' }),
          text(fold('Hint', 'third')),
          cell('', { check: '90.2' }),
          text(fold('Hint', 'of the next')),
        ],
      }),
    );
    courses.push(course);
    expect(hintsOf('90.2', notebookOf(course))).toEqual(['first', 'second', 'third']);
    expect(hintsOf('90.3', notebookOf(course))).toEqual([]);
  });
});

describe('reset', () => {
  const git = (course: Course, ...args: string[]): string =>
    execFileSync('git', ['-C', course.root, '-c', 'user.name=a', '-c', 'user.email=a@b', ...args], { encoding: 'utf8' });
  const sourceIn = (course: Course, id: string): NotebookCell =>
    readNotebook(notebookOf(course)).cells.find((one) => one.metadata?.lab?.exercise === id)!;

  it('puts the newest stub of the git history back, keeps the answer, and touches no other cell', async () => {
    const course = fresh({ '90.2': '// old stub\nfunction sum() { return lab.todo("90.2"); }' });
    git(course, 'init', '-q');
    for (const source of ['', STUB, '// an answer\nfunction sum() { return 1; }']) {
      if (source !== '') edit(course, '90.2', source);
      git(course, 'add', '-A');
      git(course, 'commit', '-qm', 'x');
    }
    edit(course, '90.2', RIGHT['90.2']!);
    const before = readNotebook(notebookOf(course)).cells;
    const { kept } = await resetExercise('90.2', course);
    expect(readFileSync(kept!, 'utf8')).toBe(`${RIGHT['90.2']}\n`);
    expect(sourceIn(course, '90.2').source).toBe(STUB);
    const others = (cells: readonly NotebookCell[]) => cells.filter((one) => one.metadata?.lab?.exercise !== '90.2');
    expect(others(readNotebook(notebookOf(course)).cells)).toEqual(others(before));
    expect(await resetExercise('90.2', course)).toEqual({});
  });

  it('takes the stub of the notebook as it was handed out, and drops what the old cell put out', async () => {
    const course = fresh({ '90.2': STUB });
    mkdirSync(join(course.root, '.release', 'notebooks'), { recursive: true });
    writeFileSync(join(course.root, '.release', 'notebooks', '90-counting.ipynb'), readFileSync(notebookOf(course)));
    const notebook = readNotebook(notebookOf(course));
    const cells = notebook.cells.map((one) =>
      one.metadata?.lab?.exercise === '90.2'
        ? { ...one, source: ['a\n', 'b'], outputs: [{ output_type: 'stream' }], execution_count: 7 }
        : one,
    );
    writeFileSync(notebookOf(course), JSON.stringify({ ...notebook, cells }));
    await resetExercise('90.2', course);
    expect(sourceIn(course, '90.2')).toMatchObject({ source: STUB.match(/.*\n|.+$/g), outputs: [], execution_count: null });
    expect(readFileSync(notebookOf(course), 'utf8')).toMatch(/^\{\n "/);
  });

  it('changes nothing where no stub can be found, or the exercise does not exist', async () => {
    const course = fresh({});
    const before = statSync(notebookOf(course)).mtimeMs;
    await expect(resetExercise('90.2', course)).rejects.toThrow('The stub of 90.2 is nowhere to be found');
    await expect(resetExercise('90.9', course)).rejects.toThrow('Exercises: 90.1, 90.2, 90.3');
    expect(statSync(notebookOf(course)).mtimeMs).toBe(before);
    expect(existsSync(join(course.root, '.lab'))).toBe(false);
  });
});

describe('the solution', () => {
  it('is shown to who has passed, or asks for it', async () => {
    const course = fresh({ '90.2': STUB });
    const file = filesOf(counting, course).solution;
    await expect(solutionFor('90.1', course)).rejects.toThrow('handed out without solutions');
    mkdirSync(join(course.root, 'solutions'));
    writeFileSync(file, readFileSync(filesOf(counting, fixtureCourse).solution));
    expect(await solutionFor('90.1', course)).toBeUndefined();
    expect(await solutionFor('90.1', course, { spoil: true })).toMatch(/^function double/);
    await recordChecks([{ verdict: verdict('90.1', 'passed'), digest: 'any' }], course);
    expect(await solutionFor('90.1', course)).toMatch(/^function double/);
    expect(await solutionFor('90.2', course)).toBeUndefined();
  });
});

describe('watching', () => {
  it('tells at first everything, after a save only what has become different, and waits out a damaged file', async () => {
    const course = fresh({ '90.2': STUB });
    const told: (string | readonly string[])[] = [];
    const interruption = { stopped: false };
    const ended = watchExercises(all(course), course, {
      interruption,
      period: 20,
      onChange: (verdicts) => told.push(verdicts.map(({ id, state }) => `${id} ${state}`)),
      onTrouble: (message) => told.push(message),
    });
    const until = async (count: number): Promise<void> => {
      for (const since = Date.now(); told.length < count && Date.now() - since < 30_000;) await setTimeout(20);
    };
    await until(1);
    const whole = readFileSync(notebookOf(course), 'utf8');
    writeFileSync(notebookOf(course), whole.slice(0, 50));
    await until(2);
    writeFileSync(notebookOf(course), whole);
    await setTimeout(100);
    edit(course, '90.2', RIGHT['90.2']!);
    await until(3);
    interruption.stopped = true;
    await ended;
    expect(told).toEqual([
      ['90.1 passed', '90.2 unwritten', '90.3 unwritten'],
      expect.stringContaining('is not a notebook'),
      ['90.2 passed', '90.3 passed'],
    ]);
  });

  it('neither tells nor remembers what an interrupt has cut short', async () => {
    const course = fresh({});
    let looked = 0;
    const interruption = {
      // Not before the tests begin, but when they have ended.
      get stopped(): boolean {
        return looked++ > 0;
      },
    };
    const told: unknown[] = [];
    await watchExercises(selectExercises(['90.1'], course), course, {
      interruption,
      onChange: (verdicts) => told.push(...verdicts),
      onTrouble: (message) => told.push(message),
    });
    expect(told).toEqual([]);
    expect(existsSync(progressFile(course))).toBe(false);
  });
});

describe('in a notebook', () => {
  it('progress() shows a table with bars, and lines for front ends without HTML', async () => {
    const shown = kernel.start();
    try {
      await progress();
      await progress(3, '4.1');
    } finally {
      kernel.stop();
    }
    const [whole, some] = shown.map(({ data }) => data as Record<string, string>);
    expect(whole!['text/html']).toMatch(/<table[\s\S]*00 Welcome[\s\S]*aria-label="\d+%"/);
    expect(whole!['text/plain']).toContain('03 Attention');
    expect(some!['text/plain']).toMatch(/3\.1 causal mask[\s\S]*4\.1 layer norm/);
    expect(some!['text/html']).not.toContain('00 Welcome');
    await expect(progress(99)).rejects.toThrow("There is no chapter or exercise '99'");
  });
});

describe('npm run lab', () => {
  const main = join(projectRoot(), 'lab', 'dist', 'cli', 'main.js');
  const run = (...args: string[]): Promise<{ status: number | null; output: string }> =>
    new Promise((resolve) => {
      const child = spawn(process.execPath, [main, ...args], { env: { ...process.env, LAB_PROGRESS: 'off' } });
      let output = '';
      const hear = (text: string): void => void (output += text);
      for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', hear);
      child.on('close', (status) => resolve({ status, output }));
    });

  it.each([
    [['progress', '3'], 0, /of \d+ exercises[\s\S]*03 Attention[\s\S]*3\.1 causal mask/],
    [['hint', '3.1', '--step', '2'], 2, /hints 1 to 1, not 2/],
    [['solution', '99.1'], 2, /There is no exercise '99.1'\. Exercises: 0\.1/],
    [['reset', '3.1', '3.2'], 2, /reset takes one exercise/],
  ])('%s ends with status %i', async (args, status, output) => {
    const got = await run(...args);
    expect(got.output).toMatch(output);
    expect(got.status).toBe(status);
  });
});

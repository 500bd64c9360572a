import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  csvReport,
  filesOf,
  gradeSubmissions,
  LabError,
  readNotebook,
  readZip,
  solvedNotebook,
  studentPage,
  theCourse,
  type GradedClass,
  type GradeSubmissionsOptions,
  type StudentResult,
} from 'lab';
import { cell, counting, RIGHT, SETUP } from './course-fixture.ts';
import { newClass, notebookWith, slug, zipOf, type Class } from './grading-fixture.ts';

const grade = async (group: Class, options: Partial<GradeSubmissionsOptions> = {}): Promise<GradedClass> =>
  gradeSubmissions(group.folder, group.course, { out: group.out, confinement: 'permissions', ...options });

const byName = ({ results }: GradedClass): Record<string, StudentResult> =>
  Object.fromEntries(results.map((result) => [result.student, result]));

/** Right but for what it does to its argument. */
const EMPTIES = `async function sum(numbers: number[]) { let total = 0; while (numbers.length) total += numbers.pop()!; return total; }`;

/** Points by exercise. */
const pointsOf = (result: StudentResult | undefined): number[] => result?.exercises.map(({ points }) => points) ?? [];

describe('grading a class', () => {
  it('gives points for each test that passes, says why the others do not, and reports it all', async () => {
    const group = newClass();
    group.put('right.ipynb', notebookWith({}));
    group.put('partly.ipynb', notebookWith({ '90.1': 'const double = (x: number) => Math.abs(2 * x);' }));
    group.put('stub.ipynb', notebookWith({ '90.2': `async function sum() { return lab.todo('90.2'); }` }));
    group.put('empties.ipynb', notebookWith({ '90.2': EMPTIES }));
    group.put('typo.ipynb', notebookWith({ '90.1': 'const double = (x: number => 2 * x;' }));
    group.put(
      'throws.ipynb',
      notebookWith({ '90.1': 'const double = (x: number) => {\n  return (null as any).value * x;\n}' }),
    );
    const { results, confinement, complete } = await grade(group);
    expect([confinement, complete]).toEqual(['permissions', true]);
    const { right, partly, stub, empties, typo, throws } = byName({ results } as GradedClass);
    expect(pointsOf(right)).toEqual([1, 1, 1]);
    expect(pointsOf(partly)).toEqual([0.67, 1, 1]);
    expect(partly!.exercises[0]!.rows.map((row) => [row.state, row.hint])).toEqual([
      ['passed', undefined],
      ['passed', undefined],
      ['failed', 'sign'],
    ]);
    expect(stub!.exercises.map(({ state }) => state)).toEqual(['passed', 'unwritten', 'unwritten']);
    // What an answer does to its arguments is seen here, too.
    expect(pointsOf(empties)).toEqual([1, 0.67, 0]);
    expect(pointsOf(typo)).toEqual([0, 1, 1]);
    expect(typo!.exercises[0]!.problem).toContain('line 1 does not compile');
    expect(throws!.exercises[0]!.rows[0]!.detail).toBe('in your line: return null.value * x;');

    const csv = readFileSync(group.out, 'utf8').split('\r\n');
    expect(csv[0]).toBe('student,points,of,90.1 (1),90.2 (1),90.3 (1),notes');
    expect(csv).toContain('partly,2.67,3,0.67,1,1,');
    const folder = group.out.replace('.csv', '');
    expect(readFileSync(join(folder, 'partly.html'), 'utf8')).toContain('The sign is lost.');
    const junit = readFileSync(join(folder, 'junit.xml'), 'utf8');
    expect(junit).toContain('<testsuite name="partly" tests="7" failures="1" skipped="0">');
    expect(junit).toContain('<testcase classname="90.1 doubling" name="doubles -4"><failure message="The sign is lost.">');
  });

  it('counts hidden tests, names them to the teacher, and shows students only how many pass', async () => {
    const group = newClass();
    group.put('seen-only.ipynb', notebookWith({ '90.1': 'const double = (x: number) => (x > 100 ? 0 : 2 * x);' }));
    const hidden = mkdtempSync(join(tmpdir(), 'lab-hidden-'));
    const test = `import { describe, expect, it } from 'vitest';
      import { double } from '../solutions/${slug}.ts';
      describe('90.1 doubling', () => {
        it('doubles what is large', () => { expect(double(1000)).toBe(2000); });
        it('refuses what is no number', () => { expect(() => double('x' as never)).toThrow(); });
      });`;
    const refusing = (how: string): string =>
      `const double = (x: number) => { if (typeof x === 'string') { ${how} } return 2 * x; };`;
    group.put('refuses.ipynb', notebookWith({ '90.1': refusing(`throw new Error('a number, please');`) }));
    group.put('loops.ipynb', notebookWith({ '90.1': refusing('for (;;);') }));
    writeFileSync(join(hidden, `${slug}.test.ts`), test);
    const graded = byName(await grade(group, { hidden, limits: { test: 1000 } }));
    expect(pointsOf(graded['refuses'])).toEqual([1, 1, 1]);
    expect(pointsOf(graded['seen-only'])).toEqual([0.6, 1, 1]);
    // A process that had to be killed has not refused anything.
    expect(pointsOf(graded['loops'])).toEqual([0.8, 1, 1]);
    const page = studentPage(graded['seen-only']!);
    expect(page).toContain('Tests that are not shown: 0 of 2 pass.');
    expect(page).not.toContain('what is large');
    expect(readFileSync(join(group.out.replace('.csv', ''), 'junit.xml'), 'utf8')).toContain('doubles what is large');
    await expect(grade(group, { hidden: join(hidden, 'nowhere') })).rejects.toThrow('There is no folder');
  });

  it('does not grade again what has not changed, and does when answers or tests have', async () => {
    const group = newClass();
    group.put('anna.ipynb', notebookWith({}));
    group.put('bert.ipynb', notebookWith({ '90.1': 'const double = (x: number) => 3 * x;' }));
    const first = await grade(group);
    expect(first.kept).toBe(0);
    const again = await grade(group);
    expect(again.kept).toBe(2);
    expect(again.results).toEqual(first.results);
    group.put('bert.ipynb', notebookWith({}));
    const changed = await grade(group);
    expect([changed.kept, pointsOf(byName(changed)['bert'])[0]]).toEqual([1, 1]);
    const { test } = filesOf(counting, group.course);
    writeFileSync(test, `${readFileSync(test, 'utf8')}\n// changed`);
    expect((await grade(group)).kept).toBe(0);
    writeFileSync(join(group.out.replace('.csv', ''), 'results', 'anna.json'), '{"digest": "half wri');
    expect((await grade(group)).kept).toBe(1);
  });

  it('gives the same grades in any order and at any number of desks, with seeded chance', async () => {
    const cells = { '90.1': 'const double = (x: number) => (Math.random() < 0.5 ? 2 * x : 3 * x);' };
    const group = newClass();
    for (const name of ['a', 'b', 'c']) group.put(`${name}.ipynb`, notebookWith(name === 'b' ? {} : cells));
    const one = byName(await grade(group, { jobs: 1, out: `${group.out}.1.csv` }));
    const three = byName(await grade(group, { jobs: 3 }));
    const seen = (result: StudentResult | undefined): unknown =>
      result!.exercises.map(({ rows }) => rows.map(({ state }) => state));
    for (const name of ['a', 'b', 'c']) expect(seen(three[name])).toEqual(seen(one[name]));
    expect(seen(one['a'])).toEqual(seen(one['c']));
    expect(seen(one['b'])).not.toEqual(seen(one['a']));
  });

  it('goes on where it was interrupted', async () => {
    const group = newClass();
    const root = fileURLToPath(new URL('../../', import.meta.url));
    const chapter = theCourse().chapters.find(({ number }) => number === 4)!;
    const { notebook, solution } = filesOf(chapter, theCourse());
    const solved = JSON.stringify(solvedNotebook(readNotebook(notebook), readFileSync(solution, 'utf8')));
    for (const name of ['a', 'b']) group.put(`${name}.ipynb`, solved);
    const args = [
      join(root, 'lab/dist/cli/main.js'),
      'grade',
      group.folder,
      '--out',
      group.out,
      '--jobs',
      '1',
      '--confine',
      'permissions',
    ];
    const results = join(group.out.replace('.csv', ''), 'results');
    const child = spawn(process.execPath, args, { stdio: 'ignore' });
    const status = await new Promise((resolve) => {
      const timer = setInterval(() => {
        if (!existsSync(results) || readdirSync(results).length === 0) return;
        clearInterval(timer);
        child.kill('SIGINT');
      }, 20);
      child.on('exit', (code) => {
        clearInterval(timer);
        resolve(code);
      });
    });
    expect(status).toBe(130);
    const done = readdirSync(results).length;
    expect(done).toBeLessThan(2);
    const output = execFileSync(process.execPath, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    expect(output).toContain(`2 graded (${done} as before)`);
    expect(output).toContain("Confined by Node's permission model alone");
    expect(readFileSync(group.out, 'utf8').match(/^[ab],19,19,/gm)).toHaveLength(2);
  });

  it('says what is wrong with how it was called', async () => {
    const group = newClass();
    await expect(grade(group)).rejects.toThrow('There are no submissions in');
    group.put('a.ipynb', notebookWith({}));
    await expect(grade(group, { chapters: [91] })).rejects.toThrow('There is no chapter 91. Chapters: 90.');
    await expect(grade(group, { jobs: 0 })).rejects.toThrow('jobs is 0');
    if (process.platform !== 'linux') await expect(grade(group, { confinement: 'bubblewrap' })).rejects.toThrow(LabError);
  });
});

describe('what was handed in', () => {
  const right = notebookWith({});
  const odd: Record<string, [name: string, content: string | Uint8Array, points: number, says: RegExp | undefined]> = {
    'a notebook': ['x.ipynb', right, 3, undefined],
    'a folder': [`x/notebooks/${slug}.ipynb`, right, 3, undefined],
    'an archive': ['x.zip', zipOf({ name: `work/${slug}.ipynb`, content: right }), 3, undefined],
    'an archive without compression': ['x.zip', zipOf({ name: `${slug}.ipynb`, content: right, stored: true }), 3, undefined],
    'no JSON': ['x.ipynb', 'dear teacher,', 0, /x\.ipynb is not a notebook that can be read/],
    'an empty file': ['x.ipynb', '', 0, /x\.ipynb is empty/],
    'no notebook': ['x.ipynb', '{"cells": 3}', 0, /no list of cells/],
    'null': ['x.ipynb', 'null', 0, /no list of cells/],
    'a malformed cell': ['x.ipynb', '{"cells": [{"cell_type": "code", "source": 5}]}', 0, /its cell 1 is malformed/],
    'an old format': ['x.ipynb', '{"worksheets": []}', 0, /old format/],
    'merge markers': [
      'x.ipynb',
      right.replace('"metadata"', '\n<<<<<<< HEAD\n"metadata"'),
      0,
      /merge markers .* in line 2\. Resolve them/,
    ],
    'a byte order mark': ['x.ipynb', `\uFEFF${right}`, 3, undefined],
    'UTF-16': ['x.ipynb', Buffer.from(`\uFEFF${right}`, 'utf16le'), 3, undefined],
    'another kernel': [
      'x.ipynb',
      right.replace('"metadata":{}', '"metadata":{"kernelspec":{"language":"python"}}'),
      3,
      /its kernel is for python/,
    ],
    'no exercise': ['x.ipynb', JSON.stringify({ cells: [cell('1 + 1')] }), 0, /no cell that is tagged/],
    'another course': ['x.ipynb', JSON.stringify({ cells: [cell('', { exercise: '3.1' })] }), 0, /no exercise of this course/],
    'a missing cell': [
      'x.ipynb',
      JSON.stringify({ cells: [cell(SETUP, { setup: true }), cell(RIGHT['90.2']!, { exercise: '90.2' })] }),
      1,
      /the notebook has no cell for exercise 90\.1/,
    ],
    'a cell twice': [
      'x.ipynb',
      notebookWith({ '90.1': 'let a = 1;' }).replace(
        '"cells":[',
        `"cells":[${JSON.stringify(cell(RIGHT['90.1']!, { exercise: '90.1' }))},`,
      ),
      3,
      /90\.1 has more than one cell/,
    ],
    'cells that are not its own': [
      'x.ipynb',
      right.replace('"cells":[', `"cells":[${JSON.stringify(cell('throw 1', { exercise: '91.1' }))},`),
      3,
      /cells of other exercises \(91\.1\)/,
    ],
    'merge markers in a cell': [
      'x.ipynb',
      notebookWith({ '90.1': `<<<<<<< HEAD\n${RIGHT['90.1']}\n=======\n>>>>>>> mine` }),
      2,
      /line 1 does not compile/,
    ],
    'a set-up that does not run': [
      'x.ipynb',
      notebookWith({}, `throw new Error('set-up');`),
      3,
      /set-up: the cell does not run/,
    ],
    'a folder without notebooks': ['x/readme.txt', 'nothing', 0, /No notebook/],
    'huge outputs': [
      'x.ipynb',
      right.replace('"outputs":[]', `"outputs":[{"data":"${'x'.repeat(30_000_000)}"}]`),
      3,
      undefined,
    ],
    'a path out of the archive': ['x.zip', zipOf({ name: '../../evil.ipynb', content: right }), 0, /points out of the archive/],
    'an absolute path in the archive': ['x.zip', zipOf({ name: '/tmp/evil.ipynb', content: right }), 0, /points out/],
    'a path of Windows': ['x.zip', zipOf({ name: '..\\evil.ipynb', content: right }), 0, /points out/],
    'a link in the archive': [
      'x.zip',
      zipOf({ name: `${slug}.ipynb`, content: '/etc/passwd', mode: 0o120777 }),
      0,
      /is a symbolic link/,
    ],
    'an archive that unpacks to more than it says': [
      'x.zip',
      zipOf({ name: `${slug}.ipynb`, content: '0'.repeat(1e6), claimed: 10 }),
      0,
      /does not unpack to the size/,
    ],
    'an encrypted archive': ['x.zip', zipOf({ name: `${slug}.ipynb`, content: right, flags: 1 }), 0, /encrypted/],
    'a torn archive': ['x.zip', zipOf({ name: `${slug}.ipynb`, content: right }).subarray(0, -30), 0, /no zip archive/],
    'no archive': ['x.zip', 'PK', 0, /no zip archive/],
  };

  it('is graded or refused with a sentence, whatever it is, and stops nobody else', async () => {
    const group = newClass();
    const names = Object.keys(odd);
    names.forEach((name, i) => {
      const [path, content] = odd[name]!;
      group.put(path.replace('x', `student${i}`), content);
    });
    group.put('link/secret.txt', 'secret');
    symlinkSync(join(group.folder, 'student0.ipynb'), join(group.folder, 'linked.ipynb'));
    symlinkSync(join(group.folder, 'student0.ipynb'), join(group.folder, 'link', `${slug}.ipynb`));
    mkdirSync(join(group.folder, 'two'));
    for (const name of [`${slug}.ipynb`, 'copy.ipynb']) group.put(`two/${name}`, right);
    const graded = byName(await grade(group, { jobs: 2 }));
    const text = (result: StudentResult): string =>
      [...result.notes, ...result.exercises.map(({ problem = '' }) => problem)].filter(Boolean).join('\n');
    const found = names.map((name, i) => [name, graded[`student${i}`]!.points, text(graded[`student${i}`]!)] as const);
    expect(found.map(([name, points]) => [name, points])).toEqual(names.map((name) => [name, odd[name]![2]]));
    for (const [name, , said] of found) {
      const [path, , , says] = odd[name]!;
      if (!says) expect([name, said]).toEqual([name, '']);
      else expect(said.replaceAll(/student\d+/g, 'x'), `${name}: ${path}`).toMatch(says);
    }
    expect([graded['linked']!.points, text(graded['linked']!)]).toEqual([0, expect.stringContaining('it is a symbolic link')]);
    expect([graded['link']!.points, text(graded['link']!)]).toEqual([
      0,
      expect.stringContaining(`${slug}.ipynb is a symbolic link`),
    ]);
    expect([graded['two']!.points, text(graded['two']!)]).toEqual([
      3,
      expect.stringContaining(`${slug}.ipynb was graded, copy.ipynb was not`),
    ]);
    expect(existsSync(join(group.folder, '../../evil.ipynb'))).toBe(false);
  });

  it('that has nothing to grade at all is said so, with the reasons', async () => {
    const group = newClass();
    group.put('a.ipynb', 'no');
    await expect(grade(group)).rejects.toThrow(
      /No submission has a notebook that can be graded[\s\S]*a: a\.ipynb is not a notebook/,
    );
  });
});

describe('reports', () => {
  const result = (student: string, note: string): StudentResult => ({
    student,
    digest: '',
    points: 0,
    worth: 1,
    notes: [note],
    exercises: [
      { id: '90.1', title: 'doubling', state: 'failed', points: 0, worth: 1, rows: [], problem: '<script>1</script>' },
    ],
  });

  it('keep a spreadsheet from running what students wrote, and quote what needs it', () => {
    const [, line] = csvReport([result('=HYPERLINK("x")', 'one, "two"\nthree')]).split('\r\n');
    expect(line).toBe(`"'=HYPERLINK(""x"")",0,1,0,"one, ""two""\nthree | 90.1: <script>1</script>"`);
  });

  it('escape what students wrote', () => {
    const page = studentPage(result('<img src=x>', '<b>'));
    expect(page).not.toMatch(/<script>|<img|<b>(?!Exercise)/);
    expect(page).toContain('&lt;img src=x&gt;: 0 of 1 points');
  });
});

describe('a zip archive', () => {
  it('is limited in files and in size', () => {
    const zip = zipOf({ name: 'a', content: 'x'.repeat(1000) }, { name: 'b', content: 'y' });
    expect(readZip(zip, () => true).map(({ name, bytes }) => [name, bytes.length])).toEqual([
      ['a', 1000],
      ['b', 1],
    ]);
    expect(() => readZip(zip, () => true, { entries: 1 })).toThrow('it holds 2 files; at most 1 are read');
    expect(() => readZip(zip, () => true, { bytes: 1000 })).toThrow('too large together');
    expect(readZip(zip, (name) => name === 'b', { bytes: 1 })).toHaveLength(1);
  });
});

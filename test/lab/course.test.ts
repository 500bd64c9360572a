import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import {
  filesOf,
  gradeChapter,
  htmlReport,
  judge,
  LabError,
  mine,
  readNotebook,
  savedAnswers,
  selectExercises,
  solvedNotebook,
  stopWatchdog,
  textReport,
  theCourse,
  todo,
  type Answer,
  type Course,
  type Verdict,
} from 'lab';
import * as solution from '../fixtures/course/solutions/90-counting.ts';
import { cell, counting, courseOf, courseWith, fixtureCourse, RIGHT } from './course-fixture.ts';

afterAll(stopWatchdog);

const of = (id: string, answers: object): Promise<Verdict> => judge(id, { ...solution, ...answers } as Answer, fixtureCourse);
const ALL = counting.exercises.map((e) => e.id);
const grade = async (course: Course, ids = ALL): Promise<Record<string, string>> =>
  Object.fromEntries((await gradeChapter(counting, ids, course)).map((v) => [v.id, textReport(v)]));

describe('the runner', () => {
  it('passes right answers, and runs hooks, rows and mocks of the test file', async () => {
    const verdicts = await Promise.all(ALL.map((id) => of(id, {})));
    expect(verdicts.map((v) => [v.state, v.rows.length])).toEqual([
      ['passed', 3],
      ['passed', 3],
      ['passed', 1],
    ]);
    expect(verdicts[0]!.rows.map((row) => row.name)).toEqual(['doubles 1', 'doubles 3', 'doubles -4']);
  });

  it('names a planted mistake by its hint, in its first sentence', async () => {
    const { rows } = await of('90.1', { double: (x: number) => x * x });
    expect(rows).toHaveLength(3);
    for (const row of rows) expect(row).toMatchObject({ state: 'failed', hint: 'square', message: 'That is the square.' });
    expect((await of('90.1', { double: (x: number) => Math.abs(2 * x) })).rows.map((row) => row.hint)).toEqual([
      undefined,
      undefined,
      'sign',
    ]);
  });

  it('shows expected and received values of a plain failure', async () => {
    const [row] = (await of('90.2', { sum: async () => 7 })).rows;
    expect(row).toMatchObject({ state: 'failed', kind: 'error', detail: 'expected: 6.5\nreceived: 7' });
  });

  it('knows a stub from a mistake', async () => {
    const verdict = await of('90.1', { double: () => todo('90.1') });
    expect(verdict.state).toBe('unwritten');
    expect(textReport(verdict)).toBe('○ 90.1 doubling: not written yet');
  });

  it('says which name is missing', async () => {
    const { double: _, ...others } = solution;
    const verdict = await judge('90.1', others, fixtureCourse);
    expect(verdict.rows[0]!.message).toBe('double is not defined: run the cell that defines it first');
  });

  it('stops an endless loop and does not run the tests after it', async () => {
    const verdict = await of('90.1', {
      double: () => {
        for (;;);
      },
    });
    expect(verdict.rows.map((row) => row.state)).toEqual(['failed', 'skipped', 'skipped']);
    expect(verdict.rows[0]!.message).toContain('is there a loop that never ends?');
  });

  it('survives process.exit, and puts back what was changed', async () => {
    const patched = (): unknown[] => [Math.random, Reflect.get(process, 'exit')];
    const plain = patched();
    const verdict = await of('90.1', {
      double: () => {
        Math.random = () => 4;
        Reflect.set(Array.prototype, 'map', () => []);
        Reflect.set(Object.prototype, 'planted', 1);
        return process.exit(0);
      },
    });
    expect(verdict.rows[0]!.message).toContain('process.exit is not allowed');
    expect(patched()).toEqual(plain);
    expect([1, 2].map((x) => x + 1)).toEqual([2, 3]);
    expect('planted' in {}).toBe(false);
  });

  it.each([undefined, null, 'text', { name: 'odd' }, Object.assign(new Error('m'), { stack: 5 })])(
    'explains a thrown %s',
    async (thrown) => {
      const verdict = await of('90.1', {
        double: () => {
          throw thrown;
        },
      });
      expect(verdict.state).toBe('failed');
      expect(verdict.rows[0]!.message).toBeTruthy();
    },
  );

  it('refuses an exercise that is not there, listing those that are', async () => {
    await expect(of('90.7', {})).rejects.toThrow("There is no exercise '90.7'. Exercises: 90.1, 90.2, 90.3.");
    expect(() => selectExercises(['90', '91'], fixtureCourse)).toThrow(
      /no chapter or exercise '91'[\s\S]*90 {2}Counting: 90.1, 90.2, 90.3/,
    );
  });
});

describe('reports', () => {
  it('escape what the reader wrote', async () => {
    const verdict = await of('90.1', {
      double: () => {
        throw new Error('<script>alert(1)</script>');
      },
    });
    expect(htmlReport(verdict)).not.toContain('<script>');
    expect(htmlReport(verdict)).toContain('&lt;script&gt;');
  });

  it('use no emoji', async () => {
    expect(htmlReport(await of('90.1', {}))).not.toMatch(/\p{Extended_Pictographic}/u);
  });
});

describe('a saved notebook', () => {
  it('is judged like the solutions when it is right', async () => {
    expect(await grade(courseWith({}))).toEqual({
      '90.1': '✓ 90.1 doubling: all 3 tests pass',
      '90.2': '✓ 90.2 sum: all 3 tests pass',
      '90.3': '✓ 90.3 mean: the test passes',
    });
  });

  it('shares top-level names between cells and allows await, destructuring, classes, types and imports', async () => {
    const course = courseWith({
      '90.1': `import { join } from 'node:path';
        interface Pair { a: number }
        const { factor, rest: [one] } = await Promise.resolve({ factor: 2, rest: [1] });
        class Twice { times(x: number) { return x * factor * one; } }
        let double = (x: number): number => new Twice().times(x);
        console.log('quiet', join('a', 'b'), tf.scalar(1).dtype);`,
      '90.3': `const mean = async (numbers: number[]) => double(await sum(numbers)) / factor / numbers.length;`,
    });
    expect(Object.values(await grade(course)).every((text) => text.startsWith('✓'))).toBe(true);
    expect(Object.keys((await savedAnswers(filesOf(counting, course).notebook)).names)).toEqual(
      expect.arrayContaining(['lab', 'tf', 'join', 'factor', 'one', 'Twice', 'double', 'sum', 'mean']),
    );
  });

  it('charges a cell that does not compile to its own exercise', async () => {
    const texts = await grade(courseWith({ '90.1': 'const a = 1;\nfunction double(x: number { return 2 * x; }' }));
    expect(texts['90.1']).toContain('line 2 does not compile');
    expect(texts['90.2']).toMatch(/^✓/);
    expect(texts['90.3']).toMatch(/^✓/);
  });

  it('charges a cell that throws, loops or is a stub to its own exercise', async () => {
    const texts = await grade(
      courseWith({
        '90.1': `function double() { return lab.todo('90.1'); }`,
        '90.2': `${RIGHT['90.2']}\nthrow new Error('top level');`,
      }),
    );
    expect(texts['90.1']).toBe('○ 90.1 doubling: not written yet');
    expect(texts['90.2']).toContain('the cell does not run: top level');
  });

  it('quotes the line that failed', async () => {
    const texts = await grade(
      courseWith({
        '90.1': `function double(x: number): number {\n  const nothing: any = null;\n  return nothing.value * x;\n}`,
      }),
    );
    expect(texts['90.1']).toContain('in your line: return nothing.value * x;');
  });

  it('does not let answers import what judges them', async () => {
    const texts = await grade(courseWith({ '90.1': `import { expect } from 'vitest';\nexpect.extend({});\n${RIGHT['90.1']}` }));
    expect(texts['90.1']).toContain("an answer cannot import 'vitest'");
  });

  it.each([
    ['', /not a notebook that can be read/],
    ['{"cells": 3}', /no list of cells/],
    ['[1]', /no list of cells/],
    ['{"cells": [null]}', /no list of cells/],
  ])('is refused when it is malformed: %s', async (text, message) => {
    const course = courseOf(text);
    await expect(gradeChapter(counting, ALL, course)).rejects.toThrow(LabError);
    await expect(gradeChapter(counting, ALL, course)).rejects.toThrow(message);
  });

  it('is missed by name', () => {
    expect(() => readNotebook('/nowhere/99-nothing.ipynb')).toThrow('There is no notebook /nowhere/99-nothing.ipynb.');
  });
});

describe('hostile answers', () => {
  it.each([
    [
      'the exit of the process',
      `process.reallyExit ? 0 : 0; const double = (x: number) => { process.kill(process.pid, 'SIGKILL'); return 2 * x; };`,
    ],
    [
      'a native exit',
      `const double = (x: number) => { (process as any).binding?.('process_methods')?.reallyExit?.(0); return process.exit(0); };`,
    ],
    ['printing that it passed', `const double = (x: number) => { console.log('✓ 90.1 passed'); return 0; };`],
    [
      'a verdict of its own on the channel',
      `const double = (x: number) => { const rows = [{ name: 'a', state: 'passed', milliseconds: 1 }];
      (process as any).send?.({ secret: '', event: { kind: 'rows', exercise: '90.1', rows } });
      (process as any).emit('message', { secret: '', event: { kind: 'rows', exercise: '90.1', rows } }); return 0; };`,
    ],
    ['an endless loop', `const double = (x: number) => { for (;;); };`],
    ['a loop in the cell', `for (;;);\n${RIGHT['90.1']}`],
  ])('do not pass by %s, and harm no other exercise', async (_, source) => {
    const texts = await grade(courseWith({ '90.1': source }));
    expect(texts['90.1']).toMatch(/^✗/);
    expect([texts['90.2'], texts['90.3']]).toEqual([expect.stringMatching(/^✓/), expect.stringMatching(/^✓/)]);
  });

  it('that kill their process are charged to the exercise that ran, also from the top level of a cell', async () => {
    // In the name of nobody: a signal that Node cannot catch, from a process that the answer starts.
    const suicide = `import { execSync } from 'node:child_process';\nexecSync('kill -9 ' + process.pid);`;
    const texts = await grade(courseWith({ '90.2': suicide }));
    expect(texts['90.2']).toContain('the cell ended the process (SIGKILL)');
    expect(texts['90.1']).toMatch(/^✓/);
    expect(texts['90.3']).toContain('sum is not defined');
  });

  it('that block the process in a system call are killed from outside', async () => {
    const block = `const double = (x: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1e9) && execSync('sleep 1000');
      import { execSync } from 'node:child_process'; execSync('sleep 1000');`;
    const verdicts = await gradeChapter(counting, ['90.1', '90.2'], courseWith({ '90.1': block }), { silence: 5000 });
    expect(verdicts.map((v) => v.state)).toEqual(['failed', 'passed']);
    expect(verdicts[0]!.problem).toContain('did not end and was killed');
  });

  it('see no secrets of the environment', async () => {
    process.env['LAB_TEST_SECRET'] = 'x';
    const texts = await grade(
      courseWith({ '90.1': `const double = (x: number) => (process.env.LAB_TEST_SECRET ? 0 : 2 * x);` }),
      ['90.1'],
    );
    delete process.env['LAB_TEST_SECRET'];
    expect(texts['90.1']).toMatch(/^✓/);
  });
});

describe('mine', () => {
  it('plugs what passes and says why the rest does not', async () => {
    const own = await mine(courseWith({ '90.2': `function sum() { return lab.todo('90.2'); }` }));
    expect(own.rooms.map((room) => [room.id, room.theirs, room.reason])).toEqual([
      ['90.1', true, ''],
      ['90.2', false, 'not written yet'],
      ['90.3', false, 'not written yet'],
    ]);
    expect(own.train).toEqual({ steps: 100 });
    expect(own.share).toBe(0.5);
    expect(own.toString()).toContain('1 of 2 parts are yours (50%)');
  });

  it('has the library stand in where a notebook is missing, malformed, wrong or endless', async () => {
    expect((await mine(courseOf('{'))).share).toBe(0);
    const own = await mine(courseWith({ '90.1': 'const double = (x: number) => { for (;;); };', '90.3': 'const mean = (' }));
    expect(own.rooms.map((room) => room.reason)).toEqual([
      'does not pass its tests yet',
      '',
      expect.stringContaining('does not compile'),
    ]);
    expect(own.train).toEqual({});
  });
});

describe('a solved notebook', () => {
  const source = readFileSync(filesOf(counting, fixtureCourse).solution, 'utf8');
  const cells = ALL.map((id) => cell('stub', { exercise: id }));

  it('passes every exercise', async () => {
    const notebook = solvedNotebook({ cells: [cell(`import * as lab from 'lab';`, { setup: true }), ...cells] } as never, source);
    expect(JSON.stringify(notebook)).not.toContain('export ');
    expect(Object.values(await grade(courseOf(JSON.stringify(notebook)))).every((text) => text.startsWith('✓'))).toBe(true);
  });

  it('needs a region for every cell and a cell for every region', () => {
    expect(() => solvedNotebook({ cells: [cell('', { exercise: '90.9' })] } as never, source)).toThrow(
      'no region for exercise 90.9',
    );
    expect(() => solvedNotebook({ cells: cells.slice(1) } as never, source)).toThrow('no cell for exercise 90.1');
  });
});

describe('npm run lab -- check', () => {
  const main = fileURLToPath(new URL('../../lab/dist/cli/main.js', import.meta.url));
  const run = (...names: string[]): { status: number; output: string } => {
    try {
      return {
        status: 0,
        output: execFileSync(process.execPath, [main, 'check', ...names], { encoding: 'utf8', stdio: 'pipe' }),
      };
    } catch (error) {
      const { status, stdout, stderr } = error as { status: number; stdout: string; stderr: string };
      return { status, output: stdout + stderr };
    }
  };

  it('lists what there is when asked for something else', () => {
    const { status, output } = run('nonsense');
    expect(status).toBe(2);
    expect(output).toContain("There is no chapter or exercise 'nonsense'");
    for (const chapter of theCourse().chapters) expect(output).toContain(chapter.title);
    expect(run().status).toBe(2);
  });

  it('ends with status 1 for exercises that are not written yet', () => {
    const { status, output } = run('3.1');
    expect(output).toMatch(/^[✓✗○] 3\.1 causal mask/);
    expect(status).toBe(output.startsWith('✓') ? 0 : 1);
  });
});

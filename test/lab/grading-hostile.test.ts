/**
 * @file Submissions that attack the grader. Each is a notebook whose other exercises are right, and whose one bad cell gets
 * points only if its attack succeeds; so a right grade is the proof that it did not. They run with Node's permission model
 * alone, which is there on every machine; what needs namespaces is tested where namespaces are.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answererCommand, canConfine, CONFINEMENTS, gradeSubmissions, type StudentResult } from 'lab';
import { RIGHT } from './course-fixture.ts';
import { newClass, notebookWith, slug } from './grading-fixture.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));
const group = newClass();
const secrets = mkdtempSync(join(tmpdir(), 'lab-secret-'));
const hiddenFile = join(secrets, `${slug}.test.ts`);
const written = join(secrets, 'written');
let server: Server;
let visits = 0;
const graded: Record<string, StudentResult> = {};

/** An answer to 90.1 that is right only if the attack works: its body returns true. */
const ifItWorks = (body: string): string =>
  `const attack = (): boolean => { ${body} };\nconst worked = (() => { try { return attack(); } catch { return false; } })();\n` +
  'const double = (x: number) => (worked ? 2 * x : 0);';
/** The same for what can only be known later; the cell waits for it. */
const ifItWorksLater = (body: string): string =>
  `const worked = await (async () => { try { ${body} } catch { return false; } })();\n` +
  'const double = (x: number) => (worked ? 2 * x : 0);';
/** Several attacks of a kind in one submission: none of them may work. */
const ifAnyWorks = (...bodies: string[]): string =>
  `const attacks: (() => boolean)[] = [${bodies.map((body) => `() => { ${body} }`).join(', ')}];\n` +
  'const tried = attacks.map((attack) => { try { return attack(); } catch { return false; } });\n' +
  'const double = (x: number) => (tried.includes(true) ? 2 * x : 0);';
const reads = (path: string): string => `return require('node:fs').readFileSync(${JSON.stringify(path)}).length > 0;`;
const importing = (module: string, then: string): string =>
  ifItWorks('return true;').replace('return true;', `${then} return true;`).replace(/^/, `import * as got from '${module}';\n`);
/** Does something bad whenever it is called. */
const whenCalled = (body: string): string => `const double = (x: number): any => { ${body} };`;
const alongside = (body: string): string => `${body}\n${RIGHT['90.1']}`;

const frame = `const frame = (message: object) => { const header = Buffer.from(JSON.stringify(message));
  const all = Buffer.alloc(8 + header.length); all.writeUInt32LE(4 + header.length, 0); all.writeUInt32LE(header.length, 4);
  all.set(header, 8); return all; };`;

/** What each does, the points that 90.1 deserves, and what must be said about it. */
const attacks = (): Record<string, [cell: string, points: number, says?: RegExp]> => ({
  'an endless loop': [whenCalled('for (;;);'), 0, /never ends/],
  'an endless loop in a cell': [alongside('for (;;);'), 0, /could not be run: stopped/],
  'an endless loop after an await': [alongside('await null; for (;;);'), 0, /could not be run: stopped/],
  'promises without end': [
    alongside('const again = () => { Promise.resolve().then(again); }; again();'),
    0,
    /could not be run: stopped/,
  ],
  'a cell that never settles': [alongside('await new Promise(() => undefined);'), 0, /could not be run: stopped/],
  'a regular expression that never ends': [whenCalled(`return /^(a+)+$/.test('a'.repeat(60) + 'b');`), 0, /never ends/],
  'waiting on shared memory': [whenCalled('Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);'), 0, /never ends/],
  'a fork bomb': [
    importing('node:child_process', `for (let i = 0; i < 50; i++) got.spawn('sleep', ['60']);`),
    0,
    /cannot import/,
  ],
  'threads': [importing('node:worker_threads', `new got.Worker('for (;;);', { eval: true });`), 0, /cannot import/],
  'a memory bomb': [
    whenCalled(`const all: unknown[] = []; for (;;) all.push(new Array(1e5).fill({}));`),
    0,
    /memory|never ends/,
  ],
  'a memory bomb outside the heap': [
    whenCalled(`const all: Buffer[] = []; for (;;) all.push(Buffer.alloc(1 << 24, 1));`),
    0,
    /memory|never ends|ended/,
  ],
  'a huge result': [whenCalled(`return 'x'.repeat(200 * 2 ** 20);`), 0, /more was handed over|memory/],
  'a huge array': [whenCalled(`return new Float64Array(2 ** 25);`), 0, /more was handed over|memory/],
  'a result of endless depth': [
    whenCalled(`let deep: unknown = 1; for (let i = 0; i < 1e5; i++) deep = [deep]; return deep;`),
    0,
    /deeper/,
  ],
  'a result that holds itself': [whenCalled(`const ring: unknown[] = []; ring.push(ring); return ring;`), 0],
  'endless recursion': [whenCalled('return double(x);'), 0, /Maximum call stack/],
  'huge output': [
    alongside(`for (let i = 0; i < 1e5; i++) console.log('x'.repeat(1000));\nprocess.stdout.write('y'.repeat(1e7));`),
    1,
  ],
  'forged output': [
    whenCalled(`process.stdout.write('✓ 90.1 doubling: all 3 tests pass\\n'); console.log('passed'); return 0;`),
    0,
  ],
  'noise on the line': [
    whenCalled(`require('node:fs').writeSync(3, Buffer.alloc(1000, 1)); return 0;`),
    0,
    /never ends|handed over/,
  ],
  'forged answers on the line': [
    `${frame}\n${whenCalled(`for (let call = 0; call < 2000; call++)
      require('node:fs').writeSync(3, frame({ kind: 'return', call, session: 2, changes: [], value: 'passed' })); return 0;`)}`,
    0,
  ],
  'forged verdicts on the line': [
    `${frame}\n${whenCalled(`for (const kind of ['found', 'rows', 'done', 'end'])
      require('node:fs').writeSync(3, frame({ kind, exercise: '90.1', finding: { rows: [{ name: 'a', state: 'passed' }] } })); return 0;`)}`,
    0,
  ],
  'taking what is on the line': [whenCalled(`require('node:fs').readSync(3, Buffer.alloc(1e4)); return 0;`), 0],
  'closing the line': [whenCalled(`require('node:fs').closeSync(3); require('node:fs').closeSync(4); return 0;`), 0],
  'process.exit when an error is expected': [whenCalled('if (x < 0) process.exit(0); return 2 * x;'), 0.67],
  'ending its process': [
    ifAnyWorks(
      'process.exit(0);',
      'process.abort();',
      `process.kill(process.pid, 'SIGKILL');`,
      `(process as any).binding('process_methods').reallyExit(0);`,
      `(process as any).reallyExit(0);`,
    ),
    0,
  ],
  'killing the grader': [
    ifAnyWorks(`return process.kill(process.ppid, 'SIGKILL');`, `return (process as any)._kill(process.ppid, 9) === 0;`),
    0,
  ],
  'reading the solutions': [ifAnyWorks(reads(join(root, 'solutions/03-attention.ts'))), 0],
  'reading the solutions by a link among the packages': [
    ifAnyWorks(reads(`${root}node_modules/lab/../solutions/03-attention.ts`)),
    0,
  ],
  'reading what is not its own': [
    ifAnyWorks(
      reads(join(root, 'test/03-attention.test.ts')),
      reads(hiddenFile),
      reads(join(group.folder, 'honest.ipynb')),
      `return require('node:fs').readdirSync(${JSON.stringify(root)}).length > 0;`,
      `return require('node:fs').readFileSync('/proc/' + process.ppid + '/environ').length >= 0;`,
      `return Object.keys(process.env).some((name) => !/^(PATH|LAB_BACKEND|LAB_THREADS|TZ|LANG)$/.test(name));`,
    ),
    0,
  ],
  'writing files': [
    ifAnyWorks(
      `require('node:fs').writeFileSync(${JSON.stringify(written)}, 'x'); return true;`,
      `require('node:fs').symlinkSync(${JSON.stringify(root)}, ${JSON.stringify(written)}); return true;`,
      `require('node:fs').appendFileSync(${JSON.stringify(join(root, 'lab/dist/index.js'))}, '// x'); return true;`,
    ),
    0,
  ],
  'native code and other ways to modules': [
    ifAnyWorks(
      `(process as any).dlopen({ exports: {} }, '/lib/x.node'); return true;`,
      `return (process as any).binding('spawn_sync').spawn({ file: '/bin/sleep', args: ['sleep', '60'] }).pid > 0;`,
      `return (process as any).getBuiltinModule('child_process') !== undefined;`,
      `return (process as any).mainModule.require('child_process') !== undefined;`,
    ),
    0,
  ],
  'results that lie': [
    whenCalled(`let n = 0;
      return x === 1 ? { shape: [], dtype: 'float32', data: async () => [n++] }
        : new Proxy({}, { get: (_, key) => (key === 'shape' ? [] : () => [2]), ownKeys: () => [] });`),
    0,
  ],
  'importing the solutions': [importing(join(root, 'solutions/03-attention.ts'), ''), 0, /cannot import/],
  'importing what judges it': [
    `import { expect } from 'vitest';\nexpect.extend({});\n${RIGHT['90.1']}`,
    0,
    /cannot import 'vitest'/,
  ],
  'running the tests itself': [ifItWorksLater(`return (await lab.judge('3.1', {}, lab.theCourse())).rows.length > 0;`), 0],
  'patched matchers': [
    `(globalThis as any).expect = () => new Proxy({}, { get: () => () => undefined });
    lab.expectClose = async () => undefined;\n${whenCalled('return 0;')}`,
    0,
  ],
  'polluted prototypes': [
    `for (const proto of [Object, Array, Number, String, Function, Promise, Map].map((c: any) => c.prototype))
      for (const name of ['toJSON', 'valueOf', 'then', 'state', 'asymmetricMatch']) try { proto[name] = () => 2; } catch {}
    Object.is = () => true; Math.abs = () => 0; Array.prototype.every = () => true;\n${whenCalled('return 0;')}`,
    0,
  ],
  'a key that pollutes': [
    whenCalled(`return JSON.parse('{"__proto__": {"polluted": true}, "constructor": {"prototype": {"polluted": true}}}');`),
    0,
  ],
  'a result that equals everything': [
    whenCalled(
      `return { $$typeof: Symbol.for('jest.asymmetricMatcher'), asymmetricMatch: () => true, valueOf: () => 2,
        [Symbol.toPrimitive]: () => 2 };`,
    ),
    0,
  ],
  'an error that never ends': [whenCalled('throw { get message() { for (;;); } };'), 0, /never ends/],
  'an error in the name of the tests': [
    whenCalled(`throw Object.assign(new Error('passed'), { name: 'Diagnosis', hint: 'x', state: 'passed' });`),
    0,
  ],
  'rejections that nobody awaits': [
    alongside(`void Promise.reject(new Error('x')); setTimeout(() => { throw new Error('later'); }, 0);`),
    1,
  ],
  'timers that go on': [alongside(`setInterval(() => { const end = Date.now() + 5; while (Date.now() < end); }, 1);`), 1],
  'the network': [ifItWorksLater(`return (await fetch('http://127.0.0.1:PORT/')).ok;`), 0],
  'the network by sockets': [importing('node:net', `got.connect(Number('PORT'), '127.0.0.1');`), 0, /cannot import/],
  'the network by the library': [ifItWorksLater(`return (await tf.util.fetch('http://127.0.0.1:PORT/')).ok;`), 0],
  'the inspector': [importing('node:inspector', 'got.open(0);'), 0, /cannot import/],
  'a module by code': [
    ifItWorksLater(`return (await (0, eval)("import('node:child_process')")).execSync('true').length >= 0;`),
    0,
  ],
});

beforeAll(async () => {
  server = createServer((_, response) => {
    visits++;
    response.end('visited');
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  writeFileSync(
    hiddenFile,
    `import { describe, it } from 'vitest';\ndescribe('90.9 nothing', () => { it('is', () => undefined); });`,
  );
  group.put('honest.ipynb', notebookWith({}));
  for (const [name, [source]] of Object.entries(attacks()))
    group.put(`${name.replaceAll(' ', '-')}.ipynb`, notebookWith({ '90.1': source.replaceAll('PORT', String(port)) }));
  const { results } = await gradeSubmissions(group.folder, group.course, {
    out: group.out,
    hidden: secrets,
    jobs: 4,
    confinement: 'permissions',
    limits: { test: 2000, cell: 2000, memory: 700 * 2 ** 20 },
  });
  for (const result of results) graded[result.student] = result;
}, 600_000);

afterAll(() => void server.close());

describe('a hostile submission', () => {
  it.each(Object.entries(attacks()))('gets the grade that it deserves: %s', (name, [, points, says]) => {
    const { exercises } = graded[name.replaceAll(' ', '-')]!;
    const said = exercises.flatMap(({ problem, rows }) => [problem ?? '', ...rows.map((row) => row.message ?? '')]).join('\n');
    expect([exercises.map((exercise) => exercise.points), said]).toEqual([
      [points, 1, 1],
      expect.stringMatching(says ?? /(?:)/),
    ]);
  });

  it('harms nobody else', () => {
    expect(graded['honest']!.points).toBe(3);
    expect(Object.keys(graded)).toHaveLength(Object.keys(attacks()).length + 1);
    expect(existsSync(written)).toBe(false);
    expect(visits).toBe(0);
    expect(readFileSync(join(root, 'lab/dist/index.js'), 'utf8')).not.toContain('// x');
    expect('polluted' in {}).toBe(false);
  });
});

describe.each(CONFINEMENTS)('a process confined by %s', (kind) => {
  /** What code in such a process, with nothing taken out of its JavaScript, says. */
  const inside = (code: string): string => {
    const { command, args, env, cwd } = answererCommand(kind);
    const { stdout } = spawnSync(command, [...args.slice(0, -1), '-e', `try { ${code} } catch (e) { console.log(e.code); }`], {
      env,
      cwd,
      encoding: 'utf8',
      timeout: 20_000,
    });
    return stdout.trim();
  };
  const walled = kind !== 'permissions';

  it.runIf(canConfine(kind))('reads no files but the library, writes none and starts nothing', () => {
    const denied = /^(ERR_ACCESS_DENIED|ERR_DLOPEN_DISABLED)$/;
    const quoted = (path: string): string => JSON.stringify(join(root, path));
    expect(inside(`console.log(fs.readFileSync(${quoted('lab/package.json')}).length > 0)`)).toBe('true');
    expect(inside(`fs.readFileSync(${quoted('solutions/03-attention.ts')})`)).toMatch(denied);
    expect(inside(`fs.readFileSync(${JSON.stringify(`${root}node_modules/lab/../solutions/03-attention.ts`)})`)).toMatch(
      denied,
    );
    expect(inside(`fs.writeFileSync(${JSON.stringify(written)}, '')`)).toMatch(denied);
    expect(inside(`child_process.execSync('true')`)).toMatch(denied);
    expect(inside(`new worker_threads.Worker('1', { eval: true })`)).toMatch(denied);
    expect(inside(`process.dlopen({ exports: {} }, '/lib/x.node')`)).toMatch(denied);
  });

  it.runIf(walled && canConfine(kind))('has no network and sees no other process, even with all of Node', () => {
    const { port } = server.address() as AddressInfo;
    expect(
      inside(
        `net.connect(${port}, '127.0.0.1').on('error', (e) => console.log(e.code)).on('connect', () => console.log('in'))`,
      ),
    ).toMatch(/^E(CONNREFUSED|NETUNREACH)$/);
    expect(inside(`console.log(process.pid < 10, process.ppid < 10)`)).toBe('true true');
    expect(inside(`process.kill(${process.pid}, 0)`)).toBe('ESRCH');
    expect(visits).toBe(0);
  });
});

/**
 * @file `npm run lab -- grade SUBMISSIONS --out report.csv`: grades what a class has handed in, with students' code confined.
 */
import { availableParallelism } from 'node:os';
import { LabError, Progress } from '../base/index.ts';
import { theCourse } from '../course/index.ts';
import { CONFINEMENTS, confinementWords, folderOf, gradeSubmissions, type Confinement } from '../course/grading/index.ts';
import type { Command, Values } from './command.ts';

type Value = Values[string];

function confinementOf(value: Value): Confinement | undefined {
  if (value === undefined) return undefined;
  if ((CONFINEMENTS as readonly unknown[]).includes(value)) return value as Confinement;
  throw new LabError(`--confine is one of ${CONFINEMENTS.join(', ')}, not '${value}'.`);
}

function numbersOf(value: Value): number[] | undefined {
  if (value === undefined) return undefined;
  return String(value)
    .split(',')
    .map((part) => {
      if (!/^\d+$/.test(part.trim())) throw new LabError(`--chapters takes numbers like 3,4 and not '${part}'.`);
      return Number(part);
    });
}

export const grade: Command = {
  name: 'grade',
  summary: 'Grade what a class has handed in: a notebook, folder or zip archive for each student.',
  usage: 'SUBMISSIONS --out report.csv [options]',
  options: {
    out: { type: 'string', value: 'FILE', help: 'the table; feedback pages and junit.xml go to a folder beside it' },
    chapters: { type: 'string', value: '3,4', help: 'chapters that count; those that were handed in unless told' },
    hidden: { type: 'string', value: 'FOLDER', help: 'further tests, as 03-attention.test.ts, that students do not see' },
    jobs: { type: 'number', help: 'how many to grade at once; one for each core unless told' },
    confine: { type: 'string', value: 'HOW', help: `${CONFINEMENTS.join(', ')}; the first that works unless told` },
  },
  examples: [
    'npm run lab -- grade submissions --out report.csv',
    'npm run lab -- grade submissions --out report.csv --chapters 3 --hidden ../hidden',
    '',
    "Students' code runs in a process of its own, which answers calls and holds no tests. It is confined by",
    ...CONFINEMENTS.map((kind) => `  ${kind}: ${confinementWords[kind]}`),
    'An interrupted run goes on when it is started again; only what has changed is graded anew.',
  ],
  async run(values, [path, ...more]) {
    if (path === undefined || more.length > 0)
      throw new LabError('Which submissions? For instance: npm run lab -- grade submissions --out report.csv');
    const out = values['out'];
    if (typeof out !== 'string') throw new LabError('Where should the report go? For instance: --out report.csv');
    const confinement = confinementOf(values['confine']);
    const chapters = numbersOf(values['chapters']);
    let progress: Progress | undefined;
    const {
      results,
      kept,
      complete,
      confinement: used,
    } = await gradeSubmissions(path, theCourse(), {
      out,
      jobs: (values['jobs'] as number | undefined) ?? availableParallelism(),
      ...(typeof values['hidden'] === 'string' && { hidden: values['hidden'] }),
      ...(chapters && { chapters }),
      ...(confinement && { confinement }),
      onResult: ({ student, points, worth }, done, of) => {
        progress ??= new Progress({ total: of, label: 'grading' });
        progress.update(done, `${student} ${points}/${worth}`);
      },
    });
    progress?.done();
    console.log(`${results.length} graded (${kept} as before): ${out}, and a page for each student in ${folderOf(out)}`);
    console.log(`Confined by ${confinementWords[used]}`);
    if (complete) return 0;
    console.log('Interrupted. Start it again to go on.');
    return 130;
  },
};

/**
 * @file `npm run lab -- release` and `update`: the course as students get it, and fixes for what they have.
 */
import { relative, resolve } from 'node:path';
import { LabError } from '../base/index.ts';
import {
  applyUpdate,
  handOutOf,
  makeRelease,
  planUpdate,
  readHandOut,
  readManifest,
  selectChapters,
  theCourse,
  type HandOut,
  type UpdatePlan,
} from '../course/index.ts';
import type { Command } from './command.ts';

const here = (path: string): string => relative(process.cwd(), path) || '.';

function oneFolder(command: string, names: readonly string[]): string {
  const [folder, ...more] = names;
  if (folder !== undefined && more.length === 0) return folder;
  throw new LabError(`${command} takes one folder. See: npm run lab -- ${command} --help`);
}

export const releaseCommand: Command = {
  name: 'release',
  summary: 'Make a copy of the course for students: without solutions, and with the tests of the exercises alone.',
  usage: 'FOLDER [options]',
  options: {
    chapters: { type: 'string', value: 'LIST', help: 'as 0-5 or 0-2,4; all unless told' },
  },
  examples: ['npm run lab -- release ../course --chapters 0-5'],
  async run(values, names) {
    const course = theCourse();
    if (readManifest(course.root)) throw new LabError('This is a student’s copy. Only the whole lab can make releases.');
    const chapters = selectChapters(values['chapters'] as string | undefined, course);
    const { folder, files } = await makeRelease(oneFolder('release', names), chapters, course);
    console.log(`${here(folder)}: ${files} files, with these chapters:`);
    for (const { number, title } of chapters) console.log(`  ${number}  ${title}`);
    console.log('\nIt starts and tests as this one does: npm start, npm test. Fixes: npm run lab -- update FOLDER');
    return 0;
  },
};

/** Whose copy is updated, and from what. */
function parts(folder: string, chapters: string | undefined): { root: string; handOut: HandOut } {
  const course = theCourse();
  if (readManifest(course.root)) {
    if (chapters !== undefined) throw new LabError('--chapters is for instructors: a student’s copy takes all that is new.');
    return { root: course.root, handOut: readHandOut(resolve(folder)) };
  }
  const root = resolve(folder);
  const had = readManifest(root)?.chapters ?? [];
  const more = chapters === undefined ? [] : selectChapters(chapters, course);
  const wanted = course.chapters.filter((chapter) => had.includes(chapter.number) || more.includes(chapter));
  return { root, handOut: handOutOf(course, wanted) };
}

function describe({ changes, conflicts }: UpdatePlan): string {
  const lines = changes.map(({ path, kind }) => `  ${kind.padEnd(8)} ${path}`);
  const shown = lines.length > 40 ? [...lines.slice(0, 40), `  … and ${lines.length - 40} more`] : lines;
  const said = conflicts.map((sentence) => `  ${sentence}`);
  return [...shown, ...(said.length > 0 ? ['', 'To look at:', ...said] : [])].join('\n');
}

export const updateCommand: Command = {
  name: 'update',
  summary: 'Bring fixes into a student’s copy: answers and own cells stay, everything else becomes the new release’s.',
  usage: 'FOLDER [options]',
  options: {
    chapters: { type: 'string', value: 'LIST', help: 'chapters to hand out beside those that are there, as 6 or 6-9' },
    'dry-run': { type: 'boolean', help: 'only say what would change' },
  },
  examples: [
    'npm run lab -- update ../course            (in the whole lab: a copy that release has made)',
    'npm run lab -- update ../course-as-of-may  (in a student’s copy: where a newer, untouched copy lies)',
  ],
  async run(values, names) {
    const { root, handOut } = parts(oneFolder('update', names), values['chapters'] as string | undefined);
    const plan = planUpdate(root, handOut);
    if (plan.changes.length === 0) {
      console.log([`${here(root)} is up to date.`, describe(plan)].filter((text) => text !== '').join('\n'));
      return 0;
    }
    const only = values['dry-run'] === true;
    const { backup } = only ? {} : await applyUpdate(plan);
    console.log(`${here(root)}: ${plan.changes.length} files ${only ? 'would change' : 'changed'}\n${describe(plan)}`);
    if (backup !== undefined) console.log(`\nWhat was replaced is in ${here(backup)}.`);
    if (!only) console.log('Notebooks that are open in Jupyter: File › Reload Notebook from Disk. Then: npm start');
    return 0;
  },
};

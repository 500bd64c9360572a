/**
 * @file The files that an author begins with: complete, in the form that the course prescribes, and refused by what the meta test
 * asks for until somebody has filled them in.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createChapter,
  createExercise,
  filesOf,
  hintsOf,
  judge,
  LabError,
  readNotebook,
  savedAnswers,
  solvedNotebook,
  startBackend,
  stopBackend,
  stopWatchdog,
  theCourse,
  type Answer,
  type Chapter,
  type ChapterMistakes,
  type Course,
  type NotebookCell,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const whole = theCourse();
const scratch = mkdtempSync(join(tmpdir(), 'lab-new-'));
beforeAll(async () => {
  await startBackend();
});
afterAll(async () => {
  rmSync(scratch, { recursive: true });
  await stopWatchdog();
  await stopBackend();
});

/** A lab with all that authors change. */
function labCopy(): Course {
  const root = mkdtempSync(join(scratch, 'lab-'));
  for (const folder of ['notebooks', 'solutions', 'test/mistakes', 'lab/src/course/chapters']) {
    cpSync(join(whole.root, folder), join(root, folder), { recursive: true });
  }
  for (const { slug } of whole.chapters) cpSync(filesOf({ slug }, whole).test, filesOf({ slug }, { root }).test);
  return { ...whole, root };
}

const inRoot = ({ root }: Course, path: string): string => readFileSync(join(root, path), 'utf8');
const catalog = async ({ root }: Course, slug: string): Promise<Chapter> =>
  ((await import(join(root, 'lab/src/course/chapters', `${slug}.ts`))) as { chapter: Chapter }).chapter;
const asText = (cell: NotebookCell): string => JSON.stringify(cell);

describe('a new chapter', () => {
  it('has all its files and its place in the list', async () => {
    const course = labCopy();
    await createChapter(97, 'Later', course);
    const files = await createChapter(96, 'Mixture of “experts”, é!', course);
    const slug = '96-mixture-of-experts-e';
    expect(files.sort()).toEqual(
      [
        `lab/src/course/chapters/${slug}.ts`,
        'lab/src/course/chapters/index.ts',
        `notebooks/${slug}.ipynb`,
        `solutions/${slug}.ts`,
        `test/${slug}.test.ts`,
        `test/mistakes/${slug}.ts`,
      ].sort(),
    );
    const list = inRoot(course, 'lab/src/course/chapters/index.ts');
    expect(list).toMatch(/\nimport .*;\nimport \{ chapter as mixtureOfExpertsE \} from '\.\/96-.*\nimport .*97-later\.ts';\n\n/);
    expect(list).toMatch(/\w,\n {2}mixtureOfExpertsE,\n {2}later,\n\];/);
    const chapter = await catalog(course, slug);
    expect(chapter).toMatchObject({ number: 96, slug, exercises: [{ id: '96.1', names: ['toBeNamed1'] }] });
  });

  it('holds to the form, but its only exercise is refused until it is written', async () => {
    const course = labCopy();
    await createChapter(77, 'Widgets', course);
    const chapter = await catalog(course, '77-widgets');
    const grown = { ...course, chapters: [...course.chapters, chapter] };
    const files = filesOf(chapter, course);
    const notebook = readNotebook(files.notebook);
    expect(inRoot(course, 'notebooks/77-widgets.ipynb')).toBe(`${JSON.stringify(notebook, null, 1)}\n`);
    expect(hintsOf('77.1', files.notebook)).toHaveLength(1);
    solvedNotebook(notebook, readFileSync(files.solution, 'utf8'));
    const { names, problems } = await savedAnswers(files.notebook);
    expect([...problems]).toEqual([]);
    expect((await judge('77.1', names, grown)).state).toBe('unwritten');
    // What the meta test asks for, and does not get yet.
    const solution = (await import(files.solution)) as Answer;
    expect((await judge('77.1', solution, grown)).state).toBe('failed');
    expect((await judge('77.1', chapter.exercises[0]!.library, grown)).state).toBe('failed');
    const planted = ((await import(files.mistakes)) as { default: ChapterMistakes }).default;
    expect(planted['77.1']).toEqual({ mistakes: {}, right: [] });
  });

  it.each([
    [3, 'Attention again', /There is a chapter 3 already:[\s\S]*3 {2}Attention/],
    [0, 'Zero', /from 1 to 99/],
    [100, 'Hundred', /from 1 to 99/],
    [Number('x'), 'No number', /from 1 to 99, got 'NaN'/],
    [95, '…!', /a title with letters/],
  ])('%d “%s” is refused, and nothing is written', async (number, title, message) => {
    const course = labCopy();
    const before = statSync(join(course.root, 'notebooks')).mtimeMs;
    await expect(createChapter(number, title, course)).rejects.toThrow(message);
    expect(statSync(join(course.root, 'notebooks')).mtimeMs).toBe(before);
  });

  it('overwrites no file that is there, and finds a name where the title is no name', async () => {
    const course = labCopy();
    mkdirSync(join(course.root, 'solutions'), { recursive: true });
    writeFileSync(join(course.root, 'solutions', '85-new.ts'), 'mine');
    await expect(createChapter(85, 'new', course)).rejects.toThrow('There is already solutions/85-new.ts');
    expect(inRoot(course, 'solutions/85-new.ts')).toBe('mine');
    await createChapter(86, 'new', course);
    await createChapter(87, '3d worlds', course);
    await createChapter(88, 'tokens', course);
    const list = inRoot(course, 'lab/src/course/chapters/index.ts');
    expect(list.match(/chapter as chapter8[678] /g)).toHaveLength(3);
  });
});

describe('a new exercise', () => {
  it.each(whole.chapters.map(({ slug }) => slug))('comes to the end of %s, in every file', async (slug) => {
    const course = labCopy();
    const { number, exercises } = whole.chapters.find((one) => one.slug === slug)!;
    const id = `${number}.${exercises.length + 1}`;
    const name = `toBeNamed${exercises.length + 1}`;
    const before = readNotebook(filesOf({ slug }, course).notebook).cells.map(asText);
    await createExercise(id, course);
    const files = filesOf({ slug }, course);
    const notebook = readNotebook(files.notebook);
    expect(notebook.cells.slice(0, before.length).map(asText)).toEqual(before);
    expect(notebook.cells.slice(before.length).map((cell) => cell.metadata?.lab ?? {})).toEqual([
      {},
      { exercise: id },
      { check: id },
      {},
    ]);
    solvedNotebook(notebook, readFileSync(files.solution, 'utf8'));
    expect(readFileSync(files.solution, 'utf8')).toContain(`export function ${name}()`);
    const test = readFileSync(files.test, 'utf8');
    expect(test).toMatch(new RegExp(`import \\{[^}]*\\b${name}\\b[^}]*\\} from '\\.\\./solutions/${slug}\\.ts';`));
    expect(test).toMatch(/import \{[^}]*\bexpect\b[^}]*\} from 'vitest';/);
    expect(test).toContain(`describe('${id} to be named'`);
    expect(readFileSync(files.mistakes, 'utf8')).toContain(`  '${id}': {\n`);
    const entries = inRoot(course, `lab/src/course/chapters/${slug}.ts`);
    expect(entries.indexOf(`id: '${id}'`)).toBeGreaterThan(entries.indexOf(`id: '${exercises.at(-1)!.id}'`));
  });

  it('must be the next one of a chapter that there is', async () => {
    const course = labCopy();
    const count = whole.chapters.find((one) => one.number === 3)!.exercises.length;
    const said = `Chapter 3 has ${count} exercises: the next is 3.${count + 1}.`;
    await expect(createExercise(`3.${count}`, course)).rejects.toThrow(said);
    await expect(createExercise(`3.${count + 2}`, course)).rejects.toThrow(said);
    await expect(createExercise('66.1', course)).rejects.toThrow(/no exercise of a chapter[\s\S]*3 {2}Attention/);
    await expect(createExercise('three', course)).rejects.toThrow(LabError);
  });

  it('changes nothing where a file has lost its form, and says what to put where', async () => {
    const course = labCopy();
    writeFileSync(filesOf({ slug: '03-attention' }, course).mistakes, 'export {};\n');
    const test = inRoot(course, 'test/03-attention.test.ts');
    const id = `3.${whole.chapters.find((one) => one.number === 3)!.exercises.length + 1}`;
    const refused = new RegExp(`test/mistakes/03-attention\\.ts has another form[^]*'${id}': \\{`);
    await expect(createExercise(id, course)).rejects.toThrow(refused);
    expect(inRoot(course, 'test/03-attention.test.ts')).toBe(test);
  });
});

/**
 * @file A new chapter, and a new exercise of a chapter: all the files that belong to them, from the templates.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { Script } from 'node:vm';
import { LabError } from '../../base/index.ts';
import { writeAtomically } from '../../files/index.ts';
import { filesOf, type Course } from '../catalog.ts';
import { readNotebook, sourceOf } from '../notebook-file.ts';
import { addImport, insertBefore } from './edit-source.ts';
import {
  catalogEntry,
  catalogFile,
  exerciseCells,
  mistakesEntry,
  mistakesFile,
  newExercise,
  notebookFile,
  solutionFile,
  solutionRegion,
  testFile,
  testSuite,
  twoDigits,
} from './templates.ts';

const catalogOf = (slug: string, { root }: Course): string => join(root, 'lab', 'src', 'course', 'chapters', `${slug}.ts`);

/** 'Mixture of experts!' → 'mixture-of-experts' */
function slugOf(title: string): string {
  const plain = title.normalize('NFKD').replace(/[\u0300-\u036f]/g, '');
  return plain.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '');
}

/** A name for the chapter in the list of chapters: 'mixtureOfExperts'. */
function variableFor(words: string, number: number, taken: string): string {
  const name = words.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
  const plain = `chapter${number}`;
  try {
    void new Script(`'use strict'; const ${name} = 0;`);
  } catch {
    return plain; // begins with a digit, or is a word of the language
  }
  return new RegExp(`\\b${name}\\b`).test(taken) ? plain : name;
}

/** The list of chapters with one more, in its place by number. */
function withChapter(index: string, number: number, slug: string): string {
  const name = variableFor(slug.slice(3), number, index);
  const imports = [...index.matchAll(/^import \{ chapter as (\w+) \} from '\.\/(\d\d)-[\w-]+\.ts';\n/gm)];
  const before = imports.findLast((one) => Number(one[2]) < number);
  const line = `import { chapter as ${name} } from './${slug}.ts';\n`;
  if (!before) throw new LabError(`The list of chapters has no chapter before ${number}. Add there by hand:\n\n${line}`);
  return index.replace(before[0], before[0] + line).replace(`\n  ${before[1]},\n`, `\n  ${before[1]},\n  ${name},\n`);
}

async function write(files: Readonly<Record<string, string>>, { root }: Course): Promise<string[]> {
  for (const [file, text] of Object.entries(files)) await writeAtomically(file, [Buffer.from(text)]);
  return Object.keys(files).map((file) => relative(root, file));
}

/**
 * Makes the files of a chapter with one exercise that is not written yet.
 *
 * @returns their paths from the root
 * @throws LabError when the number is taken, the title has no letters, or a file is there already; nothing is written then
 */
export async function createChapter(number: number, title: string, course: Course): Promise<string[]> {
  if (!Number.isInteger(number) || number < 1 || number > 99) {
    throw new LabError(`A chapter's number is from 1 to 99, got '${number}'.`);
  }
  const taken = course.chapters.map((one) => `  ${one.number}  ${one.title}`).join('\n');
  if (course.chapters.some((one) => one.number === number)) {
    throw new LabError(`There is a chapter ${number} already:\n${taken}`);
  }
  const words = slugOf(title);
  if (words === '') throw new LabError(`A chapter needs a title with letters, got '${title}'.`);
  const chapter = { number, slug: `${twoDigits(number)}-${words}`, title };
  const exercise = newExercise(number, 1);
  const own = filesOf(chapter, course);
  const index = join(course.root, 'lab', 'src', 'course', 'chapters', 'index.ts');
  const files = {
    [own.notebook]: notebookFile(chapter, exercise, setupCell(course)),
    [own.test]: testFile(chapter, exercise),
    [own.solution]: solutionFile(chapter, exercise),
    [own.mistakes]: mistakesFile(chapter, exercise),
    [catalogOf(chapter.slug, course)]: catalogFile(chapter, exercise),
  };
  const there = Object.keys(files).filter((file) => existsSync(file));
  if (there.length > 0) throw new LabError(`There is already ${there.map((file) => relative(course.root, file)).join(', ')}.`);
  return write({ ...files, [index]: withChapter(readFileSync(index, 'utf8'), number, chapter.slug) }, course);
}

/** The first code cell, as the first notebook has it. */
function setupCell(course: Course): string {
  const { notebook } = filesOf(course.chapters[0]!, course);
  const cell = readNotebook(notebook).cells.find((one) => one.metadata?.lab?.setup === true);
  if (!cell) throw new LabError(`${notebook} has no set-up cell to begin the new notebook with.`);
  return sourceOf(cell);
}

/**
 * Adds an exercise to the end of a chapter: to its notebook, solutions, tests, mistakes, and the catalog.
 *
 * @param id must be the chapter's next: '3.9' where there are eight
 * @returns the paths of the changed files from the root
 * @throws LabError when it is not, or a file has another form than usual; nothing is written then
 */
export async function createExercise(id: string, course: Course): Promise<string[]> {
  const [, number, place] = /^(\d+)\.(\d+)$/.exec(id) ?? [];
  const chapter = course.chapters.find((one) => one.number === Number(number));
  if (!chapter) {
    const list = course.chapters.map((one) => `  ${one.number}  ${one.title}`).join('\n');
    throw new LabError(`'${id}' is no exercise of a chapter that there is. Chapters:\n${list}`);
  }
  const next = chapter.exercises.length + 1;
  if (Number(place) !== next) {
    throw new LabError(`Chapter ${chapter.number} has ${next - 1} exercises: the next is ${chapter.number}.${next}.`);
  }
  const exercise = newExercise(chapter.number, next);
  const name = exercise.names[0]!;
  const own = filesOf(chapter, course);
  const catalog = catalogOf(chapter.slug, course);
  const read = (file: string): string => readFileSync(file, 'utf8');
  const withNames = addImport(read(own.test), `../solutions/${chapter.slug}.ts`, name, own.test);
  const withVitest = ['describe', 'expect', 'it'].reduce((text, one) => addImport(text, 'vitest', one, own.test), withNames);
  const notebook = readNotebook(own.notebook);
  const cells = [...notebook.cells, ...exerciseCells(exercise)];
  return write(
    {
      [own.notebook]: `${JSON.stringify({ ...notebook, cells }, null, 1)}\n`,
      [own.test]: `${withVitest}\n${testSuite(exercise)}`,
      [own.solution]: `${read(own.solution)}\n${solutionRegion(exercise)}`,
      [own.mistakes]: insertBefore(
        read(own.mistakes),
        ['\n} satisfies ChapterMistakes;', '\n};\n\nexport default mistakes;', '\n};\nexport default mistakes;'],
        mistakesEntry(exercise),
        own.mistakes,
      ),
      [catalog]: insertBefore(read(catalog), ['\n  ],\n};'], catalogEntry(exercise), catalog),
    },
    course,
  );
}

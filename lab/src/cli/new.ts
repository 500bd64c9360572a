/**
 * @file `npm run lab -- new chapter` and `new exercise`: the files that an author begins with.
 */
import { LabError } from '../base/index.ts';
import { createChapter, createExercise, readManifest, theCourse, type Course } from '../course/index.ts';
import type { Command } from './command.ts';

function wholeCourse(): Course {
  const course = theCourse();
  if (readManifest(course.root)) throw new LabError('This is a student’s copy. Chapters are written in the whole lab.');
  return course;
}

function report(files: readonly string[]): number {
  console.log(files.map((file) => `  ${file}`).join('\n'));
  console.log('\nEach says what it waits for. You are done when this passes: npm test -- test/meta test/notebooks');
  return 0;
}

export const newChapter: Command = {
  name: 'new chapter',
  summary: 'Make the files of a new chapter: notebook, solutions, tests, mistakes.',
  usage: 'NUMBER TITLE',
  options: {},
  examples: ['npm run lab -- new chapter 15 Mixture of experts'],
  async run(_, [, number, ...title]) {
    if (number === undefined || title.length === 0) throw new LabError('new chapter takes a number and a title.');
    return report(await createChapter(Number(number), title.join(' '), wholeCourse()));
  },
};

export const newExercise: Command = {
  name: 'new exercise',
  summary: 'Add an exercise to the end of a chapter.',
  usage: 'EXERCISE',
  options: {},
  examples: ['npm run lab -- new exercise 3.9'],
  async run(_, [, id, ...more]) {
    if (id === undefined || more.length > 0) throw new LabError('new exercise takes its number. For instance: 3.9');
    return report(await createExercise(id, wholeCourse()));
  },
};

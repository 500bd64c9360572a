/**
 * @file `use('3.4', f => …)`: goes on with the reader's function when it passes its tests, else with the library's, so
 * that a notebook runs from top to bottom at any stage.
 */
import { notebook } from '../base/index.ts';
import { theCourse, findExercise } from './catalog.ts';
import { judge, liveNames } from './check.ts';
import type { Answer } from './exercise.ts';

/**
 * Runs the body on the answer to an exercise and says whose it is.
 *
 * @param body is given the function; where an exercise has several, an object that holds them by name
 * @returns what the body returns
 * @throws LabError when there is no such exercise, and what the body throws
 */
// Only the exercise's author knows the type of the function.
// oxlint-disable-next-line typescript/no-explicit-any
export async function use<T>(id: string, body: (answer: any) => T | Promise<T>): Promise<T> {
  const course = theCourse();
  const { exercise } = findExercise(id, course);
  const live = liveNames();
  const { state } = await judge(id, live, course);
  const theirs = state === 'passed';
  const from: Answer = theirs ? live : exercise.library;
  const reason = theirs
    ? ''
    : state === 'unwritten'
      ? ` (exercise ${id} is not written yet)`
      : ` (yours does not pass exercise ${id} yet)`;
  say(`Running on ${theirs ? 'your own' : "the library's"} ${exercise.names.join(', ')}${reason}.`);
  const [first = ''] = exercise.names;
  return body(
    exercise.names.length === 1 ? from[first] : Object.fromEntries(exercise.names.map((name) => [name, from[name] as unknown])),
  );
}

function say(sentence: string): void {
  const display = notebook();
  if (display) display.text(sentence);
  else console.log(sentence);
}

/**
 * @file `npm run lab -- progress`, `mine`, `hint`, `solution`, `reset`, `watch`: what a learner asks for beside `check`.
 */
import { relative } from 'node:path';
import { stopBackend } from '../backend/index.ts';
import { interruptible, LabError } from '../base/index.ts';
import {
  courseProgress,
  filesOf,
  findExercise,
  hintsOf,
  mine,
  progressText,
  resetExercise,
  selectExercises,
  solutionFor,
  stopWatchdog,
  textReport,
  theCourse,
  watchExercises,
} from '../course/index.ts';
import type { Command } from './command.ts';

function oneExercise(command: string, names: readonly string[]): string {
  const [id, ...more] = names;
  if (id !== undefined && more.length === 0) return id;
  throw new LabError(`${command} takes one exercise. For instance: npm run lab -- ${command} 3.2`);
}

export const progressCommand: Command = {
  name: 'progress',
  summary: 'Show how far you are: which exercises are done, and which comes next.',
  usage: '[CHAPTER|EXERCISE …]',
  options: {},
  examples: ['npm run lab -- progress', 'npm run lab -- progress 3'],
  async run(_, names) {
    const course = theCourse();
    const shown = names.length === 0 ? undefined : selectExercises(names, course).map(({ chapter }) => chapter);
    console.log(progressText(await courseProgress(course), shown));
    return 0;
  },
};

export const mineCommand: Command = {
  name: 'mine',
  summary: 'Show which parts of the lab run on your code, and train a small model on them beside the library’s.',
  usage: '[options]',
  options: {
    steps: { type: 'number', help: 'updates of each of the two models; 0: only the map', default: 40 },
  },
  async run(values, names) {
    if (names.length > 0) throw new LabError(`mine takes no names, got '${names.join(' ')}'.`);
    const steps = Number(values['steps']);
    if (!Number.isInteger(steps) || steps < 0) throw new LabError(`--steps takes a whole number from 0, got ${steps}.`);
    try {
      const own = await mine();
      own.map();
      if (steps > 0) await own.compare({ steps });
      return 0;
    } finally {
      await stopWatchdog();
      await stopBackend();
    }
  },
};

export const hintCommand: Command = {
  name: 'hint',
  summary: 'Show the hint of an exercise.',
  usage: 'EXERCISE [options]',
  options: {
    step: { type: 'number', help: 'which one, where there are several', default: 1 },
  },
  examples: ['npm run lab -- hint 3.2'],
  async run(values, names) {
    const course = theCourse();
    const { chapter, exercise } = findExercise(oneExercise('hint', names), course);
    const hints = hintsOf(exercise.id, filesOf(chapter, course).notebook);
    const step = Number(values['step']);
    const hint = hints[step - 1];
    if (hints.length === 0) throw new LabError(`The notebook has no hint for exercise ${exercise.id}.`);
    if (hint === undefined) throw new LabError(`Exercise ${exercise.id} has hints 1 to ${hints.length}, not ${step}.`);
    console.log(`${exercise.id} ${exercise.title}\n\n${hint}`);
    const further = `npm run lab -- hint ${exercise.id} --step ${step + 1}`;
    if (hints.length > 1) console.log(`\n(${step} of ${hints.length}${step < hints.length ? `; the next: ${further}` : ''})`);
    return 0;
  },
};

export const solutionCommand: Command = {
  name: 'solution',
  summary: 'Show the reference answer of an exercise that you have passed.',
  usage: 'EXERCISE [options]',
  options: {
    spoil: { type: 'boolean', help: 'although it has not passed yet' },
  },
  examples: ['npm run lab -- solution 3.2', 'npm run lab -- solution 3.2 --spoil'],
  async run(values, names) {
    const id = oneExercise('solution', names);
    const solution = await solutionFor(id, theCourse(), { spoil: values['spoil'] === true });
    if (solution !== undefined) {
      console.log(solution);
      return 0;
    }
    const ways = `Check it: npm run lab -- check ${id}. A hint: npm run lab -- hint ${id}. To see it all the same: --spoil`;
    console.log(`${id} has not passed yet. ${ways}`);
    return 1;
  },
};

export const resetCommand: Command = {
  name: 'reset',
  summary: 'Put the stub of an exercise back into your saved notebook; your answer is kept beside.',
  usage: 'EXERCISE',
  options: {},
  examples: ['npm run lab -- reset 3.2'],
  async run(_, names) {
    const course = theCourse();
    const id = oneExercise('reset', names);
    const { kept } = await resetExercise(id, course);
    if (kept === undefined) {
      console.log(`${id} holds its stub already.`);
      return 0;
    }
    console.log(
      `${id} holds its stub again; your answer is in ${relative(process.cwd(), kept)}.\n` +
        'Is the notebook open in Jupyter? Then choose File › Reload Notebook from Disk now: saving it there would undo this.',
    );
    return 0;
  },
};

export const watchCommand: Command = {
  name: 'watch',
  summary: 'Check your answers now and each time you save a notebook; says what has changed.',
  usage: 'EXERCISE|CHAPTER|all …',
  options: {},
  examples: ['npm run lab -- watch 3'],
  async run(_, names) {
    if (names.length === 0) throw new LabError('Watch what? For instance: npm run lab -- watch 3, or 3.1, or all.');
    const course = theCourse();
    const places = selectExercises(names, course);
    await interruptible((interruption) =>
      watchExercises(places, course, {
        interruption,
        onTrouble: (message) => console.log(message),
        onChange: (verdicts) => {
          console.log(`── ${new Date().toLocaleTimeString('en-GB')}`);
          for (const verdict of verdicts) console.log(textReport(verdict));
        },
      }),
    );
    return 0;
  },
};

/**
 * @file The process in which the answers of a saved notebook are tested: started by grade.ts, told what to do by its
 * first message, and free to be killed. Its verdicts carry a secret that is out of the answers' reach: what they print,
 * or send on the same channel, is no verdict.
 */
import { messageOf } from '../base/index.ts';
import { savedAnswers } from './answers.ts';
import type { Event, Job } from './grade.ts';
import { runExercise } from './runner.ts';

/** The channel to the parent, taken away from everybody else in this process. */
function takeChannel(secret: string): (event: Event) => void {
  const send = process.send!.bind(process);
  Object.assign(process, { send: undefined, disconnect: undefined });
  return (event) => void send({ secret, event });
}

async function grade(job: Job, send: (event: Event) => void): Promise<void> {
  const { notebook, test, exercises, skip } = job;
  const { names, problems } = await savedAnswers(notebook, {
    skip: new Set(skip),
    onCell: (exercise) => send({ kind: 'cell', ...(exercise !== undefined && { exercise }) }),
  });
  for (const exercise of exercises) {
    send({ kind: 'exercise', exercise });
    const problem = problems.get(exercise);
    if (problem === undefined) send({ kind: 'rows', exercise, rows: await runExercise(test, exercise, names) });
    else send({ kind: 'problem', exercise, problem });
  }
}

// A promise that nobody awaits must not end the process: its test fails by itself, or does not need it.
process.on('unhandledRejection', () => undefined);
process.on('uncaughtException', () => undefined);
process.once('message', (job: Job) => {
  const send = takeChannel(job.secret);
  grade(job, send).then(
    () => send({ kind: 'end' }),
    (error: unknown) => send({ kind: 'broken', message: messageOf(error) }),
  );
});

/**
 * @file The process that examines submissions, one after another: it holds the tests and the expectations, and never runs a
 * line of a student's. Nothing of one student is left in it for the next but what the tests themselves keep.
 */
import { messageOf } from '../../base/index.ts';
import { Examiner, type Examination, type Finding } from './examine.ts';

/** What the process tells about the examination it was given. */
export type ExaminerMessage =
  | { readonly kind: 'process'; readonly pid: number }
  | { readonly kind: 'now'; readonly exercise: string }
  | { readonly kind: 'found'; readonly exercise: string; readonly finding: Finding }
  | { readonly kind: 'note'; readonly text: string }
  | { readonly kind: 'done' }
  /** The tests themselves cannot be run. */
  | { readonly kind: 'broken'; readonly message: string };

const examiner = new Examiner();
const send = (message: ExaminerMessage): void => void process.send?.(message);

// A rejection that no test waits for is no verdict.
process.on('unhandledRejection', () => undefined);
process.on('disconnect', () => process.exit(0));
// An interrupt is for the command, which ends this process when it has saved what is done.
process.on('SIGINT', () => undefined);
process.on('message', (examination: Examination) => {
  examiner
    .examine(examination, {
      process: (pid) => send({ kind: 'process', pid }),
      now: (exercise) => send({ kind: 'now', exercise }),
      found: (exercise, finding) => send({ kind: 'found', exercise, finding }),
      note: (text) => send({ kind: 'note', text }),
    })
    .then(
      () => send({ kind: 'done' }),
      (error: unknown) => send({ kind: 'broken', message: messageOf(error) }),
    );
});

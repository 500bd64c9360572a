/** @file The learner's view: progress and its record, hints, beginning anew, checking on every save. */
export { checkSaved, type CheckSavedOptions } from './checked.ts';
export { hintsOf } from './hints.ts';
export {
  courseProgress,
  isDone,
  isStub,
  type ChapterProgress,
  type CourseProgress,
  type ExerciseProgress,
  type ExerciseState,
} from './progress.ts';
export { progressHtml, progressText } from './progress-report.ts';
export {
  progressFile,
  readProgress,
  recordChecks,
  recordsProgress,
  type CheckedCode,
  type ExerciseRecord,
  type ProgressRecord,
} from './record.ts';
export { resetExercise, type Reset } from './reset.ts';
export { solutionFor, type SolutionOptions } from './solution.ts';
export { progress } from './show-progress.ts';
export { watchExercises, type WatchOptions } from './watch.ts';

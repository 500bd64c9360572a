/** @file The course: exercises that run in the notebook and in the terminal, and what the reader has built so far. */
export { notebookModule, savedAnswers, type SavedAnswersOptions, type SavedAnswers } from './answers.ts';
export { filesOf, findExercise, selectExercises, theCourse, type ChapterFiles, type Course, type Place } from './catalog.ts';
export { check, judge } from './check.ts';
export { Diagnosis, expectClose, NotWrittenYet, todo, type ExpectCloseOptions, type Hint, type Hints } from './diagnose.ts';
export type { Answer, Assembly, Chapter, ChapterMistakes, Exercise, ExerciseMistakes } from './exercise.ts';
export type { Explanation } from './explain.ts';
export { gradeChapter, gradeExercises, type GradeOptions } from './grade.ts';
export * from './learner/index.ts';
export type { CompareOptions, MineComparison, TrainingCurve } from './compare-training.ts';
export { Mine, mine, type Room } from './mine.ts';
export { readNotebook, solvedNotebook, type NotebookCell, type NotebookDocument } from './notebook-file.ts';
export * from './release/index.ts';
export { htmlReport, textReport } from './report.ts';
export { runExercise, type Row, type RowState, type RunOptions } from './runner.ts';
export { use } from './use.ts';
export type { Expectable, TensorLike } from './values.ts';
export type { Verdict, VerdictState } from './verdict.ts';
export { Stopped, stopWatchdog, watched } from './watchdog.ts';

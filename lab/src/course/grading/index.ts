/** @file Grading what a class has handed in. */
export {
  answererCommand,
  canConfine,
  CONFINEMENTS,
  WORDS as confinementWords,
  type CommandLine,
  type Confinement,
} from './confine.ts';
export type { GradedRow, Limits } from './examine.ts';
export { folderOf, gradeSubmissions, type GradedClass, type GradeSubmissionsOptions } from './grade-submissions.ts';
export { csvReport, junitReport, studentPage } from './reports.ts';
export type { ExerciseResult, StudentResult } from './results.ts';
export { readZip, type ZipEntry, type ZipLimits } from './zip.ts';

/** @file Handing the course out: a copy for students without solutions, and fixes for it that leave their answers alone. */
export { handOutOf, readHandOut, type HandOut } from './hand-out.ts';
export { readManifest, type ReleaseManifest } from './manifest.ts';
export { mergeNotebook, type MergedNotebook } from './merge-notebook.ts';
export { makeRelease, selectChapters, type Release } from './release.ts';
export { applyUpdate, planUpdate, type FileChange, type Updated, type UpdatePlan } from './update.ts';

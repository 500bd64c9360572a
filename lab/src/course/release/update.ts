/**
 * @file Bringing fixes into a student's copy: every file becomes the new release's, except for the answers in the notebooks.
 * What is replaced is kept in `.lab/backups/`.
 */
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { LabError, messageOf } from '../../base/index.ts';
import { writeAtomically } from '../../files/index.ts';
import { readNotebook, type NotebookDocument } from '../notebook-file.ts';
import { isNotebook, readIfThere, writtenFiles, type HandOut } from './hand-out.ts';
import { digestOf, MANIFEST, originalOf, readManifest, type ReleaseManifest } from './manifest.ts';
import { mergeNotebook } from './merge-notebook.ts';

export interface FileChange {
  readonly path: string;
  readonly kind: 'added' | 'replaced' | 'merged' | 'removed';
}

/** What an update would do. */
export interface UpdatePlan {
  readonly root: string;
  readonly changes: readonly FileChange[];
  /** What the student should know, a sentence each. */
  readonly conflicts: readonly string[];
  readonly contents: ReadonlyMap<string, Uint8Array>;
  readonly handOut: HandOut;
}

/**
 * Finds out what an update of a student's copy would change. Nothing is written.
 *
 * @throws LabError when the folder is no such copy, or has chapters that the new release lacks
 */
export function planUpdate(root: string, handOut: HandOut): UpdatePlan {
  const manifest = readManifest(root);
  if (!manifest) throw new LabError(`${root} is not a copy that 'release' has made: it has no ${MANIFEST}.`);
  const lost = manifest.chapters.filter((number) => !handOut.chapters.includes(number));
  if (lost.length > 0) throw new LabError(`The new release lacks chapters that are in ${root}: ${lost.join(', ')}.`);
  const changes: FileChange[] = [];
  const conflicts: string[] = [];
  const contents = new Map<string, Uint8Array>();
  for (const [path, bytes] of handOut.files) {
    const here = readIfThere(join(root, path));
    const wanted = here && isNotebook(path) ? mergedBytes(root, path, bytes, conflicts) : bytes;
    if (!wanted || (here && Buffer.compare(here, wanted) === 0)) continue;
    contents.set(path, wanted);
    changes.push({ path, kind: !here ? 'added' : isNotebook(path) ? 'merged' : 'replaced' });
    if (here && !isNotebook(path) && isTouched(path, here, manifest)) {
      conflicts.push(`${path} was changed here; it is the course's again.`);
    }
  }
  for (const path of Object.keys(manifest.files)) {
    const here = handOut.files.has(path) ? undefined : readIfThere(join(root, path));
    if (!here) continue;
    if (isTouched(path, here, manifest)) {
      conflicts.push(`${path} is no longer part of the course, but was changed here: it was kept.`);
    } else changes.push({ path, kind: 'removed' });
  }
  return { root, changes, conflicts, contents, handOut };
}

function isTouched(path: string, here: Uint8Array, { files }: ReleaseManifest): boolean {
  return files[path] !== digestOf(here);
}

/** The merged notebook as it would be saved; undefined where the student's cannot be read, which is said. */
function mergedBytes(root: string, path: string, bytes: Uint8Array, conflicts: string[]): Uint8Array | undefined {
  const original = join(root, originalOf(path));
  try {
    const own = readNotebook(join(root, path));
    const base = existsSync(original) ? readNotebook(original) : undefined;
    const merged = mergeNotebook(base, JSON.parse(Buffer.from(bytes).toString('utf8')) as NotebookDocument, own);
    conflicts.push(...merged.conflicts.map((sentence) => `${path}: ${sentence}`));
    // Jupyter orders and indents in its own way: that is no difference.
    if (isDeepStrictEqual(merged.notebook, own)) return readIfThere(join(root, path));
    return Buffer.from(`${JSON.stringify(merged.notebook, null, 1)}\n`);
  } catch (error) {
    if (!(error instanceof LabError)) throw error;
    conflicts.push(`${path} was left as it is: ${messageOf(error)} Move it away and update again to get the new one.`);
    return undefined;
  }
}

export interface Updated {
  /** Where what was replaced is; undefined when nothing was. */
  readonly backup?: string;
}

/**
 * Carries a plan out. An update that was interrupted can be run again.
 *
 * @throws LabError when something cannot be written; what was replaced until then is in the backup
 */
export async function applyUpdate(plan: UpdatePlan, now = new Date()): Promise<Updated> {
  const { root, changes, contents, handOut } = plan;
  const backup = join(root, '.lab', 'backups', now.toISOString().replace(/[:.]/g, '-'));
  const old = changes.filter(({ kind }) => kind !== 'added');
  for (const { path } of old) await writeAtomically(join(backup, path), [readIfThere(join(root, path))!]);
  for (const [path, bytes] of contents) await writeAtomically(join(root, path), [bytes]);
  for (const { path, kind } of changes) if (kind === 'removed') await rm(join(root, path));
  // The originals and the manifest last: until they are there, the old ones say what the student has changed.
  for (const [path, bytes] of writtenFiles(handOut)) {
    if (path.startsWith('.release/')) await writeAtomically(join(root, path), [bytes]);
  }
  return old.length > 0 ? { backup } : {};
}

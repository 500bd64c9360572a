/**
 * @file `.release/` in a student's copy of the lab: which chapters were handed out, which files and in what state, and the
 * notebooks as they were.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LabError, messageOf } from '../../base/index.ts';

export interface ReleaseManifest {
  readonly version: 1;
  /** Numbers of the chapters. */
  readonly chapters: readonly number[];
  /** SHA-256 of each file that was handed out, by its path from the root, with `/`. */
  readonly files: Readonly<Record<string, string>>;
}

/** Where the manifest lies in a copy. */
export const MANIFEST = '.release/release.json';

/** Where a copy keeps a notebook as it was handed out: '.release/notebooks/03-attention.ipynb'. */
export function originalOf(notebook: string): string {
  return `.release/${notebook}`;
}

export function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** A path that stays inside the copy and away from what is not handed out. */
function isSafe(path: string): boolean {
  const parts = path.split('/');
  const inside = parts.every((part) => !['', '.', '..'].includes(part) && !/[\\:]/.test(part));
  return inside && !['.git', '.lab', '.release', 'node_modules'].includes(parts[0]!);
}

function isManifest(value: unknown): value is ReleaseManifest {
  const { version, chapters, files } = (value ?? {}) as Partial<ReleaseManifest>;
  if (version !== 1 || !Array.isArray(chapters) || typeof files !== 'object' || files === null) return false;
  const known = Object.entries(files).every(([path, digest]) => isSafe(path) && typeof digest === 'string');
  return known && chapters.every(Number.isInteger);
}

/**
 * The manifest of a student's copy; undefined where the folder is none.
 *
 * @throws LabError when it is damaged
 */
export function readManifest(root: string): ReleaseManifest | undefined {
  const file = join(root, MANIFEST);
  if (!existsSync(file)) return undefined;
  let found: unknown;
  try {
    found = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new LabError(`${file} is damaged: ${messageOf(error)}`, { cause: error });
  }
  if (!isManifest(found)) throw new LabError(`${file} is damaged: it does not list chapters and files as this lab does.`);
  return found;
}

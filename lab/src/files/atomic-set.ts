/**
 * @file Several files that belong together: all of them are new, or none. They are written into a folder of their own inside
 * the one where they belong, and moved when the last of them is whole.
 */
import { existsSync } from 'node:fs';
import { readdir, rename, rm, rmdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { LabError, messageOf } from '../base/index.ts';
import { writeAtomically } from './atomic.ts';
import { isRunning } from './running.ts';

/** A file to be: its name, and its content in chunks. */
export interface FileContent {
  readonly name: string;
  readonly chunks: () => Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

const stagingName = /^\.new-files\.(\d+)\.tmp$/;

/**
 * Writes files, one after the other, into a folder, which is made if it is missing; other files in it stay as they are.
 *
 * @throws LabError saying in words what went wrong (full disk, no permission, …); nothing was changed then.
 */
export async function writeFilesAtomically(folder: string, files: Iterable<FileContent>): Promise<void> {
  const target = resolve(folder);
  const wasThere = existsSync(target);
  const staging = join(target, `.new-files.${process.pid}.tmp`);
  const written: string[] = [];
  let moved = false;
  try {
    for (const { name, chunks } of files) {
      await writeAtomically(join(staging, name), chunks());
      written.push(name);
    }
    for (const name of written) await move(join(staging, name), join(target, name));
    moved = true;
    await removeAbandoned(target);
  } finally {
    await rm(staging, { recursive: true, force: true }).catch(() => undefined);
    if (!moved && !wasThere) await rmdir(target).catch(() => undefined);
  }
}

async function move(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    throw new LabError(`Cannot save ${to}: ${messageOf(error)}`, { cause: error });
  }
}

/** What processes that were killed in mid-save left behind. */
async function removeAbandoned(folder: string): Promise<void> {
  for (const entry of await readdir(folder)) {
    const pid = Number(stagingName.exec(entry)?.[1] ?? 0);
    if (pid > 0 && !isRunning(pid)) await rm(join(folder, entry), { recursive: true, force: true });
  }
}

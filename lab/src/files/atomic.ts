/**
 * @file Saves that are whole or not there: a temporary file in the same folder, flushed to the disk, then renamed.
 * Whoever is killed at any moment leaves the old file or the new one, never half of one.
 */
import { statfsSync } from 'node:fs';
import { mkdir, open, readdir, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { LabError } from '../base/index.ts';
import { isRunning } from './running.ts';

/**
 * Writes the chunks one after the other as the new content of `path`; folders that are missing are made.
 *
 * @throws LabError saying in words what went wrong (full disk, no permission, …); the old file, if any, is untouched then.
 */
export async function writeAtomically(path: string, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
  const folder = dirname(resolve(path));
  const temporary = join(folder, `.${basename(path)}.${process.pid}.tmp`);
  let created = false;
  try {
    await mkdir(folder, { recursive: true });
    await removeAbandoned(folder, basename(path));
    const file = await open(temporary, 'w');
    created = true;
    try {
      for await (const chunk of chunks) await writeWhole(file, chunk);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncFolder(folder);
  } catch (error) {
    if (created) await unlink(temporary).catch(() => undefined);
    throw savingError(error, path);
  }
}

async function writeWhole(file: Awaited<ReturnType<typeof open>>, chunk: Uint8Array): Promise<void> {
  for (let done = 0; done < chunk.byteLength;) {
    const { bytesWritten } = await file.write(chunk, done, chunk.byteLength - done);
    done += bytesWritten;
  }
}

/** Temporary files of processes that were killed in mid-save. */
async function removeAbandoned(folder: string, name: string): Promise<void> {
  for (const entry of await readdir(folder)) {
    if (!entry.startsWith(`.${name}.`) || !entry.endsWith('.tmp')) continue;
    const pid = Number(entry.slice(name.length + 2, -'.tmp'.length));
    if (Number.isInteger(pid) && pid > 0 && !isRunning(pid)) await unlink(join(folder, entry)).catch(() => undefined);
  }
}

/** Makes the rename itself durable; not every platform lets a folder be opened. */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (!['EISDIR', 'EPERM', 'EACCES', 'EINVAL', 'ENOTSUP'].includes(codeOf(error))) throw error;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** An error of the file system in words (LabError) where it is one that users meet when they save to `path`; else the error. */
export function savingError(error: unknown, path: string): unknown {
  const because = reason(codeOf(error), path, dirname(resolve(path)));
  if (because === undefined) return error;
  return new LabError(`Cannot save ${path}: ${because} Nothing was changed.`, { cause: error });
}

function reason(code: string, path: string, folder: string): string | undefined {
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT': {
      return `the disk is full${freeSpace(folder)}. Make room there or save somewhere else.`;
    }
    case 'EFBIG':
      return 'the file would be larger than is allowed here (see ulimit -f).';
    case 'EACCES':
    case 'EPERM':
      return `there is no permission to write in ${folder}.`;
    case 'EROFS':
      return `${folder} can only be read.`;
    case 'ENOTDIR':
    case 'EEXIST':
      return `a part of that path is a file, not a folder.`;
    case 'EISDIR':
      return `${path} is a folder.`;
    case 'ENAMETOOLONG':
      return 'the name is too long.';
    default:
      return undefined;
  }
}

function freeSpace(folder: string): string {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return ` (${((bavail * bsize) / 1e6).toFixed(1)} MB free)`;
  } catch {
    return '';
  }
}

/**
 * @file What Linux tells about a process and those it has started: its memory, and how long it has been ready to run while
 * others had the cores (`/proc/PID/task/TID/schedstat`). Elsewhere nothing is known, and both are 0.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** The process and all its descendants, with the threads of each. */
function treeOf(pid: number): { readonly pid: number; readonly threads: readonly string[] }[] {
  try {
    const threads = readdirSync(`/proc/${pid}/task`);
    const children = threads.flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean),
    );
    return [{ pid, threads }, ...children.flatMap((child) => treeOf(Number(child)))];
  } catch {
    return []; // it has ended, or this is no Linux
  }
}

/** Resident memory of a process and its descendants, in bytes. */
export function memoryOf(pid: number): number {
  const PAGE = 4096;
  return treeOf(pid).reduce((sum, process) => sum + numberIn(`/proc/${process.pid}/statm`, 1) * PAGE, 0);
}

/** How long the threads of a process and its descendants have waited for a core, in milliseconds, all together. */
export function waitedFor(pid: number): number {
  const waits = treeOf(pid).flatMap(({ pid: own, threads }) =>
    threads.map((thread) => numberIn(`/proc/${own}/task/${thread}/schedstat`, 1)),
  );
  return waits.reduce((sum, nanoseconds) => sum + nanoseconds, 0) / 1e6;
}

/** A number of a line in a file, or 0. */
function numberIn(path: string, place: number): number {
  try {
    return Number(readFileSync(path, 'utf8').split(' ')[place]) || 0;
  } catch {
    return 0;
  }
}

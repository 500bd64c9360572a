/**
 * @file How the operations above hang their own kernels into a backend below without being imported by it:
 * they leave a function here, and the backend calls it once it has started.
 */
import type { BackendName } from './device.ts';

/** What a backend hands to the hooks, and what they may give back. */
export interface KernelContext {
  readonly name: BackendName;
  readonly threads: number;
}

/** What a hook installed. */
export interface InstalledKernels {
  /** A few words for the device line: `relaxed SIMD`. */
  readonly description: string;
  /** Threads that the kernels use, where they have a pool of their own. */
  readonly threads?: number;
  /** The operations that have a kernel of the lab's own on this backend. */
  readonly operations: readonly string[];
  remove(): Promise<void>;
}

type Install = (context: KernelContext) => Promise<InstalledKernels>;

const hooks = new Map<BackendName, Install[]>();

/** Has `install` called whenever that backend starts. */
export function onBackendStart(name: BackendName, install: Install): void {
  hooks.set(name, [...(hooks.get(name) ?? []), install]);
}

let installed: readonly InstalledKernels[] = [];

/** Runs the hooks of a backend that has just started, in the order in which they were left. */
export async function installKernels(context: KernelContext): Promise<readonly InstalledKernels[]> {
  const done: InstalledKernels[] = [];
  for (const install of hooks.get(context.name) ?? []) done.push(await install(context));
  installed = done;
  return done;
}

/** Takes the kernels out again, the last first. */
export async function removeKernels(): Promise<void> {
  const going = [...installed].reverse();
  installed = [];
  for (const kernels of going) await kernels.remove();
}

/** The operations for which the running backend has a kernel of the lab's own. */
export function acceleratedOperations(): readonly string[] {
  return installed.flatMap((kernels) => kernels.operations);
}

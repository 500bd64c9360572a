/**
 * @file Tries every backend without risk: each in a process of its own with a time limit, so that even one that crashes or
 * hangs is only a line in a table.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { BACKEND_NAMES, firstLine, type BackendAttempt, type BackendName } from './device.ts';

/** What the probe (cli/probe-backend.ts) reports about the backend that it started. */
export interface BackendReport extends BackendAttempt {
  /** The operations for which the lab has kernels of its own there. */
  readonly operations: readonly string[];
}

/** A driver may compile shaders for a while at its first start. */
const TIME_LIMIT_MS = 30_000;

function reportFrom(stdout: string): BackendReport | undefined {
  const line = stdout.trim().split('\n').at(-1) ?? '';
  try {
    return JSON.parse(line) as BackendReport;
  } catch {
    return undefined;
  }
}

function probe(name: BackendName): Promise<BackendReport> {
  const script = fileURLToPath(new URL('../cli/probe-backend.js', import.meta.url));
  return new Promise((resolve) => {
    execFile(process.execPath, [script, name], { timeout: TIME_LIMIT_MS, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
      const report = reportFrom(stdout);
      const failed = (advice: string): BackendReport => ({ name, works: false, device: '', advice, operations: [] });
      if (!error && report) resolve(report);
      else if (error?.killed) resolve(failed(`it did not start within ${TIME_LIMIT_MS / 1000} seconds`));
      else if (error?.signal) resolve(failed(`it crashed (${error.signal})`));
      else if (report) resolve(failed(`it works but ends with exit code ${String(error?.code)}`));
      else resolve(failed(`it failed to start: ${firstLine(stderr) || 'it said nothing'}`));
    });
  });
}

/** Tries all backends, each in its own process, and says of each whether it works, on what, and what to do if not. */
export function inspectBackends(): Promise<BackendReport[]> {
  return Promise.all(BACKEND_NAMES.map(probe));
}

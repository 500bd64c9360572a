// @ts-check
/**
 * @file Child processes of the set-up: their output goes to a log file, their last line to the step that waits for them.
 */
import { spawn } from 'node:child_process';
import { createWriteStream, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { SetupError } from './steps.mjs';

/** The project's folder, without a slash at the end. */
export const root = path.resolve(fileURLToPath(new URL('../../', import.meta.url)));
export const onWindows = process.platform === 'win32';

const TAIL_LINES = 15;

/**
 * @typedef {object} Outcome
 * @property {number | null} status null when a signal ended it or it could not be started
 * @property {string} output what it wrote, both streams together
 */

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, timeoutMs?: number, onLine?: (line: string) => void, log?: string }} [options]
 *   `log` names a file of `.lab/logs`
 * @returns {Promise<Outcome>}
 */
export function capture(command, args, { env = process.env, timeoutMs, onLine, log } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
    const timer = timeoutMs === undefined ? undefined : setTimeout(() => child.kill(), timeoutMs);
    const file = log === undefined ? undefined : openLog(log);
    let output = '';
    const take = (/** @type {string} */ text) => {
      output += text;
      file?.write(text);
      const line = text.trimEnd().split('\n').at(-1)?.trim();
      if (line) onLine?.(line);
    };
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', take);
    const end = (/** @type {number | null} */ status) => {
      clearTimeout(timer);
      file?.end();
      resolve({ status, output });
    };
    child.on('error', (error) => {
      take(`${error.message}\n`);
      end(null);
    });
    child.on('close', end);
  });
}

/**
 * Like `capture`, but a failure is a SetupError with the sentence, the last lines and where the rest is.
 *
 * @param {string} sentence what failed, and what to do
 * @param {string} log name of the file in `.lab/logs`
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, onLine?: (line: string) => void }} [options]
 */
export async function mustRun(sentence, log, command, args, options = {}) {
  const { status, output } = await capture(command, args, { ...options, log });
  if (status === 0) return output;
  throw new SetupError(`${sentence}\n\n${lastLines(output)}\n\nThe whole output is in ${path.relative(root, logPath(log))}.`);
}

/** @param {string} text */
export function lastLines(text) {
  return text
    .trimEnd()
    .split('\n')
    .slice(-TAIL_LINES)
    .map((line) => `  │ ${line}`)
    .join('\n');
}

/** @param {string} name */
export const logPath = (name) => path.join(root, '.lab', 'logs', `${name}.log`);

/** @param {string} name */
export function openLog(name) {
  mkdirSync(path.dirname(logPath(name)), { recursive: true });
  // There at once, for whoever wants to read it after a failure.
  writeFileSync(logPath(name), '');
  return createWriteStream(logPath(name), { flags: 'a' });
}

/**
 * @param {string} name of a program
 * @returns {string | undefined} where the PATH has it
 */
export function findProgram(name) {
  const endings = onWindows ? ['.exe', '.cmd', '.bat'] : [''];
  const folders = (process.env['PATH'] ?? '').split(path.delimiter).filter(Boolean);
  const candidates = folders.flatMap((folder) => endings.map((ending) => path.join(folder, name + ending)));
  return candidates.find((file) => existsSync(file) && statSync(file).isFile());
}

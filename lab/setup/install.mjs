// @ts-check
/**
 * @file Everything a fresh clone lacks to build and test: the npm packages and `lab/dist`.
 * What is there and fits is left alone; what was interrupted is done again.
 */
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { restoreBinding } from './native/binding.mjs';
import { findProgram, lastLines, capture, mustRun, onWindows, root } from './processes.mjs';
import { SetupError, step } from './steps.mjs';

/** There while npm works: left behind, it tells of an interruption. */
const unfinished = path.join(root, '.lab', 'npm-install-unfinished');

/** @typedef {Record<string, { version?: string, integrity?: string, link?: boolean, optional?: boolean }>} LockedPackages */

/**
 * npm writes `node_modules/.package-lock.json` last of all, so it tells both what is installed and that it was finished.
 *
 * @param {LockedPackages} wanted from package-lock.json
 * @param {LockedPackages} installed
 * @returns {string[]} paths of packages that are missing or of another version
 */
export function outdatedPackages(wanted, installed) {
  return Object.entries(wanted).flatMap(([where, { version, integrity, link, optional }]) => {
    if (!where.includes('node_modules/')) return [];
    const there = installed[where];
    // An optional package may be for another platform.
    if (!there) return optional ? [] : [where];
    return link || (there.version === version && there.integrity === integrity) ? [] : [where];
  });
}

/** @param {string} file @returns {LockedPackages | undefined} */
function readPackages(file) {
  const absolute = path.join(root, file);
  if (!existsSync(absolute)) return undefined;
  try {
    return JSON.parse(readFileSync(absolute, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

/** Whether node_modules is what package-lock.json asks for. */
function packagesAreInstalled() {
  const wanted = readPackages('package-lock.json');
  if (!wanted) throw new SetupError('package-lock.json is missing or damaged. Get it back with: git checkout package-lock.json');
  const installed = readPackages('node_modules/.package-lock.json');
  return installed !== undefined && !existsSync(unfinished) && outdatedPackages(wanted, installed).length === 0;
}

/** @returns {readonly string[]} the command that runs npm */
export function npmCommand() {
  // Under `npm start` npm says where it lives; a bare `node lab/setup/start.mjs` takes it from the PATH.
  const own = process.env['npm_execpath'];
  if (own?.endsWith('.js')) return [process.execPath, own];
  const found = findProgram('npm');
  if (found && !onWindows) return [found];
  throw new SetupError('npm was not found. Run the set-up as: npm start');
}

/** Installs the npm packages in the versions of package-lock.json, if they are not there. */
export async function installPackages() {
  if (packagesAreInstalled()) return;
  const [program = '', ...args] = npmCommand();
  const folder = path.join(root, 'node_modules');
  // npm takes a half-copied package for a whole one, so after an interruption everything is installed anew.
  if (existsSync(unfinished) || !existsSync(path.join(folder, '.package-lock.json')))
    rmSync(folder, { recursive: true, force: true });
  mkdirSync(path.dirname(unfinished), { recursive: true });
  writeFileSync(unfinished, '');
  await step('Installing the npm packages', () =>
    mustRun(
      'npm could not install the packages. Check the network (a proxy? a registry mirror?) and run the command again.',
      'npm-install',
      program,
      // `npm ci` refuses a lock file that lacks an optional package of another platform, as a partial mirror leaves it.
      [...args, 'install', '--no-save', '--include=dev', '--include=optional', '--no-audit', '--no-fund'],
      // A NODE_ENV of production would leave out what builds and tests.
      { env: { ...process.env, NODE_ENV: 'development' } },
    ),
  );
  rmSync(unfinished);
  if (restoreBinding()) console.error('✓ The native part of TensorFlow is in its place again');
}

/**
 * Builds `lab/dist` in a process of its own: what it imports is there only after `installPackages`.
 *
 * @returns {Promise<string | undefined>} what the compiler complained about
 */
export async function buildLibrary() {
  return step('Building the library', async (say) => {
    const { status, output } = await capture(process.execPath, ['lab/setup/build.mjs'], { log: 'build', onLine: say });
    return status === 0 ? undefined : output;
  });
}

/** @param {string | undefined} complaint from `buildLibrary` */
export function requireBuild(complaint) {
  if (complaint === undefined) return;
  throw new SetupError(
    `The library in lab/src does not compile:\n\n${lastLines(complaint)}\n\nMend it, then run the command again.`,
  );
}

/**
 * Lets one set-up at a time into this folder: a second waits until the first is done or dead.
 *
 * @template T
 * @param {() => Promise<T>} body
 * @returns {Promise<T>}
 */
export async function exclusively(body) {
  const lock = path.join(root, '.lab', 'setup.lock');
  mkdirSync(path.dirname(lock), { recursive: true });
  if (!claim(lock) && !claim(lock)) {
    await step('Waiting for another set-up of this folder (none is running? delete .lab/setup.lock)', async () => {
      while (!claim(lock)) await sleep(250);
    });
  }
  const release = () => rmSync(lock, { force: true });
  process.once('exit', release);
  try {
    return await body();
  } finally {
    process.off('exit', release);
    release();
  }
}

/** @param {string} lock @returns {boolean} whether the lock is ours now */
function claim(lock) {
  // A link appears with its content, so nobody reads a lock that does not name its owner yet.
  const mine = `${lock}.${process.pid}`;
  writeFileSync(mine, String(process.pid));
  try {
    linkSync(mine, lock);
    return true;
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error;
    if (!isAlive(Number(readFileSync(lock, { encoding: 'utf8', flag: 'a+' })))) rmSync(lock, { force: true });
    return false;
  } finally {
    rmSync(mine, { force: true });
  }
}

/** @param {number} pid */
function isAlive(pid) {
  if (!pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM';
  }
}

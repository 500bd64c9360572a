// @ts-check
/**
 * @file `npm test`: sets everything up, then type checks, lints, and runs the tests. The last line counts them all.
 * The notebooks and the browser come last and one at a time, so that the times they print are theirs alone.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { buildLibrary, exclusively, installPackages } from './install.mjs';
import { makeVenv, registerKernel } from './jupyter.mjs';
import { capture, root } from './processes.mjs';
import { runScript, step } from './steps.mjs';
import { requireNode } from './versions.mjs';

const help = `npm test -- [options] [vitest arguments]

Type checks, lints and tests everything; installs and builds what is missing first.

  npm test                    everything, as the CI does
  npm test -- --quick         without running the notebooks and without the browser
  npm test -- test/03         only the tests whose path contains test/03, without type check and lint
  npm test -- test/03 -t '3.2'   … whose name contains 3.2`;

/** @typedef {{ passed: number, failed: number, skipped: number }} Count */

/** These need Jupyter, and the machine to themselves. */
const alone = ['test/notebooks.test.ts', 'test/browser.test.ts'];
const reports = path.join(root, '.lab', 'test-reports');

/**
 * Runs a command with this terminal.
 *
 * @param {readonly string[]} args of node
 * @returns {Promise<number | null>} exit status
 */
function attached(args) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: root, stdio: 'inherit' });
    child.on('error', () => resolve(null));
    child.on('close', resolve);
  });
}

/**
 * A check that passes or fails as one.
 *
 * @param {string} title
 * @param {() => Promise<string | undefined>} body returns the complaint
 * @returns {Promise<Count>}
 */
async function single(title, body) {
  const complaint = await step(title, body);
  if (complaint === undefined) return { passed: 1, failed: 0, skipped: 0 };
  console.error(`\n${complaint}\n✗ ${title}: failed\n`);
  return { passed: 0, failed: 1, skipped: 0 };
}

/** @param {string | undefined} buildComplaint */
async function typecheck(buildComplaint) {
  const tsc = path.join('node_modules', 'typescript', 'bin', 'tsc');
  const { status, output } = await capture(process.execPath, [tsc, '-p', 'tsconfig.json']);
  const complaints = [buildComplaint, status === 0 ? undefined : output].filter((text) => text !== undefined);
  return complaints.length === 0 ? undefined : complaints.join('\n');
}

async function lint() {
  const { status, output } = await capture(process.execPath, [
    path.join('node_modules', 'oxlint', 'bin', 'oxlint'),
    '--type-aware',
  ]);
  return status === 0 ? undefined : output;
}

/**
 * @param {string} name of the report
 * @param {readonly string[]} args
 * @returns {Promise<Count>}
 */
async function vitest(name, args) {
  const file = path.join(reports, `${name}.json`);
  const status = await attached([
    path.join('node_modules', 'vitest', 'vitest.mjs'),
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${file}`,
    ...args,
  ]);
  return countTests(existsSync(file) ? readFileSync(file, 'utf8') : undefined, status);
}

/**
 * @param {string | undefined} report vitest's JSON report; undefined when it did not get so far
 * @param {number | null} status vitest's exit status
 * @returns {Count} a file that could not be loaded, or a run that failed for another reason, is one failure
 */
export function countTests(report, status) {
  const count = { passed: 0, failed: 0, skipped: 0 };
  const files = report === undefined ? [] : JSON.parse(report).testResults;
  for (const { status: outcome, assertionResults } of files) {
    const having = (/** @type {string} */ name) =>
      assertionResults.filter((/** @type {{ status: string }} */ t) => t.status === name).length;
    count.passed += having('passed');
    count.failed += having('failed') || (outcome === 'failed' ? 1 : 0);
    count.skipped += assertionResults.length - having('passed') - having('failed');
  }
  if (status !== 0 && count.failed === 0) count.failed = 1;
  return count;
}

const existing = () => alone.filter((file) => existsSync(path.join(root, file)));

/** Students' copies hold the tests of the exercises and no more, which judge their notebooks. */
const isHandedOut = () => existsSync(path.join(root, '.release'));

/** @param {readonly string[]} args of vitest */
function mayNeedJupyter(args) {
  const filters = args.filter((arg) => !arg.startsWith('-'));
  if (filters.length === 0) return existing().length > 0;
  return existing().some((file) => filters.some((filter) => file.includes(filter) || filter.includes(file)));
}

/**
 * @param {boolean} quick
 * @param {string | undefined} buildComplaint
 */
async function everything(quick, buildComplaint) {
  if (isHandedOut()) return [await vitest('answers', [])];
  const counts = [
    await single('Checking the types', () => typecheck(buildComplaint)),
    await single('Linting', lint),
    await vitest(
      'library',
      alone.map((file) => `--exclude=${file}`),
    ),
  ];
  if (!quick) counts.push(await vitest('notebooks', [...existing(), '--no-file-parallelism']));
  return counts;
}

/** @param {string[]} args @returns {Promise<number>} exit status */
async function main(args) {
  if (args.includes('--help')) {
    console.log(help);
    return 0;
  }
  requireNode();
  const quick = args.includes('--quick');
  const own = args.filter((arg) => arg !== '--quick');
  const complaint = await exclusively(async () => {
    await installPackages();
    const built = await buildLibrary();
    if (!quick && mayNeedJupyter(own)) await makeVenv();
    registerKernel();
    return built;
  });
  rmSync(reports, { recursive: true, force: true });
  mkdirSync(reports, { recursive: true });
  if ((own.length > 0 || isHandedOut()) && complaint !== undefined) console.error(complaint);
  const counts = own.length > 0 ? [await vitest('chosen', own)] : await everything(quick, complaint);
  const sum = (/** @type {keyof Count} */ what) => counts.reduce((total, count) => total + count[what], 0);
  if (sum('skipped') > 0) console.log(`${sum('skipped')} skipped`);
  console.log(`${sum('passed')} passed, ${sum('failed')} failed`);
  return sum('failed') === 0 ? 0 : 1;
}

if (process.argv[1] && path.resolve(process.argv[1]) === path.join(root, 'lab', 'setup', 'test.mjs')) {
  await runScript(() => main(process.argv.slice(2)));
}

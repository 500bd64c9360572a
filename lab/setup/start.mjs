// @ts-check
/**
 * @file `npm start`: from a fresh clone to JupyterLab on the first notebook. Every start checks everything and does
 * only what is missing, so that the second one is quick.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { buildLibrary, exclusively, installPackages, requireBuild } from './install.mjs';
import { findJupyter, jupyterEnvironment, registerKernel, runtimeFolder, serverArguments } from './jupyter.mjs';
import { lastLines, logPath, onWindows, openLog, root } from './processes.mjs';
import { runScript, SetupError, step } from './steps.mjs';
import { requireNode } from './versions.mjs';

const help = `npm start -- [options]

Opens JupyterLab on the first notebook; installs and builds what is missing first.

  --no-browser   only print the address
  --port N       serve at this port of 127.0.0.1 (default: the first free one from 8888)
  --notebook     Notebook 7 instead of JupyterLab
  --venv         the project's own Jupyter in .venv, even if there is one on the PATH
  --help         show this text

Ctrl-C stops the server and its kernels.`;

const firstPort = 8888;
const portsTried = 50;
const startLimitMs = 60_000;

/** @param {string[]} args */
function readOptions(args) {
  try {
    const { values } = parseArgs({
      args,
      options: {
        'no-browser': { type: 'boolean', default: false },
        port: { type: 'string' },
        notebook: { type: 'boolean', default: false },
        venv: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    return { ...values, port: values.port === undefined ? undefined : readPort(values.port) };
  } catch (error) {
    if (error instanceof SetupError) throw error;
    throw new SetupError(`${/** @type {Error} */ (error).message.split('. ')[0]}. See: npm start -- --help`);
  }
}

/** @param {string} text */
function readPort(text) {
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= 65_535) return port;
  throw new SetupError(`--port takes a number from 1 to 65535, got '${text}'.`);
}

/** @param {number} port @returns {Promise<boolean>} */
function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** @param {number | undefined} wanted */
async function choosePort(wanted) {
  if (wanted !== undefined) {
    if (await isFree(wanted)) return wanted;
    throw new SetupError(
      `Port ${wanted} is taken or not allowed. Choose another, or leave --port out: then a free one is found.`,
    );
  }
  for (let port = firstPort; port < firstPort + portsTried; port++) if (await isFree(port)) return port;
  throw new SetupError(`No port from ${firstPort} to ${firstPort + portsTried - 1} is free. Choose one with --port N.`);
}

/** @typedef {{ url: string, token: string, port: number }} Address */

/**
 * @param {number} port
 * @returns {Address[]} what servers at this port said of themselves; an earlier one's card may still lie there
 */
function addresses(port) {
  const cards = readdirSync(runtimeFolder).filter((name) => /^jpserver-\d+\.json$/.test(name));
  return cards.flatMap((name) => {
    try {
      const address = JSON.parse(readFileSync(path.join(runtimeFolder, name), 'utf8'));
      return address.port === port ? [address] : [];
    } catch {
      return []; // half-written
    }
  });
}

/** @param {Address} address */
async function answers({ url, token }) {
  try {
    return (await fetch(`${url}api/status`, { headers: { Authorization: `token ${token}` } })).ok;
  } catch {
    return false;
  }
}

/**
 * @param {import('node:child_process').ChildProcess} server
 * @param {number} port
 * @returns {Promise<Address>} once it answers
 */
async function waitUntilUp(server, port) {
  for (const since = performance.now(); performance.now() - since < startLimitMs; await sleep(50)) {
    if (server.exitCode !== null || server.signalCode !== null || server.pid === undefined) break;
    for (const address of addresses(port)) if (await answers(address)) return address;
  }
  if (server.killed) throw new SetupError('Stopped.');
  stop(server);
  const log = readFileSync(logPath('jupyter'), 'utf8');
  throw new SetupError(
    `Jupyter did not start:\n\n${lastLines(log)}\n\nThe whole output is in ${path.relative(root, logPath('jupyter'))}.`,
  );
}

/** @param {import('node:child_process').ChildProcess} server */
function stop(server) {
  if (server.exitCode === null && server.signalCode === null) server.kill('SIGTERM');
}

/**
 * @param {readonly string[]} command
 * @param {string[]} args
 */
function startServer([program = '', ...first], args) {
  const log = openLog('jupyter');
  const server = spawn(program, [...first, ...args], {
    cwd: root,
    env: jupyterEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own: Ctrl-C reaches this process alone, which then asks the server to end in good order.
    detached: !onWindows,
  });
  server.on('error', (error) => log.write(`${error.message}\n`));
  server.stdout.pipe(log, { end: false });
  server.stderr.pipe(log, { end: false });
  return server;
}

/** A student's copy may begin with a later chapter. */
function firstPage() {
  const [first = ''] = readdirSync(path.join(root, 'notebooks'))
    .filter((name) => /^\d\d-.*\.ipynb$/.test(name))
    .sort();
  return `notebooks/${first}`;
}

/** @param {string[]} args @returns {Promise<number>} exit status */
async function main(args) {
  const options = readOptions(args);
  if (options.help) {
    console.log(help);
    return 0;
  }
  requireNode();
  const port = await choosePort(options.port);
  const jupyter = await exclusively(async () => {
    await installPackages();
    requireBuild(await buildLibrary());
    const found = await findJupyter({ ownOnly: options.venv });
    registerKernel();
    return found;
  });
  const page = `/${options.notebook ? 'notebooks' : 'lab/tree'}/${firstPage()}`;
  const command = options.notebook ? jupyter.notebook : jupyter.lab;
  if (!command) throw new SetupError('The Jupyter on the PATH has no Notebook 7. Leave --notebook out, or add --venv.');
  const server = startServer(command, serverArguments({ port, page, openBrowser: !options['no-browser'] }));
  const ended = new Promise((resolve) => server.once('close', resolve));
  let asked = false;
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    process.on(signal, () => {
      asked = true;
      stop(server);
    });
  }
  process.once('exit', () => stop(server));
  const { url, token } = await step(`Starting ${jupyter.description}`, () => waitUntilUp(server, port));
  console.log(`\n  ${url.replace(/\/$/, '')}${page}?token=${token}\n\n  Ctrl-C stops the server and its kernels.`);
  await ended;
  if (asked) console.log('\nStopped.');
  else console.error(`\nJupyter ended by itself:\n\n${lastLines(readFileSync(logPath('jupyter'), 'utf8'))}`);
  return asked ? 0 : 1;
}

await runScript(() => main(process.argv.slice(2)));

// @ts-check
/**
 * @file Which Node and which Python will do, and what to say to somebody who has another.
 */
import { capture, onWindows } from './processes.mjs';
import { SetupError } from './steps.mjs';

/** Node 20.19 is the first that can `require` the ESM of the library, as the notebook kernel does. */
const oldestNode = '20.19.0';
const oldestPython = '3.10.0';

/**
 * @param {string} version such as '20.19.1' or 'v22.1.0'
 * @param {string} oldest
 */
export function isAtLeast(version, oldest) {
  const [have, want] = [version, oldest].map((text) => (text.match(/\d+/g) ?? []).map(Number));
  for (const [i, w] of (want ?? []).entries()) {
    const h = have?.[i] ?? 0;
    if (h !== w) return h > w;
  }
  return true;
}

/** @param {string} version */
export function requireNode(version = process.versions.node) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  // Node 22 learnt to require ESM in 22.12; the odd releases between never left their experiments.
  const lacksRequire = major === 21 || (major === 22 && minor < 12);
  if (isAtLeast(version, oldestNode) && !lacksRequire) return;
  throw new SetupError(
    `This is Node ${version}; the lab needs Node 20.19 or newer (in the 22 line, 22.12 or newer), best Node 24.\n` +
      'Get it from https://nodejs.org or with your version manager (nvm install 24), then run the command again.',
  );
}

/**
 * @typedef {object} Python
 * @property {string} executable absolute path
 * @property {string} version
 * @property {boolean} hasVenv whether it can make virtual environments that have pip
 */

const probe = `
import json, sys, importlib.util as u
print(json.dumps({'executable': sys.executable, 'version': '.'.join(map(str, sys.version_info[:3])),
  'hasVenv': all(u.find_spec(m) is not None for m in ('venv', 'ensurepip'))}))`;

/**
 * @param {readonly string[]} command
 * @returns {Promise<Python | undefined>} undefined when there is no such program, or it is none
 */
async function inspectPython([program = '', ...args]) {
  const { status, output } = await capture(program, [...args, '-c', probe], { timeoutMs: 20_000 });
  if (status !== 0) return undefined;
  try {
    return JSON.parse(output.trim().split('\n').at(-1) ?? '');
  } catch {
    return undefined;
  }
}

/** The usual name first; the numbered ones help where `python3` is an old one. */
const pythonCommands = [
  ...(onWindows ? [['py', '-3']] : []),
  ['python3'],
  ['python'],
  ...['3.14', '3.13', '3.12', '3.11', '3.10'].map((version) => [`python${version}`]),
];

/** @returns {Promise<Python>} the first that is new enough and can make a virtual environment */
export async function requirePython() {
  const seen = [];
  for (const command of pythonCommands) {
    const python = await inspectPython(command);
    if (python && isAtLeast(python.version, oldestPython) && python.hasVenv) return python;
    if (python) seen.push(python);
  }
  throw new SetupError(pythonAdvice(seen));
}

/** @param {readonly Python[]} seen those that will not do */
export function pythonAdvice(seen) {
  const withoutVenv = seen.find((python) => isAtLeast(python.version, oldestPython));
  if (withoutVenv) {
    const [major, minor] = withoutVenv.version.split('.');
    return (
      `Python ${withoutVenv.version} (${withoutVenv.executable}) cannot make virtual environments: it lacks venv.\n` +
      `On Debian and Ubuntu: sudo apt install python${major}.${minor}-venv. Then run the command again.`
    );
  }
  const found = seen.map((python) => `${python.executable} is ${python.version}`).join(', ');
  return (
    `The lab needs Python 3.10 or newer for Jupyter${found ? `, but ${found}` : ', and found none on the PATH'}.\n` +
    'Get it from https://python.org or your package manager (Debian and Ubuntu: sudo apt install python3 python3-venv),\n' +
    'then run the command again.'
  );
}

// @ts-check
/**
 * @file The project's own Jupyter: which one runs, where it keeps its files (never in the user's home), and the
 * TypeScript kernel that is registered for this project alone.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { capture, findProgram, mustRun, onWindows, root } from './processes.mjs';
import { step } from './steps.mjs';
import { isAtLeast, requirePython } from './versions.mjs';

/**
 * @typedef {object} Jupyter
 * @property {string} description for the user
 * @property {readonly string[]} lab the command that starts JupyterLab
 * @property {readonly string[]} [notebook] the command that starts Notebook 7, where there is one
 */

const home = path.join(root, '.jupyter');
const dataFolder = path.join(home, 'share', 'jupyter');
const configFolder = path.join(home, 'config');
export const runtimeFolder = path.join(home, 'runtime');

const venv = path.join(root, '.venv');
export const venvPython = path.join(venv, onWindows ? 'Scripts/python.exe' : 'bin/python');
const requirements = path.join(root, 'lab', 'setup', 'requirements.txt');
/** Written when the environment is whole; holds the digest of the requirements it was made from. */
const venvStamp = path.join(venv, '.requirements');

/** @returns {NodeJS.ProcessEnv} what makes Jupyter find and keep everything inside the project */
export function jupyterEnvironment() {
  const others = process.env['JUPYTER_PATH'];
  return {
    ...process.env,
    // First in the search path, so that no kernel of the same name elsewhere comes before ours.
    JUPYTER_PATH: others ? dataFolder + path.delimiter + others : dataFolder,
    JUPYTER_DATA_DIR: dataFolder,
    JUPYTER_CONFIG_DIR: configFolder,
    JUPYTER_RUNTIME_DIR: runtimeFolder,
    JUPYTERLAB_SETTINGS_DIR: path.join(configFolder, 'lab', 'user-settings'),
    JUPYTERLAB_WORKSPACES_DIR: path.join(configFolder, 'lab', 'workspaces'),
    IPYTHONDIR: path.join(home, 'ipython'),
  };
}

/** @returns {string} what the environment must have been made from to be used */
function venvDigest() {
  const pins = readFileSync(requirements, 'utf8')
    .split('\n')
    .filter((line) => !line.startsWith('#'));
  return createHash('sha256').update(pins.join('\n').trim()).digest('hex');
}

/** Whether `.venv` is whole, up to date, and its Python is still on this machine. */
function venvIsReady() {
  return existsSync(venvStamp) && existsSync(venvPython) && readFileSync(venvStamp, 'utf8') === venvDigest();
}

/** Makes `.venv` from the pinned requirements, unless it is there already. */
export async function makeVenv() {
  if (venvIsReady()) return;
  const python = await requirePython();
  // An environment that was left half-way, or made from other pins, is made anew: pip cannot mend a half-copied package.
  rmSync(venvStamp, { force: true });
  await step(`Making a Python environment in .venv (Python ${python.version})`, () =>
    mustRun('Python could not make the environment .venv.', 'venv', python.executable, ['-m', 'venv', '--clear', venv]),
  );
  // Without it, Node would take the .js files inside for ES modules, because the project's package.json says so.
  writeFileSync(path.join(venv, 'package.json'), '{"type":"commonjs"}\n');
  const cache = path.join(root, '.lab', 'cache', 'pip');
  await step('Installing JupyterLab into .venv', (say) =>
    mustRun(
      'pip could not install JupyterLab. Check the network (a proxy? an index mirror?) and run the command again.',
      'pip-install',
      venvPython,
      ['-m', 'pip', 'install', '--disable-pip-version-check', '--no-input', '--cache-dir', cache, '-r', requirements],
      { onLine: (line) => say(line.split(' (')[0] ?? '') },
    ),
  );
  rmSync(cache, { recursive: true, force: true });
  writeFileSync(venvStamp, venvDigest());
}

/**
 * JupyterLab on the PATH is good enough if it is version 4 and has Plotly's extension: without that, charts are still pictures.
 *
 * @returns {Promise<Jupyter | undefined>}
 */
async function findOnPath() {
  const lab = findProgram('jupyter-lab');
  const paths = findProgram('jupyter');
  if (!lab || !paths) return undefined;
  const env = jupyterEnvironment();
  const [version, folders] = await Promise.all([
    capture(lab, ['--version'], { env, timeoutMs: 20_000 }),
    capture(paths, ['--paths', '--json'], { env, timeoutMs: 20_000 }),
  ]);
  const number = /^(\d+\.\d+\.\d+)\s*$/m.exec(version.output)?.[1];
  if (version.status !== 0 || folders.status !== 0 || !number || !isAtLeast(number, '4.0.0')) return undefined;
  const draws = dataFolders(folders.output).some((folder) => existsSync(path.join(folder, 'labextensions', 'jupyterlab-plotly')));
  if (!draws) return undefined;
  const notebook = findProgram('jupyter-notebook');
  return { description: `JupyterLab ${number} (${lab})`, lab: [lab], ...(notebook && { notebook: [notebook] }) };
}

/** @param {string} json @returns {string[]} */
function dataFolders(json) {
  try {
    return JSON.parse(json).data ?? [];
  } catch {
    return [];
  }
}

/**
 * The project's environment if it is there, else a Jupyter on the PATH, else the project's environment, made now.
 *
 * @param {{ ownOnly?: boolean }} [options] ownOnly: do not look at the PATH
 * @returns {Promise<Jupyter>}
 */
export async function findJupyter({ ownOnly = false } = {}) {
  const found = ownOnly || venvIsReady() ? undefined : await findOnPath();
  if (found) return found;
  await makeVenv();
  const run = (/** @type {string} */ module) => [venvPython, '-m', module];
  return { description: 'JupyterLab of .venv', lab: run('jupyterlab'), notebook: run('notebook') };
}

/** Registers the kernel `tslab` in `.jupyter`, by absolute paths: neither the PATH nor other installations matter. */
export function registerKernel() {
  const folder = path.join(dataFolder, 'kernels', 'tslab');
  const kernel = {
    argv: [
      process.execPath,
      '--enable-source-maps',
      '--require',
      path.join(root, 'lab', 'setup', 'kernel-preload.cjs'),
      path.join(root, 'node_modules', 'tslab', 'bin', 'tslab'),
      'kernel',
      '--config-path',
      '{connection_file}',
    ],
    display_name: 'TypeScript',
    language: 'typescript',
  };
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, 'kernel.json'), `${JSON.stringify(kernel, null, 1)}\n`);
  mkdirSync(runtimeFolder, { recursive: true, mode: 0o700 });
  writeDefaults();
}

/** The reader's own settings stay; what is written is only the answer to a question Jupyter would ask the network for. */
function writeDefaults() {
  const settings = path.join(
    configFolder,
    'lab',
    'user-settings',
    '@jupyterlab',
    'apputils-extension',
    'notification.jupyterlab-settings',
  );
  if (existsSync(settings)) return;
  mkdirSync(path.dirname(settings), { recursive: true });
  writeFileSync(settings, '{ "fetchNews": "false", "checkForUpdates": false }\n');
}

/**
 * @param {{ port: number, page: string, openBrowser: boolean }} options page: as '/lab/tree/notebooks/00-welcome.ipynb'
 * @returns {string[]} the arguments of the server
 */
export function serverArguments({ port, page, openBrowser }) {
  return [
    '--ServerApp.ip=127.0.0.1',
    `--ServerApp.port=${port}`,
    '--ServerApp.port_retries=0',
    `--ServerApp.root_dir=${root}`,
    `--ServerApp.default_url=${page}`,
    `--ServerApp.open_browser=${openBrowser ? 'True' : 'False'}`,
    // Browsers in a sandbox (Ubuntu's snaps) cannot read a redirect file in a hidden folder.
    '--ServerApp.use_redirect_file=False',
    '--KernelSpecManager.ensure_native_kernel=False',
    '--KernelSpecManager.allowed_kernelspecs=tslab',
    '--MappingKernelManager.default_kernel_name=tslab',
    '--LanguageServerManager.autodetect=False',
    '--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate',
    '--LabApp.news_url=None',
    '--LabApp.extension_manager=readonly',
    ...(process.getuid?.() === 0 ? ['--allow-root'] : []),
  ];
}

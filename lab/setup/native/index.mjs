// @ts-check
/**
 * @file `npm run native`: TensorFlow at native speed. Fetches the libraries of a current TensorFlow, builds the binding of
 * @tensorflow/tfjs-node-gpu against them, tries it, and says what it did. What is there already is not made again.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { buildLibrary, exclusively, installPackages, npmCommand, requireBuild } from '../install.mjs';
import { makeVenv } from '../jupyter.mjs';
import { capture, mustRun, root } from '../processes.mjs';
import { runScript, SetupError, step } from '../steps.mjs';
import { requireNode } from '../versions.mjs';
import {
  bindingIn,
  bindingInUse,
  compileBinding,
  nativeFolder,
  removeBinding,
  requireCompiler,
  requireSources,
  sourcesDigest,
  useBinding,
} from './binding.mjs';
import { fetchTensorFlow, tensorflowVersion, wheelName } from './tensorflow.mjs';

const help = `npm run native -- [options]

Gives the lab the backend 'tensorflow': takes the libraries of TensorFlow ${tensorflowVersion} from its Python wheel (270 MB to download,
0.9 GB on the disk), and builds the binding of @tensorflow/tfjs-node-gpu against them. It needs a C++ compiler, and everything
stays in this folder, in .lab/native.

  --cuda    with NVIDIA's libraries (some 3 GB to download), for a GPU
  --stock   the package's own download instead: TensorFlow 2.9.1 for CUDA 11.2
  --undo    take all of it away again
  --help    show this text`;

/** @typedef {import('./tensorflow.mjs').Kind} Kind */

/** @param {Kind} kind */
async function build(kind) {
  const compiler = requireCompiler();
  requireSources();
  wheelName(kind); // refuses before anything is fetched
  const folder = path.join(nativeFolder, `tensorflow-${tensorflowVersion}-${kind}`);
  const stamp = path.join(folder, 'stamp');
  const digest = sourcesDigest();
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest && existsSync(bindingIn(folder))) {
    console.error(`✓ ${path.relative(root, folder)} is there`);
  } else {
    await makeVenv();
    const fresh = `${folder}.unfinished`;
    await fetchTensorFlow(fresh, kind);
    await step('Compiling the binding', (say) => compileBinding(compiler, fresh, say));
    writeFileSync(path.join(fresh, 'stamp'), digest);
    rmSync(folder, { recursive: true, force: true });
    renameSync(fresh, folder);
  }
  useBinding(folder);
}

async function fetchStock() {
  removeBinding();
  const [program = '', ...args] = npmCommand();
  await step('Downloading TensorFlow 2.9.1 and the binding', (say) =>
    mustRun(
      "The package's own download failed: it comes from Google's storage, and has no files for some platforms.\n" +
        'Without --stock the libraries come from PyPI and are newer.',
      'native-stock',
      program,
      [...args, 'rebuild', '@tensorflow/tfjs-node-gpu', '--ignore-scripts=false', '--foreground-scripts'],
      { onLine: say },
    ),
  );
}

/** Starts the backend in a process of its own, where it multiplies and differentiates. */
async function tryBackend() {
  const { status, output } = await capture(process.execPath, [path.join(root, 'lab/dist/cli/probe-backend.js'), 'tensorflow'], {
    timeoutMs: 120_000,
    log: 'native-check',
  });
  const line = output.trim().split('\n').at(-1) ?? '';
  /** @type {{ works?: boolean, device?: string, advice?: string }} */
  const report = line.startsWith('{') ? JSON.parse(line) : {};
  if (status === 0 && report.works) return report.device;
  throw new SetupError(`The backend was built but does not work: ${report.advice ?? (line || 'it said nothing')}.`);
}

/** @param {string[]} args @returns {Promise<number>} exit status */
async function main(args) {
  /** @type {{ cuda?: boolean, stock?: boolean, undo?: boolean, help?: boolean }} */
  let options;
  try {
    const flag = /** @type {const} */ ({ type: 'boolean' });
    ({ values: options } = parseArgs({ args, options: { cuda: flag, stock: flag, undo: flag, help: flag } }));
  } catch (error) {
    throw new SetupError(`${/** @type {Error} */ (error).message}\n\n${help}`);
  }
  if (options.help) {
    console.log(help);
    return 0;
  }
  if ([options.cuda, options.stock, options.undo].filter(Boolean).length > 1) {
    throw new SetupError('--cuda, --stock and --undo exclude each other.');
  }
  requireNode();
  return exclusively(async () => {
    if (options.undo) {
      console.log(removeBinding() ? 'The native part is gone; npm run native makes it again.' : 'There was no native part.');
      return 0;
    }
    mkdirSync(nativeFolder, { recursive: true });
    await installPackages();
    requireBuild(await buildLibrary());
    await (options.stock ? fetchStock() : build(options.cuda ? 'cuda' : 'cpu'));
    const device = await step('Trying it: a product and a gradient', tryBackend);
    console.log(`\nThe backend 'tensorflow' works: ${device}.\nBinding: ${bindingInUse()}`);
    console.log(`startBackend() takes it where there is no GPU for webgpu; LAB_BACKEND=tensorflow asks for it. Back: npm run native -- --undo`);
    return 0;
  });
}

await runScript(() => main(process.argv.slice(2)));

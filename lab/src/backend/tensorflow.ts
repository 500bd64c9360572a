/**
 * @file TensorFlow itself, through the native binding of @tensorflow/tfjs-node-gpu: CUDA where there is an NVIDIA GPU,
 * oneDNN on the processor otherwise. `npm run native` builds the binding against a current TensorFlow.
 */
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import nodeUtil from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { messageOf } from '../base/index.ts';
import { firstLine, Unavailable, type Backend, type LaunchOptions, type RunningBackend } from './device.ts';
import { installKernels, removeKernels } from './hooks.ts';
import { preload } from './preload.ts';

const require = createRequire(import.meta.url);
const PACKAGE = '@tensorflow/tfjs-node-gpu';
const HOW = 'npm run native builds it (some 270 MB to download)';

/** The parts of tfjs-node's backend that are used here. */
interface NodeBackend {
  readonly isUsingGpuDevice: boolean;
  readonly binding: { readonly TF_Version: string };
}

/**
 * Looks for the native part before anything is loaded, which would cost a tenth of a second to no end.
 *
 * @returns the binding's own folder, links followed
 */
function requireBinding(): string {
  let folder: string;
  try {
    folder = dirname(require.resolve(`${PACKAGE}/package.json`));
  } catch {
    throw new Unavailable(`${PACKAGE} is not installed; npm install ${PACKAGE} -w lab gets it`);
  }
  const library = join(folder, 'lib');
  const versions = existsSync(library) ? readdirSync(library) : [];
  const binding = versions.map((abi) => join(library, abi, 'tfjs_binding.node')).find((file) => existsSync(file));
  if (!binding) throw new Unavailable(`the native part of ${PACKAGE} is missing; ${HOW}`);
  return dirname(realpathSync(binding));
}

/**
 * NVIDIA's libraries lie beside TensorFlow's as in the folder of a Python environment: `nvidia/cublas/lib/libcublas.so.12`.
 * TensorFlow asks the dynamic linker for their bare names, and it finds what is loaded already, wherever that came from.
 */
export function cudaLibraries(bindingFolder: string): string[] {
  const nvidia = join(dirname(bindingFolder), 'nvidia');
  if (!existsSync(nvidia)) return [];
  return readdirSync(nvidia)
    .map((part) => join(nvidia, part, 'lib'))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((file) => join(folder, file)))
    .filter((file) => /\.so(\.\d+)+$/.test(file))
    .sort();
}

/** They need each other in an order that they know best: whoever fails has its next try after the others. */
function preloadCuda(bindingFolder: string): void {
  for (let waiting = cudaLibraries(bindingFolder), before = Infinity; waiting.length < before; ) {
    before = waiting.length;
    waiting = waiting.filter((library) => !preload(library));
  }
}

/** Read by TensorFlow when it is loaded. */
function settings(threads: number): void {
  process.env['TF_CPP_MIN_LOG_LEVEL'] ??= '3'; // what goes wrong is thrown as well; what it tells besides has no place in a notebook
  process.env['TF_NUM_INTRAOP_THREADS'] ??= String(threads);
  process.env['TF_NUM_INTEROP_THREADS'] ??= '1'; // one operation at a time is all that tfjs-node asks for
}

/** tfjs-node calls functions that Node 22 warns of and Node 23 took away. */
function replaceUtilFunctions(): void {
  Object.assign(nodeUtil, {
    isNullOrUndefined: (value: unknown): boolean => value === null || value === undefined,
    isArray: Array.isArray,
  });
}

export const tensorflow: Backend = {
  name: 'tensorflow',
  async launch({ threads }: LaunchOptions): Promise<RunningBackend> {
    const folder = requireBinding();
    replaceUtilFunctions();
    settings(threads);
    preloadCuda(folder);
    preload(join(folder, 'quiet-start.so')); // the stock binding has none
    try {
      require(PACKAGE);
    } catch (error) {
      throw new Unavailable(`the native part of ${PACKAGE} does not load (${firstLine(messageOf(error))})`);
    }
    if (!(await tf.setBackend('tensorflow'))) throw new Unavailable('TensorFlow.js could not start TensorFlow');
    const { isUsingGpuDevice, binding } = tf.backend() as unknown as NodeBackend;
    await installKernels({ name: 'tensorflow', threads });
    const count = Number(process.env['TF_NUM_INTRAOP_THREADS']);
    const why = cudaLibraries(folder).length > 0 ? '; TF_CPP_MIN_LOG_LEVEL=0 shows why' : '';
    const where = isUsingGpuDevice ? 'CUDA' : `${count === 1 ? '1 thread' : `${count} threads`} (TensorFlow sees no CUDA GPU${why})`;
    return {
      device: `TensorFlow ${binding.TF_Version}, ${where}`,
      threads: count,
      accelerated: isUsingGpuDevice,
      // The binding stays: it registers itself once, when it is loaded.
      stop: removeKernels,
    };
  },
};

/**
 * @file TensorFlow itself, through the native binding of @tensorflow/tfjs-node-gpu: CUDA where there is an NVIDIA GPU,
 * oneDNN on the processor otherwise.
 */
import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import nodeUtil from 'node:util';
import * as tf from '@tensorflow/tfjs';
import { messageOf } from '../base/index.ts';
import { firstLine, Unavailable, type Backend, type LaunchOptions, type RunningBackend } from './device.ts';
import { installKernels, removeKernels } from './hooks.ts';

const require = createRequire(import.meta.url);
const PACKAGE = '@tensorflow/tfjs-node-gpu';
const HOW = `npm rebuild ${PACKAGE} --ignore-scripts=false downloads it (several hundred megabytes)`;

/** Looks for the native part before anything is loaded, which would cost a tenth of a second to no end. */
function requireBinding(): void {
  let folder: string;
  try {
    folder = dirname(require.resolve(`${PACKAGE}/package.json`));
  } catch {
    throw new Unavailable(`${PACKAGE} is not installed; npm install ${PACKAGE} -w lab gets it`);
  }
  const library = join(folder, 'lib');
  const found = existsSync(library) && readdirSync(library).some((abi) => existsSync(join(library, abi, 'tfjs_binding.node')));
  if (!found) throw new Unavailable(`the native part of ${PACKAGE} is missing; ${HOW}`);
}

/** tfjs-node calls functions that Node 23 took away. */
function restoreUtilFunctions(): void {
  const util = nodeUtil as unknown as Record<string, unknown>;
  util['isNullOrUndefined'] ??= (value: unknown): boolean => value === null || value === undefined;
  util['isArray'] ??= Array.isArray;
  util['isString'] ??= (value: unknown): boolean => typeof value === 'string';
  util['isNumber'] ??= (value: unknown): boolean => typeof value === 'number';
  util['isUndefined'] ??= (value: unknown): boolean => value === undefined;
}

export const tensorflow: Backend = {
  name: 'tensorflow',
  async launch({ threads }: LaunchOptions): Promise<RunningBackend> {
    requireBinding();
    restoreUtilFunctions();
    process.env['TF_CPP_MIN_LOG_LEVEL'] ??= '2'; // TensorFlow writes its own start-up to stderr below that
    try {
      require(PACKAGE);
    } catch (error) {
      throw new Unavailable(`the native part of ${PACKAGE} does not load (${firstLine(messageOf(error))})`);
    }
    if (!(await tf.setBackend('tensorflow'))) throw new Unavailable('TensorFlow.js could not start TensorFlow');
    const { isUsingGpuDevice } = tf.backend() as unknown as { isUsingGpuDevice: boolean };
    await installKernels({ name: 'tensorflow', threads });
    return {
      device: isUsingGpuDevice ? 'CUDA' : 'processor (TensorFlow sees no CUDA GPU)',
      threads: 1,
      accelerated: isUsingGpuDevice,
      // The binding stays: it registers itself once, when it is loaded.
      stop: removeKernels,
    };
  },
};

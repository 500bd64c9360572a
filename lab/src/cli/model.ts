/**
 * @file The option --model: a folder with a model of transformers, or the name of one that was fetched.
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { startBackend, type BackendName } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import { hubModels, loadPretrained, modelFolder, type Pretrained } from '../interop/index.ts';
import type { Option, Values } from './command.ts';

export const modelOption: Option = {
  type: 'string',
  value: 'DIR',
  help: 'a folder with config.json and model.safetensors, or the name of a model that was fetched: gpt2, smollm2',
};

/** The options that every command with a model has. */
export const backendOptions: Readonly<Record<string, Option>> = {
  backend: { type: 'string', value: 'NAME', help: 'tensorflow, webgpu, wasm or cpu (default: the best that works)' },
  threads: { type: 'number', help: 'threads for wasm' },
};

export async function startChosenBackend({ backend, threads }: Values): Promise<void> {
  await startBackend({
    ...(backend === undefined ? {} : { backend: backend as BackendName }),
    ...(threads === undefined ? {} : { threads: Number(threads) }),
  });
}

/** @throws LabError when there is no such folder, with what to do to get it. */
export function checkedModelFolder(given: string): string {
  const fetched = modelFolder(given);
  if (existsSync(given)) return resolve(given);
  if (!Object.hasOwn(hubModels, given)) throw new LabError(`There is no folder ${given}.`);
  if (existsSync(fetched)) return fetched;
  throw new LabError(`${given} is not here yet: npm run lab -- data ${given}`);
}

export function loadGivenModel(given: string): Promise<Pretrained> {
  return loadPretrained(checkedModelFolder(given));
}

/**
 * @file `npm run lab -- export`: a checkpoint of our own as a folder that the transformers library loads.
 */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { startBackend, stopBackend } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import type { FloatDtype } from '../files/index.ts';
import { savePretrained } from '../interop/index.ts';
import { loadModel } from '../train/index.ts';
import type { Command } from './command.ts';
import { checkpointPath } from './train-settings.ts';

const dtypes: Readonly<Record<string, FloatDtype>> = { f32: 'F32', f16: 'F16', bf16: 'BF16' };

export const exportModel: Command = {
  name: 'export',
  summary: 'Save a checkpoint of yours for the transformers library: config.json, model.safetensors, tokenizer.json.',
  usage: 'CHECKPOINT DIR [options]',
  options: { dtype: { type: 'string', value: 'TYPE', help: 'how weights are rounded: f32, f16 or bf16', default: 'f32' } },
  examples: ['npm run lab -- export shakespeare ~/models/shakespeare'],
  async run({ dtype }, [name, directory, ...more]) {
    if (name === undefined || directory === undefined || more.length > 0) {
      throw new LabError('export takes a checkpoint and a folder: npm run lab -- export shakespeare my-model');
    }
    if (!Object.hasOwn(dtypes, String(dtype))) throw new LabError(`--dtype must be ${Object.keys(dtypes).join(', ')}; got '${dtype}'.`);
    const path = checkpointPath(name);
    const folder = resolve(directory);
    if (!existsSync(path)) throw new LabError(`There is no checkpoint ${path}.`);
    if (existsSync(join(folder, 'model.safetensors'))) throw new LabError(`There is a model in ${folder} already. Choose another folder.`);
    await startBackend({ backend: 'cpu' });
    try {
      const { model, tokenizer } = await loadModel(path);
      const format = await savePretrained(model, folder, { tokenizer, dtype: dtypes[String(dtype)]! });
      console.log(`Saved as ${format}, ${model.parameterCount().toLocaleString('en')} parameters: ${folder}`);
      return 0;
    } finally {
      await stopBackend();
    }
  },
};

/**
 * @file `npm run lab -- sample`: lets a trained model write, and shows every character as it comes.
 */
import { existsSync, readdirSync } from 'node:fs';
import { startBackend, stopBackend, type BackendName } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import { labFolder } from '../files/index.ts';
import { generate } from '../model/index.ts';
import { loadModel } from '../train/index.ts';
import type { Command, Values } from './command.ts';
import { checkpointPath } from './train-settings.ts';

export const sample: Command = {
  name: 'sample',
  summary: 'Let a trained model write.',
  usage: 'CHECKPOINT [options]',
  options: {
    prompt: { type: 'string', help: 'what to continue; \\n is a new line', default: '\\n' },
    tokens: { type: 'number', help: 'how many tokens to write', default: 500 },
    temperature: { type: 'number', value: 'T', help: 'below 1 safer, above 1 wilder, 0 always the likeliest', default: 0.8 },
    'top-k': { type: 'number', value: 'K', help: 'only the K likeliest tokens' },
    'top-p': { type: 'number', value: 'P', help: 'only the likeliest tokens that reach P together' },
    'repetition-penalty': { type: 'number', value: 'R', help: 'above 1 makes tokens that were there less likely' },
    seed: { type: 'number', help: 'another seed, another text', default: 0 },
    stop: { type: 'string', help: 'end before this text; \\n is a new line' },
    backend: { type: 'string', value: 'NAME', help: 'tensorflow, webgpu, wasm or cpu (default: the best that works)' },
    threads: { type: 'number', help: 'threads for wasm' },
  },
  examples: ['npm run lab -- sample shakespeare --prompt "ROMEO:" --tokens 300'],
  async run(values, [name, ...more]) {
    if (name === undefined) throw new LabError(`Which checkpoint? ${available()}`);
    if (more.length > 0) throw new LabError(`sample takes one checkpoint, got ${more.length + 1}.`);
    const path = checkpointPath(name);
    if (!existsSync(path)) throw new LabError(`There is no checkpoint ${path}. ${available()}`);
    const { backend, threads } = values;
    await startBackend({
      ...(backend === undefined ? {} : { backend: backend as BackendName }),
      ...(threads === undefined ? {} : { threads: Number(threads) }),
    });
    try {
      const { model, tokenizer } = await loadModel(path);
      const prompt = withLineBreaks(String(values['prompt']));
      const options = samplingOptions(values);
      // An unknown character is refused before anything is shown.
      tokenizer.encode(prompt);
      process.stdout.write(prompt);
      await generate(model, tokenizer, prompt, { ...options, onToken: (text) => process.stdout.write(text) });
      process.stdout.write('\n');
      return 0;
    } finally {
      await stopBackend();
    }
  },
};

function available(): string {
  const folder = labFolder('checkpoints');
  const names = existsSync(folder) ? readdirSync(folder).filter((file) => /^[^.].*\.safetensors$/.test(file)) : [];
  if (names.length === 0) return 'None was trained here yet: npm run lab -- train';
  return `Trained here: ${names.map((file) => file.slice(0, -'.safetensors'.length)).join(', ')}.`;
}

const withLineBreaks = (text: string): string => text.replaceAll('\\n', '\n');

function samplingOptions(values: Values): Parameters<typeof generate>[3] {
  const optional = { topK: values['top-k'], topP: values['top-p'], repetitionPenalty: values['repetition-penalty'] };
  const { stop } = values;
  return {
    maxTokens: Number(values['tokens']),
    temperature: Number(values['temperature']),
    seed: Number(values['seed']),
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
    ...(stop === undefined ? {} : { stop: [withLineBreaks(String(stop))] }),
  };
}

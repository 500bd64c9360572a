/**
 * @file `npm run lab -- sample`: lets a trained model write, and shows every character as it comes.
 */
import { existsSync, readdirSync } from 'node:fs';
import { stopBackend } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import { labFolder } from '../files/index.ts';
import { generate, type Transformer } from '../model/index.ts';
import { HuggingFaceTokenizer } from '../interop/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { loadModel } from '../train/index.ts';
import type { Command, Values } from './command.ts';
import { backendOptions, checkedModelFolder, loadGivenModel, modelOption, startChosenBackend } from './model.ts';
import { checkpointPath } from './train-settings.ts';

export const sample: Command = {
  name: 'sample',
  summary: 'Let a trained model write.',
  usage: 'CHECKPOINT | --model DIR [options]',
  options: {
    model: modelOption,
    chat: { type: 'boolean', help: 'with --model: the prompt is a question, written as the model was taught to be asked' },
    prompt: { type: 'string', help: 'what to continue; \\n is a new line', default: '\\n' },
    tokens: { type: 'number', help: 'how many tokens to write', default: 500 },
    temperature: { type: 'number', value: 'T', help: 'below 1 safer, above 1 wilder, 0 always the likeliest', default: 0.8 },
    'top-k': { type: 'number', value: 'K', help: 'only the K likeliest tokens' },
    'top-p': { type: 'number', value: 'P', help: 'only the likeliest tokens that reach P together' },
    'repetition-penalty': { type: 'number', value: 'R', help: 'above 1 makes tokens that were there less likely' },
    seed: { type: 'number', help: 'another seed, another text', default: 0 },
    stop: { type: 'string', help: 'end before this text; \\n is a new line' },
    ...backendOptions,
  },
  examples: [
    'npm run lab -- sample shakespeare --prompt "ROMEO:" --tokens 300',
    'npm run lab -- sample --model gpt2 --prompt "The meaning of life is" --top-k 40 --tokens 50',
    'npm run lab -- sample --model smollm2 --chat --prompt "Why is the sky blue?"',
  ],
  async run(values, [name, ...more]) {
    const given = values['model'];
    if (given !== undefined && name !== undefined) throw new LabError('Give a checkpoint or --model, not both.');
    if (given === undefined && name === undefined) throw new LabError(`Which checkpoint? ${available()}`);
    if (more.length > 0) throw new LabError(`sample takes one checkpoint, got ${more.length + 1}.`);
    const load = given === undefined ? ownWriter(name!, values) : foreignWriter(String(given), values);
    await startChosenBackend(values);
    try {
      const { model, tokenizer, prompt, shown, stopTokens } = await load();
      const options = samplingOptions(values);
      // An unknown character is refused before anything is shown.
      tokenizer.encode(prompt);
      process.stdout.write(shown);
      const stop = [...(options?.stop ?? []), ...stopTokens];
      await generate(model, tokenizer, prompt, { ...options, stop, onToken: (text) => process.stdout.write(text) });
      process.stdout.write('\n');
      return 0;
    } finally {
      await stopBackend();
    }
  },
};

/** A model that is to write, and from what. */
interface Writer {
  readonly model: Transformer;
  readonly tokenizer: Tokenizer;
  readonly prompt: string;
  /** What the reader sees of the prompt. */
  readonly shown: string;
  readonly stopTokens: readonly number[];
}

/** A checkpoint of our own; that it is there is checked at once. */
function ownWriter(name: string, values: Values): () => Promise<Writer> {
  const path = checkpointPath(name);
  if (!existsSync(path)) throw new LabError(`There is no checkpoint ${path}. ${available()}`);
  if (values['chat'] === true) throw new LabError('--chat needs --model: a checkpoint of our own has no chat template.');
  return async () => {
    const { model, tokenizer } = await loadModel(path);
    const prompt = withLineBreaks(String(values['prompt']));
    return { model, tokenizer, prompt, shown: prompt, stopTokens: [] };
  };
}

/** A model of somebody else's; that its folder is there is checked at once. */
function foreignWriter(given: string, values: Values): () => Promise<Writer> {
  checkedModelFolder(given);
  return async () => {
    const { model, tokenizer, chatTemplate, stopTokens } = await loadGivenModel(given);
    const prompt = withLineBreaks(String(values['prompt']));
    if (values['chat'] !== true) return { model, tokenizer, prompt, shown: prompt, stopTokens };
    if (!chatTemplate) throw new LabError(`${given} has no chat template: it was not trained to answer. Leave --chat out.`);
    const bare = tokenizer instanceof HuggingFaceTokenizer ? tokenizer.withoutTemplate() : tokenizer;
    return { model, tokenizer: bare, prompt: chatTemplate.render([{ role: 'user', content: prompt }]), shown: '', stopTokens };
  };
}

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

/**
 * @file `npm run lab -- data …`: fetches real text, once, and checks that it is the right one; or writes what a world tells.
 */
import { resolve } from 'node:path';
import { LabError } from '../base/index.ts';
import { shakespeare, shakespearePath } from '../data/index.ts';
import { fetchModel, hubModels, modelFolder, type HubModelName } from '../interop/index.ts';
import type { Command, Values } from './command.ts';
import { marketOptions, writeMarket } from './market.ts';
import { storyOptions, writeStories } from './stories.ts';

const optionsOf: Readonly<Record<string, readonly string[]>> = {
  shakespeare: ['from'],
  stories: ['count', 'characters', 'seed', 'out'],
  market: ['size', 'seed', 'out'],
  gpt2: ['from'],
  smollm2: ['from'],
};

export const data: Command = {
  name: 'data',
  summary: 'Get a text to train on, Tiny Shakespeare, stories or the market, or a trained model, GPT-2 or SmolLM2.',
  usage: 'shakespeare [--from FILE] | stories [options] | market [options] | gpt2 [--from DIR] | smollm2 [--from DIR]',
  options: {
    from: { type: 'string', value: 'FILE|DIR', help: 'shakespeare, gpt2, smollm2: take it from there instead of the internet' },
    ...storyOptions,
    ...marketOptions,
    seed: { type: 'number', help: 'stories, market: decides which (datasets/stories has 1 and 2, datasets/market has 1)' },
    out: { type: 'string', value: 'FILE|DIR', help: 'stories, market: where to (default in .lab/data)' },
  },
  examples: [
    'npm run lab -- data shakespeare',
    'npm run lab -- data shakespeare --from ~/Downloads/input.txt',
    'npm run lab -- data gpt2',
    'npm run lab -- data stories --count 50000 --seed 9 --out my-stories.txt',
    'npm run lab -- data market --size large',
  ],
  async run(values, [name = '', ...more]) {
    const known = Object.hasOwn(optionsOf, name) && more.length === 0 ? optionsOf[name]! : undefined;
    if (!known) {
      const given = name === '' ? 'Which text?' : `There is no text '${[name, ...more].join(' ')}'.`;
      const all = 'Texts: shakespeare, stories, market; models: gpt2, smollm2.';
      throw new LabError(`${given} ${all} Example: npm run lab -- data shakespeare`);
    }
    const stray = Object.values(optionsOf).flat().find((option) => values[option] !== undefined && !known.includes(option));
    if (stray !== undefined) {
      throw new LabError(`--${stray} is not an option of 'data ${name}'. See: npm run lab -- data --help`);
    }
    if (Object.hasOwn(hubModels, name)) return fetchHubModel(name as HubModelName, values);
    if (name === 'stories') return writeStories(values);
    return name === 'market' ? writeMarket(values) : fetchShakespeare(values);
  },
};

async function fetchShakespeare({ from }: Values): Promise<number> {
  const text = await shakespeare(typeof from === 'string' ? { from } : {});
  console.log(`Tiny Shakespeare, ${text.length.toLocaleString('en')} characters, digest right: ${shakespearePath()}`);
  return 0;
}

async function fetchHubModel(name: HubModelName, { from }: Values): Promise<number> {
  const folder = modelFolder(name);
  await fetchModel(hubModels[name], folder, typeof from === 'string' ? { from: resolve(from) } : {});
  console.log(`${hubModels[name].repository}, digests right: ${folder}`);
  console.log(`Let it write: npm run lab -- sample --model ${name}`);
  return 0;
}

/**
 * @file `npm run lab -- data …`: fetches real text, once, and checks that it is the right one; or writes stories.
 */
import { resolve } from 'node:path';
import { interruptible, LabError, Progress, type Interruption } from '../base/index.ts';
import { shakespeare, shakespearePath } from '../data/index.ts';
import { fetchModel, hubModels, modelFolder, type HubModelName } from '../interop/index.ts';
import { labFolder, writeAtomically } from '../files/index.ts';
import { storyStream } from '../worlds/index.ts';
import type { Command, Values } from './command.ts';

const optionsOf: Readonly<Record<string, readonly string[]>> = {
  shakespeare: ['from'],
  stories: ['count', 'characters', 'seed', 'out'],
  gpt2: ['from'],
  smollm2: ['from'],
};

/** Stories that are made unless told: more than are committed, and others. */
const usual = { count: 10_000, seed: 3 };

export const data: Command = {
  name: 'data',
  summary: 'Get a text to train on, Tiny Shakespeare or stories, or a trained model, GPT-2 or SmolLM2.',
  usage: 'shakespeare [--from FILE] | stories [options] | gpt2 [--from DIR] | smollm2 [--from DIR]',
  options: {
    from: { type: 'string', value: 'FILE|DIR', help: 'shakespeare, gpt2, smollm2: take it from there instead of the internet' },
    count: { type: 'number', help: `stories: how many (default ${usual.count})` },
    characters: { type: 'number', help: 'stories: as many as fit into so many characters, instead of --count' },
    seed: { type: 'number', help: `stories: decides which (default ${usual.seed}; 1 and 2 are those in datasets/stories)` },
    out: { type: 'string', value: 'FILE', help: 'stories: where to (default .lab/data/stories.txt)' },
  },
  examples: [
    'npm run lab -- data shakespeare',
    'npm run lab -- data shakespeare --from ~/Downloads/input.txt',
    'npm run lab -- data gpt2',
    'npm run lab -- data stories --count 50000 --seed 9 --out my-stories.txt',
  ],
  async run(values, [name = '', ...more]) {
    const known = Object.hasOwn(optionsOf, name) && more.length === 0 ? optionsOf[name]! : undefined;
    if (!known) {
      const given = name === '' ? 'Which text?' : `There is no text '${[name, ...more].join(' ')}'.`;
      throw new LabError(`${given} Texts: shakespeare, stories; models: gpt2, smollm2. Example: npm run lab -- data shakespeare`);
    }
    const stray = Object.values(optionsOf).flat().find((option) => values[option] !== undefined && !known.includes(option));
    if (stray !== undefined) {
      throw new LabError(`--${stray} is not an option of 'data ${name}'. See: npm run lab -- data --help`);
    }
    if (Object.hasOwn(hubModels, name)) return fetchHubModel(name as HubModelName, values);
    return name === 'stories' ? writeStories(values) : fetchShakespeare(values);
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

async function writeStories({ count, characters, seed = usual.seed, out }: Values): Promise<number> {
  if (count !== undefined && characters !== undefined) throw new LabError('Give --count or --characters, not both.');
  for (const [name, value] of Object.entries({ count, characters, seed })) {
    if (value !== undefined && !(Number.isSafeInteger(value) && Number(value) >= 0)) {
      throw new LabError(`--${name} takes a whole number, 0 or more; got ${value}.`);
    }
  }
  const path = typeof out === 'string' ? resolve(out) : labFolder('data', 'stories.txt');
  const limit = characters === undefined ? { count: Number(count ?? usual.count) } : { characters: Number(characters) };
  const written = await interruptible(async (signal) => {
    const texts = storyTexts(Number(seed), limit, signal);
    await writeAtomically(path, texts);
    return texts.written;
  });
  const sizes = `${written.stories.toLocaleString('en')} stories, ${written.characters.toLocaleString('en')} characters`;
  console.log(`${sizes}, −log p ${(-written.logProbability / written.characters || 0).toFixed(4)} nats a character: ${path}`);
  return 0;
}

interface Written {
  stories: number;
  characters: number;
  logProbability: number;
}

type Limit = { readonly count: number } | { readonly characters: number };

/** The texts of the stories, some at a time, so that any number of them fits into memory. */
function storyTexts(seed: number, limit: Limit, signal: Interruption): Iterable<Uint8Array> & { readonly written: Written } {
  const written = { stories: 0, characters: 0, logProbability: 0 };
  function* chunks(): Generator<Uint8Array> {
    const byCount = 'count' in limit;
    const [total, unit] = byCount ? [limit.count, 'stories'] : [limit.characters, 'characters'];
    const progress = new Progress({ total, unit, label: 'writing' });
    let chunk = '';
    for (const { text, logProbability } of storyStream(seed)) {
      if (byCount ? written.stories >= total : written.characters + text.length > total) break;
      chunk += text;
      written.stories++;
      written.characters += text.length;
      written.logProbability += logProbability;
      if (chunk.length < 100_000) continue;
      if (signal.stopped) throw new LabError('Interrupted: no stories were saved.');
      yield Buffer.from(chunk);
      progress.update(byCount ? written.stories : written.characters);
      chunk = '';
    }
    yield Buffer.from(chunk);
    progress.update(byCount ? written.stories : written.characters);
    progress.done();
  }
  return { written, [Symbol.iterator]: chunks };
}

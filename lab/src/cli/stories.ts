/**
 * @file `npm run lab -- data stories`: writes stories, as many as are wanted.
 */
import { resolve } from 'node:path';
import { interruptible, LabError, Progress, type Interruption } from '../base/index.ts';
import { labFolder, writeAtomically } from '../files/index.ts';
import { storyStream } from '../worlds/index.ts';
import type { Option, Values } from './command.ts';

/** Stories that are made unless told: more than are committed, and others. */
const usual = { count: 10_000, seed: 3 };

export const storyOptions = {
  count: { type: 'number', help: `stories: how many (default ${usual.count})` },
  characters: { type: 'number', help: 'stories: as many as fit into so many characters, instead of --count' },
} as const satisfies Readonly<Record<string, Option>>;

export async function writeStories({ count, characters, seed = usual.seed, out }: Values): Promise<number> {
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

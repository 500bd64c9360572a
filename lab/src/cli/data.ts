/**
 * @file `npm run lab -- data shakespeare`: fetches real text, once, and checks that it is the right one.
 */
import { LabError } from '../base/index.ts';
import { shakespeare, shakespearePath } from '../data/index.ts';
import type { Command } from './command.ts';

export const data: Command = {
  name: 'data',
  summary: 'Fetch a text to train on: Tiny Shakespeare.',
  usage: 'shakespeare [--from FILE]',
  options: {
    from: { type: 'string', value: 'FILE', help: 'take it from this file instead of the internet' },
  },
  examples: ['npm run lab -- data shakespeare', 'npm run lab -- data shakespeare --from ~/Downloads/input.txt'],
  async run({ from }, [name, ...more]) {
    if (name !== 'shakespeare' || more.length > 0) {
      const given = name === undefined ? 'Which text?' : `There is no text '${[name, ...more].join(' ')}'.`;
      throw new LabError(`${given} Texts: shakespeare. Example: npm run lab -- data shakespeare`);
    }
    const text = await shakespeare(typeof from === 'string' ? { from } : {});
    console.log(`Tiny Shakespeare, ${text.length.toLocaleString('en')} characters, digest right: ${shakespearePath()}`);
    return 0;
  },
};

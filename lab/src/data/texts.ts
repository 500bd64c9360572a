/**
 * @file Texts to train on: Tiny Shakespeare, fetched on request, and the prose of this very project, which is always there.
 */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { LabError, messageOf } from '../base/index.ts';
import { decodeText, labFolder, projectRoot, readText, writeAtomically } from '../files/index.ts';
import { download, sha256 } from './download.ts';

/** The file that char-rnn and nanoGPT train on: 1,115,394 characters of Shakespeare's plays, 65 of them different. */
export const tinyShakespeare = {
  url: 'https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt',
  sha256: '86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed',
} as const;

export interface ShakespeareOptions {
  /** A copy of the file that lies on this machine already. */
  readonly from?: string;
  /** Another place to fetch it from. */
  readonly url?: string;
  /** Where it is kept; `.lab/data/tinyshakespeare.txt` in the project unless told. */
  readonly path?: string;
  /** Seconds that fetching may take. */
  readonly timeLimit?: number;
  readonly quiet?: boolean;
}

export function shakespearePath(): string {
  return labFolder('data', 'tinyshakespeare.txt');
}

/**
 * Tiny Shakespeare: from the project's own folder, else from `from`, else from the internet, always with its digest checked.
 *
 * @throws LabError when it is none of these, or not the right file.
 */
export async function shakespeare(options: ShakespeareOptions = {}): Promise<string> {
  const path = options.path ?? shakespearePath();
  const { from, url = tinyShakespeare.url, timeLimit = 300, quiet = false } = options;
  if (from !== undefined) {
    const text = await readText(from);
    if (sha256(text) !== tinyShakespeare.sha256) {
      throw new LabError(`${from} is not Tiny Shakespeare: its SHA-256 is ${sha256(text)}, not ${tinyShakespeare.sha256}.`);
    }
    await writeAtomically(path, [Buffer.from(text)]);
    return text;
  }
  const kept = existsSync(path) ? await readFile(path) : undefined;
  if (kept && sha256(kept) === tinyShakespeare.sha256) return decodeText(kept, path);
  try {
    await download(url, path, { sha256: tinyShakespeare.sha256, patience: Math.min(15, timeLimit), timeLimit, quiet });
  } catch (error) {
    const damaged = kept ? ` The copy at ${path} is damaged.` : '';
    const advice = 'With a copy of the file: npm run lab -- data shakespeare --from FILE';
    throw new LabError(`${messageOf(error)}${damaged} ${advice}`, { cause: error });
  }
  return readText(path);
}

/**
 * The prose of this project: the notebooks' text cells, the README and the licence. Small, but real English, and always there.
 */
export async function courseText(): Promise<string> {
  const root = projectRoot();
  const folder = join(root, 'notebooks');
  const notebooks = existsSync(folder) ? (await readdir(folder)).filter((name) => name.endsWith('.ipynb')).sort() : [];
  const parts = await Promise.all(notebooks.map(async (name) => notebookProse(await readText(join(folder, name)))));
  for (const name of ['README.md', 'LICENSE']) {
    if (existsSync(join(root, name))) parts.push(await readText(join(root, name)));
  }
  const text = parts.join('\n\n').trim();
  if (text === '') throw new LabError(`There is no notebook, README or LICENSE in ${root} to read.`);
  return text;
}

interface NotebookCell {
  readonly cell_type?: string;
  readonly source?: string | readonly string[];
}

function notebookProse(json: string): string {
  const { cells = [] } = JSON.parse(json) as { cells?: readonly NotebookCell[] };
  const prose = cells.filter((cell) => cell.cell_type === 'markdown').map(({ source = '' }) => [source].flat().join(''));
  return prose.join('\n\n');
}

/** A text and what to call it. */
export interface NamedText {
  readonly name: string;
  readonly text: string;
}

/** Tiny Shakespeare if it is there or comes within seconds, else the course's own prose: something real, everywhere. */
export async function trainingText(): Promise<NamedText> {
  try {
    return { name: 'Tiny Shakespeare', text: await shakespeare({ timeLimit: 5, quiet: true }) };
  } catch (error) {
    if (!(error instanceof LabError)) throw error;
    return { name: "this course's own text", text: await courseText() };
  }
}

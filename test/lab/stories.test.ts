/** @file The world of stories: its texts are the same everywhere, their probability is exact, and they need a memory. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import {
  CharacterTokenizer,
  generateStory,
  labFolder,
  nextStoryCharacters,
  NGramModel,
  projectRoot,
  Random,
  sha256,
  stories,
  storiesText,
  storyEnd,
  storyLogProbability,
  storyStream,
  storySurprisal,
  type Story,
} from 'lab';
import { afterAll, describe, expect, it } from 'vitest';

function first(count: number, seed: number): Story[] {
  const list: Story[] = [];
  for (const story of storyStream(seed)) {
    if (list.length >= count) break;
    list.push(story);
  }
  return list;
}

const sum = (values: Iterable<number>): number => [...values].reduce((a, b) => a + b, 0);
const committed = await storiesText();

describe('stories', () => {
  it('are decided by their seed, one after the other', () => {
    const text = stories({ count: 20, seed: 3 });
    expect(text).toBe(stories({ count: 20, seed: 3 }));
    expect(text).not.toBe(stories({ count: 20, seed: 4 }));
    expect(stories({ count: 30, seed: 3 }).startsWith(text)).toBe(true);
    expect(text).toBe(first(20, 3).map((story) => story.text).join(''));
    const random = new Random(3);
    expect(text.startsWith(generateStory(random).text + generateStory(random).text)).toBe(true);
  });

  it('are the same bytes on every platform', () => {
    const digest = sha256(stories({ count: 500, seed: 20 }));
    expect(digest).toBe('e4aa67a13acc023fa5ad56c357fe80966dc73ea43a4bf0750a964cd0c74608f2');
  });

  it('fill so many characters as are wanted, but stay whole', () => {
    const text = stories({ characters: 5000, seed: 1 });
    expect(text.length).toBeLessThanOrEqual(5000);
    expect(text.length).toBeGreaterThan(4300);
    expect(text.endsWith(storyEnd)).toBe(true);
    expect(stories({ characters: 10 })).toBe('');
    expect(stories({ count: 0 })).toBe('');
    expect(stories({ seed: 1 }).split(storyEnd)).toHaveLength(1001);
  });

  it.each([
    [{ count: 3, characters: 100 }, /count or characters, not both/],
    [{ count: -1 }, /whole number, 0 or more; got -1/],
    [{ count: Infinity }, /whole number, 0 or more; got Infinity/],
    [{ characters: NaN }, /whole number, 0 or more; got NaN/],
    [{ seed: 0.5 }, /seed must be an integer/],
  ])('refuse %j', (options, message) => {
    expect(() => stories(options)).toThrow(message);
  });

  it('have 5 to 12 sentences, at most 600 characters, and few different characters', () => {
    for (const { text } of first(2000, 8)) {
      const sentences = text.match(/[.!?]"?(?= [A-Z"]|\n)/g)!.length;
      expect(sentences).toBeGreaterThanOrEqual(5);
      expect(sentences).toBeLessThanOrEqual(12);
      expect(text.length).toBeLessThanOrEqual(600);
      expect(text).toMatch(/^[A-Z"][^\n]*[.!?]"?\n\n$/);
      expect(text).not.toMatch(/[{}<>]|undefined| {2}| [.,!?]|\ba [aeiou]/);
    }
    expect(new Set(stories({ count: 1000 })).size).toBeLessThanOrEqual(64);
  });
});

describe('the probability of a text', () => {
  it('has one derivation, with exactly the probability it was written with', () => {
    for (const { text, logProbability } of first(2000, 31)) {
      // Throws if there are two derivations.
      expect(storySurprisal(text).logProbability).toBe(logProbability);
    }
  });

  it('adds up over stories and over characters', () => {
    const list = first(50, 6);
    const text = list.map((story) => story.text).join('');
    const surprisal = storySurprisal(text);
    expect(surprisal.logProbability).toBeCloseTo(sum(list.map((story) => story.logProbability)), 8);
    expect(sum(surprisal.nats)).toBeCloseTo(-surprisal.logProbability, 8);
    expect(surprisal.floor).toBeCloseTo(-surprisal.logProbability / text.length, 12);
    expect(surprisal.nats).toHaveLength(text.length);
    expect(Math.min(...surprisal.nats)).toBeGreaterThanOrEqual(0);
    expect(surprisal.leavesAt).toBeUndefined();
    expect(surprisal.stories.map(({ start, end }) => text.slice(start, end))).toEqual(list.map((story) => story.text));
    for (const [i, { start, end, logProbability }] of surprisal.stories.entries()) {
      expect(logProbability).toBe(list[i]!.logProbability);
      expect(sum(surprisal.nats.subarray(start, end))).toBeCloseTo(-logProbability, 9);
    }
  });

  it('of a beginning is the sum over all that can follow', () => {
    const { text } = first(1, 9)[0]!;
    for (const length of [0, 1, 5, 20, 60, 150, text.length]) {
      const next = nextStoryCharacters(text.slice(0, length));
      expect(sum(next.values())).toBeCloseTo(1, 12);
      expect([...next.values()], 'most likely first').toEqual([...next.values()].sort((p, q) => q - p));
      const before = storyLogProbability(text.slice(0, length));
      for (const [character, p] of next) {
        expect(storyLogProbability(text.slice(0, length) + character) - before).toBeCloseTo(Math.log(p), 9);
      }
    }
  });

  it('shows the choices where they become visible', () => {
    const start = 'Mia was a brave fox who lived on the hill.';
    const { nats } = storySurprisal(`${start} She`);
    // Twenty names; Mia is one of two with M (Max); the rest of the word says nothing new.
    const [m, i, a, space] = nats;
    expect(m).toBeGreaterThan(Math.log(5));
    expect(i).toBeCloseTo(Math.log(2), 12);
    expect(a).toBeCloseTo(0, 12);
    expect(space).toBeCloseTo(0, 12);
    // "the" is certain, and so is "hill" after "on the": the beach is the other one with "on".
    expect(nats[start.indexOf('on the hill') + 3]).toBeCloseTo(0, 12);
    expect(nats[start.indexOf('hill')]).toBeCloseTo(Math.log(2), 12);
    // A pronoun is no choice, its gender least of all.
    expect(nats[start.length + 2]).toBeCloseTo(0, 12);
    expect(nextStoryCharacters(`${start} Sh`)).toEqual(new Map([['e', 1]]));
  });

  it('is nothing where the text leaves the grammar, and says where', () => {
    const text = stories({ count: 3, seed: 5 });
    const at = text.indexOf(storyEnd) + 12;
    const spoiled = `${text.slice(0, at)}#${text.slice(at + 1)}`;
    const surprisal = storySurprisal(spoiled);
    expect(surprisal.logProbability).toBe(-Infinity);
    expect(surprisal.floor).toBe(Infinity);
    expect(surprisal.leavesAt).toBe(at);
    expect(surprisal.nats[at]).toBe(Infinity);
    expect(sum(surprisal.nats.subarray(at + 1))).toBe(0);
    const unspoiled = storySurprisal(text).nats;
    for (let i = 0; i < at - 1; i++) expect(surprisal.nats[i]).toBeCloseTo(unspoiled[i]!, 9);
    expect(nextStoryCharacters('#').size).toBe(0);
    expect(storyLogProbability('He was')).toBe(-Infinity);
    expect(storyLogProbability(`${text}\n`)).toBe(-Infinity);
  });

  it('is one for an empty text', () => {
    expect(storyLogProbability('')).toBeCloseTo(0, 15);
    expect(storySurprisal('')).toMatchObject({ floor: 0, stories: [], leavesAt: undefined });
    expect(storyLogProbability(storyEnd)).toBe(-Infinity);
  });

  it('is calibrated: what it calls likely happens as often', () => {
    // Expected and measured surprise agree over many stories: E[−log p] = Σ p · (−log p).
    const text = stories({ count: 12, seed: 77 });
    let expected = 0;
    let variance = 0;
    for (let length = 0; length < text.length; length++) {
      const entries = [...nextStoryCharacters(text.slice(0, length)).values()];
      const mean = sum(entries.map((p) => -p * Math.log(p)));
      expected += mean;
      variance += sum(entries.map((p) => p * Math.log(p) ** 2)) - mean ** 2;
    }
    expect(Math.abs(-storyLogProbability(text) - expected)).toBeLessThan(4 * Math.sqrt(variance));
    expect(expected / text.length).toBeGreaterThan(0.1);
  });
});

describe('datasets/stories', () => {
  const folder = join(projectRoot(), 'datasets', 'stories');

  it('is what the generator makes', () => {
    expect(committed.train === stories({ characters: 1_000_000, seed: 1 })).toBe(true);
    expect(committed.validation === stories({ characters: 100_000, seed: 2 })).toBe(true);
  });

  it('has the sizes, digests and floors that its data sheet says', () => {
    const sheet = readFileSync(join(folder, 'README.md'), 'utf8');
    for (const text of [committed.train, committed.validation]) {
      expect(sheet).toContain(text.length.toLocaleString('en'));
      expect(sheet).toContain((text.split(storyEnd).length - 1).toLocaleString('en'));
      expect(sheet).toContain(sha256(text));
      expect(sheet).toContain(storySurprisal(text).floor.toFixed(4));
    }
    expect(statSync(join(folder, 'train.txt')).size + statSync(join(folder, 'validation.txt')).size).toBeLessThan(3e6);
  });

  it('validates on stories that were not learned', () => {
    const learned = new Set(committed.train.split(storyEnd).slice(0, -1));
    const shared = committed.validation.split(storyEnd).slice(0, -1).filter((story) => learned.has(story));
    expect(shared).toEqual([]);
  });

  const aboveFloor = (loss: number): number => loss / -storyLogProbability(committed.validation);

  it('needs a memory: 5-grams of characters stay 40% above the floor', () => {
    const tokenizer = CharacterTokenizer.train(committed.train);
    const model = NGramModel.train(tokenizer.encode(committed.train), { order: 5, vocabSize: tokenizer.vocabSize });
    const loss = -model.logProbability(tokenizer.encode(committed.validation));
    expect(aboveFloor(loss)).toBeGreaterThan(1.4);
    expect(aboveFloor(loss)).toBeLessThan(10);
  });

  it('needs a memory: 5-grams of words stay 40% above the floor', () => {
    const words = (text: string): string[] => text.match(/[A-Za-z]+|[^A-Za-z ]/g)!;
    const vocabulary = new Map([...new Set(words(committed.train))].map((word, id) => [word, id]));
    const encode = (text: string): number[] => words(text).map((word) => vocabulary.get(word) ?? vocabulary.size);
    const model = NGramModel.train(encode(committed.train), { order: 5, vocabSize: vocabulary.size + 1 });
    const loss = -model.logProbability(encode(committed.validation));
    expect(aboveFloor(loss)).toBeGreaterThan(1.4);
    expect(aboveFloor(loss)).toBeLessThan(5);
  });
});

describe('npm run lab -- data stories', () => {
  mkdirSync(labFolder(), { recursive: true });
  const folder = mkdtempSync(labFolder('scratch-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const main = join(projectRoot(), 'lab', 'dist', 'cli', 'main.js');
  const lab = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(process.execPath, [main, 'data', ...args], { cwd: folder, encoding: 'utf8' });

  it('writes as many as are wanted', () => {
    const { status, stdout } = lab('stories', '--count', '700', '--seed', '9', '--out', 'mine.txt');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^700 stories, [\d,]+ characters, −log p 0\.1\d+ nats a character: .*mine\.txt\n$/);
    expect(readFileSync(join(folder, 'mine.txt'), 'utf8') === stories({ count: 700, seed: 9 })).toBe(true);
    lab('stories', '--characters', '9000', '--out', 'small.txt');
    expect(readFileSync(join(folder, 'small.txt'), 'utf8')).toBe(stories({ characters: 9000, seed: 3 }));
  });

  it('interrupted, leaves nothing behind', async () => {
    const args = ['data', 'stories', '--count', '100000000', '--out', 'endless.txt'];
    const child = spawn(process.execPath, [main, ...args], { cwd: folder });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const ended = once(child, 'exit');
    const begun = (): boolean => readdirSync(folder).some((name) => name.includes('endless'));
    while (!begun()) await setTimeout(20);
    child.kill('SIGINT');
    expect((await ended)[0]).toBe(2);
    expect(said).toContain('Interrupted: no stories were saved.');
    expect(begun()).toBe(false);
  });

  it.each([
    [['stories', '--count', '1.5'], /--count takes a whole number, 0 or more; got 1.5/],
    [['stories', '--count', '5', '--characters', '5'], /Give --count or --characters, not both/],
    [['stories', '--from', 'x.txt'], /--from is not an option of 'data stories'/],
    [['shakespeare', '--count', '5'], /--count is not an option of 'data shakespeare'/],
    [['sagas'], /There is no text 'sagas'. Texts: shakespeare, stories/],
    [[], /Which text\? Texts: shakespeare, stories/],
  ])('refuses %j', (args, message) => {
    const { status, stderr } = lab(...args, ...(args.includes('stories') ? ['--out', 'refused.txt'] : []));
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
    expect(existsSync(join(folder, 'refused.txt'))).toBe(false);
  });
});

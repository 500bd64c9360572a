/** @file Byte pair encoding does what its definition says, quickly or slowly, and refuses what makes no sense. */
import { BPETokenizer, Random, tokenizerFromJSON, utf8Bytes, type Merge } from 'lab';
import { describe, expect, it } from 'vitest';

const PIECES = ['ab', 'a', 'b', 'ba', 'c', ' ', ' a', 'é', '😀', 'aaa', "'s", '7'];

function randomText(random: Random, length: number): string {
  return Array.from({ length }, () => random.pick(PIECES)).join('');
}

/** GPT-2 numbers the printing bytes first. */
function gpt2Rank(id: number): number {
  const prints = (id > 32 && id < 127) || (id > 160 && id < 256 && id !== 173);
  return id > 255 || prints ? id : 255 + (id + 1) / 1000;
}

/** The definition: count every pair anew before every merge. Frequencies of pairs, ties by GPT-2's numbers. */
function trainByDefinition(words: readonly (readonly number[])[], merges: number, minFrequency: number): Merge[] {
  let sequences = words.map((word) => [...word]);
  const learned: Merge[] = [];
  while (learned.length < merges) {
    const counts = new Map<string, number>();
    for (const word of sequences) {
      for (let i = 0; i + 1 < word.length; i++) {
        const key = `${word[i]} ${word[i + 1]}`;
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
    }
    const best = [...counts].sort(([a, n], [b, m]) => m - n || comparePairs(a, b))[0];
    if (best === undefined || best[1] < minFrequency) break;
    const [left, right] = best[0].split(' ').map(Number) as [number, number];
    const id = 256 + learned.length;
    learned.push([left, right]);
    sequences = sequences.map((word) => join(word, left, right, id));
  }
  return learned;
}

function comparePairs(a: string, b: string): number {
  const [left, right] = a.split(' ').map((id) => gpt2Rank(Number(id))) as [number, number];
  const [otherLeft, otherRight] = b.split(' ').map((id) => gpt2Rank(Number(id))) as [number, number];
  return left - otherLeft || right - otherRight;
}

function join(word: readonly number[], left: number, right: number, id: number): number[] {
  const joined: number[] = [];
  for (let i = 0; i < word.length; i++) {
    if (word[i] === left && word[i + 1] === right) {
      joined.push(id);
      i++;
    } else joined.push(word[i]!);
  }
  return joined;
}

/** Encoding by definition: the earliest merge that applies anywhere, its leftmost place, once. */
function encodeByDefinition(bytes: Uint8Array, tokenizer: BPETokenizer): number[] {
  const word = [...bytes];
  for (;;) {
    const rank = tokenizer.merges.findIndex(([l, r]) => word.some((id, i) => id === l && word[i + 1] === r));
    if (rank < 0) return word;
    const [left, right] = tokenizer.merges[rank]!;
    const at = word.findIndex((id, i) => id === left && word[i + 1] === right);
    const both = Buffer.concat([tokenizer.tokenBytes(left), tokenizer.tokenBytes(right)]);
    word.splice(at, 2, tokenizer.idOf(new Uint8Array(both))!);
  }
}

describe('training', () => {
  it('finds the example of Wikipedia', () => {
    const tokenizer = BPETokenizer.train('aaabdaaabac', { vocabSize: 259, quiet: true });
    expect(tokenizer.merges).toEqual([[97, 97], [97, 98], [256, 257]]);
    expect([...tokenizer.encode('aaabdaaabac')]).toEqual([258, 100, 258, 97, 99]);
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('learns what counting anew each time learns (%s)', (seed) => {
    const random = new Random(seed);
    const texts = Array.from({ length: 30 }, () => randomText(random, 6));
    const minFrequency = 1 + (seed % 3);
    const vocabSize = 256 + (seed === 8 ? 400 : 30);
    const tokenizer = BPETokenizer.train(texts, { vocabSize, preTokenizer: 'none', minFrequency, quiet: true });
    const expected = trainByDefinition(texts.map((text) => [...utf8Bytes(text)]), vocabSize - 256, minFrequency);
    expect(tokenizer.merges).toEqual(expected);
  });

  it('does not join across words, nor from one text to the next', () => {
    const tokens = (tokenizer: BPETokenizer): string[] => tokenizer.merges.map((_, n) => tokenizer.decode([256 + n]));
    const words = BPETokenizer.train('a b a b a b', { vocabSize: 300, quiet: true });
    expect(tokens(words)).toEqual([' b', ' a']);
    const texts = BPETokenizer.train(['ab', 'ab', 'ab'], { vocabSize: 300, preTokenizer: 'none', quiet: true });
    expect(tokens(texts)).toEqual(['ab']);
  });

  it('makes one token of what two merges spell alike', () => {
    const merges: Merge[] = [[97, 98], [98, 99], [256, 99], [97, 257]];
    const tokenizer = new BPETokenizer({ merges });
    expect(tokenizer.vocabSize).toBe(259);
    expect(tokenizer.idOf('abc')).toBe(258);
  });

  it('stops when no pair is frequent enough', () => {
    expect(BPETokenizer.train('abcdef', { vocabSize: 1000, quiet: true }).vocabSize).toBe(256);
    expect(BPETokenizer.train('abcdef', { vocabSize: 1000, minFrequency: 1, quiet: true }).idOf('abcdef')).toBe(260);
  });

  it('has exactly the size that was asked for where the text is rich enough', () => {
    const text = randomText(new Random(1), 3000);
    expect(BPETokenizer.train(text, { vocabSize: 300, specialTokens: ['<a>', '<b>'], quiet: true }).vocabSize).toBe(300);
    expect(BPETokenizer.train(text, { vocabSize: 256, quiet: true }).merges).toEqual([]);
  });

  it.each([
    [{ vocabSize: 255 }, /at least 256, for the 256 bytes; got 255/],
    [{ vocabSize: 257, specialTokens: ['<a>', '<b>'] }, /at least 258, for the 256 bytes and 2 special tokens; got 257/],
    [{ vocabSize: 300.5 }, /integer/],
    [{ vocabSize: NaN }, /integer/],
  ])('refuses %j', (options, message) => {
    expect(() => BPETokenizer.train('abc', options)).toThrow(message);
    expect(() => BPETokenizer.train('abc', options)).toThrow(expect.objectContaining({ name: 'LabError' }) as Error);
  });

  it.each(['', [], ['', ''], '<a><a>'])('refuses the empty text %j', (text) => {
    expect(() => BPETokenizer.train(text, { vocabSize: 300, specialTokens: ['<a>'] })).toThrow(/text is empty/);
  });

  it('refuses a frequency that is none', () => {
    expect(() => BPETokenizer.train('aa', { vocabSize: 300, minFrequency: 0 })).toThrow(RangeError);
  });
});

describe('encoding', () => {
  it.each([1, 2, 3])('merges in the order learned, leftmost first, in short and long words alike (%s)', (seed) => {
    const random = new Random(seed);
    const tokenizer = BPETokenizer.train(randomText(random, 2000), { vocabSize: 330, preTokenizer: 'none', quiet: true });
    for (const length of [1, 2, 5, 20, 47, 49, 100, 250]) {
      const text = randomText(random, length);
      expect([...tokenizer.encode(text)], text).toEqual(encodeByDefinition(utf8Bytes(text), tokenizer));
    }
  });

  it('gives back what it was given', () => {
    const random = new Random(4);
    const tokenizer = BPETokenizer.train(randomText(random, 2000), { vocabSize: 300, quiet: true });
    const texts = ['\0', '\ufeffa', '\r\n', ' '.repeat(300), '\u{10ffff}', 'e\u0301', '👩‍👩‍👧‍👦', ''];
    for (const text of [...texts, ...Array.from({ length: 100 }, () => randomText(random, 30))]) {
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    }
  });

  it('writes a lone surrogate as U+FFFD', () => {
    const tokenizer = new BPETokenizer({ merges: [] });
    for (const text of ['\ud800', 'a\udc00b', '\udc00\ud800']) {
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text.replace(/\p{Surrogate}/gu, '\ufffd'));
    }
    expect([...tokenizer.encode('\ud800')]).toEqual([0xef, 0xbf, 0xbd]);
  });

  it('takes a very long word', () => {
    const tokenizer = BPETokenizer.train('a'.repeat(64), { vocabSize: 260, quiet: true });
    const ids = tokenizer.encode('a'.repeat(300_001));
    expect(tokenizer.tokenBytes(259).length).toBe(16);
    expect(ids.length).toBe(Math.floor(300_001 / 16) + 1);
  });

  it('stays the same when more words were seen than it remembers', () => {
    const tokenizer = BPETokenizer.train('0 1 2 10 20 100 200', { vocabSize: 262, minFrequency: 1, quiet: true });
    const text = Array.from({ length: 120_000 }, (_, i) => ` ${i}`).join('');
    const first = tokenizer.encode(text);
    const second = tokenizer.encode(text);
    expect(Buffer.compare(Buffer.from(first.buffer), Buffer.from(second.buffer))).toBe(0);
    expect(tokenizer.decode(first) === text).toBe(true);
  });
});

describe('saving', () => {
  const tokenizer = BPETokenizer.train('to be or not to be, that is to be', {
    vocabSize: 270,
    preTokenizer: 'digits',
    specialTokens: ['<|end|>'],
    quiet: true,
  });

  it('keeps everything', () => {
    const read = tokenizerFromJSON(JSON.parse(JSON.stringify(tokenizer))) as BPETokenizer;
    expect(read).toBeInstanceOf(BPETokenizer);
    expect(read.merges).toEqual(tokenizer.merges);
    expect(read.preTokenizer).toBe('digits');
    expect(read.specialTokens).toEqual(tokenizer.specialTokens);
    const options = { allowSpecial: true };
    expect(read.encode('not 2024 to be<|end|>', options)).toEqual(tokenizer.encode('not 2024 to be<|end|>', options));
    expect(JSON.stringify(read)).toBe(JSON.stringify(tokenizer));
  });

  const saved = tokenizer.toJSON();
  it.each([
    [{ merges: undefined }, /"merges"/],
    [{ merges: [[97]] }, /"merges"/],
    [{ merges: [[97, 'b']] }, /"merges"/],
    [{ merges: [[97, 98.5]] }, /"merges"/],
    [{ preTokenizer: 'words' }, /no pre-tokenizer "words"/],
    [{ specialTokens: 'all' }, /"specialTokens"/],
    [{ tokens: [1] }, /"tokens"/],
    [{ merges: [[97, 98], [97, 257]] }, /merge 1, of the tokens 97 and 257, .* 0 … 256, and no 257/],
    [{ merges: [[-1, 98]] }, /no -1/],
    [{ merges: [[97, 98], [97, 98]] }, /merge 1, .* merge 0 joins the same two/],
  ])('refuses %j', (change, message) => {
    const read = (): unknown => tokenizerFromJSON({ ...saved, ...change });
    expect(read).toThrow(message);
    expect(read).toThrow(expect.objectContaining({ name: 'LabError' }) as Error);
  });
});

describe('a vocabulary that somebody else numbered', () => {
  // Special token first, bytes backwards, then what the merges make.
  const names = ['<s>', ...Array.from({ length: 256 }, (_, i) => 255 - i), 'he', 'the'];
  const tokens = names.map((name) => (typeof name === 'number' ? Uint8Array.of(name) : utf8Bytes(name)));
  const byte = (character: string): number => 256 - character.charCodeAt(0);
  const merges: Merge[] = [[byte('h'), byte('e')], [byte('t'), 257]];

  it('is used as it is', () => {
    const tokenizer = new BPETokenizer({ tokens, merges });
    expect([...tokenizer.encode('the ehe')]).toEqual([258, byte(' '), byte('e'), 257]);
    expect(tokenizer.decode([258, 257])).toBe('thehe');
    expect(tokenizer.vocabSize).toBe(259);
  });

  it('survives being saved, its bytes unharmed', () => {
    const tokenizer = new BPETokenizer({ tokens, merges });
    const read = tokenizerFromJSON(JSON.parse(JSON.stringify(tokenizer)));
    const text = 'the other é😀';
    expect(read.encode(text)).toEqual(tokenizer.encode(text));
    expect(read.decode(read.encode(text))).toBe(text);
  });

  it('keeps the ids of its special tokens, and further ones follow', () => {
    const tokenizer = new BPETokenizer({ tokens, merges, specialTokens: ['<s>', '</s>'] });
    expect([...tokenizer.specialTokens]).toEqual([['<s>', 0], ['</s>', 259]]);
    expect([...tokenizer.encode('<s>the</s>', { allowSpecial: true })]).toEqual([0, 258, 259]);
  });

  it('must hold every byte and every merge', () => {
    expect(() => new BPETokenizer({ tokens: tokens.slice(0, 256), merges: [] })).toThrow(/lacks the byte 0/);
    const without = tokens.slice(0, -1);
    expect(() => new BPETokenizer({ tokens: without, merges })).toThrow(/merge 1, .* not in the vocabulary/);
  });
});

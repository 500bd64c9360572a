/** @file The unigram model agrees with adding up all segmentations one by one, and its training with what it promises. */
import { BPETokenizer, Random, tokenizerFromJSON, UnigramTokenizer, utf8Bytes, type PreTokenizer } from 'lab';
import { describe, expect, it } from 'vitest';

const bytes = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte));
const prose = sentences(new Random(6), 150);

/** Words of two or three syllables, the first ones oftener, in sentences. */
function sentences(random: Random, count: number): string {
  const syllables = ['ba', 'den', 'ti', 'ro', 'shu', 'kel', 'mo', 'an', 'ing', 'er', 'o', 'wi'];
  const words = Array.from({ length: 50 }, () =>
    Array.from({ length: 1 + random.integer(3) }, () => random.pick(syllables)).join(''),
  );
  const sentence = (): string =>
    Array.from({ length: 4 + random.integer(6) }, () => words[Math.floor(50 * random.uniform() ** 2)]).join(' ');
  return Array.from({ length: count }, sentence).join('. ');
}

/** A model with these pieces besides the bytes, which are rare. */
function withPieces(pieces: Readonly<Record<string, number>>, preTokenizer: PreTokenizer = 'none'): UnigramTokenizer {
  const tokens = [...bytes, ...Object.keys(pieces).map(utf8Bytes)];
  const scores = [...bytes.map((_, byte) => -8 - byte / 1000), ...Object.values(pieces)];
  return new UnigramTokenizer({ tokens, scores, preTokenizer });
}

/** Every way to cut a text into tokens. */
function segmentations(tokenizer: UnigramTokenizer, text: Uint8Array): number[][] {
  if (text.length === 0) return [[]];
  return Array.from({ length: text.length }, (_, i) => i + 1).flatMap((end) => {
    const id = tokenizer.idOf(text.slice(0, end));
    return id === undefined ? [] : segmentations(tokenizer, text.slice(end)).map((rest) => [id, ...rest]);
  });
}

const letters = withPieces({ ab: -3, abc: -4, bc: -3.2, ca: -2.5, cab: -5, bb: -3.3, é: -4, 'bé': -6 });

function randomWord(random: Random): string {
  return Array.from({ length: 1 + random.integer(9) }, () => random.pick([...'aabbccé'])).join('');
}

describe('segmentations', () => {
  it('the best is the best of all', () => {
    const random = new Random(1);
    for (let i = 0; i < 100; i++) {
      const word = randomWord(random);
      const best = Math.max(...segmentations(letters, utf8Bytes(word)).map((ids) => letters.logProbability(ids)));
      const ids = letters.encode(word);
      expect(letters.decode(ids)).toBe(word);
      expect(letters.logProbability(ids), word).toBeCloseTo(best, 10);
    }
  });

  it('all together have the probability of the text', () => {
    const random = new Random(2);
    for (let i = 0; i < 50; i++) {
      const word = randomWord(random);
      const all = segmentations(letters, utf8Bytes(word)).map((ids) => Math.exp(letters.logProbability(ids)));
      const total = Math.log(all.reduce((a, b) => a + b, 0));
      expect(letters.textLogProbability(word), word).toBeCloseTo(total, 10);
    }
  });

  it('of several words have the product of their probabilities', () => {
    const words = withPieces({ ab: -3, ' ab': -4, 'b a': -0.1 }, 'gpt2');
    expect(words.decode(words.encode('ab ab').slice(0, 1))).toBe('ab');
    const apart = words.textLogProbability('ab') + words.textLogProbability(' ab');
    expect(words.textLogProbability('ab ab')).toBeCloseTo(apart, 10);
  });

  it.each([0.5, 1, 3])('are sampled as often as they are probable, at temperature %s', (temperature) => {
    const word = 'abcab';
    const all = segmentations(letters, utf8Bytes(word));
    const weights = all.map((ids) => Math.exp(letters.logProbability(ids) / temperature));
    const total = weights.reduce((a, b) => a + b, 0);
    const seen = new Map<string, number>();
    const samples = 4000;
    for (let seed = 0; seed < samples; seed++) {
      const key = String(letters.sample(word, { seed, temperature }));
      seen.set(key, (seen.get(key) ?? 0) + 1);
    }
    expect([...seen.keys()].every((key) => all.some((ids) => String(ids) === key))).toBe(true);
    // Chi-square over those expected at least five times, against five standard deviations above its mean.
    const cells = all.map((ids, i) => ({ count: seen.get(String(ids)) ?? 0, expected: (samples * weights[i]!) / total }));
    const large = cells.filter((cell) => cell.expected >= 5);
    const chiSquare = large.reduce((sum, { count, expected }) => sum + (count - expected) ** 2 / expected, 0);
    expect(large.length).toBeGreaterThan(1);
    expect(chiSquare).toBeLessThan(large.length + 5 * Math.sqrt(2 * large.length));
  });

  it('are the best one when it is cold, and the same for the same seed', () => {
    const text = 'abcabbcaé';
    expect(letters.sample(text, { seed: 1, temperature: 1e-3 })).toEqual(letters.encode(text));
    expect(letters.sample(text, { seed: 7, temperature: 2 })).toEqual(letters.sample(text, { seed: 7, temperature: 2 }));
    const different = new Set(Array.from({ length: 50 }, (_, seed) => String(letters.sample(text, { seed, temperature: 2 }))));
    expect(different.size).toBeGreaterThan(5);
    expect(() => letters.sample(text, { seed: 1, temperature: 0 })).toThrow(RangeError);
  });

  it('of a long word neither overflow nor vanish', () => {
    const text = 'abc'.repeat(5000);
    const best = letters.logProbability(letters.encode(text));
    const all = letters.textLogProbability(text);
    expect(Number.isFinite(all)).toBe(true);
    expect(all).toBeGreaterThan(best);
    expect(letters.decode(letters.sample('abc'.repeat(100), { seed: 1 }))).toBe('abc'.repeat(100));
  });

  it('give every text back', () => {
    const tokenizer = UnigramTokenizer.train(prose, { vocabSize: 300, quiet: true });
    for (const text of ['', '\0', '\ufeffthe', '漢字 😀 e\u0301', 'theoretically', ' '.repeat(200)]) {
      expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
      expect(tokenizer.decode(tokenizer.sample(text, { seed: 3 }))).toBe(text);
    }
    expect(tokenizer.decode(tokenizer.encode('a\ud800'))).toBe('a\ufffd');
  });

  it('with special tokens are no work of the model', () => {
    const tokenizer = new UnigramTokenizer({ tokens: bytes, scores: bytes.map(() => -5), specialTokens: ['<s>'] });
    expect([...tokenizer.encode('a<s>', { allowSpecial: true })]).toEqual([97, 256]);
    expect(tokenizer.logProbability([97, 256])).toBe(-Infinity);
    expect(() => tokenizer.logProbability([257])).toThrow(RangeError);
  });
});

describe('training', () => {
  it.each([260, 280, 310])('makes exactly %s tokens, the most probable first, which add up to one', (vocabSize) => {
    const tokenizer = UnigramTokenizer.train(prose, { vocabSize, quiet: true });
    expect(tokenizer.vocabSize).toBe(vocabSize);
    expect(tokenizer.scores.reduce((sum, score) => sum + Math.exp(score), 0)).toBeCloseTo(1, 10);
    const pieces = tokenizer.scores.slice(256);
    expect(pieces).toEqual(pieces.slice().sort((a, b) => b - a));
    for (let byte = 0; byte < 256; byte++) expect([...tokenizer.tokenBytes(byte)]).toEqual([byte]);
  });

  it('ends where expecting and counting agree', () => {
    const words = ['banana', 'bandana', 'ban', 'nab', 'anna'];
    const options = { vocabSize: 264, preTokenizer: 'none', emRounds: 300, quiet: true } as const;
    const tokenizer = UnigramTokenizer.train(words, options);
    const expected = new Float64Array(tokenizer.vocabSize);
    for (const word of words) {
      for (const ids of segmentations(tokenizer, utf8Bytes(word))) {
        const share = Math.exp(tokenizer.logProbability(ids) - tokenizer.textLogProbability(word));
        for (const id of ids) expected[id]! += share;
      }
    }
    const counts = expected.map((count) => Math.max(count, 0.5));
    const total = counts.reduce((a, b) => a + b, 0);
    tokenizer.scores.forEach((score, id) => expect(Math.exp(score)).toBeCloseTo(counts[id]! / total, 6));
  });

  it('finds the words that a text was made of', () => {
    const words = ['lo', 'mira', 'tes', 'qu', 'banu'];
    const random = new Random(3);
    const text = Array.from({ length: 3000 }, () => random.pick(words)).join('');
    const chunks = text.match(/.{1,200}/g)!;
    const tokenizer = UnigramTokenizer.train(chunks, { vocabSize: 256 + words.length, preTokenizer: 'none', quiet: true });
    const pieces = words.map((_, n) => tokenizer.decode([256 + n]));
    expect(pieces.sort()).toEqual([...words].sort());
  });

  it('makes the text more probable with every token more, and shorter than bytes', () => {
    const sizes = [256, 270, 300, 340];
    const tokenizers = sizes.map((vocabSize) => UnigramTokenizer.train(prose, { vocabSize, quiet: true }));
    const probabilities = tokenizers.map((tokenizer) => tokenizer.textLogProbability(prose));
    expect(probabilities).toEqual([...probabilities].sort((a, b) => a - b));
    const bpe = BPETokenizer.train(prose, { vocabSize: 340, quiet: true });
    expect(tokenizers[3]!.encode(prose).length).toBeLessThan(1.1 * bpe.encode(prose).length);
    expect(tokenizers[0]!.encode(prose).length).toBe(prose.length);
  });

  it('obeys the longest length and the words', () => {
    const options = { vocabSize: 300, maxPieceLength: 3, quiet: true };
    const tokenizer = UnigramTokenizer.train(prose, options);
    const pieces = Array.from({ length: tokenizer.vocabSize - 256 }, (_, n) => tokenizer.decode([256 + n]));
    expect(Math.max(...pieces.map((piece) => piece.length))).toBe(3);
    expect(pieces.filter((piece) => /. /.test(piece))).toEqual([]);
    const phrases = UnigramTokenizer.train(prose, { vocabSize: 500, preTokenizer: 'bloomberg', quiet: true });
    const several = Array.from({ length: 244 }, (_, n) => phrases.decode([256 + n])).filter((piece) => /\w \w/.test(piece));
    expect(several.length).toBeGreaterThan(10);
  });

  it('starts from no more seeds than it was told', () => {
    expect(UnigramTokenizer.train(prose, { vocabSize: 1000, seedSize: 5, quiet: true }).vocabSize).toBe(261);
  });

  it('has only bytes where nothing comes twice', () => {
    expect(UnigramTokenizer.train('abc', { vocabSize: 300, quiet: true }).vocabSize).toBe(256);
  });

  it.each([
    [{ vocabSize: 100 }, /at least 256/],
    [{ vocabSize: 300, shrinkingFactor: 1 }, /shrinkingFactor must be between 0 and 1, got 1/],
    [{ vocabSize: 300, emRounds: 0 }, /emRounds must be an integer of at least 1, got 0/],
    [{ vocabSize: 300, maxPieceLength: 1.5 }, /maxPieceLength/],
  ])('refuses %j', (options, message) => {
    expect(() => UnigramTokenizer.train('aaaa', options)).toThrow(message);
  });

  it('refuses an empty text', () => {
    expect(() => UnigramTokenizer.train('', { vocabSize: 300 })).toThrow(/text is empty/);
  });
});

describe('saving', () => {
  const options = { vocabSize: 290, preTokenizer: 'bloomberg', specialTokens: ['<s>'], quiet: true } as const;
  const tokenizer = UnigramTokenizer.train(prose, options);
  const saved = tokenizer.toJSON() as { tokens: string[]; scores: number[]; type: string };

  it('keeps everything', () => {
    const read = tokenizerFromJSON(JSON.parse(JSON.stringify(tokenizer))) as UnigramTokenizer;
    expect(read).toBeInstanceOf(UnigramTokenizer);
    expect(read.scores).toEqual(tokenizer.scores);
    expect(read.preTokenizer).toBe('bloomberg');
    expect(read.encode(`${prose}<s>`, { allowSpecial: true })).toEqual(tokenizer.encode(`${prose}<s>`, { allowSpecial: true }));
    expect(JSON.stringify(read)).toBe(JSON.stringify(tokenizer));
  });

  it.each([
    [{ tokens: 5 }, /"tokens"/],
    [{ scores: ['a'] }, /"scores"/],
    [{ scores: saved.scores.slice(1) }, /289 tokens but 288 scores/],
    [{ scores: saved.scores.map(() => NaN) }, /score of token 0 must be a finite number, got NaN/],
    [{ tokens: [...saved.tokens.slice(0, -1), ''] }, /token 288 is empty/],
    [{ tokens: [...saved.tokens.slice(0, -1), saved.tokens[300 - 256]!] }, /tokens 44 and 288 are the same/],
    [{ tokens: saved.tokens.slice(1), scores: saved.scores.slice(1) }, /lacks the byte 0/],
    [{ specialTokens: [''] }, /empty/],
  ])('refuses damaged data (%#)', (change, message) => {
    const read = (): unknown => tokenizerFromJSON({ ...saved, ...change });
    expect(read).toThrow(message);
    expect(read).toThrow(expect.objectContaining({ name: 'LabError' }) as Error);
  });
});

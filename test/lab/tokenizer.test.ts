/** @file A tokenizer loses nothing and invents nothing. */
import { CharacterTokenizer, Random, tokenizerFromJSON } from 'lab';
import { describe, expect, it } from 'vitest';

const text = 'First Citizen:\nBefore we proceed any further, hear me speak. 𝔸 ✓ é e\u0301 \u200d\0';

describe('characters', () => {
  it('gives back every text it can encode', () => {
    const tokenizer = CharacterTokenizer.train(text);
    expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
    const random = new Random(1);
    for (let i = 0; i < 50; i++) {
      const any = Array.from({ length: random.integer(30) }, () => random.pick([...text])).join('');
      const ids = tokenizer.encode(any);
      expect(ids.length).toBe([...any].length);
      expect(tokenizer.decode(ids)).toBe(any);
    }
  });

  it('numbers the characters in the order of their code points, as nanoGPT does', () => {
    const tokenizer = CharacterTokenizer.train('hello\n World!');
    expect(tokenizer.vocabulary.join('')).toBe('\n !Wdehlor');
    expect([...tokenizer.encode('hi!'.replace('i', 'e'))]).toEqual([6, 5, 2]);
    expect(CharacterTokenizer.train('\u{1F600}\uFFFD').vocabulary).toEqual(['\uFFFD', '\u{1F600}']);
  });

  it('counts an astral character as one token', () => {
    expect(CharacterTokenizer.train('𝔸𝔹').encode('𝔹𝔸')).toEqual(Int32Array.from([1, 0]));
  });

  it('names a character it does not know, and where it stands', () => {
    const tokenizer = CharacterTokenizer.train('abc');
    expect(() => tokenizer.encode('ab7')).toThrow(/"7" \(U\+0037\) at position 2 .* 3 characters/);
    expect(() => tokenizer.encode('😀')).toThrow(/U\+1F600/);
    expect(() => tokenizer.encode('7')).toThrow(expect.objectContaining({ name: 'LabError' }) as Error);
  });

  it.each([3, -1, 0.5, NaN])('refuses the id %s', (id) => {
    const tokenizer = CharacterTokenizer.train('abc');
    expect(() => tokenizer.decode([0, id])).toThrow(RangeError);
    expect(() => tokenizer.decode([0, id])).toThrow(`token id ${id} is out of range; this vocabulary has 0 … 2`);
  });

  it('learns nothing from an empty text, and says so', () => {
    expect(() => CharacterTokenizer.train('')).toThrow(/the text is empty/);
  });

  it('encodes and decodes nothing as nothing', () => {
    const tokenizer = CharacterTokenizer.train('a');
    expect(tokenizer.encode('').length).toBe(0);
    expect(tokenizer.decode([])).toBe('');
  });

  it('survives being saved', () => {
    const tokenizer = CharacterTokenizer.train(text);
    const read = tokenizerFromJSON(JSON.parse(JSON.stringify(tokenizer)));
    expect(read.encode(text)).toEqual(tokenizer.encode(text));
    expect(read.vocabSize).toBe(tokenizer.vocabSize);
  });

  it.each([[null], [{}], [{ type: 'runes' }], [{ type: 'characters' }], [{ type: 'characters', vocabulary: [1] }]])(
    'refuses saved data that are no tokenizer: %j',
    (json) => {
      expect(() => tokenizerFromJSON(json)).toThrow(expect.objectContaining({ name: 'LabError' }) as Error);
    },
  );

  it.each([[[]], [['a', 'a']], [['ab']], [['']]])('refuses the vocabulary %j', (vocabulary) => {
    expect(() => new CharacterTokenizer(vocabulary)).toThrow(/CharacterTokenizer/);
  });
});

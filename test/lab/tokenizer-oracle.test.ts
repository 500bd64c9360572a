/**
 * @file Byte-level BPE and unigram agree with the Rust library `tokenizers`, on the merges it learns and the ids it gives to
 * nasty strings, and with Python on bytes that are no UTF-8. Made by test/oracle/tokenizer.py, which says how to compare more.
 */
import { readFileSync } from 'node:fs';
import { BPETokenizer, UnigramTokenizer, utf8Text, type PreTokenizer } from 'lab';
import { describe, expect, it } from 'vitest';

interface Fixture {
  readonly text: string;
  readonly strings: readonly string[];
  readonly bpe: Readonly<Record<PreTokenizer, BPEFixture>>;
  readonly unigram: { readonly pieces: string[]; readonly scores: number[]; readonly ids: number[][] };
  readonly invalid: readonly (readonly [base64: string, text: string])[];
}

interface BPEFixture {
  /** How many of the text's characters it was trained on. */
  readonly characters: number;
  readonly vocabSize: number;
  readonly merges: [number, number][];
  readonly ids: number[][];
}

const file = process.env['LAB_TOKENIZER_FIXTURE'] ?? new URL('../fixtures/tokenizer/tokenizers.json', import.meta.url);
const fixture = JSON.parse(readFileSync(file, 'utf8')) as Fixture;
const bytesOf = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'));

/** The strings whose ids differ, as text to read. */
function differences(encode: (text: string) => Int32Array, ids: readonly number[][]): string[] {
  return fixture.strings.flatMap((text, i) => {
    const given = [...encode(text)].join(' ');
    return given === ids[i]!.join(' ') ? [] : [`${JSON.stringify(text)}: ${given} instead of ${ids[i]!.join(' ')}`];
  });
}

describe.each(Object.keys(fixture.bpe) as PreTokenizer[])('BPE with the pre-tokenizer %s', (preTokenizer) => {
  const { characters, vocabSize, merges, ids } = fixture.bpe[preTokenizer];

  it('learns the same merges', () => {
    const text = [...fixture.text].slice(0, characters).join('');
    const trained = BPETokenizer.train(text, { vocabSize, preTokenizer, quiet: true });
    const different = merges.flatMap((merge, i) => (String(trained.merges[i]) === String(merge) ? [] : [i]));
    expect(different).toEqual([]);
    expect(trained.merges.length).toBe(merges.length);
  });

  it('gives every string the same ids', () => {
    const tokenizer = new BPETokenizer({ merges, preTokenizer });
    expect(tokenizer.vocabSize).toBe(vocabSize);
    expect(differences((text) => tokenizer.encode(text), ids)).toEqual([]);
  });

  it('gives every string back', () => {
    const tokenizer = new BPETokenizer({ merges, preTokenizer });
    expect(fixture.strings.filter((text) => tokenizer.decode(tokenizer.encode(text)) !== text)).toEqual([]);
  });
});

describe('unigram', () => {
  const { pieces, scores, ids } = fixture.unigram;
  const tokenizer = new UnigramTokenizer({ tokens: pieces.map(bytesOf), scores });

  it('gives every string the same ids', () => {
    expect(differences((text) => tokenizer.encode(text), ids)).toEqual([]);
  });

  it('gives every string back', () => {
    expect(fixture.strings.filter((text) => tokenizer.decode(tokenizer.encode(text)) !== text)).toEqual([]);
  });
});

it('reads bytes that are no UTF-8 as Python does with errors="replace"', () => {
  const wrong = fixture.invalid.filter(([base64, text]) => utf8Text(bytesOf(base64)) !== text);
  expect(wrong).toEqual([]);
});

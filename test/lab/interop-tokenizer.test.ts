/**
 * @file tokenizer.json: the ids and texts of the Rust library `tokenizers`, on nasty strings, for the parts that GPT-2, Llama 3,
 * Qwen2 and SmolLM2 are made of. Made by test/oracle/interop_tokenizers.py, which says how to compare more.
 */
import { readFileSync } from 'node:fs';
import { HuggingFaceTokenizer, tokenizerFromJSON } from 'lab';
import { describe, expect, it } from 'vitest';

interface Kind {
  readonly tokenizer: Record<string, unknown>;
  /** The ids of each string, with spaces between them. */
  readonly ids: readonly string[];
  /** Without what the template adds, of the first strings. */
  readonly bare: readonly string[];
  /** The first strings' ids, decoded without special tokens. */
  readonly texts: readonly string[];
}

interface Fixture {
  readonly strings: readonly string[];
  readonly kinds: Readonly<Record<'gpt2' | 'llama3' | 'qwen2' | 'smollm2' | 'awkward', Kind>>;
}

const file = process.env['LAB_INTEROP_TOKENIZERS'] ?? new URL('../fixtures/interop/tokenizers.json', import.meta.url);
const { strings, kinds } = JSON.parse(readFileSync(file, 'utf8')) as Fixture;
type Name = keyof typeof kinds;
const read = (name: Name): HuggingFaceTokenizer => HuggingFaceTokenizer.fromJSON(kinds[name].tokenizer);

/** Copies the JSON and changes it. */
function changed(name: Name, change: (json: never) => void): Record<string, unknown> {
  const json = structuredClone(kinds[name].tokenizer);
  change(json as never);
  return json;
}

describe.each(Object.keys(kinds) as Name[])('%s', (name) => {
  const tokenizer = read(name);

  it('gives every string the same ids', () => {
    const different = strings.flatMap((text, i) => {
      const ids = tokenizer.encode(text).join(' ');
      return ids === kinds[name].ids[i] ? [] : [`${JSON.stringify(text)}: ${ids} instead of ${kinds[name].ids[i]}`];
    });
    expect(different).toEqual([]);
  });

  it('adds nothing where nothing shall be added', () => {
    const bare = kinds[name].bare.map((_, i) => tokenizer.encode(strings[i]!, { addSpecial: false }).join(' '));
    expect(bare).toEqual(kinds[name].bare);
  });

  it('gives the texts back, with and without special tokens', () => {
    const ids = kinds[name].ids.map((line) => (line === '' ? [] : line.split(' ').map(Number)));
    // The library takes an added token's Å for the byte that Å stands for in a vocabulary; here it stays what it is.
    const readable = kinds[name].texts.map((text) => name !== 'awkward' || !text.includes('\ufffd'));
    const texts = ids.slice(0, readable.length).map((line) => tokenizer.decode(line, { skipSpecial: true }));
    expect(texts.filter((_, i) => readable[i])).toEqual(kinds[name].texts.filter((_, i) => readable[i]));
    if (name === 'awkward') return;
    const composed = (text: string): string => (name === 'qwen2' ? text.normalize('NFC') : text);
    const begin = name === 'llama3' ? '<|begin_of_text|>' : '';
    expect(strings.filter((text, i) => tokenizer.decode(ids[i]!) !== begin + composed(text))).toEqual([]);
  });

  it('is the same after it was saved in a checkpoint', () => {
    const saved = tokenizerFromJSON(JSON.parse(JSON.stringify(tokenizer)) as unknown);
    expect(saved.vocabSize).toBe(tokenizer.vocabSize);
    for (const text of strings.slice(0, 30)) expect(saved.encode(text)).toEqual(tokenizer.encode(text));
  });
});

describe('a tokenizer of tokenizers', () => {
  const llama3 = read('llama3');

  it('encodes a lone surrogate as U+FFFD', () => {
    expect(llama3.encode('a\ud800b\udfff')).toEqual(llama3.encode('a\ufffdb\ufffd'));
    expect(read('qwen2').encode('\ud83d')).toEqual(read('qwen2').encode('\ufffd'));
  });

  it('puts nothing around a text without its template', () => {
    const bare = llama3.withoutTemplate();
    expect(bare.encode('a<|eot_id|>')).toEqual(llama3.encode('a<|eot_id|>', { addSpecial: false }));
    expect(bare.encode('a').length).toBe(llama3.encode('a').length - 1);
  });

  it('takes the names of special tokens for text where they are not allowed', () => {
    const id = llama3.idOf('<|eot_id|>')!;
    expect([...llama3.encode('a<|eot_id|>')]).toContain(id);
    const ids = llama3.encode('a<|eot_id|>', { allowSpecial: false, addSpecial: false });
    expect([...ids]).not.toContain(id);
    expect(llama3.decode(ids)).toBe('a<|eot_id|>');
    expect([...read('awkward').encode('food fo<s>', { allowSpecial: false })]).toContain(read('awkward').idOf('fo'));
  });

  it('knows how many ids there are, and takes one that no token has for nothing', () => {
    expect(llama3.vocabSize).toBe(llama3.idOf('<|eot_id|>')! + 1);
    expect(llama3.decode([llama3.vocabSize + 5, ...llama3.encode('on', { addSpecial: false })])).toBe('on');
    expect(llama3.idOf('no such token')).toBeUndefined();
  });

  it('is the same from vocab.json and merges.txt', () => {
    const { model } = kinds.gpt2.tokenizer as { model: { vocab: Record<string, number>; merges: string[][] } };
    const merges = `#version: 0.2\n${model.merges.map((pair) => pair.join(' ')).join('\n')}\n`;
    const tokenizer = HuggingFaceTokenizer.fromVocabulary(model.vocab, merges, ['<|endoftext|>']);
    expect(strings.map((text) => tokenizer.encode(text).join(' '))).toEqual(kinds.gpt2.ids);
    expect(() => HuggingFaceTokenizer.fromVocabulary(model.vocab, merges, ['<pad>'])).toThrow(/no special token "<pad>"/);
    expect(() => HuggingFaceTokenizer.fromVocabulary(model.vocab, 'a b c')).toThrow(/merge 0, "a b c", is not of two tokens/);
  });

  type JSONOf = { model: Record<string, unknown>; added_tokens: Record<string, unknown>[]; [field: string]: unknown };
  it.each<[string, Name, (json: JSONOf) => unknown, RegExp]>([
    ['another kind of model', 'gpt2', (json) => (json.model['type'] = 'Unigram'), /"type" is "Unigram", but here it must be "BPE"/],
    ['no model', 'gpt2', (json) => delete (json as Record<string, unknown>)['model'], /has no "model"/],
    ['another pre-tokenizer', 'gpt2', (json) => (json['pre_tokenizer'] = { type: 'Metaspace' }), /pre-tokenizer .*Metaspace.* is not one of those/],
    ['no pre-tokenizer', 'gpt2', (json) => (json['pre_tokenizer'] = null), /pre-tokenizer null is not/],
    [
      'another pattern',
      'llama3',
      (json) => ((json['pre_tokenizer'] as { pretokenizers: { pattern: unknown }[] }).pretokenizers[0]!.pattern = { Regex: '.' }),
      /pre-tokenizer .* is not one of those/,
    ],
    ['another normalizer', 'gpt2', (json) => (json['normalizer'] = { type: 'Lowercase' }), /normalizer "Lowercase" is not known here/],
    ['another post-processor', 'gpt2', (json) => (json['post_processor'] = { type: 'BertProcessing' }), /post-processor .* is not known/],
    ['bytes that were tokens', 'gpt2', (json) => (json.model['byte_fallback'] = true), /"byte_fallback" is true/],
    ['ends of words', 'gpt2', (json) => (json.model['end_of_word_suffix'] = '</w>'), /"end_of_word_suffix" is "<\/w>"/],
    ['an enormous id', 'gpt2', (json) => ((json.model['vocab'] as Record<string, number>)['!'] = 1e9), /ids of its "vocab" are not/],
    ['an id that is no number', 'gpt2', (json) => ((json.model['vocab'] as Record<string, unknown>)['!'] = 'x'), /ids of its "vocab" are not/],
    ['a byte missing', 'gpt2', (json) => delete (json.model['vocab'] as Record<string, unknown>)['!'], /lacks the byte 33/],
    ['a merge of what is no token', 'gpt2', (json) => (json.model['merges'] = [['Q', 'nonsense']]), /merge 0, \["Q","nonsense"\], is not/],
    ['an added token without an id', 'gpt2', (json) => delete json.added_tokens[0]!['id'], /added_tokens has no "id"/],
    ['added tokens that are no list', 'gpt2', (json) => ((json as Record<string, unknown>)['added_tokens'] = {}), /is not a list of tokens/],
  ])('is refused with %s', (_, name, change, says) => {
    const json = changed(name, change as (json: never) => void);
    const reading = () => HuggingFaceTokenizer.fromJSON(json, 'some/tokenizer.json');
    expect(reading).toThrow(says);
    expect(reading).toThrow(expect.objectContaining({ name: 'LabError' }) as Error);
  });
});

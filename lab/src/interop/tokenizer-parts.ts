/**
 * @file The parts of a tokenizer.json, each as what it is here. A part that is not known here would change the tokens: it is refused.
 */
import { LabError } from '../base/index.ts';
import { byteCharacters, utf8Bytes, type BPEOptions, type Merge, type PreTokenizer } from '../tokenizer/index.ts';
import type { AddedToken } from './added-tokens.ts';
import { Fields, isObject, type JSONObject } from './json.ts';

const byteOf = new Map(byteCharacters.map((character, byte) => [character, byte]));

/** The bytes that a token of a byte-level vocabulary stands for. */
export function bytesOfToken(token: string): Uint8Array {
  const characters = [...token];
  const bytes = characters.map((character) => byteOf.get(character));
  // A name that is not written in the characters for bytes, as some added tokens', stands for itself.
  return bytes.includes(undefined) ? utf8Bytes(token) : Uint8Array.from(bytes as number[]);
}

/** The other way round. */
export function tokenOfBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byteCharacters[byte]!).join('');
}

/** Split patterns of tokenizer.json files that are one of ours. */
export const splitPatterns: Readonly<Partial<Record<PreTokenizer, string>>> = {
  llama3:
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  qwen2:
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  bloomberg: '[ A-Za-z]+|[0-9]|[^ A-Za-z0-9]+',
};

export interface PreTokenizerPart {
  readonly preTokenizer: PreTokenizer;
  /** Every stretch of text begins with a space. */
  readonly addPrefixSpace: boolean;
}

/** @throws LabError for any that is not one of ours. */
export function readPreTokenizer(json: unknown, file: string): PreTokenizerPart {
  const steps = isObject(json) && json['type'] === 'Sequence' ? json['pretokenizers'] : [json];
  const [first, last, ...more] = (Array.isArray(steps) ? steps : []).filter(isObject);
  const refuse = (): LabError =>
    new LabError(`${file}: the pre-tokenizer ${JSON.stringify(json)} is not one of those known here (GPT-2, Llama 3, Qwen2, SmolLM2).`);
  const bytes = last ?? first;
  if (!first || !bytes || more.length > 0 || bytes['type'] !== 'ByteLevel') throw refuse();
  const usesPattern = bytes['use_regex'] !== false;
  const addPrefixSpace = bytes['add_prefix_space'] === true;
  if (!last) return { preTokenizer: usesPattern ? 'gpt2' : 'none', addPrefixSpace };
  const preTokenizer = splitStep(first, usesPattern);
  if (!preTokenizer || addPrefixSpace) throw refuse();
  return { preTokenizer, addPrefixSpace };
}

/** What comes before the bytes: `Digits`, or a `Split` by a pattern that is known. */
function splitStep(step: JSONObject, thenPattern: boolean): PreTokenizer | undefined {
  if (step['type'] === 'Digits') return step['individual_digits'] === true && thenPattern ? 'digits' : undefined;
  const { type, pattern, behavior, invert = false } = step;
  if (type !== 'Split' || behavior !== 'Isolated' || invert !== false || thenPattern || !isObject(pattern)) return undefined;
  return (Object.keys(splitPatterns) as PreTokenizer[]).find((name) => splitPatterns[name] === pattern['Regex']);
}

/** Whether texts are composed (NFC) first. */
export function readNormalizer(json: unknown, file: string): boolean {
  if (json === null || json === undefined) return false;
  const steps = isObject(json) && json['type'] === 'Sequence' ? json['normalizers'] : [json];
  const types = Array.isArray(steps) ? steps.map((step: unknown) => (isObject(step) ? step['type'] : step)) : [json];
  const unknown = types.find((type) => type !== 'NFC');
  if (unknown === undefined) return types.length > 0;
  throw new LabError(`${file}: the normalizer ${JSON.stringify(unknown)} is not known here; known: NFC.`);
}

/** Ids that are put around every text. */
export interface Template {
  readonly before: readonly number[];
  readonly behind: readonly number[];
}

const none: Template = { before: [], behind: [] };

/** @throws LabError for any but templates for a single text, and `ByteLevel`, which only moves offsets. */
export function readTemplate(json: unknown, file: string): Template {
  if (json === null || json === undefined) return none;
  const steps = isObject(json) && json['type'] === 'Sequence' ? json['processors'] : [json];
  const active = (Array.isArray(steps) ? steps : [json]).filter((step: unknown) => !isObject(step) || step['type'] !== 'ByteLevel');
  if (active.length === 0) return none;
  const step: unknown = active[0];
  if (active.length > 1 || !isObject(step) || step['type'] !== 'TemplateProcessing' || !Array.isArray(step['single'])) {
    throw new LabError(`${file}: the post-processor ${JSON.stringify(json)} is not known here; known: ByteLevel, TemplateProcessing.`);
  }
  const single = step['single'].filter(isObject);
  const text = single.findIndex((part) => 'Sequence' in part);
  const idsOf = (part: JSONObject): number[] => {
    const name = new Fields(part, `${file}: post_processor`).object('SpecialToken').string('id');
    const { ids } = new Fields(step, `${file}: post_processor`).object('special_tokens').object(name).json;
    if (Array.isArray(ids) && ids.every((id) => Number.isSafeInteger(id))) return ids as number[];
    throw new LabError(`${file}: the post-processor has no ids for ${JSON.stringify(name)}.`);
  };
  return { before: single.slice(0, text).flatMap(idsOf), behind: single.slice(text + 1).flatMap(idsOf) };
}

/** @throws LabError for a token without a name or id. */
export function readAddedTokens(json: unknown, file: string): AddedToken[] {
  if (json === null || json === undefined) return [];
  if (!Array.isArray(json) || !json.every(isObject)) throw new LabError(`${file}: "added_tokens" is not a list of tokens.`);
  return json.map((token) => {
    const fields = new Fields(token, `${file}: added_tokens`);
    return {
      id: fields.number('id'),
      content: fields.string('content'),
      singleWord: fields.boolean('single_word', false),
      lstrip: fields.boolean('lstrip', false),
      rstrip: fields.boolean('rstrip', false),
      normalized: fields.boolean('normalized', true),
      special: fields.boolean('special', false),
    };
  });
}

/** A vocabulary may leave ids out, but hardly more than it has. */
const roomFor = (tokens: number): number => 2 * tokens + 1024;

/** @throws LabError when the vocabulary or the merges are not what byte-level BPE needs. */
export function readBPE(model: Fields): Required<Pick<BPEOptions, 'merges' | 'tokens' | 'ignoreMerges'>> {
  model.oneOf('type', ['BPE'], 'BPE');
  for (const field of ['continuing_subword_prefix', 'end_of_word_suffix']) model.oneOf(field, [''], '');
  model.oneOf('dropout', [0], 0);
  model.oneOf('byte_fallback', [false], false);
  const vocab = model.object('vocab').json;
  const entries = Object.entries(vocab);
  const size = entries.reduce((most, [, id]) => Math.max(most, Number(id)), -1) + 1;
  if (!(size <= roomFor(entries.length)) || !entries.every(([, id]) => Number.isSafeInteger(id) && Number(id) >= 0)) {
    throw new LabError(`${model.name}: the ids of its "vocab" are not whole numbers from 0 on.`);
  }
  const tokens = Array.from({ length: size }, (): Uint8Array => new Uint8Array());
  for (const [token, id] of entries) tokens[id as number] = bytesOfToken(token);
  return { tokens, merges: readMerges(model, vocab), ignoreMerges: model.boolean('ignore_merges', false) };
}

/** Newer files have pairs, older ones texts with a space between the two. */
function readMerges(model: Fields, vocab: JSONObject): Merge[] {
  const { merges } = model.json;
  if (!Array.isArray(merges)) throw new LabError(`${model.name} has no "merges".`);
  return merges.map((merge: unknown, rank): Merge => {
    const parts: readonly unknown[] = typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : [];
    const ids = parts.map((part) => (typeof part === 'string' && Object.hasOwn(vocab, part) ? (vocab[part] as number) : -1));
    if (ids.length === 2 && !ids.includes(-1)) return [ids[0]!, ids[1]!];
    throw new LabError(`${model.name}: merge ${rank}, ${JSON.stringify(merge)}, is not of two tokens of the vocabulary.`);
  });
}

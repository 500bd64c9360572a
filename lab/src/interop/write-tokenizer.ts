/**
 * @file Our tokenizers as tokenizer.json, so that the library `tokenizers` gives the same ids; and back.
 *
 * Characters are a vocabulary of whole words (`WordLevel`) behind a cut after every character; unigram's pieces are written in the
 * characters that stand for bytes, as BPE's are.
 */
import { LabError } from '../base/index.ts';
import {
  BPETokenizer, CharacterTokenizer, type PreTokenizer, type Tokenizer, type TokenizerJSON, UnigramTokenizer,
} from '../tokenizer/index.ts';
import { HuggingFaceTokenizer, tokenizerJSON } from './hugging-face-tokenizer.ts';
import { Fields, isObject, type JSONObject } from './json.ts';
import { bytesOfToken, readAddedTokens, readPreTokenizer, splitPatterns, tokenOfBytes } from './tokenizer-parts.ts';

const everyCharacter = { type: 'Split', pattern: { Regex: '[\\s\\S]' }, behavior: 'Isolated', invert: false };

/**
 * What to write into tokenizer.json. Special tokens are recognized in every text there; here, only where that is allowed.
 *
 * @throws LabError for a kind of tokenizer that the format cannot hold.
 */
export function writeTokenizer(tokenizer: Tokenizer): JSONObject {
  if (tokenizer instanceof HuggingFaceTokenizer) return (tokenizer.toJSON() as TokenizerJSON)['tokenizerJSON'] as JSONObject;
  if (tokenizer instanceof BPETokenizer) return writeBPE(tokenizer);
  if (tokenizer instanceof UnigramTokenizer) return writeUnigram(tokenizer);
  if (tokenizer instanceof CharacterTokenizer) {
    const vocab = Object.fromEntries(tokenizer.vocabulary.map((character, id) => [character, id]));
    const model = { type: 'WordLevel', vocab, unk_token: '' };
    return tokenizerJSON({ model, preTokenizer: everyCharacter, decoder: { type: 'Fuse' } });
  }
  throw new LabError(`A tokenizer of type ${JSON.stringify(tokenizer.toJSON().type)} cannot be written as tokenizer.json.`);
}

/** Those of the vocabulary that no word is cut into. */
function addedTokensOf({ specialTokens }: BPETokenizer | UnigramTokenizer): JSONObject[] {
  return [...specialTokens].map(([content, id]) => ({ id, content }));
}

function writeBPE(tokenizer: BPETokenizer): JSONObject {
  const names = Array.from({ length: tokenizer.vocabSize }, (_, id) => tokenOfBytes(tokenizer.tokenBytes(id)));
  const special = new Set(tokenizer.specialTokens.values());
  const vocab: Record<string, number> = {};
  for (const [id, name] of names.entries()) {
    if (special.has(id)) continue;
    if (Object.hasOwn(vocab, name)) throw new LabError(`tokenizer.json cannot hold two tokens of the same bytes: ids ${vocab[name]} and ${id}.`);
    vocab[name] = id;
  }
  const merges = tokenizer.merges.map(([left, right]) => [names[left], names[right]]);
  const model = { type: 'BPE', dropout: null, unk_token: null, ignore_merges: tokenizer.toJSON()['ignoreMerges'] === true, vocab, merges };
  return tokenizerJSON({ model, ...preTokenizerOf(tokenizer.preTokenizer), addedTokens: addedTokensOf(tokenizer) });
}

function writeUnigram(tokenizer: UnigramTokenizer): JSONObject {
  const pieces = tokenizer.vocabSize - tokenizer.specialTokens.size;
  const vocab = Array.from({ length: pieces }, (_, id) => [tokenOfBytes(tokenizer.tokenBytes(id)), tokenizer.scores[id]]);
  const model = { type: 'Unigram', unk_id: null, vocab, byte_fallback: false };
  return tokenizerJSON({ model, ...preTokenizerOf(tokenizer.preTokenizer), addedTokens: addedTokensOf(tokenizer) });
}

/** The parts of a tokenizer.json that cut texts as ours does. */
function preTokenizerOf(name: PreTokenizer): { readonly preTokenizer: JSONObject } {
  const bytes = (usesPattern: boolean) => ({ type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: usesPattern });
  if (name === 'gpt2' || name === 'none') return { preTokenizer: bytes(name === 'gpt2') };
  const pattern = splitPatterns[name];
  const cut = pattern === undefined
    ? { type: 'Digits', individual_digits: true }
    : { type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false };
  return { preTokenizer: { type: 'Sequence', pretokenizers: [cut, bytes(pattern === undefined)] } };
}

/**
 * The tokenizer that stands in a tokenizer.json.
 *
 * @param file what to call it in errors
 * @throws LabError for parts that are not known here, naming them.
 */
export function readTokenizer(json: JSONObject, file: string): Tokenizer {
  const model = new Fields(json, file).object('model');
  switch (model.json['type']) {
    case 'WordLevel':
      return readCharacters(json, model, file);
    case 'Unigram':
      return readUnigram(json, model, file);
    default:
      return HuggingFaceTokenizer.fromJSON(json, file);
  }
}

function readCharacters(json: JSONObject, model: Fields, file: string): CharacterTokenizer {
  const vocabulary = Object.entries(model.object('vocab').json).sort(([, a], [, b]) => Number(a) - Number(b));
  const inOrder = vocabulary.every(([, id], place) => id === place);
  if (JSON.stringify(json['pre_tokenizer']) !== JSON.stringify(everyCharacter) || !inOrder) {
    throw new LabError(`${file}: of WordLevel models only those of single characters are known here.`);
  }
  return new CharacterTokenizer(vocabulary.map(([character]) => character));
}

function readUnigram(json: JSONObject, model: Fields, file: string): UnigramTokenizer {
  const { vocab } = model.json;
  const isPiece = (piece: unknown): piece is [string, number] =>
    Array.isArray(piece) && piece.length === 2 && typeof piece[0] === 'string' && typeof piece[1] === 'number';
  const { preTokenizer, addPrefixSpace } = readPreTokenizer(json['pre_tokenizer'], file);
  const added = readAddedTokens(json['added_tokens'], file);
  const behind = Array.isArray(vocab) && added.every(({ id, special }, i) => id === vocab.length + i && special);
  if (!Array.isArray(vocab) || !vocab.every(isPiece) || addPrefixSpace || !behind || isObject(json['normalizer'])) {
    throw new LabError(`${file}: of Unigram models only those over bytes, as the lab writes them, are known here.`);
  }
  const [tokens, scores] = [vocab.map(([piece]) => bytesOfToken(piece)), vocab.map(([, score]) => score)];
  return new UnigramTokenizer({ tokens, scores, preTokenizer, specialTokens: added.map(({ content }) => content) });
}

/**
 * @file The tokenizer of a model's folder: tokenizer.json, or GPT-2's older vocab.json and merges.txt.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { LabError } from '../base/index.ts';
import { readText } from '../files/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { HuggingFaceTokenizer } from './hugging-face-tokenizer.ts';
import { isObject, readJSON, readJSONIfThere } from './json.ts';
import { readTokenizer } from './write-tokenizer.ts';

/** @throws LabError when there is none, or none that is known here. */
export async function loadTokenizer(directory: string): Promise<Tokenizer> {
  const whole = join(directory, 'tokenizer.json');
  if (existsSync(whole)) return readTokenizer(await readJSON(whole), whole);
  const [vocabulary, merges] = [join(directory, 'vocab.json'), join(directory, 'merges.txt')];
  if (!existsSync(vocabulary) || !existsSync(merges)) throw new LabError(`There is no tokenizer.json in ${directory}.`);
  const config = (await readJSONIfThere(join(directory, 'tokenizer_config.json'))) ?? {};
  const { tokenizer_class: kind = 'GPT2Tokenizer' } = config;
  if (kind !== 'GPT2Tokenizer' && kind !== 'GPT2TokenizerFast') {
    throw new LabError(`${vocabulary} does not say how a ${String(kind)} cuts texts into words. Save it as tokenizer.json.`);
  }
  const vocab = await readJSON(vocabulary);
  const named = Object.entries(config).filter(([name]) => name.endsWith('_token')).map(([, value]) => (isObject(value) ? value['content'] : value));
  const special = new Set(['<|endoftext|>', ...named].filter((name): name is string => typeof name === 'string' && Object.hasOwn(vocab, name)));
  return HuggingFaceTokenizer.fromVocabulary(vocab, await readText(merges), [...special]);
}

/**
 * @file A folder as the transformers library saves it → a Transformer: config.json says what is built, the safetensors files
 * what is in it, tokenizer.json how text becomes its tokens.
 */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { interruptible, invariant, LabError, Progress } from '../base/index.ts';
import { readText } from '../files/index.ts';
import { resolveConfig, Transformer } from '../model/index.ts';
import { withoutInitialization } from '../nn/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { type ChatTemplate, readChatTemplate } from './chat.ts';
import { readGPTQConfig } from './gptq-config.ts';
import { matchGPTQ, readGPTQWeights } from './gptq-load.ts';
import { type JSONObject, readJSON, readJSONIfThere } from './json.ts';
import { matchWeights } from './match.ts';
import { type PretrainedFormat, readConfig } from './read-config.ts';
import { loadTokenizer } from './load-tokenizer.ts';
import { readWeights } from './read-weights.ts';
import { WeightFiles } from './weight-files.ts';

export interface LoadPretrainedOptions {
  /** No progress bar. */
  readonly quiet?: boolean;
}

/** A model that somebody else trained, ready for use. */
export interface Pretrained {
  readonly model: Transformer;
  /**
   * Text to its tokens and back. Reading this throws a LabError when the folder has no tokenizer, or none that is known here.
   */
  readonly tokenizer: Tokenizer;
  /** How a conversation is written, if the model comes with a chat template. */
  readonly chatTemplate: ChatTemplate | undefined;
  readonly format: PretrainedFormat;
  /** Their config.json, as it is. */
  readonly config: JSONObject;
  /** Tokens that end a text, by generation_config.json or config.json. */
  readonly stopTokens: readonly number[];
  /** Tensors in the files that are no weights: masks and tables which the config implies. */
  readonly ignored: readonly string[];
}

/**
 * Loads GPT-2, Llama (also SmolLM2 and others of its architecture) or Qwen2. Weights in 16 bits are widened to 32; those of a
 * GPTQ checkpoint stay packed. Everything is checked before the model is built, and nothing is skipped in silence.
 *
 * @example const { model, tokenizer } = await loadPretrained('.lab/models/gpt2');
 * @throws LabError that names the file and what is wrong with it: a feature that is not known here, a tensor that is missing,
 * too many or of the wrong shape, a file that is damaged.
 */
export async function loadPretrained(directory: string, { quiet = false }: LoadPretrainedOptions = {}): Promise<Pretrained> {
  if (!existsSync(directory) || !statSync(directory).isDirectory()) throw new LabError(`There is no folder ${directory}.`);
  const path = join(directory, 'config.json');
  const json = await readJSON(path);
  const { format, config } = readConfig(json, path);
  const quantization = await readGPTQConfig(json, directory);
  const generation = await readJSONIfThere(join(directory, 'generation_config.json'));
  const tokenizer = await loadTokenizer(directory).catch((error: unknown) => {
    if (error instanceof LabError) return error;
    throw error;
  });
  const chatTemplate = await chatTemplateIn(directory);
  const files = await WeightFiles.open(directory);
  try {
    const resolved = resolveConfig(config);
    const gptq = quantization && matchGPTQ(files.tensors, format, resolved, { source: directory, quantization });
    const matched = gptq ?? matchWeights(files.tensors, format, resolved, directory);
    const model = withoutInitialization(() => new Transformer(config));
    const parameters = model.namedParameters();
    const filled = new Set([...matched.weights, ...(gptq?.quantized ?? [])].flatMap(({ paths }) => paths));
    invariant(
      filled.size === parameters.size && [...filled].every((name) => parameters.has(name)),
      'loadPretrained: the table of names does not cover the model',
    );
    const total = Math.ceil([...files.tensors.values()].reduce((sum, { bytes }) => sum + bytes, 0) / 1e6);
    const progress = new Progress({ total, label: 'loading', unit: 'MB', quiet });
    try {
      await interruptible(async (signal) => {
        await readWeights(files, matched, parameters, { progress, signal });
        if (gptq) await readGPTQWeights(files, gptq, model, { quantization, signal });
      });
    } catch (error) {
      model.dispose();
      throw error;
    }
    progress.done();
    return {
      model: model.eval(),
      get tokenizer(): Tokenizer {
        if (tokenizer instanceof LabError) throw tokenizer;
        return tokenizer;
      },
      chatTemplate,
      format,
      config: json,
      stopTokens: stopTokens(generation, json),
      ignored: matched.ignored,
    };
  } finally {
    files.close();
  }
}

/** `eos_token_id`: one, several or none. */
function stopTokens(...places: readonly (JSONObject | undefined)[]): number[] {
  const found = places.map((json) => json?.['eos_token_id']).find((value) => value !== undefined && value !== null);
  return [found ?? []].flat().filter((id): id is number => Number.isInteger(id));
}

async function chatTemplateIn(directory: string): Promise<ChatTemplate | undefined> {
  const own = join(directory, 'chat_template.jinja');
  const config = await readJSONIfThere(join(directory, 'tokenizer_config.json'));
  return readChatTemplate(config, existsSync(own) ? await readText(own) : undefined);
}

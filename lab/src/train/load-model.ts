/**
 * @file From a checkpoint back to a model that can be used.
 */
import { attention } from '../attention/index.ts';
import { LabError } from '../base/index.ts';
import { Transformer, type TransformerConfig } from '../model/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { loadCheckpoint, restoreWeights, type Checkpoint } from './checkpoint.ts';

export interface LoadedModel {
  readonly model: Transformer;
  readonly tokenizer: Tokenizer;
  readonly checkpoint: Checkpoint;
}

/**
 * Builds the Transformer that a checkpoint holds and gives it the saved weights.
 *
 * @throws LabError when the file is not whole, has no tokenizer, or its model had parts that only its own program can build.
 */
export async function loadModel(path: string): Promise<LoadedModel> {
  const checkpoint = await loadCheckpoint(path);
  const { tokenizer, functions, configuration } = checkpoint;
  if (functions.length > 0) {
    throw new LabError(
      `${path} holds a model with parts of its own (${functions.join(', ')}), which a file cannot hold. Build that model with ` +
        'them, then give it the weights: restoreWeights(await loadCheckpoint(path), model.namedParameters()).',
    );
  }
  if (!tokenizer) throw new LabError(`${path} has no tokenizer: it was saved without one.`);
  const model = new Transformer(configuration as unknown as TransformerConfig);
  restoreWeights(checkpoint, model.namedParameters());
  model.eval();
  return { model, tokenizer, checkpoint };
}

/** A configuration as it can be saved: the library's own attention is what a model has unless told. */
export function savedConfiguration(config: object): object {
  const { attention: chosen, ...rest } = config as Partial<TransformerConfig>;
  return chosen === undefined || chosen === attention ? rest : config;
}

/**
 * @file The names of adapted modules: PEFT's in its files, `base_model.model.transformer.h.0.attn.c_attn`, and ours. One of
 * theirs may be several of ours side by side (GPT-2's queries, keys and values).
 */
import type { ResolvedTransformerConfig } from '../model/index.ts';
import { hasParameter, namedWeights } from './names.ts';
import type { PretrainedFormat } from './read-config.ts';

/** What PEFT puts before every name in its files. */
export const PEFT_PREFIX = 'base_model.model.';

export interface PEFTModule {
  /** In the transformers library, with the model's own prefix: `transformer.h.0.attn.c_attn`. */
  readonly name: string;
  /** The paths of ours, in the order of the outputs. */
  readonly paths: readonly string[];
}

/** Every module of a model that has a matrix. */
export function peftModules(format: PretrainedFormat, config: ResolvedTransformerConfig): PEFTModule[] {
  const ending = '.weight';
  return namedWeights(format, config)
    .filter(({ shape, name, paths }) => shape.length === 2 && name.endsWith(ending) && hasParameter(config, paths[0]!))
    .map(({ name, paths }) => ({
      name: (format === 'gpt2' && !name.startsWith('lm_head.') ? 'transformer.' : '') + name.slice(0, -ending.length),
      paths: paths.map((path) => path.slice(0, -ending.length)),
    }));
}

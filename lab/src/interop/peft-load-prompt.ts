/** @file Soft prompts and prefixes of the PEFT library: one matrix each, a prefix as its MLP made it. */
import { LabError } from '../base/index.ts';
import { Prefix, prefixWidth, putVirtualTokens, SoftPrompt } from '../peft/parts.ts';
import { checkShape, parameterFrom, type PEFTSource, type Planned } from './peft-source.ts';

const NAME = 'prompt_embeddings';

export function promptPlan(source: PEFTSource): Planned {
  const tokens = checked(source, source.model.config.width);
  return {
    options: { method: 'prompt', tokens },
    plans: () => [() => putVirtualTokens(source.model, new SoftPrompt(parameterFrom(source, NAME, {})))],
  };
}

export function prefixPlan(source: PEFTSource): Planned {
  const tokens = checked(source, prefixWidth(source.model.config));
  return {
    options: { method: 'prefix', tokens },
    plans: () => [() => putVirtualTokens(source.model, new Prefix(parameterFrom(source, NAME, {})))],
  };
}

/** @returns n */
function checked(source: PEFTSource, width: number): number {
  const { fields, path, tensors, model } = source;
  const tokens = fields.count('num_virtual_tokens');
  const stray = [...tensors.keys()].find((name) => name !== NAME);
  if (stray !== undefined) throw new LabError(`${path}: '${stray}' has no place in a soft prompt.`);
  checkShape(source, NAME, [tokens, width]);
  const { contextLength } = model.config;
  if (tokens >= contextLength)
    throw new LabError(`${path}: ${tokens} virtual tokens leave no room in a context of ${contextLength}.`);
  return tokens;
}

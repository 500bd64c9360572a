/**
 * @file Which tensor of a checkpoint goes where: every name is accounted for, every shape and type checked, before anything is read.
 */
import { LabError } from '../base/index.ts';
import type { TensorEntry } from '../files/index.ts';
import type { ResolvedTransformerConfig } from '../model/index.ts';
import { hasParameter, isIgnorable, namedWeights, type NamedWeight } from './names.ts';
import type { PretrainedFormat } from './read-config.ts';

/** A tensor of a checkpoint, under the name that it has in its file, and where it goes. */
export interface MatchedWeight extends NamedWeight {
  readonly dtype: 'F64' | 'F32' | 'F16' | 'BF16';
}

export interface Matched {
  readonly weights: readonly MatchedWeight[];
  /** Names that mean nothing here: masks and tables that the config implies. */
  readonly ignored: readonly string[];
  /** An output head in the file of a model whose head is the token embedding: they must be equal. */
  readonly tied?: { readonly head: string; readonly embedding: string };
}

const floats = new Set(['F64', 'F32', 'F16', 'BF16']);

/**
 * @param source what to call the checkpoint in errors
 * @throws LabError that names every tensor which is unknown, missing, or of another shape or type than the config says.
 */
export function matchWeights(
  tensors: ReadonlyMap<string, TensorEntry>,
  format: PretrainedFormat,
  config: ResolvedTransformerConfig,
  source: string,
): Matched {
  // Before a row is made for each of them.
  if (config.layers > tensors.size) {
    throw new LabError(`${source} has ${tensors.size} tensors; its config.json promises ${config.layers} layers.`);
  }
  const prefix = format === 'gpt2' && [...tensors.keys()].some((name) => name.startsWith('transformer.')) ? 'transformer.' : '';
  const inFile = (name: string): string => (name.startsWith('lm_head.') ? name : prefix + name);
  const all = namedWeights(format, config);
  const wanted = all.filter(({ paths }) => hasParameter(config, paths[0]!)).map((weight) => ({ ...weight, name: inFile(weight.name) }));
  const known = new Set(wanted.map(({ name }) => name));
  const head = 'lm_head.weight';
  const tied = config.tiedHead && tensors.has(head) ? { head, embedding: inFile(all[0]!.name) } : undefined;
  const strays = [...tensors.keys()].filter((name) => !known.has(name) && name !== tied?.head);
  const isIgnored = (name: string): boolean => name.startsWith(prefix) && isIgnorable(format, name.slice(prefix.length));
  const problems = strays.filter((name) => !isIgnored(name)).map((name) => `'${name}' is not a part of such a model`);
  const expected = tied ? [...wanted, { ...all.at(-1)!, name: head }] : wanted;
  for (const { name, shape } of expected) {
    const problem = problemOf(tensors.get(name), shape);
    if (problem !== undefined) problems.push(`'${name}' ${problem}`);
  }
  if (problems.length > 0) throw new LabError(`${source} does not hold the weights that its config.json promises: ${listed(problems)}.`);
  return {
    weights: wanted.map((weight) => ({ ...weight, dtype: tensors.get(weight.name)!.dtype as MatchedWeight['dtype'] })),
    ignored: strays,
    ...(tied && { tied }),
  };
}

function problemOf(tensor: TensorEntry | undefined, shape: readonly number[]): string | undefined {
  if (!tensor) return `[${shape.join(', ')}] is missing`;
  if (tensor.shape.join() !== shape.join()) return `has shape [${tensor.shape.join(', ')}], not [${shape.join(', ')}]`;
  return floats.has(tensor.dtype) ? undefined : `has type ${tensor.dtype}, not one of ${[...floats].join(', ')}`;
}

/** The first few; a wrong config makes a problem of every tensor. */
function listed(problems: readonly string[]): string {
  const shown = 8;
  const rest = problems.length - shown;
  return problems.slice(0, shown).join('; ') + (rest > 0 ? `; and ${rest} more` : '');
}

/** @file What the readers of the several kinds of adapters are given, and how they take tensors out of it. */
import { tf, type Tensor, type Variable } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import { toFloat32, type Safetensors } from '../files/index.ts';
import type { Transformer } from '../model/index.ts';
import { parameter } from '../nn/index.ts';
import type { AdaptationOptions } from '../peft/index.ts';
import type { Plan } from '../peft/parts.ts';
import type { Fields } from './json.ts';
import { PEFT_PREFIX, peftModules, type PEFTModule } from './peft-names.ts';
import type { PretrainedFormat } from './read-config.ts';

/** An adapter's files, read, and the model that it is for. */
export interface PEFTSource {
  readonly model: Transformer;
  readonly format: PretrainedFormat;
  readonly fields: Fields;
  /** Of the weights, for errors. */
  readonly path: string;
  readonly tensors: Safetensors['tensors'];
}

/** What is to be done, once everything was checked. */
export interface Planned {
  readonly options: AdaptationOptions;
  readonly plans: () => Plan[];
}

/** The tensors of a module of theirs, by the end of their names: `lora_A.weight`. */
export type ModuleTensors = ReadonlyMap<string, readonly number[]>;

/**
 * The tensors by module.
 *
 * @param endings that a name may have
 * @throws LabError for names that do not belong to such an adapter of such a model.
 */
export function byModule(
  { model, format, path, tensors }: PEFTSource,
  endings: readonly string[],
): Map<PEFTModule, ModuleTensors> {
  const modules = new Map(peftModules(format, model.config).map((module) => [module.name, module]));
  const found = new Map<PEFTModule, Map<string, readonly number[]>>();
  for (const [name, { shape }] of tensors) {
    const ending = endings.find((end) => name.endsWith(`.${end}`));
    const module = modules.get(name.slice(PEFT_PREFIX.length, ending === undefined ? undefined : -ending.length - 1));
    if (!name.startsWith(PEFT_PREFIX) || ending === undefined || !module) {
      throw new LabError(`${path}: '${name}' has no place in this model. Is the adapter for another kind of model?`);
    }
    const own = found.get(module) ?? new Map<string, readonly number[]>();
    found.set(module, own.set(ending, shape));
  }
  if (found.size === 0) throw new LabError(`${path} holds no tensors.`);
  return found;
}

/** @throws LabError unless a tensor is there and has the shape that the model needs. */
export function checkShape({ tensors, path }: PEFTSource, name: string, expected: readonly number[]): void {
  const tensor = tensors.get(name);
  const wanted = `[${expected.join(', ')}]`;
  if (!tensor) throw new LabError(`${path} lacks '${name}' ${wanted}.`);
  if (tensor.shape.join() === expected.join()) return;
  throw new LabError(
    `${path}: '${name}' is [${tensor.shape.join(', ')}], but this model needs ${wanted}; the adapter is for another one.`,
  );
}

/** A tensor as a parameter: read in that shape, turned if asked for, of it `count` rows from `start` on. */
export function parameterFrom<R extends tf.Rank>(
  { tensors }: PEFTSource,
  name: string,
  { start = 0, count, turned = false, shape }: PartOfTensor,
): Variable<R> {
  const stored = tensors.get(name)!;
  return parameter<R>(
    tf.tidy(() => {
      const whole = tf.tensor(toFloat32(stored), [...(shape ?? stored.shape)]);
      const seen = turned ? tf.transpose(whole) : whole;
      const part = count === undefined ? seen : tf.slice(seen, [start], [count]);
      return tf.mul(part, 1) as Tensor<R>;
    }),
  );
}

export interface PartOfTensor {
  readonly start?: number;
  readonly count?: number;
  readonly turned?: boolean;
  /** Its own unless told; for one axis its size. */
  readonly shape?: readonly number[];
}

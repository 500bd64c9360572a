/**
 * @file Checkpoints: everything that training needs to go on exactly where it was, in one safetensors file.
 *
 * Tensors: `model.PATH` for the weights, `optimizer.NAME` for the optimizer's moments. Metadata: the step, the model's
 * configuration, the tokenizer, the random states and the losses so far. A digest over the whole file finds every flipped byte.
 */
import { tf, type Tensor, type Variable } from '../backend/index.ts';
import { LabError, type RandomState } from '../base/index.ts';
import { readSafetensors, toFloat32, writeSafetensors, type StoredTensor } from '../files/index.ts';
import { tokenizerFromJSON, type Tokenizer } from '../tokenizer/index.ts';
import type { LossScaleState } from './loss-scale.ts';

/** A number of the loss curve. `step` counts from 1: the loss of step 1 is that of the untrained model. */
export interface LossPoint {
  readonly step: number;
  readonly loss: number;
}

/** What is saved beside the tensors; plain data. */
export interface TrainingState {
  /** Steps made so far. */
  readonly step: number;
  readonly losses: readonly LossPoint[];
  readonly validationLosses: readonly LossPoint[];
  /** Spent on training so far. */
  readonly seconds: number;
  /** Where the source of batches was. */
  readonly batches?: unknown;
  /** Where the model's own random numbers (dropout) were, by path. */
  readonly random: Readonly<Record<string, RandomState>>;
  /** Where loss scaling was, if it was on. */
  readonly lossScale?: LossScaleState;
}

export interface CheckpointContent {
  readonly parameters: ReadonlyMap<string, Variable>;
  readonly optimizer?: ReadonlyMap<string, Tensor>;
  readonly state: TrainingState;
  /** How to build the model again. Functions in it are left out: a file cannot hold them. */
  readonly configuration?: object;
  readonly tokenizer?: Tokenizer;
  /** Whatever else the caller wants to find again; plain data. */
  readonly notes?: Readonly<Record<string, unknown>>;
}

export interface Checkpoint {
  readonly path: string;
  readonly weights: ReadonlyMap<string, StoredTensor>;
  readonly optimizer: ReadonlyMap<string, StoredTensor>;
  readonly state: TrainingState;
  readonly configuration: Readonly<Record<string, unknown>>;
  /** The entries of the configuration that were functions, and so are not in the file. */
  readonly functions: readonly string[];
  readonly tokenizer?: Tokenizer;
  readonly notes: Readonly<Record<string, unknown>>;
}

const version = '1';

/**
 * Saves atomically: whatever happens, `path` holds the old checkpoint or the new one, whole.
 *
 * @throws LabError when a weight is not a finite number (nothing is written then) or the file cannot be written.
 */
export async function saveCheckpoint(path: string, content: CheckpointContent): Promise<void> {
  const tensors = new Map<string, StoredTensor>();
  for (const [name, variable] of content.parameters) tensors.set(`model.${name}`, await stored(variable));
  for (const [name, { data }] of tensors) {
    if (data instanceof Float32Array && !data.every(Number.isFinite)) {
      throw new LabError(`${path} was not written: ${name} holds numbers that are not finite after step ${content.state.step}.`);
    }
  }
  for (const [name, tensor] of content.optimizer ?? []) tensors.set(`optimizer.${name}`, await stored(tensor));
  const configuration = Object.entries(content.configuration ?? {});
  const metadata = {
    format: 'pt',
    checkpoint: version,
    state: JSON.stringify(content.state),
    configuration: JSON.stringify(Object.fromEntries(configuration.filter(([, value]) => typeof value !== 'function'))),
    functions: JSON.stringify(configuration.filter(([, value]) => typeof value === 'function').map(([name]) => name)),
    tokenizer: JSON.stringify(content.tokenizer ?? null),
    notes: JSON.stringify(content.notes ?? {}),
  };
  await writeSafetensors(path, tensors, metadata, { digest: true });
}

/**
 * Reads a checkpoint and checks it whole.
 *
 * @throws LabError that names the file: missing, damaged, not a checkpoint, or of a version that is not known here.
 */
export async function loadCheckpoint(path: string): Promise<Checkpoint> {
  const { metadata, tensors, verified } = await readSafetensors(path, { digest: true });
  const found = metadata['checkpoint'];
  if (found === undefined) {
    throw new LabError(`${path} is a safetensors file but not a checkpoint of this lab. Give one that training here has saved.`);
  }
  if (found !== version) {
    throw new LabError(
      `${path} is a checkpoint of version ${found}; this lab reads version ${version}. Use the lab that wrote it.`,
    );
  }
  if (!verified) throw new LabError(`${path} is damaged: the digest it was saved with is gone. Use another copy of it.`);
  const field = (name: string): unknown => JSON.parse(metadata[name] ?? 'null');
  const tokenizer = field('tokenizer');
  const part = (prefix: string): Map<string, StoredTensor> =>
    new Map(
      [...tensors].filter(([name]) => name.startsWith(prefix)).map(([name, tensor]) => [name.slice(prefix.length), tensor]),
    );
  return {
    path,
    weights: part('model.'),
    optimizer: part('optimizer.'),
    state: field('state') as TrainingState,
    configuration: field('configuration') as Record<string, unknown>,
    functions: field('functions') as string[],
    ...(tokenizer === null ? {} : { tokenizer: tokenizerFromJSON(tokenizer) }),
    notes: field('notes') as Record<string, unknown>,
  };
}

/**
 * Puts the saved weights into the parameters of a model.
 *
 * @throws LabError when names or shapes differ; the model is unchanged then.
 */
export function restoreWeights(checkpoint: Checkpoint, parameters: ReadonlyMap<string, Variable>): void {
  const { path, weights } = checkpoint;
  const different = [...parameters].find(
    ([name, { shape }]) => !tf.util.arraysEqual(shape, [...(weights.get(name)?.shape ?? [NaN])]),
  );
  if (different) {
    const [name, { shape }] = different;
    const saved = weights.get(name);
    const there = saved ? `has shape [${saved.shape.join(', ')}] there` : 'is not there';
    throw new LabError(
      `${path} does not fit this model: ${name} [${shape.join(', ')}] ${there}. Build the model it was saved from.`,
    );
  }
  const unexpected = [...weights.keys()].find((name) => !parameters.has(name));
  if (unexpected !== undefined) throw new LabError(`${path} does not fit this model: it also has ${unexpected}.`);
  for (const [name, variable] of parameters) tf.tidy(() => variable.assign(tensorOf(weights.get(name)!)));
}

/** A stored tensor on the device. */
export function tensorOf(tensor: StoredTensor): Tensor {
  const shape = [...tensor.shape];
  return tensor.data instanceof Int32Array
    ? tf.tensor(tensor.data, shape, 'int32')
    : tf.tensor(toFloat32(tensor), shape, 'float32');
}

async function stored(tensor: Tensor): Promise<StoredTensor> {
  const data = await tensor.data();
  if (data instanceof Float32Array) return { dtype: 'F32', shape: tensor.shape, data };
  if (data instanceof Int32Array) return { dtype: 'I32', shape: tensor.shape, data };
  return { dtype: 'BOOL', shape: tensor.shape, data };
}

/**
 * @file Supervised fine-tuning: the model learns to continue prompts as the examples do; only completions count, and short
 * examples share a row. Ouyang et al. 2022, section 3.5; packing without looking across: Krell et al. 2021.
 *
 * Shapes: B rows, T tokens.
 */
import { tf, type Scalar, type Tensor2D, type Tensor3D, type Variable } from '../backend/index.ts';
import { invariant, LabError } from '../base/index.ts';
import type { Batch } from '../data/index.ts';
import type { Transformer } from '../model/index.ts';
import type { PackedDocuments } from '../ops/index.ts';
import { train, type Trainable, type TrainOptions, type TrainResult } from '../train/index.ts';
import { countedTargets, tokenLogProbabilities } from './log-probabilities.ts';
import { checkFits, completionBatch, IGNORED, shuffledBatches, type BatchesOf, type Sample } from './completions.ts';

/** A model for `train` whose parameters and modes are another's; what it is judged by is its own. */
export abstract class TrainableModel implements Trainable {
  readonly model: Transformer;

  constructor(model: Transformer) {
    this.model = model;
  }

  abstract loss(tokens: Tensor2D, targets: Tensor2D): Scalar;

  get training(): boolean {
    return this.model.training;
  }

  get config(): object {
    return this.model.config;
  }

  forward(tokens: Tensor2D): Tensor3D {
    return this.model.forward(tokens);
  }

  namedParameters(): ReadonlyMap<string, Variable> {
    return this.model.namedParameters();
  }

  namedModules(): Iterable<readonly [path: string, module: object]> {
    return this.model.namedModules();
  }

  train(): unknown {
    return this.model.train();
  }

  eval(): unknown {
    return this.model.eval();
  }
}

/**
 * A model whose loss wants more of a batch than tokens and targets. It is the source of its batches, too, and remembers those
 * that were drawn and not yet learned.
 */
export abstract class BatchModel<B extends Batch> extends TrainableModel implements BatchesOf<B> {
  readonly #batches: BatchesOf<B>;
  readonly #drawn: B[] = [];

  constructor(model: Transformer, batches: BatchesOf<B>) {
    super(model);
    this.#batches = batches;
  }

  abstract lossOf(batch: B): Scalar;

  /** The loss of the batch that was drawn; of others, as in validation, the cross-entropy of the targets that count. */
  override loss(tokens: Tensor2D, targets: Tensor2D): Scalar {
    const batch = this.#drawn.shift();
    return batch ? this.lossOf(batch) : this.model.loss(tokens, targets, { ignoreIndex: IGNORED });
  }

  next(): B {
    const batch = this.#batches.next();
    this.#drawn.push(batch);
    return batch;
  }

  get state(): unknown {
    return this.#batches.state;
  }

  set state(state: unknown) {
    this.#batches.state = state;
  }
}

/** Cross-entropy of the targets that count. */
class SupervisedModel extends TrainableModel {
  override loss(tokens: Tensor2D, targets: Tensor2D): Scalar {
    return this.model.loss(tokens, targets, { ignoreIndex: IGNORED });
  }
}

class PackedModel extends BatchModel<PackedSamples> {
  override lossOf(batch: PackedSamples): Scalar {
    return packedLoss(this.model, batch);
  }
}

export interface SupervisedOptions extends Omit<TrainOptions, 'loss'> {
  /** Examples in a step (default 16). */
  readonly batchSize?: number;
  /** The examples of a step share rows as long as the context: the same loss with less padding (default false). */
  readonly packed?: boolean;
  readonly seed?: number;
  /** Inputs and targets of some examples; `completionBatch` unless told. */
  readonly batch?: (samples: readonly Sample[]) => Batch;
}

/**
 * @param model changed in place
 * @throws LabError when a sample is empty or longer than the context, or when samples are packed for a model with learned
 * positions, before anything is changed; and as `train`.
 */
export async function supervisedFineTuning(
  model: Transformer,
  samples: readonly Sample[],
  { batchSize = 16, packed = false, seed = 0, batch = completionBatch, ...training }: SupervisedOptions,
): Promise<TrainResult> {
  checkFits(samples, model);
  if (packed) {
    checkPositions(model);
    const { contextLength } = model.config;
    const rows = shuffledBatches(samples, (drawn) => packSamples(drawn, contextLength), { batchSize, seed });
    const learner = new PackedModel(model, rows);
    return train(learner, learner, { weightDecay: 0, ...training });
  }
  const batches = shuffledBatches(samples, (drawn) => batch(drawn), { batchSize, seed });
  return train(new SupervisedModel(model), batches, { weightDecay: 0, ...training });
}

/** Rows of several examples each, and where these begin and end. */
export interface PackedSamples extends Batch {
  readonly documents: PackedDocuments;
}

/**
 * Puts examples one behind the other into as few rows as first fit, longest first, finds. No example sees another, and none
 * has to predict the beginning of the next.
 *
 * @param length tokens in a row: the context
 */
export function packSamples(samples: readonly Sample[], length: number): PackedSamples {
  const rows: { readonly members: Sample[]; used: number }[] = [];
  const sizeOf = ({ prompt, completion }: Sample): number => prompt.length + completion.length - 1;
  for (const sample of samples.toSorted((a, b) => sizeOf(b) - sizeOf(a))) {
    const size = sizeOf(sample);
    invariant(size <= length, `packSamples: a sample of ${size} tokens does not fit into a row of ${length}`);
    const row = rows.find(({ used }) => used + size <= length) ?? rows[rows.push({ members: [], used: 0 }) - 1]!;
    row.members.push(sample);
    row.used += size;
  }
  const inputs = new Int32Array(rows.length * length);
  const targets = new Int32Array(rows.length * length).fill(IGNORED);
  const ends = rows.map(({ members }, i) => {
    const bounds = [0];
    for (const member of members) {
      const start = i * length + bounds.at(-1)!;
      const single = completionBatch([member]);
      inputs.set(single.inputs, start);
      targets.set(single.targets, start);
      bounds.push(bounds.at(-1)! + single.contextLength);
    }
    return bounds.at(-1)! < length ? [...bounds, length] : bounds;
  });
  return { inputs, targets, batchSize: rows.length, contextLength: length, documents: { queries: ends } };
}

/**
 * The mean cross-entropy of packed examples: the same as theirs in rows of their own.
 *
 * @throws LabError for a model with learned positions, which would give the examples behind the first other positions.
 */
export function packedLoss(model: Transformer, packed: PackedSamples): Scalar {
  checkPositions(model);
  return tf.tidy(() => {
    const tokens = tf.tensor2d(packed.inputs, [packed.batchSize, packed.contextLength], 'int32');
    const hidden = model.finalNorm.forward(model.transform(model.embed(tokens), { documents: packed.documents }));
    return tf.neg(tf.mean(tokenLogProbabilities(model, hidden, countedTargets(packed)).logProbabilities));
  });
}

function checkPositions(model: Transformer): void {
  if (model.config.position !== 'learned') return;
  throw new LabError("packedLoss: learned positions are counted from the row's beginning; use a model with RoPE or ALiBi.");
}

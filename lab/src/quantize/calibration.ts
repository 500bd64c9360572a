/**
 * @file Calibration: what the linear layers of a block are given when text runs through it. Layers that are given the same
 * tensor (query, key and value; gate and up) share what is known of it.
 *
 * Shapes: B batch, T tokens, D width.
 */
import type { Tensor, Tensor3D } from '../backend/index.ts';
import { offTape, tf } from '../backend/index.ts';
import { LabError, Random } from '../base/index.ts';
import type { Batch, TokenDataset } from '../data/index.ts';
import { tokensTensor, type Transformer } from '../model/index.ts';
import { Layer } from '../nn/index.ts';
import { HessianAverage } from './hessian.ts';

/** Token ids, [B, T] row after row. */
export type CalibrationBatch = Pick<Batch, 'inputs' | 'batchSize' | 'contextLength'>;

export interface CalibrationOptions {
  /** How many windows (default 128, as the authors of GPTQ take). */
  readonly sequences?: number;
  /** Tokens in each. */
  readonly contextLength: number;
  /** Windows that run through the model together (default 8). */
  readonly batchSize?: number;
  readonly seed?: number;
}

/**
 * Windows that start anywhere in a text.
 *
 * @throws LabError when the text is shorter than one.
 */
export function calibrationBatches(dataset: TokenDataset, options: CalibrationOptions): CalibrationBatch[] {
  const { sequences = 128, contextLength, batchSize = 8, seed = 0 } = options;
  if (dataset.length < contextLength) {
    throw new LabError(`Calibration: the text has ${dataset.length} tokens, fewer than one window of ${contextLength}.`);
  }
  const random = new Random(seed);
  const batches: CalibrationBatch[] = [];
  for (let left = sequences; left > 0; left -= batchSize) {
    const count = Math.min(batchSize, left);
    const inputs = new Int32Array(count * contextLength);
    for (let row = 0; row < count; row++) {
      const start = random.integer(dataset.length - contextLength + 1);
      inputs.set(dataset.ids.subarray(start, start + contextLength), row * contextLength);
    }
    batches.push({ inputs, batchSize: count, contextLength });
  }
  return batches;
}

/** Layers that read the same tensor, and what was seen of it. */
export interface InputGroup {
  /** In the order in which they read it. */
  readonly paths: string[];
  readonly statistics: HessianAverage;
}

/** Stands before a layer and shows its inputs to somebody. */
export class Watched extends Layer {
  readonly inner: Layer;
  readonly #see: (x: Tensor) => void;

  constructor(inner: Layer, see: (x: Tensor) => void) {
    super();
    this.inner = inner;
    this.#see = see;
  }

  override forward<T extends Tensor>(x: T): T {
    this.#see(x);
    return this.inner.forward(x);
  }
}

/**
 * Runs the residual stream through a block and gathers what the layers at these paths are given.
 *
 * @param runs each runs one batch through the block
 * @returns groups in the order in which the block comes to them; their statistics are yours to dispose of
 */
export async function watchInputs(
  model: Transformer,
  paths: readonly string[],
  runs: readonly (() => Promise<void>)[],
): Promise<InputGroup[]> {
  const groups: InputGroup[] = [];
  const groupOf = new Map<string, InputGroup>();
  let seen = new Map<Tensor, InputGroup>();
  const see = (path: string, x: Tensor): void => {
    const group = groupOf.get(path) ?? seen.get(x) ?? { paths: [], statistics: new HessianAverage(x.shape.at(-1)!) };
    if (!groupOf.has(path)) {
      if (group.paths.length === 0) groups.push(group);
      group.paths.push(path);
      groupOf.set(path, group);
      seen.set(x, group);
    }
    if (group.paths[0] === path) group.statistics.add(x);
  };
  try {
    for (const path of paths) model.replace(path, (layer) => new Watched(layer as Layer, (x) => see(path, x)));
    for (const run of runs) {
      await run();
      seen = new Map();
    }
    return groups;
  } catch (error) {
    for (const { statistics } of groups) statistics.dispose();
    throw error;
  } finally {
    for (const path of paths) {
      const layer = model.get(path);
      if (layer instanceof Watched) model.replace(path, () => layer.inner);
    }
  }
}

/** The residual stream of every calibration batch, brought forward block by block. */
export class Streams {
  readonly #model: Transformer;
  readonly #streams: Tensor3D[];

  /** @throws LabError for no batches, batches without tokens, and ids that the model does not know. */
  constructor(model: Transformer, batches: readonly CalibrationBatch[]) {
    this.#model = model;
    this.#streams = [];
    try {
      for (const { inputs, batchSize, contextLength } of batches) {
        const tokens = tokensTensor(inputs, [batchSize, contextLength], model.config.vocabSize);
        this.#streams.push(offTape(() => tf.tidy(() => model.embed(tokens))));
        tokens.dispose();
      }
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** How many batches there are. */
  get length(): number {
    return this.#streams.length;
  }

  /** What a block makes of a batch; yours to dispose of. */
  through(block: number, batch: number): Tensor3D {
    return offTape(() => tf.tidy(() => this.#model.blocks[block]!.forward(this.#streams[batch]!, { layer: block })));
  }

  /** A batch goes on from here. */
  replace(batch: number, stream: Tensor3D): void {
    this.#streams[batch]!.dispose();
    this.#streams[batch] = stream;
  }

  dispose(): void {
    tf.dispose(this.#streams);
  }
}

/**
 * @file A pass on the lab's own model: the rows of all requests go through the linear layers together, and through attention
 * each over its own blocks.
 *
 * Shapes: N rows, D width, H heads, K key/value heads, S head size, V vocabulary.
 */
import { tf, type Tensor2D, type Tensor3D } from '../backend/index.ts';
import { invariant, LabError } from '../base/index.ts';
import { MultiHeadAttention } from '../attention/index.ts';
import { Block, type Transformer } from '../model/index.ts';
import { residual } from '../ops/index.ts';
import { BlockStore, type HostBlocks } from './block-store.ts';
import type { Executor } from './executor.ts';
import { raggedAttention } from './ragged-attention.ts';
import { raggedTiles, type RaggedTile } from './ragged-batch.ts';
import { raggedPositions, type RaggedPositions } from './ragged-positions.ts';
import type { PassPlan } from './scheduler.ts';
import type { Sequence } from './sequence.ts';
import type { Transfer } from './state.ts';

export interface ModelExecutorOptions {
  /** Blocks of the cache; unless told, as many as four full contexts need. */
  readonly blocks?: number;
  /** Tokens of a block (default 16). */
  readonly blockSize?: number;
  /**
   * A row's numbers do not depend on who else is in the pass, nor on how a prompt is cut (default false). Matrix products and
   * attention add in an order that depends on their shapes, so all shapes are made the same: rows go in tiles of the same
   * size, and queries one by one. It costs time. He et al. 2025, "Defeating Nondeterminism in LLM Inference".
   */
  readonly batchInvariant?: boolean;
}

/** Rows of a tile where numbers must not depend on how many there are. */
const INVARIANT_ROWS = 8;

/** A tile on its way through the model. */
interface Stream {
  readonly tile: RaggedTile;
  readonly positions: RaggedPositions;
  /** [1, N, D] */
  x: Tensor3D;
}

export class ModelExecutor implements Executor {
  readonly blocks: number;
  readonly blockSize: number;
  readonly batchInvariant: boolean;
  readonly #model: Transformer;
  readonly #parts: readonly Block[];
  readonly #store: BlockStore;
  /** What was swapped out. */
  readonly #host = new Map<Sequence, HostBlocks>();

  /** @throws LabError for a model whose blocks are not the ordinary ones: the executor must reach into attention. */
  constructor(model: Transformer, options: ModelExecutorOptions = {}) {
    const { contextLength, layers, keyValueHeads, headSize } = model.config;
    const { blockSize = 16, batchInvariant = false } = options;
    const { blocks = 4 * Math.ceil(contextLength / blockSize) } = options;
    this.#model = model.eval();
    this.#parts = ordinaryBlocks(model);
    this.blocks = blocks;
    this.blockSize = blockSize;
    this.batchInvariant = batchInvariant;
    this.#store = new BlockStore({ layers, keyValueHeads, headSize, blocks, blockSize });
  }

  get vocabSize(): number {
    return this.#model.config.vocabSize;
  }

  get contextLength(): number {
    return this.#model.config.contextLength;
  }

  async run(plan: PassPlan, transfers: readonly Transfer[]): Promise<Float32Array[]> {
    for (const transfer of transfers) await this.#move(transfer);
    const tiles = raggedTiles(plan, this.blockSize, this.batchInvariant ? INVARIANT_ROWS : undefined);
    const logits = tf.tidy(() => this.#forward(tiles));
    if (!logits) return [];
    try {
      const all = (await logits.data()) as Float32Array;
      const last = tiles.flatMap((tile) => tile.last);
      return last.flatMap(({ wanted }, i) => (wanted ? [all.slice(i * this.vocabSize, (i + 1) * this.vocabSize)] : []));
    } finally {
      logits.dispose();
    }
  }

  forget(sequence: Sequence): void {
    this.#host.delete(sequence);
  }

  dispose(): void {
    this.#host.clear();
    this.#store.dispose();
  }

  async #move(transfer: Transfer): Promise<void> {
    if (transfer.kind === 'copy') {
      this.#store.copy(transfer);
      return;
    }
    const { sequence, blocks, direction } = transfer;
    if (direction === 'out') this.#host.set(sequence, await this.#store.read(blocks));
    else {
      const content = this.#host.get(sequence);
      invariant(content, `ModelExecutor: nothing of request ${sequence.id} was swapped out`);
      this.#store.restore(content, blocks);
      this.#host.delete(sequence);
    }
  }

  /** The logits of the last rows, [rows, V]; undefined when there are none. */
  #forward(tiles: readonly RaggedTile[]): Tensor2D | undefined {
    const streams = tiles.map((tile): Stream => {
      const positions = raggedPositions(this.#model, tile);
      const tokens = tf.tensor2d([...tile.tokens], [1, tile.tokens.length], 'int32');
      return { tile, positions, x: positions.embed(this.#model.tokenEmbedding.forward<Tensor3D>(tokens)) };
    });
    for (const [layer, block] of this.#parts.entries()) this.#throughBlock(block, layer, streams);
    const logits = streams.flatMap(({ tile, x }) => this.#logits(tile, x));
    return logits.length > 1 ? tf.concat(logits) : logits[0];
  }

  /** All tiles have their keys and values written before any of them attends: a later tile sees the earlier ones. */
  #throughBlock(block: Block, layer: number, streams: readonly Stream[]): void {
    const module = block.attention;
    const queries = streams.map(({ tile, positions, x }) => {
      const normed = block.attentionNorm.forward(x);
      const k = positions.rotate(inHeads(module.key.forward(normed), module.keyValueHeads)); // [N, K, S]
      const v = inHeads(module.value.forward(normed), module.keyValueHeads);
      this.#store.write(layer, k, v, tile.slots);
      return positions.rotate(inHeads(module.query.forward(normed), module.heads)); // [N, H, S]
    });
    const context = {
      module,
      layer,
      store: this.#store,
      position: this.#model.positionEmbedding,
      rowByRow: this.batchInvariant,
    };
    for (const [i, stream] of streams.entries()) {
      const attended = tf.reshape(raggedAttention(queries[i]!, stream.tile, context), [
        1,
        stream.tile.tokens.length,
        -1,
      ]) as Tensor3D;
      const middle = residual(stream.x, module.output.forward(attended));
      stream.x = residual(middle, block.mlp.forward(block.mlpNorm.forward(middle)));
    }
  }

  #logits({ last, tokens }: RaggedTile, x: Tensor3D): Tensor2D[] {
    if (last.length === 0) return [];
    const model = this.#model;
    const rows = tf.reshape(x, [tokens.length, -1]) as Tensor2D;
    const pick = (from: Tensor2D): Tensor2D =>
      tf.gather(
        from,
        tf.tensor1d(
          last.map(({ row }) => row),
          'int32',
        ),
      );
    // Batch-invariant: the head, too, sees whole tiles.
    if (this.batchInvariant) return [pick(model.project(model.finalNorm.forward(rows)))];
    return [model.project(model.finalNorm.forward(last.length === tokens.length ? rows : pick(rows)))];
  }
}

/** [1, N, heads · S] → [N, heads, S]: the same numbers in the same order. */
function inHeads(x: Tensor3D, heads: number): Tensor3D {
  const [, rows, width] = x.shape;
  return tf.reshape(x, [rows, heads, width / heads]);
}

function ordinaryBlocks(model: Transformer): Block[] {
  return model.blocks.map((block, layer) => {
    const ordinary =
      block instanceof Block &&
      block.forward === Block.prototype.forward &&
      block.attention.forward === MultiHeadAttention.prototype.forward &&
      block.attention.causal;
    if (ordinary) return block;
    throw new LabError(
      `Serving needs the lab's own blocks with causal attention, whose keys it lays down itself; block ${layer} is another. ` +
        'Use generate() for this model.',
    );
  });
}

/**
 * @file FlashAttention on wasm: how the work is cut for the kernels in forward.as.ts, decode.as.ts, backward.as.ts and
 * bias-gradient.as.ts, and what they are told. It is cut by the shapes alone: the results do not depend on the number of
 * threads.
 */
import { onBackendStart } from '../../backend/index.ts';
import { floatsOf, makeFloats, offsetOf, runningWasm, type FloatArgument, type Info, type WasmContext } from '../wasm/index.ts';
import { ADD_PARTS, ATTEND, ATTEND_BIAS_GRADIENT, ATTEND_FEW, ATTEND_GRADIENT, JOIN_PARTS } from '../wasm/operations.ts';
import { dropoutThreshold } from './dropout.ts';
import {
  ATTENTION_KERNELS,
  registerAttentionKernel,
  type AttentionGradientInputs,
  type AttentionInputs,
  type AttentionKernel,
} from './kernel.ts';
import type { AttentionProblem } from './problem.ts';
import {
  BACKWARD_QUERIES,
  CHANGES_SCORES,
  FEW_QUERIES,
  FORGETS,
  FORWARD_QUERIES,
  LARGEST_HEAD,
  MOST_KEYS,
  PACKED,
  SPLIT_KEYS,
  WIDEST_TILE,
} from './shared.ts';

const FLOAT = 4;
/** With fewer key/value heads than this the backward pass deals out their queries to several parts … */
const PIECES = 8;
/** … of at least so many row blocks: each part packs all keys for itself, which is then a twentieth of its work at most. */
const BLOCKS_IN_PART = 6;
/** Keys of a chunk of the bias's gradient, where only keys can be shared out. */
const BIAS_KEYS = 64;

const roundUp = (n: number, step: number): number => Math.ceil(n / step) * step;

/** As many keys as can be packed. */
export function keysInTile(headSize: number): number {
  return Math.min(MOST_KEYS, Math.floor(PACKED / roundUp(headSize, WIDEST_TILE) / WIDEST_TILE) * WIDEST_TILE);
}

/** Row blocks of about the same size, in whole register tiles: 128 queries are 66 and 62, not 96 and 32. */
export function queriesInBlock(queries: number, most: number, tileRows: number): number {
  return roundUp(Math.ceil(queries / Math.ceil(queries / most)), tileRows);
}

type Arguments = readonly (number | FloatArgument)[];

export class WasmAttention implements AttentionKernel {
  readonly #context: WasmContext;

  constructor(context: WasmContext) {
    this.#context = context;
  }

  takes({ headSize }: AttentionProblem): boolean {
    return headSize <= LARGEST_HEAD;
  }

  forward(problem: AttentionProblem, inputs: AttentionInputs): [Info, Info] {
    const { backend, pool } = this.#context;
    const { batch, heads, keyValueHeads, queries, headSize } = problem;
    const output = makeFloats(backend, inputs.q.shape);
    const logSumExp = makeFloats(backend, [batch, heads, queries]);
    const all = { ...inputs, output, logSumExp };
    if (queries <= FEW_QUERIES && (heads / keyValueHeads) * queries <= FORWARD_QUERIES) {
      this.#attendFew(problem, all);
    } else {
      const rows = queriesInBlock(queries, FORWARD_QUERIES, pool.tile.rows);
      const blocks = Math.ceil(queries / rows);
      const { scratch } = this.#placeTables(problem);
      pool.run(ATTEND, batch * heads * blocks, [
        ...this.#problem(problem, all, scratch),
        rows, blocks, keysInTile(headSize), problem.keyCapacity, 0, 0, 0,
        ...this.#features(problem, all, scratch),
      ]);
    }
    return [output, logSumExp];
  }

  #attendFew(problem: AttentionProblem, inputs: Omit<AttentionGradientInputs, 'outputGradient'>): void {
    const { pool } = this.#context;
    const { batch, heads, keyValueHeads, queries, keys, headSize } = problem;
    const splits = Math.ceil(keys / SPLIT_KEYS);
    const parts = batch * heads * queries * splits;
    const { scratch, rest } = this.#placeTables(problem, splits > 1 ? FLOAT * parts * (headSize + 2) : 0);
    const args: Arguments = [
      ...this.#problem(problem, inputs, scratch),
      splits, rest, rest + FLOAT * parts * headSize, problem.keyCapacity, 0, 0, 0,
      ...this.#features(problem, inputs, scratch),
    ];
    pool.run(ATTEND_FEW, batch * keyValueHeads * splits, args);
    if (splits > 1) pool.run(JOIN_PARTS, batch * heads * queries, args);
  }

  backward(problem: AttentionProblem, inputs: AttentionGradientInputs): [Info, Info, Info] {
    const { backend, pool } = this.#context;
    const { batch, heads, keyValueHeads, queries, headSize } = problem;
    const gradients = [inputs.q, inputs.k, inputs.v].map(({ shape }) => makeFloats(backend, shape)) as [Info, Info, Info];
    const rows = queriesInBlock(queries, BACKWARD_QUERIES, pool.tile.rows);
    const blocks = Math.ceil(queries / rows);
    const keyHeads = batch * keyValueHeads;
    const most = Math.max(1, Math.floor((blocks * heads) / keyValueHeads / BLOCKS_IN_PART));
    const parts = Math.min(most, Math.ceil(PIECES / keyHeads));
    const size = keyHeads * problem.keys * headSize;
    const apart = (parts - 1) * size;
    const { scratch, rest } = this.#placeTables(problem, FLOAT * 2 * apart);
    const [keyParts, valueParts] = [rest, rest + FLOAT * apart];
    pool.run(ATTEND_GRADIENT, keyHeads * parts, [
      ...this.#problem(problem, inputs, scratch),
      rows, blocks, keysInTile(headSize),
      ...[inputs.outputGradient, ...gradients].map((info) => offsetOf(backend, info)),
      ...this.#features(problem, inputs, scratch),
      parts, keyParts, valueParts, size,
    ]);
    if (parts > 1) {
      this.#addParts(gradients[1], keyParts, parts - 1, size);
      this.#addParts(gradients[2], valueParts, parts - 1, size);
    }
    return gradients;
  }

  /** Adds sums that were computed apart, in their order. */
  #addParts(to: Info, from: number, parts: number, size: number): void {
    const { backend, pool } = this.#context;
    const piece = Math.max(1024, roundUp(Math.ceil(size / 16), 4));
    pool.run(ADD_PARTS, Math.ceil(size / piece), [offsetOf(backend, to), from, parts, size, piece]);
  }

  biasGradient(problem: AttentionProblem, inputs: AttentionGradientInputs): Info {
    const { backend, pool } = this.#context;
    const { batch, queries, keys, headSize } = problem;
    const gradient = makeFloats(backend, inputs.bias!.shape);
    floatsOf(backend, gradient).fill(0);
    const [biasBatch, biasHeads, biasQueries, biasKeys] = problem.biasShape!;
    const rows = queriesInBlock(queries, BACKWARD_QUERIES, pool.tile.rows);
    const byKeys = biasQueries === 1 && biasKeys > 1;
    const tile = byKeys ? Math.min(BIAS_KEYS, keysInTile(headSize)) : keysInTile(headSize);
    const pieces = biasQueries > 1 ? Math.ceil(queries / rows) : byKeys ? Math.ceil(keys / tile) : 1;
    const { scratch } = this.#placeTables(problem);
    pool.run(ATTEND_BIAS_GRADIENT, biasBatch * biasHeads * pieces, [
      ...this.#problem(problem, inputs, scratch),
      rows, 0, tile, offsetOf(backend, inputs.outputGradient), offsetOf(backend, gradient), 0, 0,
      ...this.#features(problem, inputs, scratch),
      batch, pieces,
    ]);
    return gradient;
  }

  /** Copies the ranges, then the slopes, to the scratch memory; `bytes` more begin at `rest`. */
  #placeTables({ mask, slopes }: AttentionProblem, bytes = 0): { readonly scratch: number; readonly rest: number } {
    const { backend, pool } = this.#context;
    const tables = mask.ofQueries.byteLength + (slopes?.byteLength ?? 0);
    const scratch = pool.scratch(tables + bytes);
    const { buffer } = backend.wasm.HEAPU8;
    new Int32Array(buffer, scratch, mask.ofQueries.length).set(mask.ofQueries);
    if (slopes) new Float32Array(buffer, scratch + mask.ofQueries.byteLength, slopes.length).set(slopes);
    return { scratch, rest: scratch + tables };
  }

  /** The arguments 0 … 12: the tensors, the sizes, and which keys each query sees. */
  #problem(problem: AttentionProblem, inputs: Omit<AttentionGradientInputs, 'outputGradient'>, scratch: number): Arguments {
    const { backend } = this.#context;
    const { heads, keyValueHeads, queries, keys, headSize, scale, mask } = problem;
    const tensors = [inputs.q, inputs.k, inputs.v, inputs.output, inputs.logSumExp].map((info) => offsetOf(backend, info));
    return [...tensors, heads, keyValueHeads, queries, keys, headSize, { float: scale }, scratch, mask.rows > 1 ? 1 : 0];
  }

  /** The arguments 20 … 30: what is asked besides, as scores.as.ts reads it. */
  #features(problem: AttentionProblem, { bias }: AttentionInputs, scratch: number): Arguments {
    const { scale, softCap, slopes, biasShape, dropout, mask } = problem;
    const changes = softCap > 0 || slopes !== null || biasShape !== null || !(scale > 0);
    return [
      (changes ? CHANGES_SCORES : 0) + (dropout ? FORGETS : 0),
      { float: softCap },
      slopes ? scratch + mask.ofQueries.byteLength : 0,
      bias ? offsetOf(this.#context.backend, bias) : 0,
      ...biasStrides(biasShape),
      dropout?.seed ?? 0,
      dropout ? dropoutThreshold(dropout.rate) : 0,
      { float: dropout ? 1 / (1 - dropout.rate) : 1 },
    ];
  }
}

/** Elements from one place to the next along B, H, T and U; 0 along an axis of one. */
function biasStrides(shape: AttentionProblem['biasShape']): number[] {
  if (!shape) return [0, 0, 0, 0];
  return shape.map((size, axis) => (size === 1 ? 0 : shape.slice(axis + 1).reduce((product, n) => product * n, 1)));
}

onBackendStart('wasm', async () => {
  const context = runningWasm();
  if (!context) return { description: '', operations: [], remove: async () => {} };
  const unregister = registerAttentionKernel('wasm', new WasmAttention(context));
  return {
    description: '',
    operations: ATTENTION_KERNELS,
    async remove() {
      unregister();
    },
  };
});

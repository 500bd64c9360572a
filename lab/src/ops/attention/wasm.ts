/**
 * @file FlashAttention on wasm: how the work is cut for the kernels in forward.as.ts and backward.as.ts.
 */
import { onBackendStart } from '../../backend/index.ts';
import { makeFloats, offsetOf, runningWasm, type Info, type WasmContext } from '../wasm/index.ts';
import { ATTEND, ATTEND_GRADIENT } from '../wasm/operations.ts';
import {
  ATTENTION_KERNELS,
  registerAttentionKernel,
  type AttentionGradientInputs,
  type AttentionInputs,
  type AttentionKernel,
} from './kernel.ts';
import type { AttentionProblem } from './problem.ts';

/** As in the kernels: the space in which a thread packs its keys, in floats; the most keys in a tile; queries in a row block. */
const PACKED = 32 * 1024;
const MOST_KEYS = 512;
const FORWARD_QUERIES = 96;
const BACKWARD_QUERIES = 48;
const LARGEST_HEAD = 256;
/** The width of the widest register tile: what rows of a head are filled up to. */
const WIDEST = 16;

const roundUp = (n: number, step: number): number => Math.ceil(n / step) * step;

/** As many keys as can be packed. */
export function keysInTile(headSize: number): number {
  return Math.min(MOST_KEYS, Math.floor(PACKED / roundUp(headSize, WIDEST) / WIDEST) * WIDEST);
}

/** Row blocks of about the same size, in whole register tiles: 128 queries are 66 and 62, not 96 and 32. */
export function queriesInBlock(queries: number, most: number, tileRows: number): number {
  return roundUp(Math.ceil(queries / Math.ceil(queries / most)), tileRows);
}

export class WasmAttention implements AttentionKernel {
  readonly #context: WasmContext;

  constructor(context: WasmContext) {
    this.#context = context;
  }

  takes({ headSize, scale, softCap, slopes, biasShape, dropout }: AttentionProblem): boolean {
    return headSize <= LARGEST_HEAD && scale > 0 && softCap === 0 && !slopes && !biasShape && !dropout;
  }

  forward(problem: AttentionProblem, inputs: AttentionInputs): [Info, Info] {
    const { backend, pool } = this.#context;
    const { batch, heads, queries, keyCapacity } = problem;
    const output = makeFloats(backend, inputs.q.shape);
    const logSumExp = makeFloats(backend, [batch, heads, queries]);
    const rows = queriesInBlock(queries, FORWARD_QUERIES, pool.tile.rows);
    const blocks = Math.ceil(queries / rows);
    const common = this.#arguments(problem, { ...inputs, output, logSumExp }, rows, blocks);
    pool.run(ATTEND, batch * heads * blocks, [...common, keyCapacity]);
    return [output, logSumExp];
  }

  backward(problem: AttentionProblem, inputs: AttentionGradientInputs): [Info, Info, Info] {
    const { backend, pool } = this.#context;
    const { batch, keyValueHeads, queries } = problem;
    const gradients = [inputs.q, inputs.k, inputs.v].map(({ shape }) => makeFloats(backend, shape)) as [Info, Info, Info];
    const rows = queriesInBlock(queries, BACKWARD_QUERIES, pool.tile.rows);
    pool.run(ATTEND_GRADIENT, batch * keyValueHeads, [
      ...this.#arguments(problem, inputs, rows, Math.ceil(queries / rows)),
      ...[inputs.outputGradient, ...gradients].map((info) => offsetOf(backend, info)),
    ]);
    return gradients;
  }

  biasGradient(): Info {
    throw new RangeError('attention on wasm takes no bias');
  }

  /** The arguments 0 … 15. */
  #arguments(problem: AttentionProblem, inputs: Omit<AttentionGradientInputs, 'outputGradient'>, rows: number, blocks: number) {
    const { backend, pool } = this.#context;
    const { heads, keyValueHeads, queries, keys, headSize, scale, mask } = problem;
    const tensors = [inputs.q, inputs.k, inputs.v, inputs.output, inputs.logSumExp].map((info) => offsetOf(backend, info));
    const ranges = pool.scratch(mask.ofQueries.byteLength);
    new Int32Array(backend.wasm.HEAPU8.buffer, ranges, mask.ofQueries.length).set(mask.ofQueries);
    return [
      ...tensors, heads, keyValueHeads, queries, keys, headSize, { float: scale },
      ranges, mask.rows > 1 ? 1 : 0, rows, blocks, keysInTile(headSize),
    ];
  }
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

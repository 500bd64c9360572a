/**
 * @file FlashAttention on WebGPU: hangs the shaders of this folder into the backend, and hands them their tensors.
 */
import { onBackendStart, tf } from '../../backend/index.ts';
import { runningWebGpu, type ShaderRunner, type Uniform } from '../webgpu/index.ts';
import { keyGradientShader, queryGradientShader, rowsShader } from './backward.wgsl.ts';
import { biasGradientShader } from './bias-gradient.wgsl.ts';
import { decodeShader, joinShader, MOST_QUERIES, SPLIT } from './decode.wgsl.ts';
import { dropoutThreshold } from './dropout.ts';
import { forwardShader } from './forward.wgsl.ts';
import {
  ATTENTION_KERNELS,
  registerAttentionKernel,
  type AttentionGradientInputs,
  type AttentionInputs,
  type AttentionKernel,
} from './kernel.ts';
import type { AttentionProblem } from './problem.ts';
import { TILE, WORKGROUP_BYTES } from './tiles.wgsl.ts';
import { featuresOf, THREADS, type ShaderFeatures } from './wgsl.ts';

type Info = tf.TensorInfo;
type Shader = (features: ShaderFeatures) => string;

/** Beyond that a thread's sums, 2 · 4 · S/8 numbers in the pass over queries, no longer fit into its registers. */
const LARGEST_HEAD = 256;
/** Storage buffers of the shader with the most: dK, dV ← q, k, v, dO, rows, ranges, bias. */
const BUFFERS = 9;

/** Runs one shader on the problem. */
type Run = (
  name: string,
  shader: Shader,
  workgroups: readonly [x: number, y: number, z?: number],
  inputs: readonly Info[],
  outputs: readonly (readonly number[])[],
) => Info[];

export class WebGpuAttention implements AttentionKernel {
  readonly #runner: ShaderRunner;

  constructor(runner: ShaderRunner) {
    this.#runner = runner;
  }

  takes({ batch, heads, headSize, biasShape }: AttentionProblem): boolean {
    const { limits } = this.#runner.backend.device;
    const most = limits['maxComputeWorkgroupsPerDimension']!;
    const buffers = limits['maxStorageBuffersPerShaderStage']!;
    const memory = limits['maxComputeWorkgroupStorageSize']!;
    const fits = memory >= WORKGROUP_BYTES && buffers >= (biasShape ? BUFFERS : BUFFERS - 1);
    return fits && headSize <= LARGEST_HEAD && batch * heads <= most;
  }

  forward(problem: AttentionProblem, { q, k, v, bias }: AttentionInputs): [Info, Info] {
    const { batch, heads, queries, mask } = problem;
    const ranges = this.#table(mask.ofQueries);
    const inputs = [q, k, v, ranges, ...(bias ? [bias] : [])];
    const tiles = [Math.ceil(queries / TILE), batch * heads] as const;
    const outputs =
      queries <= MOST_QUERIES
        ? this.#decode(problem, inputs)
        : this.#run(problem)('forward', forwardShader, tiles, inputs, [q.shape, [batch, heads, queries]]);
    this.#runner.dispose(ranges);
    return outputs as [Info, Info];
  }

  #decode(problem: AttentionProblem, inputs: readonly Info[]): Info[] {
    const { batch, heads, queries, keys, headSize } = problem;
    const rows = [batch, heads, queries];
    const splits = Math.ceil(keys / SPLIT);
    const run = this.#run(problem);
    const shapes = [
      [...rows, splits, headSize],
      [...rows, splits, 2],
    ];
    const parts = run('decode', decodeShader, [splits, batch * heads, queries], inputs, shapes);
    const outputs = run('join', joinShader, [1, batch * heads, queries], parts, [[...rows, headSize], rows]);
    this.#runner.dispose(...parts);
    return outputs;
  }

  backward(problem: AttentionProblem, inputs: AttentionGradientInputs): [Info, Info, Info] {
    const { batch, heads, keyValueHeads, queries, keys, mask } = problem;
    const { q, k, v, bias, outputGradient } = inputs;
    const rows = this.#rows(problem, inputs);
    const [ofQueries, ofKeys] = [this.#table(mask.ofQueries), this.#table(mask.ofKeys)];
    const run = this.#run(problem);
    const given = (ranges: Info): Info[] => [q, k, v, outputGradient, rows, ranges, ...(bias ? [bias] : [])];
    const queryTiles = [Math.ceil(queries / TILE), batch * heads] as const;
    const keyTiles = [Math.ceil(keys / TILE), batch * keyValueHeads] as const;
    const [dq] = run('query gradient', queryGradientShader, queryTiles, given(ofQueries), [q.shape]);
    const [dk, dv] = run('key gradient', keyGradientShader, keyTiles, given(ofKeys), [k.shape, v.shape]);
    this.#runner.dispose(rows, ofQueries, ofKeys);
    return [dq!, dk!, dv!];
  }

  biasGradient(problem: AttentionProblem, inputs: AttentionGradientInputs): Info {
    const { q, k, v, outputGradient } = inputs;
    const bias = inputs.bias!;
    const rows = this.#rows(problem, inputs);
    const ranges = this.#table(problem.mask.ofQueries);
    const groups = Math.ceil(tf.util.sizeFromShape(bias.shape) / THREADS);
    const most = this.#runner.backend.device.limits['maxComputeWorkgroupsPerDimension']!;
    const grid = [Math.min(groups, most), Math.ceil(groups / most)] as const;
    const given = [q, k, v, outputGradient, rows, ranges, bias];
    const [gradient] = this.#run(problem)('bias gradient', biasGradientShader, grid, given, [bias.shape]);
    this.#runner.dispose(rows, ranges);
    return gradient!;
  }

  /** L and D of each query. @returns [B, H, T, 2] */
  #rows(problem: AttentionProblem, { output, outputGradient, logSumExp }: AttentionGradientInputs): Info {
    const { batch, heads, queries } = problem;
    const tiles = [Math.ceil(queries / THREADS), batch * heads] as const;
    const given = [output, outputGradient, logSumExp];
    return this.#run(problem)('rows', rowsShader, tiles, given, [[batch, heads, queries, 2]])[0]!;
  }

  #run(problem: AttentionProblem): Run {
    const features = featuresOf(problem);
    const uniforms = problemUniforms(problem);
    return (name, shader, [x, y, z = 1], inputs, outputs) =>
      this.#runner.run({
        key: `attention, ${name} ${JSON.stringify(features)}`,
        code: () => shader(features),
        inputs,
        outputs,
        uniforms,
        workgroups: [x, y, z],
      });
  }

  #table(ranges: Int32Array): Info {
    return this.#runner.backend.makeTensorInfo([ranges.length], 'int32', ranges);
  }
}

/** In the order of the struct Problem in wgsl.ts. */
function problemUniforms(problem: AttentionProblem): Uniform[] {
  const { batch, heads, keyValueHeads, queries, keys, keyCapacity, mask, dropout, scale, softCap, slopes } = problem;
  const int = (...data: number[]): Uniform[] => data.map((x) => ({ type: 'int32', data: [x] }));
  const float = (...data: number[]): Uniform[] => data.map((x) => ({ type: 'float32', data: [x] }));
  const fours = Array.from({ length: Math.ceil((slopes?.length ?? 0) / 4) }, (_, i) =>
    Array.from({ length: 4 }, (_, lane) => slopes![4 * i + lane] ?? 0),
  );
  return [
    ...int(batch, heads, queries, keys, keyCapacity, heads / keyValueHeads, mask.rows > 1 ? 1 : 0, ...biasStrides(problem)),
    { type: 'uint32', data: [dropout?.seed ?? 0] },
    { type: 'uint32', data: [dropoutThreshold(dropout?.rate ?? 0)] },
    ...float(1 / (1 - (dropout?.rate ?? 0)), scale, softCap),
    ...fours.map((data): Uniform => ({ type: 'float32', data })),
  ];
}

/** How far apart neighbours along each axis of the bias lie; 0 where it is broadcast. */
function biasStrides({ biasShape }: AttentionProblem): number[] {
  if (!biasShape) return [0, 0, 0, 0];
  return biasShape.map((length, axis) => (length === 1 ? 0 : biasShape.slice(axis + 1).reduce((a, b) => a * b, 1)));
}

onBackendStart('webgpu', async () => {
  const unregister = registerAttentionKernel('webgpu', new WebGpuAttention(runningWebGpu()!.runner));
  return {
    description: 'FlashAttention',
    operations: ATTENTION_KERNELS,
    async remove() {
      unregister();
    },
  };
});

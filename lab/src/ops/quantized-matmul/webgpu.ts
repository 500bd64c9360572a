/**
 * @file The product with quantized weights on webgpu: a few rows by one workgroup for each output, more by tiles.
 */
import type { Info, Inputs } from '../kernel-registry.ts';
import { webGpuKernel, type WebGpuContext } from '../webgpu/kernels.ts';
import { codesInRun, type PackedLayout } from './layout.ts';
import { dequantizeShader, rowsShader, THREADS, TILE, tileShader, type QuantizedShaderFeatures } from './shaders.wgsl.ts';

/** With more rows than this, a tile is better filled than a row of workgroups. */
const FEW_ROWS = 4;
/** Workgroups that a dispatch may have along one axis, by WebGPU's default. */
const MOST_WORKGROUPS = 65_535;

interface Work {
  readonly name: string;
  readonly shader: (features: QuantizedShaderFeatures) => string;
  readonly inputs: Inputs;
  readonly layout: PackedLayout;
  /** Bound before the weights. */
  readonly first: readonly Info[];
  readonly output: readonly number[];
  /** Terms of each sum. */
  readonly k: number;
  readonly workgroups: readonly [x: number, y: number, z: number];
}

function run({ runner }: WebGpuContext, work: Work): Info[] {
  const { name, shader, inputs, layout, first, output, k, workgroups } = work;
  const { words, scales, zeros, bias } = inputs;
  const shared = layout.paddedGroup < codesInRun(layout.bits);
  const features = { bits: layout.bits, shared, zeros: zeros !== undefined, bias: bias !== undefined };
  const [m, n] = output as [number, number];
  const sizes = [m, n, k, layout.outputs, layout.places, layout.groups, layout.paddedGroup];
  return runner.run({
    key: `quantized matmul, ${name} ${JSON.stringify(features)}`,
    code: () => shader(features),
    inputs: [...first, ...(bias ? [bias] : []), words!, scales!, ...(zeros ? [zeros] : [])],
    outputs: [output],
    uniforms: sizes.map((size) => ({ type: 'int32', data: [size] })),
    workgroups,
  });
}

/** So many workgroups in one row, or in several that are full but the last. */
function spread(count: number, z = 1): [number, number, number] {
  const rows = Math.ceil(count / MOST_WORKGROUPS);
  return [Math.ceil(count / rows), rows, z];
}

/** x [N, places], words, scales, zeros or none, bias or none → [y [N, O]] */
webGpuKernel('lab.quantizedMatmul', (context, inputs, attributes) => {
  const layout = attributes['layout'] as PackedLayout;
  const x = inputs['x']!;
  const rows = x.shape[0]!;
  const output = [rows, layout.outputs];
  if (rows === 0) return [context.runner.backend.makeTensorInfo(output, 'float32', new Float32Array(0))];
  const common = { inputs, layout, first: [x], output, k: layout.places };
  if (rows <= FEW_ROWS) {
    return run(context, { ...common, name: 'rows', shader: rowsShader, workgroups: spread(layout.outputs, rows) });
  }
  const workgroups = [Math.ceil(layout.outputs / TILE), Math.ceil(rows / TILE), 1] as const;
  return run(context, { ...common, name: 'tiles', shader: (features) => tileShader(features, true), workgroups });
});

/** dy [N, O], words, scales, zeros or none → [dx [N, places]] */
webGpuKernel('lab.quantizedMatmulGradient', (context, inputs, attributes) => {
  const layout = attributes['layout'] as PackedLayout;
  const dy = inputs['dy']!;
  const rows = dy.shape[0]!;
  const output = [rows, layout.places];
  if (rows === 0) return [context.runner.backend.makeTensorInfo(output, 'float32', new Float32Array(0))];
  const workgroups = [Math.ceil(layout.places / TILE), Math.ceil(rows / TILE), 1] as const;
  const shader = (features: QuantizedShaderFeatures): string => tileShader(features, false);
  return run(context, { name: 'gradient tiles', shader, inputs, layout, first: [dy], output, k: layout.outputs, workgroups });
});

/** words, scales, zeros or none → [weights [O, places]] */
webGpuKernel('lab.dequantize', (context, inputs, attributes) => {
  const layout = attributes['layout'] as PackedLayout;
  const { outputs, places } = layout;
  const output = [outputs, places];
  const workgroups = spread(Math.ceil((outputs * places) / 4 / THREADS));
  return run(context, { name: 'dequantize', shader: dequantizeShader, inputs, layout, first: [], output, k: 0, workgroups });
});

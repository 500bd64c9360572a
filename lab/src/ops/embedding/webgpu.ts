/** @file The gradient of an embedding on WebGPU (scatter.wgsl.ts): two dispatches, and the same sums in every run. */
import { webGpuKernel } from '../webgpu/index.ts';
import { gridOf, ints, THREADS } from '../webgpu/shader.ts';
import { collectShader, sortShader } from './scatter.wgsl.ts';

/** dy [N, D], ids [N] int32 → [the gradient of the table [rows, D]] */
webGpuKernel('lab.embeddingGradient', ({ runner }, { dy, ids }, attributes) => {
  const [count, width] = dy!.shape as [number, number];
  const rows = Number(attributes['rows']);
  const size = rows * width;
  if (count === 0 || size === 0) return [runner.backend.makeTensorInfo([rows, width], 'float32', new Float32Array(size))];
  const [sorted] = runner.run({
    key: 'embedding gradient, sort',
    code: sortShader,
    inputs: [ids!],
    outputs: [[count, 2]], // of integers, which no one reads but the next shader
    uniforms: ints(count),
    workgroups: gridOf(runner, Math.ceil(count / THREADS)),
  });
  const gradient = runner.run({
    key: 'embedding gradient, collect',
    code: collectShader,
    inputs: [sorted!, dy!],
    outputs: [[rows, width]],
    uniforms: ints(rows, width, count),
    workgroups: gridOf(runner, rows),
  });
  runner.dispose(sorted!);
  return gradient;
});

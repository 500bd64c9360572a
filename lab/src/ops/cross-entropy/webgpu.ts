/** @file Cross-entropy on WebGPU (rows.wgsl.ts): one dispatch forward and one backward, and no probabilities in between. */
import { webGpuKernel } from '../webgpu/index.ts';
import { floats, gridOf, ints, MANY_THREADS, threadsFor } from '../webgpu/shader.ts';
import { crossEntropyGradientShader, crossEntropyShader } from './rows.wgsl.ts';

/** logits [N, V], ids [N] int32 → [losses [N], the largest logit and log Σ exp(logits − it) [N, 2]] */
webGpuKernel('lab.crossEntropy', ({ runner }, { logits, ids }) => {
  const [rows, columns] = logits!.shape as [number, number];
  if (rows === 0) return [[0], [0, 2]].map((shape) => runner.backend.makeTensorInfo(shape, 'float32', new Float32Array(0)));
  const threads = threadsFor(columns);
  return runner.run({
    key: `cross-entropy ${threads}`,
    code: () => crossEntropyShader(threads),
    inputs: [logits!, ids!],
    outputs: [[rows], [rows, 2]],
    uniforms: [...ints(rows, columns), ...floats(NaN)],
    workgroups: gridOf(runner, rows),
  });
});

/** The same, the normalizer, and the gradients of the losses dy [N] → [the gradient of the logits [N, V]] */
webGpuKernel('lab.crossEntropyGradient', ({ runner }, { logits, ids, normalizer, dy }) => {
  const [rows, columns] = logits!.shape as [number, number];
  if (rows === 0) return [runner.backend.makeTensorInfo([0, columns], 'float32', new Float32Array(0))];
  return runner.run({
    key: 'cross-entropy gradient',
    code: crossEntropyGradientShader,
    inputs: [logits!, ids!, normalizer!, dy!],
    outputs: [[rows, columns]],
    uniforms: ints(rows * columns, columns),
    workgroups: gridOf(runner, Math.ceil((rows * columns) / MANY_THREADS)),
  });
});

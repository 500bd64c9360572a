/** @file Appending to a key/value cache on WebGPU (append.wgsl.ts): one dispatch. */
import { anglesOnDevice } from '../rotary/webgpu.ts';
import { webGpuKernel } from '../webgpu/index.ts';
import { gridOf, ints, MANY_THREADS } from '../webgpu/shader.ts';
import { appendShader } from './append.wgsl.ts';

/** k, v [B, K, T, S], keys, values [B, K, C, S], which are changed → nothing */
webGpuKernel('lab.kvAppend', ({ runner }, { k, v, keys, values }, attributes) => {
  const [batch, heads, tokens, headSize] = k!.shape as [number, number, number, number];
  const offset = Number(attributes['offset']);
  const rotary = attributes['rotaryBase'] !== undefined;
  const angles = rotary ? [anglesOnDevice(runner, Number(attributes['rotaryBase']), headSize, offset + tokens)] : [];
  const elements = batch * heads * tokens * headSize;
  return runner.run({
    key: `kv-append ${rotary}`,
    code: () => appendShader(rotary),
    inputs: [k!, v!, ...angles],
    outputs: [],
    changes: [keys!, values!],
    uniforms: ints(elements, tokens, headSize, keys!.shape[2]!, offset),
    workgroups: gridOf(runner, Math.ceil(elements / MANY_THREADS)),
  });
});

/** @file GELU (by its tanh formula) and SwiGLU on WebGPU (activation.wgsl.ts): one dispatch forward and one backward. */
import type { tf } from '../../backend/index.ts';
import { webGpuKernel, type ShaderRunner } from '../webgpu/index.ts';
import { gridOf, ints, MANY_THREADS } from '../webgpu/shader.ts';
import { geluGradientShader, geluShader, swigluGradientShader, swigluShader } from './activation.wgsl.ts';

type Info = tf.TensorInfo;

/** All inputs and outputs are of one shape. */
function activate(runner: ShaderRunner, key: string, code: () => string, inputs: readonly Info[], outputs: number): Info[] {
  const { shape } = inputs[0]!;
  const size = shape.reduce((product, n) => product * n, 1);
  const shapes = Array.from({ length: outputs }, () => shape);
  if (size === 0) return shapes.map(() => runner.backend.makeTensorInfo(shape, 'float32', new Float32Array(0)));
  const workgroups = gridOf(runner, Math.ceil(size / MANY_THREADS));
  return runner.run({ key, code, inputs, outputs: shapes, uniforms: ints(size), workgroups });
}

/** x → [gelu(x)] */
webGpuKernel('lab.gelu', ({ runner }, { x }) => activate(runner, 'gelu', geluShader, [x!], 1));
/** x, dy → [dx] */
webGpuKernel('lab.geluGradient', ({ runner }, { x, dy }) =>
  activate(runner, 'gelu gradient', geluGradientShader, [x!, dy!], 1),
);
/** gate, up → [silu(gate) · up] */
webGpuKernel('lab.swiglu', ({ runner }, { gate, up }) => activate(runner, 'swiglu', swigluShader, [gate!, up!], 1));
/** gate, up, dy → [dgate, dup] */
webGpuKernel('lab.swigluGradient', ({ runner }, { gate, up, dy }) =>
  activate(runner, 'swiglu gradient', swigluGradientShader, [gate!, up!, dy!], 2),
);

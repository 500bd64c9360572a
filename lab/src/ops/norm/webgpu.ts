/**
 * @file Layer norm and RMS norm on WebGPU (rows.wgsl.ts). Of the forward pass only two numbers a row are kept; the gradients of
 * gain and bias are summed in pieces of some rows, and the pieces then added up, always in the same order.
 */
import type { tf } from '../../backend/index.ts';
import { webGpuKernel, type ShaderRunner } from '../webgpu/index.ts';
import { floats, gridOf, ints, THREADS, threadsFor } from '../webgpu/shader.ts';
import { columnSumsShader, inputGradientShader, joinPiecesShader, normShader } from './rows.wgsl.ts';

type Info = tf.TensorInfo;

/** The least rows in a piece, and about the most pieces. */
const ROWS = 16;
const PIECES = 128;

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);

/**
 * x [..., D], gain [D], bias [D] or none → [y [..., D], mean and 1/σ of each row [N, 2]]; without `centered` the mean counts
 * as 0.
 */
webGpuKernel('lab.norm', ({ runner }, { x, gain, bias }, { epsilon, centered }) => {
  const [width] = gain!.shape as [number];
  const rows = sizeOf(x!.shape) / width;
  if (rows === 0) return [zeros(runner, x!.shape), zeros(runner, [0, 2])];
  const features = { threads: threadsFor(width), centered: centered === true, bias: bias !== undefined };
  return runner.run({
    key: `norm ${JSON.stringify(features)}`,
    code: () => normShader(features),
    inputs: [x!, gain!, ...(bias ? [bias] : [])],
    outputs: [x!.shape, [rows, 2]],
    uniforms: [...ints(rows, width), ...floats(Number(epsilon))],
    workgroups: gridOf(runner, rows),
  });
});

/** The same x, gain and what the forward pass gave, dy [..., D] → [dx, dgain], and dbias if `bias`. */
webGpuKernel('lab.normGradient', ({ runner }, { x, gain, statistics, dy }, attributes) => {
  const [width] = gain!.shape as [number];
  const rows = sizeOf(x!.shape) / width;
  const bias = attributes['bias'] === true;
  if (rows === 0) return [x!.shape, [width], ...(bias ? [[width]] : [])].map((shape) => zeros(runner, shape));
  const features = { threads: threadsFor(width), centered: attributes['centered'] === true };
  const [dx] = runner.run({
    key: `norm, input gradient ${JSON.stringify(features)}`,
    code: () => inputGradientShader(features),
    inputs: [x!, gain!, statistics!, dy!],
    outputs: [x!.shape],
    uniforms: ints(rows, width),
    workgroups: gridOf(runner, rows),
  });
  const rowsInPiece = Math.max(ROWS, Math.ceil(rows / PIECES));
  const pieces = Math.ceil(rows / rowsInPiece);
  const blocks = Math.ceil(width / THREADS);
  const sums = runner.run({
    key: `norm, column sums ${bias}`,
    code: () => columnSumsShader({ bias }),
    inputs: [x!, statistics!, dy!],
    outputs: (bias ? [0, 1] : [0]).map(() => (pieces === 1 ? [width] : [pieces, width])),
    uniforms: ints(rows, width, rowsInPiece, blocks),
    workgroups: gridOf(runner, blocks * pieces),
  });
  if (pieces === 1) return [dx!, ...sums];
  const joined = runner.run({
    key: `norm, join pieces ${sums.length}`,
    code: () => joinPiecesShader(sums.length),
    inputs: sums,
    outputs: sums.map(() => [width]),
    uniforms: ints(pieces, width),
    workgroups: gridOf(runner, blocks),
  });
  runner.dispose(...sums);
  return [dx!, ...joined];
});

function zeros(runner: ShaderRunner, shape: readonly number[]): Info {
  return runner.backend.makeTensorInfo(shape, 'float32', new Float32Array(sizeOf(shape)));
}

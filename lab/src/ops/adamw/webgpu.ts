/**
 * @file AdamW on WebGPU: all parameters in a few dispatches, changed where they lie (update.wgsl.ts). The gradients' length is
 * measured on the device and used there: nothing is read back.
 */
import type { tf } from '../../backend/index.ts';
import type { Inputs } from '../kernel-registry.ts';
import { webGpuKernel, type ShaderRunner, type Uniform } from '../webgpu/index.ts';
import { floats, gridOf, ints } from '../webgpu/shader.ts';
import type { AdamWSettings } from './settings.ts';
import { lengthShader, PIECE, squaresShader, updateShader } from './update.wgsl.ts';

type Info = tf.TensorInfo;

/** More would make the shaders long and save little. */
const MOST_SLOTS = 16;

/** A parameter's part in a dispatch. */
interface Slot {
  readonly tensor: Info;
  readonly gradient: Info;
  /** Where its moments begin in the rows of its group. */
  readonly moments: number;
}

const sizeOf = ({ shape }: Info): number => shape.reduce((product, n) => product * n, 1);
const piecesOf = ({ tensor }: Slot): number => Math.ceil(sizeOf(tensor) / PIECE);
const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

function slotsOf(inputs: Inputs, parameters: readonly string[]): Slot[] {
  let moments = 0;
  const slots: Slot[] = [];
  for (const name of parameters) {
    const tensor = inputs[`value.${name}`]!;
    slots.push({ tensor, gradient: inputs[`gradient.${name}`]!, moments });
    moments += sizeOf(tensor);
  }
  return slots.filter(({ tensor }) => sizeOf(tensor) > 0);
}

/** Runs of at most so many slots. */
function* runsOf(slots: readonly Slot[], most: number): Generator<readonly Slot[]> {
  const length = Math.min(most, MOST_SLOTS);
  for (let i = 0; i < slots.length; i += length) yield slots.slice(i, i + length);
}

/** The table of slots at the end of the uniforms. */
function tableOf(slots: readonly Slot[]): Uniform[] {
  let first = 0;
  return slots.map((slot) => {
    const data = [first, sizeOf(slot.tensor), slot.moments, 0];
    first += piecesOf(slot);
    return { type: 'int32', data };
  });
}

/** The length of all gradients together [], and what to multiply them by [1]. */
function measure(runner: ShaderRunner, slots: readonly Slot[], buffers: number, clipNorm: number): [Info, Info] {
  const pieces = sum(slots.map(piecesOf));
  const sums = runner.backend.makeTensorInfo([pieces], 'float32');
  let first = 0;
  for (const run of runsOf(slots, buffers - 1)) {
    const here = sum(run.map(piecesOf));
    runner.run({
      key: `adamw, squares ${run.length}`,
      code: () => squaresShader(run.length),
      inputs: run.map(({ gradient }) => gradient),
      outputs: [],
      changes: [sums],
      uniforms: [...ints(here, first), ...tableOf(run)],
      workgroups: gridOf(runner, here),
    });
    first += here;
  }
  const [length, factor] = runner.run({
    key: 'adamw, length',
    code: lengthShader,
    inputs: [sums],
    outputs: [[], [1]],
    uniforms: [...ints(pieces), ...floats(clipNorm)],
    workgroups: [1, 1, 1],
  });
  runner.dispose(sums);
  return [length!, factor!];
}

/** All inputs but the gradients are changed. → [the length of all gradients together, 0 when it is not asked for] */
webGpuKernel('lab.adamw', ({ runner }, inputs, attributes) => {
  const { groups, beta1, beta2, epsilon, clipNorm } = attributes as unknown as AdamWSettings;
  const buffers = runner.backend.device.limits['maxStorageBuffersPerShaderStage']!;
  const slots = groups.map(({ parameters }) => slotsOf(inputs, parameters));
  const nothing = (): Info => runner.backend.makeTensorInfo([], 'float32', Float32Array.of(0));
  const clips = clipNorm !== Infinity && slots.flat().length > 0;
  const [length, factor] = clips ? measure(runner, slots.flat(), buffers, clipNorm) : [nothing()];
  for (const [i, { decay, rate, correction }] of groups.entries()) {
    const common = floats(beta1, beta2, 1 - beta1, 1 - beta2, epsilon, decay, rate, correction);
    for (const run of runsOf(slots[i]!, Math.floor((buffers - (factor ? 3 : 2)) / 2))) {
      const features = { slots: run.length, clip: factor !== undefined };
      const pieces = sum(run.map(piecesOf));
      runner.run({
        key: `adamw, update ${JSON.stringify(features)}`,
        code: () => updateShader(features),
        inputs: [...run.map(({ gradient }) => gradient), ...(factor ? [factor] : [])],
        outputs: [],
        changes: [inputs[`first${i}`]!, inputs[`second${i}`]!, ...run.map(({ tensor }) => tensor)],
        uniforms: [...ints(pieces), ...common, ...tableOf(run)],
        workgroups: gridOf(runner, pieces),
      });
    }
  }
  if (factor) runner.dispose(factor);
  return [length];
});

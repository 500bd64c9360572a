/** @file Rotary positions on WebGPU (turn.wgsl.ts). The table of angles stays on the device as long as it is long enough. */
import type { tf } from '../../backend/index.ts';
import { webGpuKernel, type ShaderRunner } from '../webgpu/index.ts';
import { floats, gridOf, ints, MANY_THREADS } from '../webgpu/shader.ts';
import { angleTable } from './angles.ts';
import type { RotaryScaling } from './frequencies.ts';
import { turnShader } from './turn.wgsl.ts';

type Info = tf.TensorInfo;

/** What each device holds, by base, head size and scaling. */
const uploaded = new WeakMap<ShaderRunner, Map<string, { readonly positions: number; readonly table: Info }>>();

/** The angles of at least that many positions, on the device: [positions, S]. Owned here. */
export function anglesOnDevice(
  runner: ShaderRunner,
  base: number,
  headSize: number,
  positions: number,
  scaling: RotaryScaling | null = null,
): Info {
  const tables = uploaded.get(runner) ?? new Map<string, { readonly positions: number; readonly table: Info }>();
  uploaded.set(runner, tables);
  const key = JSON.stringify([base, headSize, scaling]);
  const known = tables.get(key);
  if (known && known.positions >= positions) return known.table;
  if (known) runner.dispose(known.table);
  const made = angleTable(base, headSize, positions, scaling);
  const table = runner.backend.makeTensorInfo([made.positions, headSize], 'float32', made.values);
  tables.set(key, { positions: made.positions, table });
  return table;
}

/** x [B, H, T, S] → [x turned], in the same memory if `inPlace`. */
webGpuKernel('lab.rotary', ({ runner }, { x }, attributes) => {
  const [batch, heads, tokens, headSize] = x!.shape as [number, number, number, number];
  const [offset, inPlace] = [Number(attributes['offset']), attributes['inPlace'] === true];
  const scaling = (attributes['scaling'] ?? null) as RotaryScaling | null;
  const angles = anglesOnDevice(runner, Number(attributes['base']), headSize, offset + tokens, scaling);
  const pairs = (batch * heads * tokens * headSize) / 2;
  const [turned] = runner.run({
    key: `rotary ${inPlace}`,
    code: () => turnShader(inPlace),
    inputs: inPlace ? [angles] : [x!, angles],
    outputs: inPlace ? [] : [x!.shape],
    changes: inPlace ? [x!] : [],
    uniforms: [...ints(pairs, tokens, headSize / 2, offset), ...floats(Number(attributes['direction']))],
    workgroups: gridOf(runner, Math.ceil(pairs / MANY_THREADS)),
  });
  if (turned) return turned;
  runner.backend.incRef(x!.dataId);
  return { dataId: x!.dataId, shape: x!.shape, dtype: x!.dtype };
});

/** @file Probes of the webgpu backend (probes.wgsl.ts). */
import type { ShaderRunner, Uniform } from '../webgpu/index.ts';
import type { tf } from '../../backend/index.ts';
import type { Probe, Probes } from './probe.ts';
import { CHAINS, computeShader, READS, readShader, THREADS, workgroupShader } from './probes.wgsl.ts';

const VECTOR_BYTES = 16;
/** Workgroups to fill the largest GPU (some hundred cores of two thousand threads), and for a processor that plays GPU. */
const HARDWARE_GROUPS = 2048;
const SOFTWARE_GROUPS = 16;

interface Work {
  readonly key: string;
  readonly code: () => string;
  readonly inputs?: readonly tf.TensorInfo[];
  readonly groups: number;
  readonly mask?: number;
  readonly step?: number;
}

export function webGpuProbes(runner: ShaderRunner, largestBytes: number, software: boolean): Probes {
  const { backend } = runner;
  const groups = software ? SOFTWARE_GROUPS : HARDWARE_GROUPS;
  const threads = groups * THREADS;
  const memory = backend.makeTensorInfo([largestBytes / 4], 'float32');
  const dispatch = ({ key, code, inputs = [], groups: x, mask = 0, step = 0 }: Work, turns: number): tf.TensorInfo => {
    const int = (value: number): Uniform => ({ type: 'int32', data: [value] });
    const uniforms: Uniform[] = [int(turns), int(mask), int(step), { type: 'float32', data: [0.5] }];
    return runner.run({ key: `probe, ${key}`, code, inputs, outputs: [[4]], uniforms, workgroups: [x, 1, 1] })[0]!;
  };
  /** Waits for a dispatch, and so for all before it. */
  const finish = async (out: tf.TensorInfo): Promise<void> => {
    await backend.read(out.dataId);
    runner.dispose(out);
  };
  const probe = (work: Work, counts: Pick<Probe, 'bytes' | 'flops'>): Probe => ({
    ...counts,
    run: (turns) => finish(dispatch(work, turns)),
  });
  const empty: Work = { key: 'compute', code: computeShader, groups: 1 };
  return {
    largestBytes,
    smallestBytes: 16 * 1024,
    read: (bytes) =>
      // Threads are more than 16 KiB of vectors; the step beyond their number makes every turn read another part of the set.
      probe(
        { key: 'read', code: readShader, inputs: [memory], groups, mask: bytes / VECTOR_BYTES - 1, step: threads + THREADS },
        { bytes: threads * READS * VECTOR_BYTES },
      ),
    readWorkgroup: probe(
      { key: 'read workgroup', code: workgroupShader, groups, step: 32 * READS },
      { bytes: threads * READS * VECTOR_BYTES },
    ),
    compute: probe({ key: 'compute', code: computeShader, groups, mask: 1 }, { flops: threads * CHAINS * 4 * 2 }),
    call: {
      async run(turns) {
        for (let turn = 1; turn < turns; turn++) runner.dispose(dispatch(empty, 0));
        await finish(dispatch(empty, 0));
      },
    },
    dispose: () => runner.dispose(memory),
  };
}

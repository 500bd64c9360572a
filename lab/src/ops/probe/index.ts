/** @file Probes: what the running device is measured with. */
import { currentDevice, tf } from '../../backend/index.ts';
import { LabError } from '../../base/index.ts';
import { runningWasm } from '../wasm/index.ts';
import { runningWebGpu } from '../webgpu/index.ts';
import { cpuProbes } from './cpu.ts';
import type { Probes } from './probe.ts';
import { tensorProbes } from './tensors.ts';
import { wasmProbes } from './wasm.ts';
import { webGpuProbes } from './webgpu.ts';

export type { Probe, Probes } from './probe.ts';

const MIB = 2 ** 20;

/**
 * The probes of the running backend. They hold memory until they are disposed of.
 *
 * @param largestBytes the largest working set; 256 MiB unless told, 16 MiB in plain JavaScript and on a GPU made of software
 * @throws LabError when no backend runs.
 */
export function deviceProbes(largestBytes?: number): Probes {
  const device = currentDevice();
  if (!device) throw new LabError('There is no device to measure yet: await startBackend() first.');
  const wasm = runningWasm();
  if (wasm && tf.getBackend() === 'wasm') return wasmProbes(wasm, largestBytes ?? 256 * MIB);
  const gpu = runningWebGpu();
  const software = device.description.includes('(software)');
  if (gpu) {
    const { limits } = gpu.runner.backend.device;
    const most = 2 ** Math.floor(Math.log2(Math.min(limits['maxStorageBufferBindingSize']!, limits['maxBufferSize']!)));
    return webGpuProbes(gpu.runner, Math.min(most, largestBytes ?? (software ? 16 : 256) * MIB), software);
  }
  if (device.name === 'cpu') return cpuProbes(largestBytes ?? 16 * MIB);
  return tensorProbes(largestBytes ?? 256 * MIB);
}

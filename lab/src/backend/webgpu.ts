/**
 * @file The GPU through WebGPU: the npm package `webgpu` brings Dawn, Chrome's implementation, into Node.
 */
import { createRequire } from 'node:module';
import * as tf from '@tensorflow/tfjs';
import { messageOf } from '../base/index.ts';
import { firstLine, Unavailable, type Backend, type LaunchOptions, type RunningBackend } from './device.ts';
import { watchFailures } from './failures.ts';
import type { GuardedDevice } from './gpu-errors.ts';
import { GpuGuard } from './gpu-guard.ts';
import { installKernels, removeKernels } from './hooks.ts';
import { hasVulkanLoader, useSoftwareGpu } from './software-gpu.ts';

/** The few members of WebGPU's objects that are used here (the full types live in the browser's library of types). */
interface Adapter {
  readonly features: ReadonlySet<string>;
  readonly limits: Readonly<Record<string, number>>;
  readonly info: Readonly<Record<'vendor' | 'architecture' | 'device' | 'description', string>>;
  requestDevice(descriptor: object): Promise<GpuDevice>;
}
interface GpuDevice extends GuardedDevice {
  destroy(): void;
}
interface Gpu {
  requestAdapter(options: object): Promise<Adapter | null>;
}

/** Features that TensorFlow.js or the lab's own kernels can use, asked for where the adapter has them. */
const FEATURES = ['timestamp-query', 'bgra8unorm-storage', 'shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'];
const LIMITS = [
  'maxComputeWorkgroupStorageSize',
  'maxComputeWorkgroupsPerDimension',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxBufferSize',
  'maxComputeWorkgroupSizeX',
  'maxComputeInvocationsPerWorkgroup',
];
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|softpipe|basic render|\bcpu\b/i;
const NO_GPU = 'no GPU was found (Dawn needs a Vulkan, Metal or Direct3D 12 driver)';
const NO_VULKAN = 'no GPU driver was found (there is no libvulkan.so.1; the package of your GPU driver brings it)';

const DAWN_OPTIONS = [
  // allow_unsafe_apis: Dawn offers experimental features, of which FEATURES names those that are taken.
  'enable-dawn-features=vulkan_enable_f16_on_nvidia,allow_unsafe_apis',
  // The shaders clear their workgroup memory by a loop: SwiftShader unrolls the extension's way and compiles ten times as long.
  // And the device tells the time as exactly as it can: for fear of spies it would round it to a fifteenth of a millisecond.
  'disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension,timestamp_quantization',
];

/** Kept alive for good: if Dawn's root object is collected, the process aborts or hangs. */
const kept: Gpu[] = [];

/** Loads Dawn and puts WebGPU's names where TensorFlow.js looks for them. */
export async function loadDawn(): Promise<Gpu> {
  const { create, globals } = await import('webgpu').catch((error: unknown) => {
    throw new Unavailable(`the npm package webgpu cannot be loaded (${firstLine(messageOf(error))})`);
  });
  Object.assign(globalThis, globals);
  const gpu = create(DAWN_OPTIONS) as unknown as Gpu;
  kept.push(gpu);
  Object.defineProperty(globalThis, 'navigator', { value: { gpu, userAgent: 'node' }, configurable: true, writable: true });
  return gpu;
}

export async function findAdapter(gpu: Gpu, softwareGpu: boolean): Promise<{ adapter: Adapter; name: string; software: boolean }> {
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' }).catch(() => null);
  if (!adapter) throw new Unavailable(NO_GPU);
  const { vendor, architecture, device, description } = adapter.info;
  const name = description || [vendor, architecture, device].filter(Boolean).join(' ') || 'unnamed GPU';
  const software = SOFTWARE.test(`${device} ${description} ${architecture}`);
  if (software && !softwareGpu) {
    throw new Unavailable(`there is only a software GPU (${name}), slower than wasm; LAB_SOFTWARE_GPU=1 takes it all the same`);
  }
  return { adapter, name, software };
}

async function openDevice(adapter: Adapter): Promise<GpuDevice> {
  return adapter.requestDevice({
    requiredFeatures: FEATURES.filter((feature) => adapter.features.has(feature)),
    requiredLimits: Object.fromEntries(LIMITS.map((limit) => [limit, adapter.limits[limit]])),
  });
}

export const webgpu: Backend = {
  name: 'webgpu',
  async launch({ softwareGpu, threads }: LaunchOptions): Promise<RunningBackend> {
    if (softwareGpu) useSoftwareGpu();
    else if (!hasVulkanLoader()) throw new Unavailable(NO_VULKAN); // Dawn would write a warning of its own
    const { adapter, name, software } = await findAdapter(await loadDawn(), softwareGpu);
    const device = await openDevice(adapter);
    const guard = new GpuGuard(device);
    // A process that ends while the device still works on something would end in a segmentation fault.
    const destroy = (): void => device.destroy();
    process.once('exit', destroy);
    const { WebGPUBackend } = createRequire(import.meta.url)('@tensorflow/tfjs-backend-webgpu') as {
      WebGPUBackend: new (device: GpuDevice, info: object) => tf.KernelBackend;
    };
    if (tf.findBackendFactory('webgpu')) tf.removeBackend('webgpu');
    tf.registerBackend('webgpu', () => guard.protect(new WebGPUBackend(device, adapter.info)));
    if (!(await tf.setBackend('webgpu'))) throw new Unavailable(`TensorFlow.js could not use the GPU ${name}`);
    await installKernels({ name: 'webgpu', threads });
    const failures = watchFailures(tf.backend());
    return {
      device: software ? `${name} (software)` : name,
      threads: 1,
      accelerated: !software,
      get lost() {
        return guard.gone;
      },
      async stop() {
        guard.stop();
        failures.stop();
        await removeKernels();
        tf.removeBackend('webgpu');
        process.off('exit', destroy);
        destroy();
      },
    };
  },
};

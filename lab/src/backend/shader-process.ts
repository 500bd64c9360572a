/**
 * @file The process in which `runShader` runs a reader's shaders: a GPU that works on an endless loop cannot be stopped, but a
 * process can be killed. It opens the best GPU there is, else the one made of software, and then takes one job after the other.
 */
import { messageOf } from '../base/index.ts';
import { hasVulkanLoader, useSoftwareGpu } from './software-gpu.ts';
import { findAdapter, loadDawn } from './webgpu.ts';
import { firstLine } from './device.ts';
import type { ShaderMessage, ShaderReply, ShaderTask } from './shader.ts';

/** The few members of WebGPU's objects that are used here. */
interface Buffer {
  mapAsync(mode: number): Promise<void>;
  getMappedRange(): ArrayBuffer;
  destroy(): void;
}
interface Pass {
  setPipeline(pipeline: object): void;
  setBindGroup(index: number, group: object): void;
  dispatchWorkgroups(x: number, y: number, z: number): void;
  end(): void;
}
interface Encoder {
  beginComputePass(): Pass;
  copyBufferToBuffer(source: Buffer, from: number, target: Buffer, to: number, bytes: number): void;
  finish(): object;
}
interface Device {
  readonly queue: { writeBuffer(buffer: Buffer, offset: number, data: ArrayBufferView): void; submit(work: object[]): void };
  createShaderModule(descriptor: object): { getCompilationInfo(): Promise<{ readonly messages: readonly ShaderMessage[] }> };
  createBindGroupLayout(descriptor: object): object;
  createPipelineLayout(descriptor: object): object;
  createComputePipelineAsync(descriptor: object): Promise<object>;
  createBindGroup(descriptor: object): object;
  createBuffer(descriptor: object): Buffer;
  createCommandEncoder(): Encoder;
  pushErrorScope(filter: string): void;
  popErrorScope(): Promise<{ readonly message: string } | null>;
}

// WebGPU's flags, by their values in the specification.
const STORAGE = 0x80;
const COPY_FROM = 0x04;
const COPY_TO = 0x08;
const MAP_READ = 0x01;
const COMPUTE = 0x04;

async function open(software: boolean): Promise<{ device: Device; name: string }> {
  const { adapter, name } = await findAdapter(await loadDawn(), software);
  return { device: (await adapter.requestDevice({})) as unknown as Device, name: software ? `${name} (software)` : name };
}

async function openBest(): Promise<{ device: Device; name: string }> {
  if (process.env['LAB_SOFTWARE_GPU'] !== '1' && hasVulkanLoader()) {
    try {
      return await open(false);
    } catch {
      // There is no hardware for it: the one made of software has its turn.
    }
  }
  useSoftwareGpu();
  return open(true);
}

async function run(device: Device, { code, inputs, outputs, workgroups }: ShaderTask): Promise<ShaderReply> {
  device.pushErrorScope('validation'); // where a module does not compile, its messages say more
  const module = device.createShaderModule({ code });
  const { messages } = await module.getCompilationInfo();
  await device.popErrorScope();
  const errors = messages.filter(({ type }) => type === 'error');
  if (errors.length > 0) {
    const plain = ({ message, type, lineNum, linePos, length }: ShaderMessage) => ({ message, type, lineNum, linePos, length });
    return { kind: 'compile', messages: errors.map(plain) };
  }
  device.pushErrorScope('validation');
  const results = await dispatch(device, module, inputs, outputs, workgroups).catch((error: unknown) => messageOf(error));
  const problem = await device.popErrorScope();
  if (problem) return { kind: 'refused', message: problem.message };
  return typeof results === 'string' ? { kind: 'refused', message: results } : { kind: 'done', outputs: results };
}

async function dispatch(
  device: Device,
  module: object,
  inputs: ShaderTask['inputs'],
  outputs: readonly number[],
  [x, y = 1, z = 1]: ShaderTask['workgroups'],
): Promise<Float32Array[]> {
  const kinds = [...outputs.map(() => 'storage'), ...inputs.map(() => 'read-only-storage')];
  // Declared here and not derived from the shader, which may leave a binding unused.
  const layout = device.createBindGroupLayout({
    entries: kinds.map((type, binding) => ({ binding, visibility: COMPUTE, buffer: { type } })),
  });
  const pipeline = await device.createComputePipelineAsync({
    layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
    compute: { module, entryPoint: 'main' },
  });
  const make = (bytes: number, usage: number): Buffer => device.createBuffer({ size: Math.max(16, bytes), usage });
  const results = outputs.map((length) => make(4 * length, STORAGE | COPY_FROM));
  const given = inputs.map((data) => make(data.byteLength, STORAGE | COPY_TO));
  given.forEach((buffer, i) => device.queue.writeBuffer(buffer, 0, inputs[i]!));
  const readable = outputs.map((length) => make(4 * length, MAP_READ | COPY_TO));
  const entries = [...results, ...given].map((buffer, binding) => ({ binding, resource: { buffer } }));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout, entries }));
  pass.dispatchWorkgroups(x, y, z);
  pass.end();
  results.forEach((buffer, i) => encoder.copyBufferToBuffer(buffer, 0, readable[i]!, 0, Math.max(16, 4 * outputs[i]!)));
  device.queue.submit([encoder.finish()]);
  await Promise.all(readable.map((buffer) => buffer.mapAsync(MAP_READ)));
  const numbers = readable.map((buffer, i) => new Float32Array(buffer.getMappedRange().slice(0, 4 * outputs[i]!)));
  for (const buffer of [...results, ...given, ...readable]) buffer.destroy();
  return numbers;
}

async function serve(): Promise<void> {
  const { device, name } = await openBest();
  process.on('message', (task: ShaderTask) => {
    run(device, task).then(
      (reply) => process.send!(reply),
      (error: unknown) => process.send!({ kind: 'refused', message: messageOf(error) } satisfies ShaderReply),
    );
  });
  process.send!({ kind: 'ready', device: name } satisfies ShaderReply);
}

// Whoever asked is gone: an orderly end could wait for the GPU for ever.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
serve().catch((error: unknown) =>
  process.send!({ kind: 'unavailable', message: firstLine(messageOf(error)) } satisfies ShaderReply),
);

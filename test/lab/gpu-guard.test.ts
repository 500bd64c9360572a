/**
 * @file What a GPU refuses, or has no memory for: the error comes where the fault is, and nothing that was not computed can be read.
 */
import {
  GpuGuard,
  Random,
  ShaderRunner,
  startBackend,
  stopBackend,
  tf,
  valueAndGradients,
  type Scalar,
  type Tensor,
  type WebGpuBackend,
} from 'lab';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { deviceErrorOf } from './device-error.ts';

const hasSoftwareGpu = process.platform === 'linux' && process.arch === 'x64';
const random = new Random(3);
/** So many numbers that TensorFlow.js does not compute them on the processor. */
const many = 3000;
const numbers = (n = many): Tensor => tf.tensor(random.normals(n));

interface GpuDevice {
  createSampler(descriptor: object): object;
}
const gpu = (): WebGpuBackend & { readonly device: GpuDevice } => tf.backend() as never;
const gpuBytes = (): number => (tf.memory() as unknown as { numBytesInGPU: number }).numBytesInGPU;

describe.runIf(hasSoftwareGpu)('an operation that the GPU refuses', () => {
  beforeAll(() => startBackend({ backend: 'webgpu', softwareGpu: true }));
  beforeEach(() => tf.engine().startScope());
  afterEach(() => tf.engine().endScope());
  afterAll(stopBackend);

  /** WebGPU learns that these are too many only when the queue is handed over: too late for an exception of the call. */
  const tooMany = (inputs: readonly Tensor[] = []): Tensor => {
    const code = `@group(0) @binding(0) var<storage, read_write> y: array<f32>;
      ${inputs.map((_, i) => `@group(0) @binding(${i + 1}) var<storage, read> x${i}: array<f32>;`).join('\n')}
      @group(0) @binding(${inputs.length + 1}) var<uniform> scale: f32;
      @compute @workgroup_size(1) fn main() { y[0] = scale; ${inputs.map((_, i) => `y[0] = x${i}[0];`).join(' ')} }`;
    const [info] = new ShaderRunner(gpu()).run({
      key: `too many ${inputs.length}`,
      code: () => code,
      inputs,
      outputs: [[many]],
      uniforms: [{ type: 'float32', data: [1] }],
      workgroups: [1_000_000, 1, 1],
    });
    return tf.engine().makeTensorFromTensorInfo(info!);
  };
  const flush = (): void => {
    gpu().ensureCommandEncoderReady();
    gpu().endComputePassEncoder();
    gpu().submitQueue();
  };
  const refusal = /The GPU refused one of the operations .*'too many 0'.*workgroup/s;

  it('throws where a shader of TensorFlow.js does not compile, each time, and spoils nothing', async () => {
    class BrokenProgram {
      readonly variableNames: string[] = [];
      readonly outputShape = [many];
      readonly shaderKey = 'broken';
      readonly workgroupSize = [1, 1, 1];
      readonly dispatchLayout = { x: [0] };
      readonly dispatch = [1, 1, 1];
      getUserCode(): string {
        return 'fn main( {';
      }
    }
    const kernel = { kernelName: 'BrokenInTest', backendName: 'webgpu' };
    type Backend = { runWebGPUProgram(program: object, inputs: [], dtype: string): tf.TensorInfo };
    const run = (backend: unknown): tf.TensorInfo => (backend as Backend).runWebGPUProgram(new BrokenProgram(), [], 'float32');
    tf.registerKernel({ ...kernel, kernelFunc: ({ backend }) => run(backend) });
    const before = numbers().mul(2);
    flush();
    const bytes = gpuBytes();
    for (const _ of [1, 2]) {
      const error = await deviceErrorOf(() => tf.engine().runKernel('BrokenInTest', {}));
      expect([error.kind, error.message]).toEqual(['refused', expect.stringMatching(/'BrokenProgram'.*WGSL/s)]);
    }
    tf.unregisterKernel(kernel.kernelName, kernel.backendName);
    flush();
    expect(gpuBytes()).toBe(bytes);
    expect((await before.sub(before).abs().max().data())[0]).toBe(0);
  });

  it('says which operation was given tensors that do not fit it', async () => {
    const x = numbers().mul(2);
    const runner = new ShaderRunner(gpu());
    const oneBinding = '@group(0) @binding(0) var<storage, read_write> y: array<f32>;';
    const given = {
      key: 'misfit',
      code: () => `${oneBinding} @compute @workgroup_size(1) fn main() { y[0] = 1; }`,
      inputs: [x],
      outputs: [[1]],
      uniforms: [{ type: 'float32', data: [1] }],
      workgroups: [1, 1, 1],
    } as const;
    expect((await deviceErrorOf(() => runner.run(given))).message).toMatch(/refused to give tensors to 'misfit'/);
    expect((await x.data()).length).toBe(many);
  });

  it('marks what its queue was to make: itself, what was made from it, and everything beside it', async () => {
    const good = numbers().mul(2);
    const values = await good.add(0).data();
    const spoiled = tooMany();
    const beside = good.add(1);
    const derived: Record<string, Tensor> = {
      reshaped: spoiled.reshape([2, many / 2]),
      cloned: spoiled.clone(),
      'made from it': spoiled.mul(2),
      concatenated: tf.concat([good, spoiled]),
      sliced: tf.concat([good, spoiled]).slice([many - 1], [2]),
      'three steps away': spoiled.add(1).matMul.call(spoiled.reshape([1, many]), tf.ones([many, 1])),
      beside,
    };
    for (const [name, tensor] of Object.entries({ spoiled, ...derived })) {
      expect((await deviceErrorOf(() => tensor.data())).message, name).toMatch(refusal);
      expect(() => tensor.dataSync(), name).toThrow(refusal);
    }
    expect(await good.data()).toEqual(values);
  });

  it('does not keep a tensor that was there before from being read', async () => {
    const x = numbers();
    const good = x.mul(2);
    flush();
    const spoiled = tooMany();
    const [read, expected] = [await good.data(), await x.data()]; // the queue with the fault goes out on the way
    expect([...read]).toEqual([...expected].map((value) => 2 * value));
    expect((await deviceErrorOf(() => spoiled.data())).message).toMatch(refusal);
  });

  it('lets nobody compute with them afterwards, forwards or backwards', async () => {
    const good = numbers().mul(2);
    flush();
    const spoiled = tooMany([good]);
    flush();
    const named = /'too many 1'/;
    expect(() => spoiled.mul(2)).toThrow(named);
    expect(() => tf.concat([good, spoiled.reshape([many])])).toThrow(named);
    const own = { key: 'own', code: () => '', inputs: [spoiled], outputs: [[1]], uniforms: [], workgroups: [1, 1, 1] } as const;
    expect(() => new ShaderRunner(gpu()).run(own)).toThrow(named);
    const variable = tf.variable(good);
    const loss = (): Scalar => variable.mul(spoiled).sum();
    expect(() => valueAndGradients(loss, [variable])).toThrow(named);
    expect(() => tf.variableGrads(loss, [variable])).toThrow(named);
    variable.dispose();
  });

  it('also marks gradients that were still in the queue, and tensors that were on their way to the GPU', async () => {
    const variable = tf.variable(numbers().mul(2));
    flush();
    const spoiled = tooMany();
    const uploaded = numbers();
    const loss = (): Scalar => variable.mul(spoiled).add(uploaded).square().sum();
    let failed = 0;
    try {
      const { value, gradients } = valueAndGradients(loss, [variable]);
      for (const tensor of [value, gradients.get(variable)!]) {
        expect((await deviceErrorOf(() => tensor.data())).message).toMatch(refusal);
        failed++;
      }
    } catch (error) {
      expect((error as Error).message).toMatch(refusal); // the queue went out on the way
      failed++;
    }
    expect(failed).toBeGreaterThan(0);
    expect((await variable.data()).length).toBe(many);
    variable.dispose();
  });

  it('marks a tensor that was to be changed in place, which then is neither old nor new', async () => {
    const changed = numbers().mul(2);
    await changed.data(); // what was read before is old as well
    const code = `@group(0) @binding(0) var<storage, read_write> x: array<f32>; @group(0) @binding(1) var<uniform> seven: f32;
      @compute @workgroup_size(1) fn main() { x[0] = seven; }`;
    const change = (workgroups: number): unknown =>
      new ShaderRunner(gpu()).run({
        key: 'change',
        code: () => code,
        inputs: [],
        outputs: [],
        changes: [changed],
        uniforms: [{ type: 'float32', data: [7] }],
        workgroups: [workgroups, 1, 1],
      });
    const reading = changed.data();
    change(1);
    expect((await reading)[0]).not.toBe(7);
    expect((await changed.data())[0]).toBe(7);
    change(1_000_000);
    expect((await deviceErrorOf(() => changed.data())).message).toMatch(/'change'/);
    expect(() => change(1)).toThrow(/'change'/);
  });

  it('does not stick to memory that is used again', async () => {
    const spoiled = tooMany();
    flush();
    spoiled.dispose();
    const next = numbers().mul(0).add(3);
    expect(new Set(await next.data())).toEqual(new Set([3]));
  });

  it('that nobody can name marks all that the GPU had made so far, and not what is made later', async () => {
    const made = numbers().mul(2);
    const uploaded = tf.tensor([1, 2, 3]);
    gpu().device.createSampler({ lodMinClamp: -1 });
    const error = await deviceErrorOf(() => made.data());
    expect(error.message).toMatch(/The GPU refused a call outside of all operations.*LOD/is);
    expect(() => made.add(1)).toThrow(error.message);
    expect([...(await uploaded.data())]).toEqual([1, 2, 3]);
    const later = numbers();
    expect(new Set(await later.mul(0).data()).size).toBeLessThan(3);
    expect((await later.add(1).data()).length).toBe(many); // it is on the GPU since
    const reading = numbers().mul(2).data();
    gpu().device.createSampler({ lodMinClamp: -2 });
    await expect(reading).rejects.toThrow(/-2/);
  });

  it('for want of memory says how much was asked for, leaks nothing, and lets a smaller one work', async () => {
    const before = numbers().mul(2);
    flush();
    const [bytes, tensors] = [gpuBytes(), tf.memory().numTensors];
    const error = await deviceErrorOf(() => tf.tidy(() => void before.reshape([many, 1]).mul(tf.ones([1, 200_000]))));
    expect(error.kind).toBe('memory');
    expect(error.message).toMatch(
      /^Multiply: The GPU has no room for 2,288\.\d MiB more \(tensors take .* MiB there\): .*smaller batch.*checkpoint.*another backend/,
    );
    flush();
    expect([gpuBytes(), tf.memory().numTensors]).toEqual([bytes, tensors]);
    expect((await before.reshape([many, 1]).mul(tf.ones([1, 2])).sub(0).data()).length).toBe(2 * many);
  });
});

describe('a guarded device without memory', () => {
  type Listener = (event: { error: { message: string }; preventDefault(): void }) => void;

  /** Answers like Dawn: the event comes while the call is running, and the object is there all the same. */
  class FullDevice {
    readonly limits = { maxBufferSize: 2 ** 30 };
    readonly lost = new Promise<never>(() => {});
    room = 0;
    #listener: Listener = () => {};
    readonly backend = Object.fromEntries(
      ['recordAndSubmit', 'uploadToGPU', 'submitQueue', 'read', 'readSync', 'readToGPU'].map((name) => [name, () => {}]),
    );
    constructor(kept: readonly number[]) {
      const buffers = kept.map((size) => ({ size, destroy: () => void (this.room += size) }));
      const freeBuffers = new Map([['any', buffers]]);
      const bufferManager = { freeBuffers, numFreeBuffers: kept.length, numBytesAllocated: 0, numBytesUsed: 2 ** 21 };
      new GpuGuard(this).protect(Object.assign(this.backend, { bufferManager }));
    }
    addEventListener(_: string, listener: Listener): void {
      this.#listener = listener;
    }
    createShaderModule(): object {
      return {};
    }
    createComputePipeline(): object {
      return {};
    }
    createBindGroup(): object {
      return {};
    }
    createBuffer({ size }: { readonly size: number }): object {
      const error = { message: 'Out of memory.\n - While calling [Device].CreateBuffer' };
      if (size > this.room) this.#listener({ error, preventDefault() {} });
      return { size };
    }
  }

  it('gives up the buffers that were kept for later before it says so', () => {
    expect(new FullDevice([600, 400]).createBuffer({ size: 1000 })).toEqual({ size: 1000 });
    for (const kept of [[], [600]]) {
      const message = 'The GPU has no room for 1 MiB more (tensors take 2 MiB there): Out of memory. Dispose';
      expect(() => new FullDevice(kept).createBuffer({ size: 2 ** 20 })).toThrow(message);
    }
  });
});

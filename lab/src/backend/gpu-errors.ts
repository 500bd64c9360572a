/**
 * @file The errors of a GPU, caught where they are made. WebGPU reports them as events and goes on; Dawn sends such an event
 * while the call that made the error is still running, so that here it becomes an exception of that call.
 */
import { DeviceError } from './device.ts';
import { LESS_MEMORY } from './failures.ts';

export interface GpuError {
  readonly message: string;
}

interface ErrorEvent {
  readonly error: GpuError;
  /** Keeps Dawn from printing it. */
  preventDefault(): void;
}

interface Labelled {
  readonly label?: string;
}

/** WebGPU's device, as far as its errors are caught. */
export interface GuardedDevice {
  readonly limits: Readonly<Record<string, number>>;
  readonly lost: Promise<{ readonly reason: string; readonly message: string }>;
  addEventListener(type: 'uncapturederror', listener: (event: ErrorEvent) => void): void;
  createShaderModule(descriptor: Labelled): object;
  createComputePipeline(descriptor: Labelled): object;
  createBindGroup(descriptor: object): object;
  createBuffer(descriptor: { readonly size: number }): object;
}

/** What buffers take now, and how to get some of it back. */
export interface GpuMemory {
  used(): number;
  /** Destroys the buffers that were kept for later. @returns their bytes */
  release(): number;
}

export class GpuErrors {
  readonly #device: GuardedDevice;
  readonly #memory: GpuMemory;
  /** Errors of the innermost call that is being watched; undefined outside of one. */
  #caught: GpuError[] | undefined;
  /** What an error says that it was about to do. */
  #doing = 'an operation';

  /** @param fromNowhere is told of errors outside of all calls that are watched */
  constructor(device: GuardedDevice, memory: GpuMemory, fromNowhere: (error: DeviceError) => void) {
    this.#device = device;
    this.#memory = memory;
    device.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      if (this.#caught) this.#caught.push(event.error);
      else fromNowhere(refused('a call outside of all operations', [event.error]));
    });
    const shader = ({ label = '' }: Labelled): string => `the shader '${label}'`;
    device.createShaderModule = this.#throwing(device.createShaderModule.bind(device), shader);
    device.createComputePipeline = this.#throwing(device.createComputePipeline.bind(device), shader);
    device.createBindGroup = this.#throwing(device.createBindGroup.bind(device), () => `to give tensors to ${this.#doing}`);
    const createBuffer = device.createBuffer.bind(device);
    device.createBuffer = (descriptor) => this.#createBuffer(descriptor.size, () => createBuffer(descriptor));
  }

  /** Runs the call and collects the errors that it makes. */
  during<T>(call: () => T): [result: T, errors: readonly GpuError[]] {
    const outer = this.#caught;
    const errors: GpuError[] = [];
    this.#caught = errors;
    try {
      return [call(), errors];
    } finally {
      this.#caught = outer;
    }
  }

  /** The same, and errors on the way say that they were made for it. */
  doing<T>(what: string, call: () => T): [result: T, errors: readonly GpuError[]] {
    const outer = this.#doing;
    this.#doing = what;
    try {
      return this.during(call);
    } finally {
      this.#doing = outer;
    }
  }

  #throwing<D>(create: (descriptor: D) => object, what: (descriptor: D) => string): (descriptor: D) => object {
    return (descriptor) => {
      const [made, errors] = this.during(() => create(descriptor));
      if (errors.length > 0) throw refused(what(descriptor), errors);
      return made;
    };
  }

  /** Buffers that are kept for later are given up before memory is said to be out. */
  #createBuffer(size: number, create: () => object): object {
    const most = this.#device.limits['maxBufferSize']!;
    if (size > most) throw this.#noMemory(size, `the largest buffer that it takes has ${mebibytes(most)} MiB`);
    const [first, errors] = this.during(create);
    if (errors.length === 0) return first;
    if (this.#memory.release() === 0) throw this.#noMemory(size, firstLineOf(errors));
    const [second, again] = this.during(create);
    if (again.length > 0) throw this.#noMemory(size, firstLineOf(again));
    return second;
  }

  #noMemory(size: number, reason: string): DeviceError {
    const taken = `tensors take ${mebibytes(this.#memory.used())} MiB there`;
    const wanted = `The GPU has no room for ${mebibytes(size)} MiB more (${taken})`;
    return new DeviceError('memory', `${wanted}: ${reason}. ${LESS_MEMORY}`);
  }
}

/** @param what was refused: `the shader 'softmax'` */
export function refused(what: string, errors: readonly GpuError[]): DeviceError {
  const messages = [...new Set(errors.map(({ message }) => message.trim()))].join('\n');
  return new DeviceError('refused', `The GPU refused ${what}, and there is no result: ${messages}`);
}

const mebibytes = (bytes: number): string => (bytes / 2 ** 20).toLocaleString('en', { maximumFractionDigits: 1 });

const firstLineOf = (errors: readonly GpuError[]): string => errors[0]!.message.trim().split('\n')[0]!.replace(/\.$/, '');

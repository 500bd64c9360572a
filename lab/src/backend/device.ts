/**
 * @file What a backend is: the part of the machine that holds the tensors and runs the operations on them.
 */
import { LabError } from '../base/index.ts';

/** From the usual favourite to the last resort. */
export const BACKEND_NAMES = ['tensorflow', 'webgpu', 'wasm', 'cpu'] as const;

export type BackendName = (typeof BACKEND_NAMES)[number];

/** What came of trying one backend. */
export interface BackendAttempt {
  readonly name: BackendName;
  readonly works: boolean;
  /** What it runs on: `NVIDIA H100`, `4 threads, relaxed SIMD`; empty when it does not work. */
  readonly device: string;
  /** Why it does not work or was not chosen, and what to do to get it; empty when there is nothing to say. */
  readonly advice: string;
}

/** The backend that runs, and what was tried before it. */
export interface Device {
  readonly name: BackendName;
  readonly description: string;
  /** Threads that compute at the same time; 1 where the backend does not tell. */
  readonly threads: number;
  readonly attempts: readonly BackendAttempt[];
  /** One line: `wasm · 4 threads, relaxed SIMD; webgpu: no GPU was found`. */
  toString(): string;
}

/** What a backend may be told at its start. */
export interface LaunchOptions {
  readonly threads: number;
  readonly softwareGpu: boolean;
}

/** A backend that has started and is the one TensorFlow.js uses. */
export interface RunningBackend {
  readonly device: string;
  readonly threads: number;
  /** Whether real hardware made for this (a GPU) does the work. */
  readonly accelerated: boolean;
  /** Whether the device has failed for good, so that only a new start helps. */
  readonly lost?: boolean;
  /** Gives everything back; tensors that live there are lost. */
  stop(): Promise<void>;
}

/** One way to run tensors; `launch` throws `Unavailable` where it cannot. */
export interface Backend {
  readonly name: BackendName;
  launch(options: LaunchOptions): Promise<RunningBackend>;
}

/** A backend cannot start here; the message is the advice shown to the reader. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable';
}

/**
 * The device could not do what was asked of it. The process goes on, and so does the backend unless it is lost.
 *
 * - lost: the device is gone, and the tensors that lived there with it
 * - memory: it has no room; what was there before is intact
 * - refused: an operation is at fault, and its result does not exist
 */
export class DeviceError extends LabError {
  readonly kind: 'lost' | 'memory' | 'refused';

  constructor(kind: DeviceError['kind'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** The first line of an error, without the trailing full stop: fit for a table. */
export function firstLine(text: string): string {
  return (text.split('\n').find((line) => line.trim() !== '') ?? '').trim().replace(/[.:]$/, '');
}

/**
 * @file Messages between the grader's process and the one that runs a student's code: a JSON header and raw bytes.
 * A frame is [length of the rest: u32][length of the header: u32][header: UTF-8][bytes], numbers little-endian.
 *
 * What comes from the student's side can be anything: a frame that is too long or malformed is refused, never believed.
 */
import { LabError } from '../../base/index.ts';
import type { Encoded } from './codec.ts';

/** The header of a message. Both sides ask and answer in the same words. */
export type Message =
  /** Evaluates a cell; answered by `return` of what is wrong with it, or undefined. */
  | { readonly kind: 'cell'; readonly call: number; readonly title: string; readonly source: string }
  /** Asks for the answers by these names; answered by `return` of an object that holds those there are. */
  | { readonly kind: 'names'; readonly call: number; readonly session: number; readonly names: readonly string[] }
  | {
      readonly kind: 'call';
      readonly call: number;
      readonly session: number;
      readonly target: number;
      readonly args: Encoded;
      /** Whether gradients may be asked for later. */
      readonly traced: boolean;
      readonly changes: Encoded;
    }
  /** Asks for the gradient of tensor `of` for tensor `to`, given the one that arrives from behind. */
  | {
      readonly kind: 'gradient';
      readonly call: number;
      readonly session: number;
      readonly of: number;
      readonly to: number;
      readonly upstream: Encoded;
    }
  | {
      readonly kind: 'return' | 'throw';
      readonly call: number;
      readonly session: number;
      readonly value: Encoded;
      readonly changes: Encoded;
    }
  /** What became of a promise that was handed over. */
  | {
      readonly kind: 'resolve' | 'reject';
      readonly promise: number;
      readonly session: number;
      readonly value: Encoded;
      readonly changes: Encoded;
    }
  /** The exercise is over: sessions, functions and tensors may go. */
  | { readonly kind: 'forget' };

export interface Frame {
  readonly message: Message;
  readonly bytes: Uint8Array;
}

/** More than any exercise has to say at once. */
export const MOST_HEADER = 16 * 2 ** 20;
export const MOST_FRAME = 128 * 2 ** 20;

export function packFrame({ message, bytes }: Frame): Uint8Array {
  const header = Buffer.from(JSON.stringify(message), 'utf8');
  const size = 4 + header.length + bytes.length;
  if (header.length > MOST_HEADER || size > MOST_FRAME) throw new LabError('more was handed over at once than can be graded');
  const frame = Buffer.allocUnsafe(4 + size);
  frame.writeUInt32LE(size, 0);
  frame.writeUInt32LE(header.length, 4);
  frame.set(header, 8);
  frame.set(bytes, 8 + header.length);
  return frame;
}

/**
 * @param rest a frame without its first length
 * @throws LabError when it is malformed
 */
export function unpackFrame(rest: Uint8Array): Frame {
  const buffer = Buffer.from(rest.buffer, rest.byteOffset, rest.byteLength);
  const length = buffer.length < 4 ? MOST_FRAME : buffer.readUInt32LE(0);
  if (length > buffer.length - 4 || length > MOST_HEADER) throw new LabError('a malformed message');
  try {
    const message = JSON.parse(buffer.toString('utf8', 4, 4 + length)) as Message;
    if (typeof message !== 'object' || message === null || typeof message.kind !== 'string') throw new Error('no message');
    return { message, bytes: buffer.subarray(4 + length) };
  } catch {
    throw new LabError('a malformed message');
  }
}

/** Cuts a stream of bytes into frames. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #held = 0;

  /**
   * @returns the frames that are complete now, without their first length
   * @throws LabError when one announces more than is allowed
   */
  push(chunk: Buffer): Uint8Array[] {
    this.#chunks.push(chunk);
    this.#held += chunk.length;
    const frames: Uint8Array[] = [];
    for (let size = this.#size(); size !== undefined && this.#held >= 4 + size; size = this.#size()) {
      const all = this.#joined();
      frames.push(Uint8Array.from(all.subarray(4, 4 + size)));
      this.#chunks = [all.subarray(4 + size)];
      this.#held -= 4 + size;
    }
    return frames;
  }

  #size(): number | undefined {
    if (this.#held < 4) return undefined;
    const size = (this.#chunks[0]!.length >= 4 ? this.#chunks[0]! : this.#joined()).readUInt32LE(0);
    if (size > MOST_FRAME) throw new LabError('more was handed over at once than can be graded');
    return size;
  }

  #joined(): Buffer {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0]!;
  }
}

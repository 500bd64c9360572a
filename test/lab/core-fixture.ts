/** @file Reads the fixtures that PyTorch and transformers made (test/oracle), and compares with them. */
import { readFileSync } from 'node:fs';
import { startBackend, tf, type BackendName, type Tensor } from 'lab';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { hasTensorFlow } from './tensorflow.ts';

export interface FixtureTensor {
  readonly shape: number[];
  readonly data: string;
  readonly dtype?: 'int32';
}

export function readFixture<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../fixtures/core/${name}.json`, import.meta.url), 'utf8')) as T;
}

export function tensorOf<T extends Tensor>({ shape, data, dtype }: FixtureTensor): T {
  const { buffer } = Uint8Array.from(Buffer.from(data, 'base64'));
  const values = dtype === 'int32' ? new Int32Array(buffer) : new Float32Array(buffer);
  return tf.tensor(values, shape, dtype ?? 'float32') as Tensor as T;
}

/**
 * ‖received − expected‖ / ‖expected‖ must be at most the tolerance, and the shapes equal.
 *
 * @param floor stands in for a smaller ‖expected‖: where the truth is zero, rounding is all there is
 */
export async function expectNear(
  received: Tensor,
  expected: Tensor | FixtureTensor,
  tolerance = 1e-5,
  what = '',
  floor = 0,
): Promise<void> {
  const wanted = expected instanceof tf.Tensor ? expected : tensorOf(expected);
  expect(received.shape, what).toEqual(wanted.shape);
  const [got, want] = [await received.data(), await wanted.data()];
  expect(relativeError(got, want, floor), what).toBeLessThanOrEqual(tolerance);
}

export function relativeError(received: ArrayLike<number>, expected: ArrayLike<number>, floor = 0): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (received[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return Math.sqrt(difference) / (Math.max(Math.sqrt(norm), floor) || 1);
}

/**
 * The same tests on the backends that every machine has, and on TensorFlow where it is, in a scope that lets go of the tests'
 * own tensors at the end.
 */
export function onEveryBackend(tests: (backend: BackendName) => void): void {
  describe.each<BackendName>(['cpu', 'wasm', ...(hasTensorFlow() ? (['tensorflow'] as const) : [])])('on %s', (backend) => {
    beforeAll(async () => {
      await startBackend({ backend, threads: 2 });
      tf.engine().startScope();
    });
    afterAll(() => tf.engine().endScope());
    tests(backend);
  });
}

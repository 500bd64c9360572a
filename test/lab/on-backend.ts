/** @file A backend for the tests of one `describe`. */
import { startBackend, stopBackend, tf, type BackendOptions } from 'lab';
import { afterAll, beforeAll } from 'vitest';

/**
 * In the `describe` that calls it that backend runs, in a scope that lets go of the tests' own tensors at the end.
 *
 * @param flavour of the wasm kernels, '' for the one that would be taken
 */
export function onBackend(options: BackendOptions, flavour = ''): void {
  beforeAll(async () => {
    await stopBackend();
    process.env['LAB_WASM_FLAVOUR'] = flavour;
    await startBackend(options);
    tf.engine().startScope();
  });
  afterAll(async () => {
    tf.engine().endScope();
    await stopBackend();
    delete process.env['LAB_WASM_FLAVOUR'];
  });
}

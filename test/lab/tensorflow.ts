/**
 * @file Whether the backend `tensorflow` is there: `npm run native` makes it, and then the tests of the library run on it too.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** Without loading anything: the binding stays in the process for good. */
export function hasTensorFlow(): boolean {
  try {
    const folder = dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-node-gpu/package.json'));
    return existsSync(join(folder, 'lib', 'napi-v8', 'tfjs_binding.node'));
  } catch {
    return false;
  }
}

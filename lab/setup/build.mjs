/**
 * @file Builds `lab/dist` from `lab/src`: TypeScript 7 for the library, AssemblyScript for the kernels.
 * What has not changed is not built again.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** @returns {boolean} whether the library compiles without an error */
export function buildLibrary() {
  // By path: node_modules/.bin/tsc is the TypeScript that tslab brought along.
  const tsc = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'lab/tsconfig.json'], { cwd: root, stdio: 'inherit' });
  return tsc.status === 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = buildLibrary() ? 0 : 1;

// @ts-check
/**
 * @file `npm run lab -- COMMAND …`: starts the compiled command line, after building the library if its sources have changed.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildLibrary, isBuilt } from './build.mjs';

const root = fileURLToPath(new URL('../../', import.meta.url));
const main = path.join(root, 'lab/dist/cli/main.js');

if (!existsSync(path.join(root, 'node_modules/typescript'))) {
  console.error('The npm packages are not installed yet: run npm start or npm install first.');
  process.exit(2);
}
if (!isBuilt()) {
  console.error('Building the library …');
  // The command may still run when the error is somewhere else.
  if (!buildLibrary() && !existsSync(main)) process.exit(2);
}
// From here on as if it had been called itself.
process.argv[1] = main;
await import(main);

// @ts-check
/**
 * @file `npm run lab -- COMMAND …`: starts the compiled command line, after building the library if its sources are newer.
 */
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
const main = path.join(root, 'lab/dist/cli/main.js');

/** Whether a source was changed after its compiled file. */
function isStale() {
  const sources = path.join(root, 'lab/src');
  return readdirSync(sources, { recursive: true, encoding: 'utf8' }).some((name) => {
    if (!name.endsWith('.ts') || name.endsWith('.as.ts')) return false;
    const compiled = path.join(root, 'lab/dist', name.replace(/\.ts$/, '.js'));
    return !existsSync(compiled) || statSync(compiled).mtimeMs < statSync(path.join(sources, name)).mtimeMs;
  });
}

if (!existsSync(path.join(root, 'node_modules/typescript'))) {
  console.error('The npm packages are not installed yet: run npm start or npm install first.');
  process.exit(2);
}
if (isStale()) {
  console.error('Building the library …');
  const { buildLibrary } = await import('./build.mjs');
  // The command may still run when the error is somewhere else.
  if (!buildLibrary() && !existsSync(main)) process.exit(2);
}
// From here on as if it had been called itself.
process.argv[1] = main;
await import(main);

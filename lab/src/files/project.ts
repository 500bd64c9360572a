/**
 * @file Where the project keeps things: its root, and `.lab/`, the folder for what is downloaded or trained here.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LabError } from '../base/index.ts';

/**
 * The folder that holds notebooks/, lab/ and test/, found from where this module lies, whatever the working directory is.
 *
 * @throws LabError when the library was taken out of its project.
 */
export function projectRoot(): string {
  const start = dirname(fileURLToPath(import.meta.url));
  for (let folder = start; dirname(folder) !== folder; folder = dirname(folder)) {
    const manifest = join(folder, 'package.json');
    if (existsSync(manifest) && 'workspaces' in (JSON.parse(readFileSync(manifest, 'utf8')) as object)) return folder;
  }
  throw new LabError(`No project folder (a package.json with workspaces) above ${start}: run the lab from its own checkout.`);
}

/** A path inside `.lab/`, which git ignores: `labFolder('checkpoints')`. */
export function labFolder(...parts: readonly string[]): string {
  return join(projectRoot(), '.lab', ...parts);
}

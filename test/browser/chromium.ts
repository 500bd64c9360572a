/**
 * @file A real Chromium for the tests: the one that CHROMIUM names, one on the PATH, or (also by CHROMIUM=bundled) the one
 * that the npm package @sparticuz/chromium carries, unpacked into `.lab/chromium` with its libraries and fonts: no root needed.
 */
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createBrotliDecompress } from 'node:zlib';
import { findProgram, root } from '../../lab/setup/processes.mjs';

export interface Chromium {
  readonly executable: string;
  readonly env: Record<string, string>;
  /** Where it came from, for people. */
  readonly origin: string;
}

const onPath = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const carrier = path.join(root, 'node_modules', '@sparticuz', 'chromium');

/** @throws Error that says how to get one, where there is none. */
export async function findChromium(): Promise<Chromium> {
  const given = process.env['CHROMIUM'];
  if (given !== undefined && given !== 'bundled') {
    if (!existsSync(given)) throw new Error(`CHROMIUM names ${given}, which does not exist.`);
    return { executable: given, env: environment(), origin: `${given} (from CHROMIUM)` };
  }
  for (const name of onPath) {
    const found = given === 'bundled' ? undefined : findProgram(name);
    if (found) return { executable: found, env: environment(), origin: `${found} (from the PATH)` };
  }
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(
      'There is no Chromium on the PATH. Install one, or name it: CHROMIUM=/path/to/chrome npm test -- test/browser',
    );
  }
  return unpackedChromium();
}

function environment(more: Record<string, string> = {}): Record<string, string> {
  const own = Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]));
  // A home of its own: settings and caches of a browser belong in no test, and the tests' belong in nobody's home.
  const home = path.join(root, '.lab', 'chromium', 'home');
  mkdirSync(home, { recursive: true });
  return { ...Object.fromEntries(own), HOME: home, ...more };
}

async function unpackedChromium(): Promise<Chromium> {
  const { version } = JSON.parse(readFileSync(path.join(carrier, 'package.json'), 'utf8')) as { version: string };
  const folder = path.join(root, '.lab', 'chromium', version);
  if (!existsSync(folder)) {
    const unfinished = `${folder}.${process.pid}`;
    await unpackInto(unfinished);
    // Somebody else may have been faster.
    if (existsSync(folder)) rmSync(unfinished, { recursive: true });
    else renameSync(unfinished, folder);
  }
  writeFileSync(path.join(folder, 'fonts.conf'), fontsConfiguration(folder));
  const env = environment({
    LD_LIBRARY_PATH: path.join(folder, 'al2023', 'lib'),
    FONTCONFIG_FILE: path.join(folder, 'fonts.conf'),
  });
  return { executable: path.join(folder, 'chromium'), env, origin: `@sparticuz/chromium ${version}, unpacked in .lab/chromium` };
}

async function unpackInto(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true });
  // tar-fs belongs to the carrier, so it is looked up from there.
  const tar = createRequire(path.join(carrier, 'package.json'))('tar-fs') as { extract(folder: string): NodeJS.WritableStream };
  const unpack = (name: string, target: NodeJS.WritableStream) =>
    pipeline(createReadStream(path.join(carrier, 'bin', `${name}.br`)), createBrotliDecompress(), target);
  await unpack('chromium', createWriteStream(path.join(folder, 'chromium'), { mode: 0o755 }));
  for (const name of ['al2023', 'fonts']) await unpack(`${name}.tar`, tar.extract(path.join(folder, name)));
}

/** Fontconfig's own would look in Amazon's folders only. */
function fontsConfiguration(folder: string): string {
  const folders = ['/usr/share/fonts', '/usr/local/share/fonts', path.join(folder, 'fonts')];
  return `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
${folders.map((name) => `  <dir>${name}</dir>`).join('\n')}
  <cachedir>${path.join(folder, 'font-cache')}</cachedir>
</fontconfig>
`;
}

/**
 * @file A GPU made of software, for trying and testing GPU code on machines without one: SwiftShader, a Vulkan driver that
 * runs on the processor. It comes inside the package @sparticuz/chromium and is unpacked into the project; nothing is installed.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliDecompressSync } from 'node:zlib';
import { Unavailable } from './device.ts';
import { preload } from './preload.ts';

const DRIVER = 'vk_swiftshader_icd.json';
const LOADER = 'libvulkan.so.1';
const BLOCK = 512; // a tar archive is a sequence of blocks of this many bytes

/** Names and contents of the plain files in a tar archive (POSIX ustar: name at 0, size in octal at 124, type at 156). */
function* filesOf(archive: Buffer): Generator<{ name: string; content: Buffer }> {
  for (let at = 0; at + BLOCK <= archive.length; ) {
    const text = (from: number, to: number): string => archive.toString('latin1', at + from, at + to).replace(/\0.*$/s, '');
    const name = text(0, 100);
    if (name === '') return;
    const size = Number.parseInt(text(124, 136), 8);
    const type = text(156, 157);
    if (type === '' || type === '0') yield { name, content: archive.subarray(at + BLOCK, at + BLOCK + size) };
    at += BLOCK * (1 + Math.ceil(size / BLOCK));
  }
}

function archivePath(): string {
  const require = createRequire(import.meta.url);
  try {
    return join(dirname(require.resolve('@sparticuz/chromium/package.json')), 'bin', 'swiftshader.tar.br');
  } catch {
    // The package may hide its package.json from resolution; its entry point leads to the same folder.
  }
  const root = fileURLToPath(new URL('../../../', import.meta.url));
  return join(root, 'node_modules', '@sparticuz', 'chromium', 'bin', 'swiftshader.tar.br');
}

/**
 * Unpacks the driver unless that was done before. Several processes may do so at once: each unpacks into a folder of its own,
 * and the first to rename it into place wins.
 *
 * @returns the path of the driver's description, for the environment variable VK_ICD_FILENAMES
 */
function unpackDriver(): string {
  const folder = fileURLToPath(new URL('../../../.lab/swiftshader', import.meta.url));
  const driver = join(folder, DRIVER);
  if (existsSync(driver)) return driver;
  const archive = archivePath();
  if (!existsSync(archive)) throw new Unavailable('there is no software GPU: the package @sparticuz/chromium is not installed');
  mkdirSync(dirname(folder), { recursive: true });
  const fresh = mkdtempSync(`${folder}-`);
  try {
    for (const { name, content } of filesOf(brotliDecompressSync(readFileSync(archive)))) {
      writeFileSync(join(fresh, basename(name)), content, { mode: 0o755 });
    }
    renameSync(fresh, folder);
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    if (!existsSync(driver)) throw error;
  }
  return driver;
}

/** Whether the dynamic linker would find Vulkan's loader, the library through which every driver is reached. */
export function hasVulkanLoader(): boolean {
  if (process.platform !== 'linux') return true;
  const cache = '/etc/ld.so.cache';
  if (existsSync(cache) && readFileSync(cache).includes(LOADER)) return true;
  const folders = [...(process.env['LD_LIBRARY_PATH'] ?? '').split(':'), '/usr/lib', '/usr/lib64', '/usr/local/lib'];
  return folders.some((folder) => folder !== '' && existsSync(join(folder, LOADER)));
}

/**
 * Makes the Vulkan loader of this process see the software GPU and nothing else, and brings a loader where there is none.
 * An explicit VK_ICD_FILENAMES is left alone: whoever set it knows better.
 */
export function useSoftwareGpu(): void {
  const given = process.env['VK_ICD_FILENAMES'];
  if (given) {
    // By a process with a software GPU that started this one: the loader lies beside the driver.
    const loader = join(dirname(given), LOADER);
    if (!hasVulkanLoader() && existsSync(loader)) preload(loader);
    return;
  }
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Unavailable('the software GPU is there for Linux on x64 only; set VK_ICD_FILENAMES to a driver of your own');
  }
  const driver = unpackDriver();
  process.env['VK_ICD_FILENAMES'] = driver;
  if (!hasVulkanLoader() && !preload(join(dirname(driver), LOADER))) {
    throw new Unavailable(`the software GPU's Vulkan loader (${join(dirname(driver), LOADER)}) does not load here`);
  }
}

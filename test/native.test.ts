/**
 * @file `npm run native`: which wheel, which compiler, what is taken out of a wheel, and where CUDA's libraries are found. That it
 * builds and computes is seen by running it, and then by the library's own tests, which run on TensorFlow where it is there.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { cudaLibraries } from 'lab';
import { describe, expect, it, onTestFinished } from 'vitest';
import { requireCompiler, requireSources, sourcesDigest } from '../lab/setup/native/binding.mjs';
import { tensorflowVersion, wheelName } from '../lab/setup/native/tensorflow.mjs';
import { findProgram, root } from '../lab/setup/processes.mjs';

function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'lab-native-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

function native(...args: string[]) {
  return spawnSync(process.execPath, ['lab/setup/native/index.mjs', ...args], { cwd: root, encoding: 'utf8' });
}

const python = findProgram('python3') ?? findProgram('python') ?? 'python3';

/** Python's own archive, so that no tool of ours judges itself. */
function wheel(folder: string, members: Readonly<Record<string, string>>): string {
  const file = path.join(folder, 'made.whl');
  const code = 'import json, sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], "w") as z:\n  for n, t in json.loads(sys.argv[2]).items(): z.writestr(n, t)';
  expect(spawnSync(python, ['-c', code, file, JSON.stringify(members)]).status).toBe(0);
  return file;
}

function unpack(...args: string[]) {
  return spawnSync(python, [path.join(root, 'lab/setup/native/unpack.py'), ...args], { encoding: 'utf8' });
}

describe('the command line', () => {
  it('explains itself', () => {
    const { status, stdout } = native('--help');
    expect(status).toBe(0);
    for (const flag of ['--cuda', '--stock', '--undo', tensorflowVersion]) expect(stdout).toContain(flag);
  });

  it('refuses what it does not know, and what excludes each other', () => {
    expect(native('--gpu')).toMatchObject({ status: 1, stderr: expect.stringMatching(/Unknown option '--gpu'[^]*--cuda/) as string });
    expect(native('--cuda', '--undo')).toMatchObject({ status: 1, stderr: expect.stringContaining('exclude each other') as string });
  });
});

describe('the wheel', () => {
  it.each([
    ['cpu', 'linux', 'x64', 'tensorflow-cpu'],
    ['cpu', 'linux', 'arm64', 'tensorflow'],
    ['cpu', 'darwin', 'arm64', 'tensorflow'],
    ['cuda', 'linux', 'x64', 'tensorflow'],
  ] as const)('%s on %s %s is %s', (kind, platform, arch, name) => {
    expect(wheelName(kind, platform, arch)).toBe(name);
  });

  it.each([
    ['cpu', 'win32', 'x64', /no wheel with the libraries for win32-x64/],
    ['cpu', 'darwin', 'x64', /no wheel/],
    ['cuda', 'darwin', 'arm64', /no CUDA wheel[^]*Without --cuda/],
  ] as const)('%s on %s %s does not exist', (kind, platform, arch, message) => {
    expect(() => wheelName(kind, platform, arch)).toThrow(message);
  });

  it('is unpacked by prefixes, and removed', () => {
    const folder = temporaryFolder();
    const file = wheel(folder, { 'tensorflow/libtensorflow_cc.so.2': 'code', 'tensorflow/python/big.py': 'no', 'nvidia/cublas/lib/libcublas.so.12': 'gpu' });
    const { status, stdout } = unpack(folder, 'tensorflow/libtensorflow_cc.,nvidia/', file);
    expect(status).toBe(0);
    expect(stdout.trim().split('\n')).toEqual(['tensorflow/libtensorflow_cc.so.2', 'nvidia/cublas/lib/libcublas.so.12']);
    expect(readdirSync(folder).sort()).toEqual(['nvidia', 'tensorflow']);
    expect(readdirSync(path.join(folder, 'tensorflow'))).toEqual(['libtensorflow_cc.so.2']);
  });

  it('that reaches out of its folder stays inside', () => {
    const folder = path.join(temporaryFolder(), 'inner');
    mkdirSync(folder);
    const file = wheel(folder, { 'nvidia/../../escaped': 'evil' });
    unpack(folder, 'nvidia/', file);
    expect(readdirSync(path.dirname(folder))).toEqual(['inner']);
  });

  it('says which of NVIDIA’s packages it wants', () => {
    const metadata = `Requires-Dist: numpy>=1\nRequires-Dist: nvidia-cublas-cu12<13.0,>=12.5; extra == "and-cuda"\nRequires-Dist: gcs>=1; (sys_platform != "win32") and extra == "gcs"\n`;
    const file = wheel(temporaryFolder(), { 'tensorflow-2.dist-info/METADATA': metadata });
    expect(unpack('--requires', 'and-cuda', file).stdout.trim()).toBe('nvidia-cublas-cu12<13.0,>=12.5');
  });
});

describe('the compiler', () => {
  it('is the one that CXX names', () => {
    expect(requireCompiler({ CXX: process.execPath })).toBe(process.execPath);
    expect(() => requireCompiler({ CXX: 'no-such-compiler' })).toThrow("CXX names the compiler 'no-such-compiler', but there is none.");
  });

  it('compiles sources that are there, under a digest', () => {
    expect(() => requireSources()).not.toThrow();
    expect(sourcesDigest()).toMatch(/^[0-9a-f]{64}$/);
    expect(sourcesDigest()).toBe(sourcesDigest());
  });
});

describe('CUDA’s libraries', () => {
  it('are those beside TensorFlow, with a version in the name', () => {
    const site = temporaryFolder();
    for (const file of ['nvidia/cublas/lib/libcublas.so.12', 'nvidia/cudnn/lib/libcudnn.so.9', 'nvidia/cudnn/lib/notes.txt', 'nvidia/cudnn/include/cudnn.h', 'nvidia/nccl/lib/libnccl.so']) {
      mkdirSync(path.dirname(path.join(site, file)), { recursive: true });
      writeFileSync(path.join(site, file), '');
    }
    const found = cudaLibraries(path.join(site, 'tensorflow')).map((file) => path.relative(site, file));
    expect(found).toEqual(['nvidia/cublas/lib/libcublas.so.12', 'nvidia/cudnn/lib/libcudnn.so.9']);
    expect(cudaLibraries(path.join(site, 'elsewhere', 'tensorflow'))).toEqual([]);
  });
});

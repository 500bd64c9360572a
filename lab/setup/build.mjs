/**
 * @file Builds `lab/dist` from `lab/src`: TypeScript 7 for the library, AssemblyScript for the kernels.
 * What has not changed is not built again; two builds at once wait for each other.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
const dist = path.join(root, 'lab/dist');
const lock = path.join(dist, '.building');

/** The steps: what each reads, what shows that its result is there, and what makes it. */
const steps = [
  {
    name: 'library',
    inputs: ['lab/tsconfig.json', 'tsconfig.json', 'lab/package.json', 'node_modules/typescript/package.json'],
    reads: (file) => file.endsWith('.ts') && !file.endsWith('.as.ts'),
    outputs: ['index.js', 'index.d.ts', '.tsbuildinfo'],
    // By path: node_modules/.bin/tsc is the TypeScript that tslab brought along.
    command: ['node_modules/typescript/bin/tsc', '-p', 'lab/tsconfig.json'],
    missing: 'TypeScript is not installed. Run: npm install',
  },
  {
    name: 'kernels',
    inputs: ['lab/setup/kernels.mjs', 'node_modules/assemblyscript/package.json'],
    reads: (file) => file.endsWith('.as.ts') || file.endsWith('/operations.ts') || file.endsWith('/shared.ts'),
    outputs: ['relaxed-wide', 'relaxed', 'simd'].flatMap((flavour) =>
      ['', '-unshared'].map((memory) => `ops/wasm/kernels-${flavour}${memory}.wasm`),
    ),
    command: ['lab/setup/kernels.mjs'],
    missing: 'AssemblyScript is not installed. Run: npm install',
  },
];

function digestOf({ inputs, reads }) {
  const sources = readdirSync(path.join(root, 'lab/src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)).split(path.sep).join('/'))
    .filter(reads)
    .sort();
  const hash = createHash('sha256');
  for (const file of [...inputs, ...sources]) hash.update(`${file}\0`).update(readFileSync(path.join(root, file))).update('\0');
  return hash.digest('hex');
}

const digestFile = (step) => path.join(dist, `.${step.name}.sha256`);

function isCurrent(step, digest) {
  if (!step.outputs.every((file) => existsSync(path.join(dist, file)))) return false;
  return existsSync(digestFile(step)) && readFileSync(digestFile(step), 'utf8') === digest;
}

function build(step) {
  if (!existsSync(path.join(root, step.inputs.at(-1)))) {
    console.error(step.missing);
    return false;
  }
  const digest = digestOf(step);
  if (isCurrent(step, digest)) return true;
  const result = spawnSync(process.execPath, step.command, { cwd: root, stdio: 'inherit' });
  if (result.status !== 0) {
    console.error(`Building the ${step.name} failed; what stands above says where. Mend it and run: npm run build`);
    return false;
  }
  const temporary = `${digestFile(step)}.${process.pid}`;
  writeFileSync(temporary, digest);
  renameSync(temporary, digestFile(step));
  return true;
}

function isRunning(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** Runs `work` while no other process builds. A lock whose owner is gone is taken over. */
function alone(work) {
  mkdirSync(dist, { recursive: true });
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      const owner = existsSync(lock) ? Number(readFileSync(lock, 'utf8')) : 0;
      if (owner > 0 && !isRunning(owner)) rmSync(lock, { force: true });
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
    }
  }
  try {
    return work();
  } finally {
    rmSync(lock, { force: true });
  }
}

/** @returns {boolean} whether what stands in lab/dist was made of what stands in lab/src */
export function isBuilt() {
  return steps.every((step) => existsSync(path.join(root, step.inputs.at(-1))) && isCurrent(step, digestOf(step)));
}

/** @returns {boolean} whether the library and the kernels are built, without an error */
export function buildLibrary() {
  return isBuilt() || alone(() => steps.map(build).every(Boolean));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = buildLibrary() ? 0 : 1;

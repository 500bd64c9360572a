/**
 * @file `npm run bench -- NAME`: measures, beside the same on TensorFlow.js's own kernels (of wasm in another process, which
 * the lab has never touched), unless the benchmark has a baseline of its own.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { LabError } from '../base/index.ts';
import {
  BACKEND_NAMES,
  currentDevice,
  startBackend,
  withStockWebGpu,
  type BackendName,
  type BackendOptions,
} from '../index.ts';
import { benchmarks, compare, formatTable, SIZES, type BenchOptions, type BenchRow } from '../bench/index.ts';
import type { Command } from './command.ts';

/** The same benchmark in a process of its own that leaves the lab's kernels out. */
function measureStockWasm(name: string, size: string | undefined): Promise<BenchRow[]> {
  const main = fileURLToPath(new URL('./main.js', import.meta.url));
  const env = { ...process.env, LAB_BACKEND: 'wasm', LAB_WASM_FLAVOUR: 'stock', LAB_THREADS: '1' };
  return new Promise((resolve, reject) => {
    const args = [main, 'bench', name, '--json', '--alone', ...(size ? ['--size', size] : [])];
    execFile(process.execPath, args, { env }, (error, stdout, stderr) => {
      if (error) reject(new LabError(`The baseline could not be measured: ${stderr.trim() || error.message}`));
      else resolve(stdout.trim().split('\n').map((line) => JSON.parse(line) as BenchRow));
    });
  });
}

/** The same on TensorFlow.js's own kernels of the running backend; nothing where the lab has no others. */
async function measureStock(name: string, options: BenchOptions): Promise<BenchRow[]> {
  const device = currentDevice()?.name;
  if (device === 'wasm') return measureStockWasm(name, options.size);
  return device === 'webgpu' ? withStockWebGpu(() => benchmarks[name]!('stock', options)) : [];
}

/** What the command line says about the device; what it leaves open, the environment variables say. */
function backendOptions(name: unknown, software: unknown): BackendOptions {
  return { ...(typeof name === 'string' && { backend: name as BackendName }), ...(software === true && { softwareGpu: true }) };
}

export const bench: Command = {
  name: 'bench',
  summary: 'Measure how fast the lab is on this machine, and how much faster than stock TensorFlow.js, or than PyTorch.',
  usage: `${Object.keys(benchmarks).join('|')} [options]`,
  options: {
    json: { type: 'boolean', help: 'print one JSON object for each row' },
    alone: { type: 'boolean', help: 'leave the baseline out' },
    torch: { type: 'string', value: 'PYTHON', help: 'train, decode, attention: PyTorch in turn with it, by this interpreter' },
    size: {
      type: 'string',
      value: 'NAME',
      help: `train, decode, serve: ${Object.keys(SIZES).join(', ')} (default: by the device); quantize: blocks of GPT-2`,
    },
    backend: { type: 'string', value: 'NAME', help: `${BACKEND_NAMES.join(', ')} (default: the best that works)` },
    'software-gpu': { type: 'boolean', help: 'a GPU made of software will do, for webgpu' },
  },
  examples: [
    'npm run bench -- train --torch python3',
    'npm run bench -- attention --backend webgpu --software-gpu',
    'LAB_THREADS=1 npm run bench -- matmul --json',
  ],
  async run({ json, alone, torch, size, backend, 'software-gpu': software }, [name = '']) {
    const benchmark = Object.hasOwn(benchmarks, name) ? benchmarks[name] : undefined;
    if (!benchmark) throw new LabError(`bench: which one? ${Object.keys(benchmarks).join(', ')}. Given: '${name}'.`);
    const device = await startBackend(backendOptions(backend, software));
    if (json !== true) console.log(`${device.toString()}\n`);
    const given = { ...(typeof size === 'string' && { size }), ...(typeof torch === 'string' && { torch }) };
    const options = { alone: alone === true, ...given };
    const rows = await benchmark(`${device.name}, ${device.description}`, options);
    const hasItsOwn = rows.some((row) => row.baseline !== undefined);
    // For a large model stock kernels would take minutes.
    const complete = options.alone || hasItsOwn || (size !== undefined && size !== 'small' && size !== 'tiny');
    const compared = complete ? rows : compare(rows, `stock ${device.name}`, await measureStock(name, options));
    if (json === true) for (const row of compared) console.log(JSON.stringify(row));
    else console.log(formatTable(compared));
    return 0;
  },
};

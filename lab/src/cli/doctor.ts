/**
 * @file `npm run lab -- doctor`: which backends work on this machine, on what, and what to do to get the others.
 */
import { availableParallelism, cpus } from 'node:os';
import { inspectBackends, type BackendReport } from '../backend/index.ts';
import type { Command } from './command.ts';

const RECOMMENDED_NODE = 24;

/** Breaks a sentence at spaces into lines of at most `width` characters. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

function table(reports: readonly BackendReport[]): string {
  const indent = ' '.repeat(16);
  return reports
    .map(({ name, works, device, advice }) => {
      const text = [device, advice].filter(Boolean).join('; ');
      return `  ${works ? '✓' : '✗'} ${name.padEnd(12)}${wrap(text, 96).join(`\n${indent}`)}`;
    })
    .join('\n');
}

function nodeLine(): string {
  const version = process.versions.node;
  const major = Number(version.split('.')[0]);
  if (major >= RECOMMENDED_NODE) return `Node ${version}`;
  return `Node ${version}; Node ${RECOMMENDED_NODE} is recommended: it can widen wasm's SIMD to AVX2, which is up to twice the speed`;
}

function kernelLines(reports: readonly BackendReport[]): string[] {
  return reports
    .filter((report) => report.works)
    .map(({ name, operations }) => `  ${name}: ${operations.length > 0 ? operations.join(', ') : "none, TensorFlow.js's own"}`);
}

export const doctor: Command = {
  name: 'doctor',
  summary: 'Say which backends work on this machine, and what to do to get the others.',
  usage: '[options]',
  options: { json: { type: 'boolean', help: 'print one JSON object for each backend instead' } },
  async run({ json }) {
    const reports = await inspectBackends();
    if (json === true) {
      for (const report of reports) console.log(JSON.stringify(report));
      return 0;
    }
    console.log('Backends, the favourite first (LAB_BACKEND=name takes one of them):\n');
    console.log(table(reports));
    console.log(`\n${nodeLine()}`);
    console.log(`${cpus()[0]?.model.trim() ?? 'unknown processor'}; ${availableParallelism()} threads (LAB_THREADS changes that for wasm)`);
    console.log(`\nKernels of the lab's own:\n${kernelLines(reports).join('\n')}`);
    return 0;
  },
};

/**
 * @file `bench data`: the whole pipeline of data quality over 25, 50 and 100 MB of stories and pages made from templates, with
 * planted duplicates; beside reading the same file and parsing its JSON. Each run is a process of its own: its peak of memory.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, rmSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { labFolder, writeAtomically } from '../files/index.ts';
import { corpusPieces } from './data-corpus.ts';
import type { DataRun } from './data-run.ts';
import type { BenchRow } from './measure.ts';

const MEGABYTES = [25, 50, 100];
const BASELINE = 'reading and parsing';

export async function benchData(): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const megabytes of MEGABYTES) {
    const path = labFolder('bench', `corpus-${megabytes}.jsonl`);
    if (!existsSync(path)) await writeAtomically(path, corpusPieces({ bytes: megabytes * 1e6, seed: 1 }));
    rows.push(rowOf(measured(path), statSync(path).size));
  }
  return rows;
}

function measured(path: string): DataRun {
  const out = labFolder('bench', 'cleaned');
  const script = fileURLToPath(new URL('./data-run.js', import.meta.url));
  const said = execFileSync(process.execPath, [script, path, out], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  rmSync(out, { recursive: true });
  return JSON.parse(said) as DataRun;
}

function rowOf({ ms, cpuMs, baselineMs, peakBytes, read, kept }: DataRun, bytes: number): BenchRow {
  const of = `${read.toLocaleString('en')} documents, ${((100 * kept) / read).toFixed(0)}% kept`;
  return {
    name: 'quality',
    backend: 'JavaScript, 1 thread',
    shape: `${(bytes / 1e6).toFixed(0)} MB, ${of}, ${(cpuMs / 1000).toFixed(1)} s of CPU`,
    medianMs: ms,
    minMs: ms,
    maxMs: ms,
    megabytesPerSecond: bytes / ms / 1e3,
    documentsPerSecond: (read * 1000) / ms,
    peakBytes,
    baseline: BASELINE,
    ratio: baselineMs / ms,
  };
}

/**
 * @file One run of the pipeline for `bench data`, in a process of its own: `node data-run.js IN.jsonl OUT`. Prints a `DataRun`.
 */
import { cleanCorpus, corpusAt } from '../data/quality/index.ts';
import { linesOf } from '../data/quality/lines.ts';

export interface DataRun {
  readonly ms: number;
  /** Of all threads, V8's own included. */
  readonly cpuMs: number;
  readonly baselineMs: number;
  /** The most memory that the process ever had (resident set). */
  readonly peakBytes: number;
  /** Documents. */
  readonly read: number;
  readonly kept: number;
}

const [input = '', out = ''] = process.argv.slice(2);
const started = performance.now();
const before = process.cpuUsage();
const report = await cleanCorpus(corpusAt(input), out, { quiet: true });
const ms = performance.now() - started;
const cpu = process.cpuUsage(before);
const peakBytes = process.resourceUsage().maxRSS * 1024;
const baselineStarted = performance.now();
let parsed = 0;
for (const { bytes } of linesOf(input, Infinity)) if (isRecord(Buffer.from(bytes).toString('utf8'))) parsed++;
const run: DataRun = {
  ms,
  cpuMs: (cpu.user + cpu.system) / 1000,
  baselineMs: performance.now() - baselineStarted,
  peakBytes,
  read: Math.max(parsed, report.read.documents),
  kept: report.kept.documents,
};
console.log(JSON.stringify(run));

function isRecord(json: string): boolean {
  try {
    return typeof JSON.parse(json) === 'object';
  } catch {
    return false;
  }
}

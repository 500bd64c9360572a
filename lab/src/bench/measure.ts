/**
 * @file Measuring and reporting: warm-up apart, several runs, the median, and how the baseline did in the same minutes.
 */
import { currentDevice, tf, wasmHeap, type Tensor } from '../backend/index.ts';
import { profile } from '../profile/index.ts';

/** One line of a benchmark's result, the same in the table and in JSON. */
export interface BenchRow {
  readonly name: string;
  readonly backend: string;
  readonly shape: string;
  readonly medianMs: number;
  readonly minMs: number;
  readonly maxMs: number;
  /** Tokens written or trained on in a second, by the median. */
  readonly tokensPerSecond?: number;
  /** Billions of floating-point operations a second, by the median. */
  readonly gflops?: number;
  /** Billions of bytes moved a second, by the median. */
  readonly gbps?: number;
  /** The most memory that tensors took at once. */
  readonly peakBytes: number;
  /** The share of the device's highest speed of computing (multiply-adds between registers), by the median. */
  readonly peakShare?: number;
  /** The share of what the device's roofs allow for so much computing and so many bytes, by the median. */
  readonly roofShare?: number;
  /** e to the mean loss a token on held-out text: how well the model still does. */
  readonly perplexity?: number;
  /** What the time is compared with, and how many times as long that took. */
  readonly baseline?: string;
  readonly ratio?: number;
}

export interface MeasureOptions {
  readonly warmUp: number;
  readonly leastRuns: number;
  readonly mostRuns: number;
  /** After so many milliseconds there are no further runs than the least. */
  readonly budgetMs: number;
  /** A competitor's turn, off the clock: called after every run with the number of runs so far. */
  readonly inTurn?: (done: number) => Promise<void> | undefined;
}

export interface Times {
  readonly medianMs: number;
  readonly minMs: number;
  readonly maxMs: number;
  readonly peakBytes: number;
}

/** The field for the share of the highest speed of computing, where that is known. */
export function shareOf(gflops: number, peak: number | undefined): Pick<BenchRow, 'peakShare'> {
  return peak === undefined ? {} : { peakShare: (1e9 * gflops) / peak };
}

/** Waits until the device has really computed the tensor: a GPU only queues work until somebody reads. */
export async function settled(tensor: Tensor): Promise<void> {
  if (currentDevice()?.name !== 'webgpu') return;
  const one = tf.tidy(() => tensor.flatten().slice(0, 1));
  await one.data();
  one.dispose();
}

/** Whether the device is a GPU made of software, which gets smaller work. */
export const isSoftwareGpu = (): boolean => currentDevice()?.description.includes('(software)') ?? false;

/** Times `run` after the warm-up. */
export async function measure(run: (index: number) => Promise<void>, options: MeasureOptions): Promise<Times> {
  let index = 0;
  for (; index < options.warmUp; index++) await run(index);
  const heap = currentDevice()?.name === 'wasm' ? wasmHeap().usage : undefined;
  // Elsewhere nobody counts the bytes but the profiler, in a run apart.
  const apart = heap ? 0 : (await profile(() => run(index++), { machine: null })).peakBytes;
  heap?.resetPeak();
  const times: number[] = [];
  const started = performance.now();
  while (times.length < options.leastRuns || (times.length < options.mostRuns && performance.now() - started < options.budgetMs)) {
    const before = performance.now();
    await run(index++);
    times.push(performance.now() - before);
    await options.inTurn?.(times.length);
  }
  return timesOf(times, heap?.peak ?? apart);
}

/** Median and range of single measurements. */
export function timesOf(milliseconds: readonly number[], peak: number): Times {
  const times = milliseconds.toSorted((a, b) => a - b);
  return { medianMs: times[times.length >> 1]!, minMs: times[0]!, maxMs: times.at(-1)!, peakBytes: peak };
}

/** Joins each row that has no baseline yet, and is not the peak itself, to the baseline's row of the same name and shape. */
export function compare(rows: readonly BenchRow[], baseline: string, baselineRows: readonly BenchRow[]): BenchRow[] {
  return rows.map((row) => {
    const other = baselineRows.find((candidate) => candidate.name === row.name && candidate.shape === row.shape);
    const compared = other && row.baseline === undefined && row.peakShare !== 1;
    return compared ? { ...row, baseline, ratio: other.medianMs / row.medianMs } : row;
  });
}

/** A column of the table, and what stands in it for a row. */
type Column = readonly [title: string, cell: (row: BenchRow) => string, optional?: boolean];

const ms = (n: number): string => n.toFixed(n < 10 ? 2 : 0);
const digits = (n: number | undefined): string => n?.toFixed(n < 10 ? 1 : 0) ?? '';
const percent = (n: number | undefined): string => (n === undefined ? '' : `${(100 * n).toFixed(0)}%`);

/** The optional ones are there only if a row has something to say. */
const COLUMNS: readonly Column[] = [
  ['', (row) => row.name],
  ['shape', (row) => row.shape],
  ['median ms', (row) => ms(row.medianMs)],
  ['min', (row) => ms(row.minMs)],
  ['max', (row) => ms(row.maxMs)],
  ['tokens/s', (row) => digits(row.tokensPerSecond), true],
  ['perplexity', (row) => row.perplexity?.toFixed(3) ?? '', true],
  ['GFLOP/s', (row) => digits(row.gflops)],
  ['GB/s', (row) => digits(row.gbps), true],
  ['of the peak', (row) => percent(row.peakShare), true],
  ['of the roof', (row) => percent(row.roofShare), true],
  ['peak MiB', (row) => (row.peakBytes / 2 ** 20).toFixed(0)],
  ['as fast as', (row) => (row.ratio === undefined ? '' : `${ms(row.ratio)} × ${row.baseline}`), true],
];

/** The rows as a table for a terminal. */
export function formatTable(rows: readonly BenchRow[]): string {
  const columns = COLUMNS.filter(([, cell, optional]) => !optional || rows.some((row) => cell(row) !== ''));
  const head = columns.map(([title]) => title);
  const cells = rows.map((row) => columns.map(([, cell]) => cell(row)));
  const widths = head.map((title, i) => Math.max(title.length, ...cells.map((row) => row[i]!.length)));
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ').trimEnd();
  return [line(head), ...cells.map(line)].join('\n');
}

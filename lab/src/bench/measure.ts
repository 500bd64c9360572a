/**
 * @file Measuring and reporting: warm-up apart, several runs, the median, and how the baseline did in the same minutes.
 */
import { currentDevice, tf, wasmHeap, type Tensor } from '../backend/index.ts';

/** One line of a benchmark's result, the same in the table and in JSON. */
export interface BenchRow {
  readonly name: string;
  readonly backend: string;
  readonly shape: string;
  readonly medianMs: number;
  readonly minMs: number;
  readonly maxMs: number;
  /** Billions of floating-point operations a second, by the median. */
  readonly gflops?: number;
  /** Billions of bytes moved a second, by the median. */
  readonly gbps?: number;
  /** The most memory that tensors took at once. */
  readonly peakBytes: number;
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

/** Waits until the device has really computed the tensor: a GPU only queues work until somebody reads. */
export async function settled(tensor: Tensor): Promise<void> {
  if (currentDevice()?.name !== 'webgpu') return;
  const one = tf.tidy(() => tensor.flatten().slice(0, 1));
  await one.data();
  one.dispose();
}

function peakBytes(): number {
  return currentDevice()?.name === 'wasm' ? wasmHeap().usage.peak : tf.memory().numBytes;
}

/** Times `run` after the warm-up. */
export async function measure(run: (index: number) => Promise<void>, options: MeasureOptions): Promise<Times> {
  let index = 0;
  for (; index < options.warmUp; index++) await run(index);
  if (currentDevice()?.name === 'wasm') wasmHeap().usage.resetPeak();
  const times: number[] = [];
  let peak = 0;
  const started = performance.now();
  while (times.length < options.leastRuns || (times.length < options.mostRuns && performance.now() - started < options.budgetMs)) {
    const before = performance.now();
    await run(index++);
    times.push(performance.now() - before);
    peak = Math.max(peak, peakBytes());
    await options.inTurn?.(times.length);
  }
  return timesOf(times, peak);
}

/** Median and range of single measurements. */
export function timesOf(milliseconds: readonly number[], peak: number): Times {
  const times = milliseconds.toSorted((a, b) => a - b);
  return { medianMs: times[times.length >> 1]!, minMs: times[0]!, maxMs: times.at(-1)!, peakBytes: peak };
}

/** Joins each row that has no baseline yet to the baseline's row of the same name and shape. */
export function compare(rows: readonly BenchRow[], baseline: string, baselineRows: readonly BenchRow[]): BenchRow[] {
  return rows.map((row) => {
    const other = baselineRows.find((candidate) => candidate.name === row.name && candidate.shape === row.shape);
    return other && row.baseline === undefined ? { ...row, baseline, ratio: other.medianMs / row.medianMs } : row;
  });
}

/** The rows as a table for a terminal. */
export function formatTable(rows: readonly BenchRow[]): string {
  const ms = (n: number): string => n.toFixed(n < 10 ? 2 : 0);
  const bytes = rows.some((row) => row.gbps !== undefined);
  const cells = rows.map((row) => [
    row.name,
    row.shape,
    ms(row.medianMs),
    ms(row.minMs),
    ms(row.maxMs),
    row.gflops?.toFixed(row.gflops < 10 ? 1 : 0) ?? '',
    ...(bytes ? [row.gbps?.toFixed(row.gbps < 10 ? 1 : 0) ?? ''] : []),
    (row.peakBytes / 2 ** 20).toFixed(0),
    row.ratio === undefined ? '' : `${row.ratio.toFixed(row.ratio < 10 ? 2 : 0)} × ${row.baseline}`,
  ]);
  const compared = rows.some((row) => row.baseline !== undefined) ? 'as fast as' : '';
  const head = ['', 'shape', 'median ms', 'min', 'max', 'GFLOP/s', ...(bytes ? ['GB/s'] : []), 'peak MiB', compared];
  const widths = head.map((title, i) => Math.max(title.length, ...cells.map((row) => row[i]!.length)));
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i < 2 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ').trimEnd();
  return [line(head), ...cells.map(line)].join('\n');
}

/** @file What a profile found, as numbers, as a table, and as charts. */
import { escapeMarkup, notebook } from '../base/index.ts';
import { profileBars, rooflinePlot, show } from '../plot/index.ts';
import type { MachineProfile } from './machine-profile.ts';

/** All calls of one operation (of one shape, where that was asked for) in one run. */
export interface ProfileRow {
  /** TensorFlow.js's name of the operation, or the lab's own, which begins with `lab.` */
  readonly name: string;
  /** Shapes of the inputs → of the outputs. */
  readonly shape?: string;
  readonly calls: number;
  /** NaN on a GPU that has no clock for it. */
  readonly milliseconds: number;
  /** Floating-point operations by the formula; undefined where none is known. */
  readonly flops?: number;
  /** Bytes that must at least be read and written. */
  readonly bytes: number;
  /** FLOPs for each byte. */
  readonly intensity?: number;
  /**
   * How near it came to the roof: the time that the machine needs at best, be it for computing or for reading that many bytes,
   * over the time it took. It may exceed 1 where operands lie in a faster memory than a set of that size would.
   */
  readonly rooflineShare?: number;
}

export interface ProfileFindings<T> {
  readonly device: string;
  /** The longest first. */
  readonly rows: readonly ProfileRow[];
  /** One run, by the clock on the wall. */
  readonly wallMs: number;
  /** The most memory that was taken at once: of wasm's heap, elsewhere by tensors. */
  readonly peakBytes: number;
  /** What the recording itself took of `wallMs`, about. */
  readonly overheadMs: number;
  /** Times are the GPU's, which works beside the program. */
  readonly runsOnGpu: boolean;
  /** What the shares are shares of. */
  readonly machine: MachineProfile | null;
  /** What the work returned. */
  readonly result: T;
}

const sumOf = (numbers: readonly number[]): number => numbers.reduce((sum, n) => sum + n, 0);

export class ProfileReport<T = unknown> implements ProfileFindings<T> {
  readonly device: string;
  readonly rows: readonly ProfileRow[];
  readonly wallMs: number;
  readonly peakBytes: number;
  readonly overheadMs: number;
  readonly runsOnGpu: boolean;
  readonly machine: MachineProfile | null;
  readonly result: T;

  constructor(findings: ProfileFindings<T>) {
    this.device = findings.device;
    this.rows = findings.rows;
    this.wallMs = findings.wallMs;
    this.peakBytes = findings.peakBytes;
    this.overheadMs = findings.overheadMs;
    this.runsOnGpu = findings.runsOnGpu;
    this.machine = findings.machine;
    this.result = findings.result;
  }

  get calls(): number {
    return sumOf(this.rows.map((row) => row.calls));
  }

  /** Time inside the kernels. */
  get kernelMs(): number {
    return sumOf(this.rows.map((row) => row.milliseconds));
  }

  /** The rest: JavaScript, TensorFlow.js's book-keeping, waiting. */
  get outsideMs(): number {
    return Math.max(0, this.wallMs - this.kernelMs - this.overheadMs);
  }

  /** Floating-point operations of all rows whose formula is known. */
  get flops(): number {
    return sumOf(this.rows.map((row) => row.flops ?? 0));
  }

  get bytes(): number {
    return sumOf(this.rows.map((row) => row.bytes));
  }

  /** What the machine would need at best for one kernel after the other; undefined where it was not measured. */
  get leastMs(): number | undefined {
    const known = this.rows.filter((row) => row.rooflineShare !== undefined);
    return known.length > 0 ? sumOf(known.map((row) => row.rooflineShare! * row.milliseconds)) : undefined;
  }

  /** The same over the time in kernels. */
  get rooflineShare(): number | undefined {
    const least = this.leastMs;
    return least === undefined ? undefined : least / this.kernelMs;
  }

  /** A table for a terminal. */
  toString(): string {
    const { head, body } = this.#table();
    const left = head.indexOf('calls'); // names and shapes stand on the left
    const widths = head.map((title, i) => Math.max(title.length, ...body.map((row) => row[i]!.length)));
    const line = (row: readonly string[]): string =>
      row.map((cell, i) => (i < left ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ').trimEnd();
    return [line(head), ...body.map(line), '', this.#summary()].join('\n');
  }

  /** In a notebook a table and two charts, elsewhere the table. */
  show(): void {
    const display = notebook();
    if (!display) return console.log(this.toString());
    display.bundle({ 'text/html': this.#html(), 'text/plain': this.toString() });
    show(profileBars(this));
    if (this.machine) show(rooflinePlot(this.rows, this.machine));
  }

  #table(): { head: string[]; body: string[][] } {
    const shaped = this.rows.some((row) => row.shape !== undefined);
    const cells = (row: Omit<ProfileRow, 'name'>, name: string): string[] => [
      name,
      ...(shaped ? [row.shape ?? ''] : []),
      Number(row.calls.toFixed(1)).toString(),
      fixed(row.milliseconds),
      `${fixed((100 * row.milliseconds) / this.kernelMs)}%`,
      fixed(row.flops === undefined ? undefined : row.flops / 1e6),
      fixed(row.bytes / 2 ** 20),
      fixed(row.intensity),
      fixed(row.flops === undefined ? undefined : row.flops / row.milliseconds / 1e6),
      fixed(row.bytes / row.milliseconds / 1e6),
      row.rooflineShare === undefined ? UNKNOWN : `${(100 * row.rooflineShare).toFixed(0)}%`,
    ];
    const { calls, flops, bytes, kernelMs, rooflineShare } = this;
    const share = rooflineShare === undefined ? {} : { rooflineShare };
    const total = { calls, milliseconds: kernelMs, flops, bytes, intensity: flops / bytes, ...share };
    const body = [...this.rows.map((row) => cells(row, row.name)), cells(total, 'all kernels')];
    const names = ['', ...(shaped ? ['shape'] : [])];
    const head = [...names, 'calls', 'ms', 'share', 'MFLOP', 'MiB', 'FLOP/byte', 'GFLOP/s', 'GB/s', 'of the roof'];
    return { head, body };
  }

  #summary(): string {
    const { wallMs, outsideMs, overheadMs, peakBytes, machine, runsOnGpu } = this;
    const outside = runsOnGpu
      ? `${fixed(wallMs)} ms by the clock on the wall, in which each dispatch was submitted alone`
      : `${fixed(wallMs)} ms in all, ${fixed(outsideMs)} outside kernels (JavaScript), ${fixed(overheadMs)} of recording`;
    const roof =
      machine &&
      `roofs: ${fixed(machine.flopsPerSecond / 1e9)} GFLOP/s, ${fixed(machine.fastBytesPerSecond / 1e9)} GB/s from the fastest ` +
        `memory, ${fixed(machine.slowBytesPerSecond / 1e9)} from the slowest; they meet at ${fixed(machine.ridge)} FLOP/byte`;
    return [this.device, `${outside}; at most ${fixed(peakBytes / 2 ** 20)} MiB`, ...(roof ? [roof] : [])].join('\n');
  }

  #html(): string {
    const { head, body } = this.#table();
    const cell = (text: string, i: number, tag: string): string =>
      `<${tag} style="text-align:${i === 0 ? 'left' : 'right'}">${escapeMarkup(text)}</${tag}>`;
    const row = (cells: readonly string[], tag: string): string => `<tr>${cells.map((text, i) => cell(text, i, tag)).join('')}</tr>`;
    const summary = escapeMarkup(this.#summary()).replaceAll('\n', '<br>');
    return `<table>${row(head, 'th')}${body.map((cells) => row(cells, 'td')).join('')}</table><p>${summary}</p>`;
  }
}

const UNKNOWN = '—';

/** Three digits; a dash for what is not known. */
function fixed(n: number | undefined): string {
  if (n === undefined || !Number.isFinite(n)) return UNKNOWN;
  const size = Math.abs(n);
  return n.toFixed(size >= 100 || n === 0 ? 0 : size >= 10 ? 1 : 2);
}

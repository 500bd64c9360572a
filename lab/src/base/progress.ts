/**
 * @file How far a long computation is: a bar with rate and remaining time, where somebody is looking.
 */
import { notebook, type NotebookDisplay } from './display.ts';
import { invariant } from './errors.ts';

export interface ProgressOptions {
  /** How many units there are in all. */
  readonly total: number;
  /** What is going on: `training`. */
  readonly label?: string;
  /** What is counted: `steps`. */
  readonly unit?: string;
  /** How many were done before this run, when one is resumed. */
  readonly from?: number;
  readonly quiet?: boolean;
}

const redrawMs = 100;
const logMs = 10_000;
/** The rate is that of about the last ten seconds: the first steps, which compile and warm up, are soon forgotten. */
const memoryMs = 10_000;

/**
 * In a terminal one line on stderr that is redrawn, in a file a line every ten seconds, in a notebook one output that is
 * overwritten. At most ten redraws a second, however often `update` is called.
 */
export class Progress {
  readonly #options: ProgressOptions;
  readonly #display: NotebookDisplay | undefined;
  readonly #started = performance.now();
  #done: number;
  #measuredAt = this.#started;
  #drawnAt = this.#started - redrawMs;
  #loggedAt = this.#started;
  #recentUnits = 0;
  #recentMs = 0;
  #finished = false;

  constructor(options: ProgressOptions) {
    invariant(options.total >= 0, `Progress: total must not be negative, got ${options.total}`);
    this.#options = options;
    this.#done = options.from ?? 0;
    this.#display = options.quiet ? undefined : notebook()?.newDisplay();
  }

  /**
   * @param done units done so far, in all
   * @param note what else to say at the end of the line: `loss 2.31`
   */
  update(done: number, note = ''): void {
    const now = performance.now();
    const elapsed = now - this.#measuredAt;
    const kept = Math.exp(-elapsed / memoryMs);
    this.#recentUnits = this.#recentUnits * kept + (done - this.#done);
    this.#recentMs = this.#recentMs * kept + elapsed;
    this.#done = done;
    this.#measuredAt = now;
    this.#draw(now, note);
  }

  /** The last line, which stays: what was done and how long it took. */
  done(note = ''): void {
    if (this.#finished || this.#options.quiet) return;
    this.#finished = true;
    const seconds = (performance.now() - this.#started) / 1000;
    this.#write(`${this.#counts()} in ${formatDuration(seconds)}${note && ` · ${note}`}`, true);
  }

  #draw(now: number, note: string): void {
    if (this.#options.quiet || this.#finished) return;
    const redrawn = this.#display !== undefined || process.stderr.isTTY;
    if (now - (redrawn ? this.#drawnAt : this.#loggedAt) < (redrawn ? redrawMs : logMs)) return;
    this.#drawnAt = this.#loggedAt = now;
    this.#write(`${this.#counts()}${this.#speed()}${note && ` · ${note}`}`, false);
  }

  #counts(): string {
    const { label, total, unit } = this.#options;
    return `${label ? `${label} ` : ''}${progressBar(this.#done / total)} ${this.#done}/${total}${unit ? ` ${unit}` : ''}`;
  }

  #speed(): string {
    if (this.#recentUnits <= 0 || this.#recentMs <= 0) return '';
    const rate = (this.#recentUnits / this.#recentMs) * 1000;
    const left = Math.max(0, this.#options.total - this.#done) / rate;
    return ` · ${rate < 1000 ? Number(rate.toPrecision(3)) : Math.round(rate)}/s · ${formatDuration(left)} left`;
  }

  #write(line: string, last: boolean): void {
    if (this.#display) this.#display.text(line);
    else if (process.stderr.isTTY) {
      const fits = line.slice(0, Math.max(20, (process.stderr.columns || 80) - 1));
      process.stderr.write(`\r\x1b[K${fits}${last ? '\n' : ''}`);
    } else process.stderr.write(`${line}\n`);
  }
}

/** A time to read: `0.4 s`, `31 s`, `4 min 05 s`, `1 h 12 min`. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}

/** A share from 0 to 1 as a bar of twenty cells, each drawn in eighths. */
export function progressBar(share: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share || 0)) * 160);
  const partial = eighths % 8 === 0 ? '' : '▏▎▍▌▋▊▉'[(eighths % 8) - 1]!;
  return `▕${`${'█'.repeat(Math.floor(eighths / 8))}${partial}`.padEnd(20, ' ')}▏`;
}

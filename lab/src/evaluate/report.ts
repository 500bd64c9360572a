/**
 * @file What came out of an evaluation: measures with intervals, and the settings they belong to, as a table and as JSON.
 */
import type { ConfidenceInterval } from './bootstrap.ts';

export interface EvaluationMeasure {
  /** `accuracy`, `weighted F1`, … */
  readonly name: string;
  readonly value: number;
  readonly interval?: ConfidenceInterval;
}

export interface EvaluationReportData {
  /** What was done: `sentiment`. */
  readonly task: string;
  /** How many items were scored. */
  readonly count: number;
  readonly measures: readonly EvaluationMeasure[];
  /** Model, file, prompt, seed: all that is needed to do it again. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  /** Items that were not scored, by reason. */
  readonly leftOut?: Readonly<Record<string, number>>;
}

export class EvaluationReport implements EvaluationReportData {
  readonly task: string;
  readonly count: number;
  readonly measures: readonly EvaluationMeasure[];
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  readonly leftOut: Readonly<Record<string, number>>;

  constructor({ task, count, measures, settings = {}, leftOut = {} }: EvaluationReportData) {
    this.task = task;
    this.count = count;
    this.measures = measures;
    this.settings = settings;
    this.leftOut = leftOut;
  }

  /** @returns the value of a measure, or undefined when it was not taken */
  get(name: string): number | undefined {
    return this.measures.find((measure) => measure.name === name)?.value;
  }

  /** A table: one measure a line, with its interval. */
  toString(): string {
    const rows = this.measures.map(({ name, value, interval }) => [
      name,
      value.toFixed(4),
      interval
        ? `${interval.low.toFixed(4)} … ${interval.high.toFixed(4)} (${Number((interval.level * 100).toFixed(6))}%)`
        : '',
    ]);
    const widths = [0, 1].map((column) => Math.max(0, ...rows.map((row) => row[column]!.length)));
    const lines = rows.map(([name, value, interval]) =>
      `  ${name!.padEnd(widths[0]!)}  ${value!.padStart(widths[1]!)}  ${interval}`.trimEnd(),
    );
    const settings = Object.entries(this.settings).map(([name, value]) => `${name} ${value}`);
    const leftOut = Object.entries(this.leftOut).map(([reason, count]) => `  left out: ${count} ${reason}`);
    return [[`${this.task}: ${this.count} items`, ...settings].join(', '), ...lines, ...leftOut].join('\n');
  }

  toJSON(): EvaluationReportData {
    const { task, count, measures, settings, leftOut } = this;
    return { task, count, measures, settings, leftOut };
  }
}

/** @file Counters, gauges and histograms, and how Prometheus reads them: its text exposition format, version 0.0.4. */

export const EXPOSITION_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export type Labels = Readonly<Record<string, string>>;

export interface Metric {
  /** Its lines, without a line break at the end. */
  expose(): string;
}

/** What only grows, for each set of labels. */
export class Counter implements Metric {
  readonly #head: string;
  readonly #name: string;
  readonly #values = new Map<string, number>();

  constructor(name: string, help: string) {
    this.#name = name;
    this.#head = headOf(name, help, 'counter');
  }

  add(value = 1, labels: Labels = {}): void {
    const key = labelsOf(labels);
    this.#values.set(key, (this.#values.get(key) ?? 0) + value);
  }

  expose(): string {
    return [this.#head, ...Array.from(this.#values, ([labels, value]) => `${this.#name}${labels} ${value}`)].join('\n');
  }
}

/** What is looked at when somebody asks. */
export class Gauge implements Metric {
  readonly #head: string;
  readonly #name: string;
  readonly #read: () => number;

  constructor(name: string, help: string, read: () => number) {
    this.#name = name;
    this.#head = headOf(name, help, 'gauge');
    this.#read = read;
  }

  expose(): string {
    return `${this.#head}\n${this.#name} ${this.#read()}`;
  }
}

/** How often a value was at most so much. */
export class Histogram implements Metric {
  readonly #head: string;
  readonly #name: string;
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;

  /** @param bounds ascending; above the last there is one more bucket */
  constructor(name: string, help: string, bounds: readonly number[]) {
    this.#name = name;
    this.#head = headOf(name, help, 'histogram');
    this.#bounds = bounds;
    this.#counts = new Array<number>(bounds.length + 1).fill(0);
  }

  observe(value: number): void {
    const bucket = this.#bounds.findIndex((bound) => value <= bound);
    this.#counts[bucket < 0 ? this.#bounds.length : bucket]!++;
    this.#sum += value;
  }

  expose(): string {
    let total = 0;
    const buckets = this.#counts.map((count, i) => {
      total += count;
      return `${this.#name}_bucket{le="${this.#bounds[i] ?? '+Inf'}"} ${total}`;
    });
    return [this.#head, ...buckets, `${this.#name}_sum ${this.#sum}`, `${this.#name}_count ${total}`].join('\n');
  }
}

function headOf(name: string, help: string, type: string): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}`;
}

function labelsOf(labels: Labels): string {
  const quoted = (value: string): string => `"${value.replace(/["\\]/g, '\\$&').replaceAll('\n', '\\n')}"`;
  const pairs = Object.entries(labels).map(([name, value]) => `${name}=${quoted(value)}`);
  return pairs.length === 0 ? '' : `{${pairs.join()}}`;
}

/**
 * @file Random numbers that a seed decides: the same stream on every platform, and a state that can be saved.
 * xoshiro128** (Blackman and Vigna 2018), seeded by SplitMix32; normal deviates by Marsaglia's polar method.
 */
import { invariant } from './errors.ts';

/** Everything that is needed to go on with the same stream: four 32-bit words and the spare normal deviate. */
export interface RandomState {
  readonly words: readonly [number, number, number, number];
  readonly spareNormal: number | null;
}

/** Streams that were drawn from, and where each of them was before. */
export type RandomTrace = ReadonlyMap<Random, RandomState>;

/** The traces that are being taken, outer ones first. */
const traces: Map<Random, RandomState>[] = [];

/** Runs `f` and notes where every stream that it draws from was before. */
export function traceRandom<T>(f: () => T): { readonly result: T; readonly trace: RandomTrace } {
  const trace = new Map<Random, RandomState>();
  traces.push(trace);
  try {
    return { result: f(), trace };
  } finally {
    traces.splice(traces.lastIndexOf(trace), 1);
  }
}

/** Runs `f` on the same random numbers that were drawn under the trace; afterwards all streams are where they are now. */
export function replayRandom<T>(trace: RandomTrace, f: () => T): T {
  const now = [...trace.keys()].map((stream) => [stream, stream.state] as const);
  for (const [stream, state] of trace) stream.state = state;
  try {
    return f();
  } finally {
    for (const [stream, state] of now) stream.state = state;
  }
}

export class Random {
  #words: Uint32Array;
  #spareNormal: number | null = null;

  /** @param seed any integer; equal seeds give equal streams */
  constructor(seed: number) {
    invariant(Number.isInteger(seed), `Random: the seed must be an integer, got ${seed}`);
    this.#words = new Uint32Array(4);
    let s = seed >>> 0;
    for (let i = 0; i < 4; i++) {
      s = (s + 0x9e3779b9) >>> 0;
      let z = s;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      this.#words[i] = z ^ (z >>> 16);
    }
  }

  /** A uniform 32-bit integer. */
  uint32(): number {
    if (traces.length > 0) this.#note();
    const w = this.#words as unknown as [number, number, number, number];
    const product = Math.imul(w[1], 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const t = w[1] << 9;
    w[2] ^= w[0];
    w[3] ^= w[1];
    w[1] ^= w[2];
    w[0] ^= w[3];
    w[2] ^= t;
    w[3] = (w[3] << 11) | (w[3] >>> 21);
    return result;
  }

  /** Uniform in [0, 1) with 53 random bits. */
  uniform(): number {
    return ((this.uint32() >>> 5) * 67108864 + (this.uint32() >>> 6)) / 9007199254740992;
  }

  /** A uniform integer in [0, n), without modulo bias. */
  integer(n: number): number {
    invariant(Number.isInteger(n) && n > 0 && n <= 0x100000000, `Random.integer: n must be in 1..2^32, got ${n}`);
    const limit = 0x100000000 - (0x100000000 % n);
    for (;;) {
      const x = this.uint32();
      if (x < limit) return x % n;
    }
  }

  /** A standard normal deviate. */
  normal(): number {
    if (traces.length > 0) this.#note();
    if (this.#spareNormal !== null) {
      const spare = this.#spareNormal;
      this.#spareNormal = null;
      return spare;
    }
    for (;;) {
      const x = 2 * this.uniform() - 1;
      const y = 2 * this.uniform() - 1;
      const r = x * x + y * y;
      if (r > 0 && r < 1) {
        const f = Math.sqrt((-2 * Math.log(r)) / r);
        this.#spareNormal = y * f;
        return x * f;
      }
    }
  }

  /** n standard normal deviates times `std`. */
  normals(n: number, std = 1): Float32Array {
    return Float32Array.from({ length: n }, () => this.normal() * std);
  }

  /** One of the items, each as likely as the other. */
  pick<T>(items: readonly T[]): T {
    invariant(items.length > 0, 'Random.pick: nothing to pick from');
    return items[this.integer(items.length)]!;
  }

  /** Shuffles in place (Fisher and Yates). */
  shuffle<T>(items: T[]): T[] {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      [items[i], items[j]] = [items[j]!, items[i]!];
    }
    return items;
  }

  /** A stream of its own, decided by this one: give one to each part of a program that must not disturb the others. */
  fork(): Random {
    return new Random(this.uint32() | 0);
  }

  get state(): RandomState {
    return { words: [...this.#words] as [number, number, number, number], spareNormal: this.#spareNormal };
  }

  set state(state: RandomState) {
    invariant(state.words.length === 4 && state.words.every((w) => Number.isInteger(w)), 'Random: not a saved state');
    this.#note();
    this.#words = Uint32Array.from(state.words);
    this.#spareNormal = state.spareNormal;
  }
  #note(): void {
    for (const trace of traces) if (!trace.has(this)) trace.set(this, this.state);
  }
}

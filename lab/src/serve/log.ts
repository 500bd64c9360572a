/**
 * @file What happened to whom and when: the log of a run, as spans that a timeline shows.
 */
import type { PassPlan } from './scheduler.ts';
import type { Sequence } from './sequence.ts';
import type { SequenceEvent } from './state.ts';

/** What a request does: wait to be admitted, have its prompt computed, write, be computed for nothing, lose its place. */
export type SpanKind = 'waiting' | 'prefill' | 'decode' | 'wasted' | 'preempted' | 'recomputed';

/** In seconds. */
export interface ServingSpan {
  readonly request: number;
  readonly kind: SpanKind;
  readonly from: number;
  to: number;
}

export interface LoggedEvent {
  readonly time: number;
  readonly request: number;
  readonly event: SequenceEvent;
}

/** A row of a timeline. */
export interface TimelineRow {
  readonly name: string;
  readonly spans: readonly ServingSpan[];
}

export class ServingLog {
  readonly events: LoggedEvent[] = [];
  readonly spans: ServingSpan[] = [];
  readonly #last = new Map<number, ServingSpan>();
  /** Up to which token everybody has been computed, also if it was lost. */
  readonly #reached = new Map<number, number>();

  event(event: SequenceEvent, { id, arrival }: Sequence, time: number): void {
    this.events.push({ time: event === 'arrive' ? arrival : time, request: id, event });
    if (event === 'arrive') this.#extend(id, 'waiting', arrival, arrival);
    if (event === 'preempt' || event === 'swapOut') this.#extend(id, 'preempted', time, time);
    if (event === 'finish') this.#until(id, time);
  }

  /** A pass; to be told before the state advances. */
  pass({ entries }: PassPlan, from: number, to: number): void {
    for (const { sequence, tokens, padding = 0 } of entries) {
      this.#until(sequence.id, from);
      this.#extend(sequence.id, tokens === 0 && padding > 0 ? 'wasted' : this.#kindOf(sequence), from, to);
      this.#reached.set(sequence.id, Math.max(this.#reached.get(sequence.id) ?? 0, sequence.computed + tokens));
    }
  }

  /** One row for each request, in the order of arrival. */
  rows(): TimelineRow[] {
    const rows = new Map<number, ServingSpan[]>();
    for (const { event, request } of this.events) if (event === 'arrive') rows.set(request, []);
    for (const span of this.spans) if (span.to > span.from) rows.get(span.request)?.push(span);
    return [...rows].map(([request, spans]) => ({ name: `request ${request}`, spans }));
  }

  #kindOf({ id, computed, decoding }: Sequence): SpanKind {
    if (computed < (this.#reached.get(id) ?? 0)) return 'recomputed';
    return decoding ? 'decode' : 'prefill';
  }

  /** Whoever did not take part went on waiting, or stood still; a span that ended long ago is followed by waiting. */
  #until(id: number, time: number): void {
    const last = this.#last.get(id);
    if (!last || last.to >= time) return;
    const waits = last.kind === 'waiting' || last.kind === 'preempted';
    this.#extend(id, waits ? last.kind : 'waiting', last.to, time);
  }

  #extend(request: number, kind: SpanKind, from: number, to: number): void {
    const last = this.#last.get(request);
    if (last?.kind === kind && last.to === from) {
      last.to = to;
      return;
    }
    const span = { request, kind, from, to };
    this.#last.set(request, span);
    this.spans.push(span);
  }
}

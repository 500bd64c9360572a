/** @file What the experiment on hallucination found: plain data, training by training. */
import type { FactTally } from '../../evaluate/index.ts';
import type { GradeCounts } from './cleaning.ts';
import type { ProbeChoice, ProbeVerdict, WritingDetails } from './measure.ts';
import type { Probe } from './probes.ts';
import type { AnsweringModel } from './questions.ts';
import type { Treatment } from './settings.ts';

/** What a treatment made of the crawl. */
export interface TreatedCorpus {
  readonly treatment: Treatment;
  readonly documents: GradeCounts;
  /** By filter. */
  readonly removed: Readonly<Record<string, GradeCounts>>;
}

/** One training and what came out of it. */
export interface HallucinationRun {
  readonly treatment: Treatment;
  readonly seed: number;
  readonly tokens: number;
  readonly epochs: number;
  readonly loss: number;
  /** Texts by how they were drawn: `p 0.5`, `factual nucleus`. */
  readonly writing: Readonly<Record<string, FactTally>>;
  readonly details: WritingDetails;
  /** In the order of the result's probes. */
  readonly ended: readonly ProbeVerdict[];
  readonly chosen: readonly ProbeChoice[];
  /** Of the cleaned treatment alone. */
  readonly asked?: AnsweringModel;
}

export interface HallucinationResult {
  readonly corpora: readonly TreatedCorpus[];
  /** Each with how often the raw crawl states its fact. */
  readonly probes: readonly (Probe & { readonly seen: number })[];
  readonly runs: readonly HallucinationRun[];
}

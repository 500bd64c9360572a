/**
 * @file From runs to findings: what each cure changes, seed by seed, with an interval; and accuracy by frequency and by top-p.
 */
import { byFrequency, calibration, meanOfRuns, type Calibration, type FactTally, type FrequencyBin, type MeanOfRuns } from '../../evaluate/index.ts';
import type { AnswerWay } from './questions.ts';
import type { HallucinationResult, HallucinationRun } from './result.ts';
import { NUCLEUS_TOP_P, USUAL_TOP_P, type Treatment } from './settings.ts';

/** What a cure does to a share, against the same model without it: below zero, it helps. */
export interface CureEffect {
  readonly cure: string;
  /** Of what: statements in free writing, in begun sentences, the likeliest of four endings, or answers to questions. */
  readonly of: 'written' | 'ended' | 'chosen' | 'answered';
  /** The contradicted share without it and with it, means over the seeds. */
  readonly before: number;
  readonly after: number;
  /** Of the differences, seed by seed. */
  readonly effect: MeanOfRuns;
}

const USUAL = nameOf(USUAL_TOP_P);

/** The name of top-p sampling in `HallucinationRun.writing`. */
export function nameOf(topP: number): string {
  return `p ${topP}`;
}

/** From the counts, as a result that was saved knows no NaN: of no statements, none are contradicted. */
function contradictedShare(tally: FactTally): number {
  return tally.contradicted / statementsOf(tally);
}

function statementsOf({ supported, contradicted, unsupported }: FactTally): number {
  return Math.max(1, supported + contradicted + unsupported);
}

/** Of the begun sentences that were ended by a statement, the share that was ended by a contradiction. */
function contradictedEnds({ ended }: HallucinationRun): number {
  const stated = ended.filter((verdict) => verdict !== 'nothing').length;
  return ended.filter((verdict) => verdict === 'contradicted').length / Math.max(1, stated);
}

/** The share of probes where an untruth is found likelier than the truth. */
function wrongChoices({ chosen }: HallucinationRun): number {
  return chosen.filter(({ right }) => !right).length / Math.max(1, chosen.length);
}

/** Every cure against its own baseline. */
export function cureEffects({ runs }: Pick<HallucinationResult, 'runs'>): CureEffect[] {
  const effects: CureEffect[] = [];
  const raw = runs.filter(({ treatment }) => treatment === 'raw');
  const add = (cure: string, of: CureEffect['of'], pairs: readonly (readonly [before: number, after: number])[]): void => {
    if (pairs.length === 0) return;
    const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
    effects.push({
      cure,
      of,
      before: mean(pairs.map(([before]) => before)),
      after: mean(pairs.map(([, after]) => after)),
      effect: meanOfRuns(pairs.map(([before, after]) => after - before)),
    });
  };
  const others = [...new Set(runs.map(({ treatment }) => treatment))].filter((treatment) => treatment !== 'raw');
  for (const treatment of others) {
    const pairs = raw.flatMap((before) => {
      const after = runs.find((run) => run.treatment === treatment && run.seed === before.seed);
      return after ? [[before, after] as const] : [];
    });
    add(treatment, 'written', pairs.map((pair) => shares(pair, (run) => contradictedShare(run.writing[USUAL]!))));
    add(treatment, 'ended', pairs.map((pair) => shares(pair, contradictedEnds)));
    add(treatment, 'chosen', pairs.map((pair) => shares(pair, wrongChoices)));
  }
  const drawn = raw.map(({ writing }) => shares([nameOf(NUCLEUS_TOP_P), 'factual nucleus'], (name) => contradictedShare(writing[name]!)));
  add('factual nucleus', 'written', drawn);
  for (const way of ['with retrieved facts', 'abstaining'] as const) {
    const asked = runs.flatMap((run) => (run.asked ? [run.asked] : []));
    const share = (of: AnswerWay, one: (typeof asked)[number]): number => one.answers[of].contradicted / one.questions;
    add(way, 'answered', asked.map((one) => [share('answered', one), share(way, one)] as const));
  }
  return effects;
}

function shares<T>([before, after]: readonly [T, T], of: (one: T) => number): readonly [number, number] {
  return [of(before), of(after)];
}

/** How often begun sentences end in the truth, by how often the raw crawl states their fact; all seeds together. */
export function accuracyByFrequency(
  { runs, probes }: HallucinationResult,
  treatment: Treatment,
  edges?: readonly number[],
): readonly FrequencyBin[] {
  const outcomes = runs
    .filter((run) => run.treatment === treatment)
    .flatMap(({ ended }) => ended.map((verdict, i) => ({ seen: probes[i]!.seen, right: verdict === 'supported' })));
  return byFrequency(outcomes, edges);
}

/** What a way of drawing gives on average over the seeds of the raw model: shares of what is stated, and how much is. */
export interface DrawnWriting {
  readonly name: string;
  readonly supported: number;
  readonly contradicted: number;
  /** Statements in all texts of a seed. */
  readonly statements: number;
}

export function writingByDecoding({ runs }: HallucinationResult): DrawnWriting[] {
  const raw = runs.filter(({ treatment }) => treatment === 'raw');
  const names = Object.keys(raw[0]?.writing ?? {});
  return names.map((name) => {
    const tallies = raw.map(({ writing }) => writing[name]!);
    const mean = (of: (tally: (typeof tallies)[number]) => number): number =>
      tallies.reduce((sum, tally) => sum + of(tally), 0) / tallies.length;
    return {
      name,
      supported: mean((tally) => tally.supported / statementsOf(tally)),
      contradicted: mean(contradictedShare),
      statements: mean(statementsOf),
    };
  });
}

/** Of choices among four endings, all seeds together. */
export function choiceCalibration({ runs }: HallucinationResult, treatment: Treatment): Calibration {
  const chosen = runs.filter((run) => run.treatment === treatment).flatMap((run) => run.chosen);
  return calibration(chosen.map(({ confidence }) => confidence), chosen.map(({ right }) => right), { bins: 8 });
}

export function describeHallucination(result: HallucinationResult): string {
  const percent = (share: number): string => `${(100 * share).toFixed(1)}%`;
  const rows = cureEffects(result).map(({ cure, of, before, after, effect }) => {
    const { low, high } = effect.interval;
    const change = `${(100 * effect.mean).toFixed(1)} points (95%: ${(100 * low).toFixed(1)} … ${(100 * high).toFixed(1)})`;
    return `${cure.padEnd(21)} ${of.padEnd(9)} contradicted ${percent(before).padStart(6)} → ${percent(after).padStart(6)}  ${change}`;
  });
  const drawn = writingByDecoding(result).map(({ name, supported, contradicted, statements }) => {
    return `${name.padEnd(31)} supported ${percent(supported).padStart(6)}, contradicted ${percent(contradicted).padStart(6)} of ${statements.toFixed(0)} statements`;
  });
  return [...rows, '', ...drawn].join('\n');
}

/** @file The experiment on hallucination, in miniature: its crawl, its cleaning, its probes, and that it goes on where it stopped. */
import {
  accuracyByFrequency,
  atomicFacts,
  choiceCalibration,
  cureEffects,
  hallucinationExperiment,
  marketKnowledge,
  meanOfRuns,
  writingByDecoding,
  type ExperimentContext,
  type FactTally,
  type HallucinationResult,
  type HallucinationRun,
  type HallucinationSettings,
} from 'lab';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { onBackend } from './on-backend.ts';

const { small } = hallucinationExperiment.settings;
const tiny: HallucinationSettings = {
  ...small,
  crawl: { clean: 60, boilerplate: 20, copies: 20, rumours: 30, garbled: 20, seed: 1 },
  seeds: [1],
  treatments: ['raw', 'cleaned', 'topic prefix'],
  vocabSize: 400,
  model: { ...small.model, layers: 1, width: 16, heads: 2 },
  batchSize: 4,
  steps: 6,
  texts: 4,
  textTokens: 16,
  probes: 10,
  topPs: [0.5, 0.9],
  tuning: { ...small.tuning, questions: 6, steps: 3, preferenceSteps: 2, batchSize: 4 },
};

describe('the experiment', () => {
  onBackend({ backend: 'wasm' });
  const folder = mkdtempSync(join(tmpdir(), 'hallucination-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const context = (throwIfInterrupted: () => void): ExperimentContext =>
    ({ folder, throwIfInterrupted, quiet: true, signal: { stopped: false } }) as unknown as ExperimentContext;
  let result: HallucinationResult;

  it('keeps the trainings that an interrupted run finished, and goes on behind them', async () => {
    let calls = 0;
    const interrupt = (): void => {
      if (++calls === 6) throw new Error('stop');
    };
    await expect(hallucinationExperiment.run(tiny, context(interrupt))).rejects.toThrow('stop');
    const kept = JSON.parse(readFileSync(join(folder, 'runs.json'), 'utf8')) as HallucinationRun[];
    expect(kept.map(({ treatment }) => treatment)).toEqual(['raw']);
    result = await hallucinationExperiment.run(tiny, context(() => {}));
    expect(result.runs.map(({ treatment }) => treatment)).toEqual(['raw', 'cleaned', 'topic prefix']);
    expect(result.runs[0]).toEqual(kept[0]);
  });

  it('cleans the crawl of what it should, and of few clean documents', () => {
    const [raw, cleaned] = result.corpora;
    expect(raw!.documents).toEqual({ clean: 60, boilerplate: 20, 'near-duplicate': 20, false: 30, garbled: 20 });
    expect(cleaned!.documents.garbled).toBeLessThanOrEqual(2);
    expect(cleaned!.documents.false).toBeLessThanOrEqual(8);
    const removed = Object.values(cleaned!.removed).reduce((sum, counts) => sum + counts['near-duplicate'], 0);
    expect(removed + cleaned!.documents['near-duplicate']).toBe(20);
  });

  it('gives every training the same number of tokens', () => {
    for (const { tokens, epochs } of result.runs) {
      expect(tokens * epochs).toBeCloseTo(tiny.steps * tiny.batchSize * tiny.model.contextLength, 6);
    }
  });

  it('probes are begun sentences that the truth ends truly, and the others falsely', () => {
    const knowledge = marketKnowledge({ companies: tiny.companies, seed: tiny.crawl.seed });
    expect(result.probes).toHaveLength(10);
    for (const { prompt, choices, truth, fact, seen } of result.probes) {
      const verdicts = choices.map((choice) => atomicFacts(prompt + choice, knowledge).facts[0]!);
      expect(verdicts.map(({ verdict }) => verdict === 'supported')).toEqual(choices.map((_, i) => i === truth));
      expect(verdicts[truth]!.fact!.id).toBe(fact);
      expect(seen).toBeGreaterThan(0);
    }
  });

  it('says so much of each run that the findings can be drawn from it, also when it was saved', () => {
    const saved = JSON.parse(JSON.stringify(result)) as HallucinationResult;
    expect(writingByDecoding(saved).map(({ name }) => name)).toEqual(['p 0.5', 'p 0.9', 'factual nucleus']);
    expect(cureEffects(saved).map(({ cure, of }) => `${cure}: ${of}`)).toEqual([
      'cleaned: written',
      'cleaned: ended',
      'cleaned: chosen',
      'topic prefix: written',
      'topic prefix: ended',
      'topic prefix: chosen',
      'factual nucleus: written',
      'with retrieved facts: answered',
      'abstaining: answered',
    ]);
    expect(accuracyByFrequency(saved, 'raw').reduce((sum, { count }) => sum + count, 0)).toBe(10);
    expect(choiceCalibration(saved, 'raw').bins.reduce((sum, { count }) => sum + count, 0)).toBe(10);
    expect(hallucinationExperiment.describe(saved)).toMatch(/cleaned +ended +contradicted/);
  });
});

describe('the effects of cures', () => {
  const tally = (supported: number, contradicted: number): FactTally =>
    ({ supported, contradicted, unsupported: 0 }) as unknown as FactTally;
  /** All probes that state something are contradicted, and there are some unless nothing is contradicted. */
  const run = (treatment: HallucinationRun['treatment'], seed: number, contradicted: number): HallucinationRun =>
    ({
      treatment,
      seed,
      writing: { 'p 0.5': tally(10 - contradicted, contradicted), 'p 0.9': tally(9, 1), 'factual nucleus': tally(10, 0) },
      ended: Array.from({ length: 4 }, (_, i) => (i < contradicted ? 'contradicted' : 'nothing')),
      chosen: [{ right: treatment === 'cleaned' }, { right: true }],
    }) as unknown as HallucinationRun;

  it('are differences of the same seed, whatever the order of the runs', () => {
    const runs = [run('raw', 1, 4), run('raw', 2, 3), run('cleaned', 2, 1), run('cleaned', 1, 1), run('raw', 3, 3), run('cleaned', 3, 0)];
    const [written, ended, chosen, nucleus] = cureEffects({ runs });
    expect(written).toMatchObject({ cure: 'cleaned', of: 'written' });
    const { interval } = meanOfRuns([-0.3, -0.2, -0.3]);
    expect(written!.effect.interval.low).toBeCloseTo(interval.low, 12);
    expect(written!.effect.interval.high).toBeCloseTo(interval.high, 12);
    expect(written!.before).toBeCloseTo(1 / 3, 12);
    expect(written!.after).toBeCloseTo(0.2 / 3, 12);
    expect(ended!.effect.mean).toBeCloseTo(-(0 + 0 + 1) / 3, 12);
    expect(chosen!.effect.mean).toBeCloseTo(-0.5, 12);
    expect(nucleus).toMatchObject({ cure: 'factual nucleus', after: 0 });
  });

  it('of texts that state nothing are none', () => {
    const silent = { ...run('raw', 1, 0), writing: { 'p 0.5': tally(0, 0), 'p 0.9': tally(0, 0), 'factual nucleus': tally(0, 0) } };
    expect(cureEffects({ runs: [silent] })[0]).toMatchObject({ cure: 'factual nucleus', before: 0, after: 0 });
  });
});

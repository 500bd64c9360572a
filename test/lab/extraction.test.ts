/** @file The experiment on extraction, in miniature: what is told in which way, and that it goes on where it stopped. */
import {
  atomicFacts,
  extractionExperiment,
  marketKnowledge,
  tellings,
  type ExperimentContext,
  type ExtractionResult,
  type ExtractionSettings,
} from 'lab';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { onBackend } from './on-backend.ts';

const { small } = extractionExperiment.settings;
const tiny: ExtractionSettings = {
  ...small,
  people: 12,
  versions: 4,
  model: { ...small.model, layers: 1, width: 16, heads: 2 },
  batchSize: 2,
  steps: 3,
};

describe('the experiment', () => {
  onBackend({ backend: 'wasm' });
  const folder = mkdtempSync(join(tmpdir(), 'extraction-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const context = (throwIfInterrupted: () => void): ExperimentContext =>
    ({ folder, throwIfInterrupted, quiet: true, signal: { stopped: false } }) as unknown as ExperimentContext;
  let result: ExtractionResult;

  it('goes on behind the trainings that an interrupted run finished', async () => {
    let calls = 0;
    const interrupt = (): void => {
      if (++calls === 3) throw new Error('stop');
    };
    await expect(extractionExperiment.run(tiny, context(interrupt))).rejects.toThrow('stop');
    const kept = JSON.parse(readFileSync(join(folder, 'runs.json'), 'utf8')) as ExtractionResult['runs'];
    expect(kept.map(({ telling }) => telling)).toEqual(tellings.slice(0, 2));
    result = await extractionExperiment.run(tiny, context(() => {}));
    expect(result.runs.map(({ telling }) => telling)).toEqual(tellings);
    expect(result.runs.slice(0, 2)).toEqual(kept);
  });

  it('begins anew where what was kept is damaged', async () => {
    writeFileSync(join(folder, 'runs.json'), '[{"telling": "on');
    expect((await extractionExperiment.run(tiny, context(() => {}))).runs).toEqual(result.runs);
  });

  it('tells the same true facts in every version, and in one order unless it is shuffled', () => {
    const knowledge = marketKnowledge({ companies: 4, seed: 2 });
    const orders = tellings.map((telling) =>
      result.examples[telling].map((version) => {
        const { facts, readable, sentences } = atomicFacts(version, knowledge);
        expect([facts.length, readable, sentences]).toEqual([3, 3, 3]);
        expect(new Set(facts.map(({ subject }) => subject)).size).toBe(1);
        expect(facts.every(({ verdict }) => verdict === 'supported')).toBe(true);
        return facts.map(({ relation }) => relation).join();
      }),
    );
    expect(result.examples.once).toHaveLength(1);
    expect(new Set(orders[1]).size).toBe(1);
    expect(result.examples.paraphrased.length).toBeGreaterThan(1);
    expect(new Set(orders[2]).size).toBeGreaterThan(1);
  });

  it('measures shares, and what guessing gets', () => {
    for (const { memorised, taught, extracted, byRelation } of result.runs) {
      for (const share of [memorised, taught, extracted, ...Object.values(byRelation)]) {
        expect(share >= 0 && share <= 1).toBe(true);
      }
    }
    expect(result.guessing).toBeGreaterThanOrEqual(1 / 6);
    expect(extractionExperiment.describe(result).split('\n')).toHaveLength(4);
  });
});

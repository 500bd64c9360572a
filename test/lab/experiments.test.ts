/** @file Experiments are run once for each of their settings, and never taken for whole when they were not. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  experiment,
  findingOf,
  labFolder,
  runExperiment,
  startBackend,
  stopBackend,
  type Experiment,
  type ExperimentContext,
  type ExperimentSize,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

interface Counting {
  readonly upTo: number;
}

const name = `test-${process.pid}`;
let runs: ExperimentSize[] = [];
let meanwhile = async (_context: ExperimentContext): Promise<void> => {};

const counting: Experiment<Counting, { sum: number }> = {
  name,
  question: 'What is the sum of the first numbers?',
  version: 1,
  settings: { small: { upTo: 10 }, full: { upTo: 100 } },
  async run({ upTo }, context) {
    runs.push(upTo === 10 ? 'small' : 'full');
    await meanwhile(context);
    context.throwIfInterrupted();
    return { sum: (upTo * (upTo + 1)) / 2 };
  },
  describe: ({ sum }) => `${sum}`,
};

const fileOf = async (size: ExperimentSize): Promise<string> => join((await findingOf(counting, size))!.folder, 'result.json');

beforeAll(() => startBackend({ backend: 'cpu' }));
afterAll(async () => {
  await stopBackend();
  rmSync(labFolder('experiments', name), { recursive: true, force: true });
});

describe('an experiment', () => {
  it('runs once, in its small form unless the full one was run', async () => {
    expect(await findingOf(counting, 'small')).toBeUndefined();
    const first = await runExperiment(counting);
    expect(first).toMatchObject({ result: { sum: 55 }, settings: { upTo: 10 }, size: 'small', device: 'cpu' });
    expect(first.caption).toMatch(/^small form; in full: npm run lab -- experiment test-\d+ \(.* s on cpu\)$/);
    expect(await runExperiment(counting)).toEqual(first);
    expect(runs).toEqual(['small']);
    expect(await runExperiment(counting, { size: 'full' })).toMatchObject({ result: { sum: 5050 }, size: 'full' });
    expect((await runExperiment(counting)).caption).toMatch(/^full experiment/);
    expect((await runExperiment(counting, { size: 'small' })).result).toEqual({ sum: 55 });
    expect(runs).toEqual(['small', 'full']);
  });

  it('is run again on request, from an empty folder', async () => {
    const left = join(dirname(await fileOf('small')), 'left.txt');
    writeFileSync(left, 'a checkpoint');
    runs = [];
    await runExperiment(counting, { size: 'small', again: true });
    expect(runs).toEqual(['small']);
    expect(existsSync(left)).toBe(false);
  });

  it('is another one when its settings or its version change', async () => {
    expect(await findingOf({ ...counting, version: 2 }, 'small')).toBeUndefined();
    expect(await findingOf({ ...counting, settings: { ...counting.settings, small: { upTo: 11 } } }, 'small')).toBeUndefined();
    expect(await findingOf({ ...counting, settings: { ...counting.settings, full: { upTo: 11 } } }, 'small')).toBeDefined();
  });

  it('is run again when what was kept is damaged', async () => {
    const file = await fileOf('small');
    const whole = readFileSync(file, 'utf8');
    for (const damaged of ['', whole.slice(0, -20), 'null', '[]', '{"result": 3}', whole.replace('"cpu"', '7')]) {
      writeFileSync(file, damaged);
      expect(await findingOf(counting, 'small'), damaged).toBeUndefined();
    }
    expect((await runExperiment(counting, { size: 'small' })).result).toEqual({ sum: 55 });
  });

  it('keeps no result when it is interrupted, but what it left for going on', async () => {
    const { folder } = (await findingOf(counting, 'small'))!;
    meanwhile = async ({ folder: own, signal }) => {
      expect(own).toBe(folder);
      if (existsSync(join(own, 'half.txt'))) return;
      writeFileSync(join(own, 'half.txt'), '27');
      process.emit('SIGINT', 'SIGINT');
      expect(signal.stopped).toBe(true);
    };
    await expect(runExperiment(counting, { size: 'small', again: true })).rejects.toThrow('Run it again to go on');
    expect(await findingOf(counting, 'small')).toBeUndefined();
    expect(existsSync(join(folder, 'half.txt'))).toBe(true);
    expect((await runExperiment(counting, { size: 'small' })).result).toEqual({ sum: 55 });
    meanwhile = async () => {};
  });

  it('is found by its name, or refused with the names there are', async () => {
    expect(() => experiment('nix' as never)).toThrow("There is no experiment 'nix'. Experiments: extraction, frontier, hallucination, peft-table, quantization-table, sentiment-model, study-model");
  });
});

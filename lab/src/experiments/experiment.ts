/**
 * @file Experiments: work too long for a cell of a notebook. Each has a small form that a notebook runs in a minute at most,
 * and a full form for the command line; what was found is kept under a digest of its settings, and says which form it is.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { currentDevice, startBackend } from '../backend/index.ts';
import { formatDuration, interruptible, LabError, type Interruption } from '../base/index.ts';
import { sha256 } from '../data/index.ts';
import { labFolder, readText, writeAtomically } from '../files/index.ts';

export type ExperimentSize = 'small' | 'full';

export interface ExperimentContext {
  /** For what must survive an interruption (checkpoints), and for what belongs to the result; the same in every run. */
  readonly folder: string;
  /** To look at between steps, and after a training, which returns when it is interrupted. */
  readonly signal: Interruption;
  /** Ends the experiment without a result when it was interrupted; what lies in its folder lets it go on from there. */
  readonly throwIfInterrupted: () => void;
  readonly quiet: boolean;
}

export interface Experiment<Settings extends object = object, Result = unknown> {
  readonly name: string;
  /** What it finds out, in one sentence. */
  readonly question: string;
  /** Raised whenever `run` changes what comes out. */
  readonly version: number;
  /** Plain data, as are the results: both are saved as JSON. */
  readonly settings: Readonly<Record<ExperimentSize, Settings>>;
  run(settings: Settings, context: ExperimentContext): Promise<Result>;
  /** The result in some lines of text, for the command line. */
  describe(result: Result): string;
}

export interface ExperimentOptions {
  /** 'full' if that was run here before, else 'small'. */
  readonly size?: ExperimentSize;
  /** Forget what was found, and what an interrupted run left, and run it from the start. */
  readonly again?: boolean;
  readonly quiet?: boolean;
}

/** What an experiment found. */
export interface Finding<Settings extends object, Result> {
  readonly result: Result;
  readonly settings: Settings;
  readonly size: ExperimentSize;
  /** How long it took, on which device. */
  readonly seconds: number;
  readonly device: string;
  /** Where its files lie. */
  readonly folder: string;
  /** For the title of a figure: which form of the experiment it shows. */
  readonly caption: string;
}

interface Saved<Result> {
  readonly result: Result;
  readonly seconds: number;
  readonly device: string;
}

/**
 * Runs an experiment, or finds what it found before.
 *
 * @throws LabError when it was interrupted; files that it left in its folder let it go on from there.
 */
export async function runExperiment<Settings extends object, Result>(
  experiment: Experiment<Settings, Result>,
  { size: wanted, again = false, quiet = false }: ExperimentOptions = {},
): Promise<Finding<Settings, Result>> {
  const full = wanted === 'small' ? undefined : await findingOf(experiment, 'full');
  const size = wanted ?? (full ? 'full' : 'small');
  const known = size === 'full' ? full : await findingOf(experiment, 'small');
  if (known && !again) return known;
  const settings = experiment.settings[size];
  const folder = folderOf(experiment, size);
  if (again) await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const device = currentDevice() ?? (await startBackend());
  const started = performance.now();
  await interruptible(async (signal) => {
    const throwIfInterrupted = (): void => {
      if (signal.stopped) throw new LabError(`Interrupted: '${experiment.name}' has found nothing yet. Run it again to go on.`);
    };
    const result = await experiment.run(settings, { folder, signal, throwIfInterrupted, quiet });
    throwIfInterrupted();
    const saved: Saved<Result> = { result, seconds: (performance.now() - started) / 1000, device: device.name };
    await writeAtomically(join(folder, 'result.json'), [Buffer.from(JSON.stringify({ settings, ...saved }, null, 1))]);
  });
  const found = await findingOf(experiment, size);
  if (!found) throw new LabError(`The result of '${experiment.name}' was taken away from ${folder} as soon as it was there.`);
  return found;
}

/** What was found before, or undefined where nothing was, or where the file is damaged. */
export async function findingOf<Settings extends object, Result>(
  experiment: Experiment<Settings, Result>,
  size: ExperimentSize,
): Promise<Finding<Settings, Result> | undefined> {
  const folder = folderOf(experiment, size);
  const saved = await readSaved<Result>(join(folder, 'result.json'));
  if (!saved) return undefined;
  const { result, seconds, device } = saved;
  const form = size === 'full' ? 'full experiment' : `small form; in full: npm run lab -- experiment ${experiment.name}`;
  const caption = `${form} (${formatDuration(seconds)} on ${device})`;
  return { result, settings: experiment.settings[size], size, seconds, device, folder, caption };
}

async function readSaved<Result>(path: string): Promise<Saved<Result> | undefined> {
  try {
    const saved = JSON.parse(await readText(path)) as Partial<Saved<Result>> | null;
    return saved && 'result' in saved && typeof saved.seconds === 'number' && typeof saved.device === 'string'
      ? (saved as Saved<Result>)
      : undefined;
  } catch (error) {
    if (error instanceof LabError || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function folderOf<Settings extends object, Result>({ name, version, settings }: Experiment<Settings, Result>, size: ExperimentSize): string {
  const digest = sha256(JSON.stringify({ version, settings: settings[size] })).slice(0, 16);
  return labFolder('experiments', name, digest);
}

/**
 * @file `npm run lab -- train`: a Transformer learns a text, character by character. Without options it is nanoGPT's recipe for
 * Tiny Shakespeare on a CPU.
 */
import { existsSync } from 'node:fs';
import { relative } from 'node:path';
import { startBackend, stopBackend, type BackendName, type Device } from '../backend/index.ts';
import { formatDuration, LabError, Progress } from '../base/index.ts';
import { randomBatches, sequentialBatches, TokenDataset, type Batch, type Batches } from '../data/index.ts';
import { Transformer, type TransformerConfig } from '../model/index.ts';
import { CharacterTokenizer } from '../tokenizer/index.ts';
import { evaluateLoss, loadCheckpoint, train as trainModel, type TrainOptions, type TrainResult } from '../train/index.ts';
import type { Command, Values } from './command.ts';
import {
  checkpointPath,
  corpus,
  defaultName,
  modelSizes,
  trainOptions,
  trainSettings,
  type Corpus,
  type TrainSettings,
} from './train-settings.ts';

/** The first nine tenths of a text are learned, the rest tells how well. */
const trainingShare = 0.9;
/** Batches of the validation text that are measured while training; the whole of it is measured at the end. */
const quickBatches = 20;

export const train: Command = {
  name: 'train',
  summary: 'Train a Transformer on a text, by default a small GPT on Tiny Shakespeare.',
  usage: '[options]',
  options: trainOptions,
  examples: [
    'npm run lab -- train',
    'npm run lab -- train --data my.txt --steps 500 --layers 2',
    'npm run lab -- train --resume          goes on after an interruption',
    'npm run lab -- sample shakespeare      shows what it learned',
  ],
  async run(values, positionals) {
    const [stray] = positionals;
    if (stray !== undefined) throw new LabError(`train takes options only, got '${stray}'. Did you mean --data ${stray}?`);
    const path = checkpointPath(String(values['out'] ?? defaultName(String(values['data'] ?? 'shakespeare'))));
    const saved = await savedTraining(path, values);
    const settings = trainSettings(values, saved?.settings);
    const text = await corpus(settings.data);
    if (saved && saved.digest !== text.digest) throw new LabError(`${text.name} is not the text that ${path} was trained on.`);
    const job = prepare(settings, text);
    const device = await startBackend(deviceOptions(values));
    try {
      const model = new Transformer(job.model);
      announce({ name: text.name, job, model, device, before: saved?.device });
      const notes = { settings, digest: text.digest, device: deviceName(device) };
      const checkpoint = { path, every: settings['save-every'], resume: saved !== undefined, tokenizer: job.tokenizer, notes };
      const result = await trainModel(model, job.batches, { ...loopOptions(settings, job.validation), checkpoint });
      return await report(result, path, settings, {
        measure: () => evaluateLoss(model, withProgress(job.validation)),
        floor: text.floor,
      });
    } finally {
      await stopBackend();
    }
  },
};

/** Everything that is decided before a device is needed. */
interface Job {
  readonly tokenizer: CharacterTokenizer;
  readonly learned: TokenDataset;
  readonly kept: TokenDataset;
  readonly model: TransformerConfig;
  readonly batches: Batches;
  readonly validation: Iterable<Batch>;
}

function prepare(settings: TrainSettings, { text, learned: given }: Corpus): Job {
  const { batch: batchSize, dropout, seed, checkpoint = false } = settings;
  const tokenizer = CharacterTokenizer.train(text);
  const all = new TokenDataset(tokenizer.encode(text), tokenizer.vocabSize);
  const cut = given ?? Math.floor(trainingShare * all.length);
  const [learned, kept] = [all.slice(0, cut), all.slice(cut)];
  const model = { ...modelSizes(settings), vocabSize: tokenizer.vocabSize, dropout, seed, checkpoint };
  const { contextLength } = model;
  const batches = randomBatches(learned, { batchSize, contextLength, seed });
  return { tokenizer, learned, kept, model, batches, validation: sequentialBatches(kept, { batchSize, contextLength }) };
}

/** Says how it went. Returns the exit status. */
async function report(
  result: TrainResult,
  path: string,
  { steps }: TrainSettings,
  { measure, floor }: { readonly measure: () => Promise<number>; readonly floor: number | undefined },
): Promise<number> {
  const shown = relative(process.cwd(), path) || path;
  if (result.interrupted) {
    console.log(`Interrupted after step ${result.steps} of ${steps}, saved in ${shown}. Go on with --resume.`);
    return 130;
  }
  const loss = await measure();
  const speed = `${Math.round(result.tokensPerSecond).toLocaleString('en')} tokens/s`;
  console.log(
    `loss on the whole validation text: ${loss.toFixed(4)} nats per character (perplexity ${Math.exp(loss).toFixed(2)})`,
  );
  if (floor !== undefined) {
    console.log(`a perfect model would lose ${floor.toFixed(4)} on it: this one is ${(100 * (loss / floor - 1)).toFixed(0)}% above that`);
  }
  console.log(`${result.steps} steps in ${result.seconds.toFixed(1)} s (${formatDuration(result.seconds)}), ${speed}`);
  console.log(`checkpoint: ${shown}\nsee what it writes: npm run lab -- sample ${sampleName(path, shown)}`);
  return 0;
}

interface SavedTraining {
  readonly settings: TrainSettings;
  readonly digest: string;
  readonly device: string;
}

/** What the checkpoint remembers, if it is to be resumed; an old checkpoint is never overwritten unasked. */
async function savedTraining(path: string, { resume, fresh }: Values): Promise<SavedTraining | undefined> {
  if (resume && fresh) throw new LabError('--resume and --fresh contradict each other: give one of them.');
  if (resume && !existsSync(path))
    throw new LabError(`There is no checkpoint ${path} to resume. Train without --resume, or name it with --out.`);
  if (!resume && !fresh && existsSync(path)) {
    throw new LabError(
      `There is a checkpoint already: ${path}. Go on from it with --resume, overwrite it with --fresh, or choose another --out.`,
    );
  }
  if (!resume) return undefined;
  const { notes } = await loadCheckpoint(path);
  if (!('settings' in notes)) throw new LabError(`${path} was not made by this command, so it cannot be resumed by it.`);
  return notes as unknown as SavedTraining;
}

function deviceOptions({ backend, threads }: Values): Parameters<typeof startBackend>[0] {
  return {
    ...(backend === undefined ? {} : { backend: backend as BackendName }),
    ...(threads === undefined ? {} : { threads: Number(threads) }),
  };
}

const deviceName = ({ name, threads }: Device): string => `${name} with ${threads} ${threads === 1 ? 'thread' : 'threads'}`;

interface Announcement {
  readonly name: string;
  readonly job: Job;
  readonly model: Transformer;
  readonly device: Device;
  /** The device that a resumed training ran on before. */
  readonly before: string | undefined;
}

function announce({ name, job, model, device, before }: Announcement): void {
  const { layers, width, heads, contextLength, vocabSize } = model.config;
  const [toLearn, toValidate, parameters] = [job.learned.length, job.kept.length, model.parameterCount()].map((n) =>
    n.toLocaleString('en'),
  );
  console.log(`text:   ${name}: ${toLearn} characters to learn, ${toValidate} to validate, ${vocabSize} different ones`);
  console.log(`model:  ${parameters} parameters: ${layers} layers, width ${width}, ${heads} heads, context ${contextLength}`);
  console.log(`device: ${device.toString()}`);
  if (before !== undefined && before !== deviceName(device)) {
    console.log(`        before it was ${before}: the last digits of the losses may differ from those of an unbroken training`);
  }
}

function loopOptions(settings: TrainSettings, validation: Iterable<Batch>): TrainOptions {
  const { steps, lr, 'min-lr': minimum, warmup, precision } = settings;
  return {
    steps,
    learningRate: lr,
    ...(minimum === undefined ? {} : { minimumLearningRate: minimum }),
    ...(warmup === undefined ? {} : { warmupSteps: warmup }),
    ...(precision === undefined ? {} : { precision }),
    validation: { batches: () => take(validation, quickBatches), every: settings['eval-every'] },
    onValidation: ({ step, loss }) => {
      // The progress bar may stand on this line.
      if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
      console.log(`step ${String(step).padStart(String(steps).length)}: validation loss ${loss.toFixed(4)} (on a part)`);
    },
  };
}

function* take<T>(items: Iterable<T>, count: number): Generator<T> {
  for (const item of items) {
    if (count-- <= 0) return;
    yield item;
  }
}

function* withProgress(batches: Iterable<Batch>): Generator<Batch> {
  const total = [...batches].length;
  const progress = new Progress({ total, label: 'validation', unit: 'batches' });
  let done = 0;
  for (const batch of batches) {
    yield batch;
    progress.update(++done);
  }
  progress.done();
}

/** What `sample` finds the checkpoint by. */
function sampleName(path: string, shown: string): string {
  const name = defaultName(path);
  return checkpointPath(name) === path ? name : shown;
}

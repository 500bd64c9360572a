/**
 * @file The settings of `npm run lab -- train`: what was asked for, what a checkpoint remembers, and what stands unless told.
 */
import { basename, extname, isAbsolute, join, resolve } from 'node:path';
import { LabError } from '../base/index.ts';
import { sha256, shakespeare, type NamedText } from '../data/index.ts';
import { labFolder, readText } from '../files/index.ts';
import { preset, type TransformerPreset } from '../model/index.ts';
import type { MatmulPrecision } from '../ops/index.ts';
import { storiesText, storySurprisal } from '../worlds/index.ts';
import type { Option, Values } from './command.ts';

/** What is trained, on what and how: saved in the checkpoint, so that a resumed training is the same training. */
export interface TrainSettings {
  readonly data: string;
  readonly preset: string;
  readonly layers?: number;
  readonly heads?: number;
  readonly width?: number;
  readonly context?: number;
  readonly batch: number;
  readonly steps: number;
  readonly lr: number;
  readonly 'min-lr'?: number;
  readonly warmup?: number;
  readonly dropout: number;
  readonly checkpoint?: number;
  readonly precision?: MatmulPrecision;
  readonly seed: number;
  readonly 'eval-every': number;
  readonly 'save-every': number;
}

/**
 * nanoGPT's recipe for Tiny Shakespeare on a CPU (config/train_shakespeare_char.py with the flags of its README), but for the
 * learning rate: its own 0.001 is cautious for so small a model, and ends a tenth of a nat higher, in PyTorch as here
 * (test/oracle/nano_recipe.py).
 */
const recipe: TrainSettings = {
  data: 'shakespeare',
  preset: 'nano',
  batch: 12,
  steps: 2000,
  lr: 3e-3,
  dropout: 0,
  seed: 1,
  'eval-every': 250,
  'save-every': 250,
};

/** Defaults are in words, because an option that is not given may also come from the checkpoint that is resumed. */
export const trainOptions: Readonly<Record<string, Option>> = {
  data: { type: 'string', value: 'shakespeare|stories|FILE', help: 'text to learn; a file in UTF-8 (default shakespeare)' },
  out: {
    type: 'string',
    value: 'NAME|FILE',
    help: 'checkpoint: a name in .lab/checkpoints, or a path (default: named after the text)',
  },
  preset: { type: 'string', value: 'NAME', help: 'kind of model: nano, gpt2, llama (default nano)' },
  layers: { type: 'number', help: 'blocks (default: the preset’s; nano 4)' },
  heads: { type: 'number', help: 'attention heads (nano 4)' },
  width: { type: 'number', help: 'numbers in the vector of a token (nano 128)' },
  context: { type: 'number', help: 'tokens the model sees at once (nano 64)' },
  batch: { type: 'number', help: 'sequences in a batch (default 12)' },
  steps: { type: 'number', help: 'updates (default 2000)' },
  lr: { type: 'number', value: 'RATE', help: 'highest learning rate (default 0.003; for other presets 0.001)' },
  'min-lr': { type: 'number', value: 'RATE', help: 'learning rate at the end (default: a tenth of the highest)' },
  warmup: { type: 'number', help: 'steps until the highest rate (default 100, less in short trainings)' },
  dropout: { type: 'number', value: 'SHARE', help: 'share of activations to forget (default 0)' },
  checkpoint: { type: 'number', help: 'keep only what goes into every Nth block: less memory, more time (default: keep all)' },
  precision: {
    type: 'string',
    value: 'float32|mixed',
    help: 'of matrix products; mixed: operands in float16, on webgpu (default float32)',
  },
  seed: { type: 'number', help: 'decides the first weights and the order of the text (default 1)' },
  'eval-every': { type: 'number', help: 'steps between measurements on the validation text (default 250)' },
  'save-every': { type: 'number', help: 'steps between checkpoints (default 250)' },
  resume: { type: 'boolean', help: 'go on from the checkpoint' },
  fresh: { type: 'boolean', help: 'start anew and overwrite the checkpoint' },
  backend: { type: 'string', value: 'NAME', help: 'tensorflow, webgpu, wasm or cpu (default: the best that works)' },
  threads: { type: 'number', help: 'threads for wasm (default: all processors, 8 at most)' },
};

/** These shape what was trained so far: they cannot change half-way. */
const fixedWhenResumed = ['data', 'preset', 'layers', 'heads', 'width', 'context', 'batch', 'dropout', 'seed'] as const;

/** Options that are no property of what is trained. */
const aboutTheRun = new Set(['out', 'resume', 'fresh', 'backend', 'threads', 'help']);

const whole = [
  'layers',
  'heads',
  'width',
  'context',
  'batch',
  'steps',
  'checkpoint',
  'seed',
  'eval-every',
  'save-every',
  'warmup',
] as const;

/**
 * The recipe, changed by the options that were given.
 *
 * @param saved the settings of the checkpoint that is resumed
 * @throws LabError for values that make no sense or contradict the checkpoint.
 */
export function trainSettings(values: Values, saved?: TrainSettings): TrainSettings {
  const given = Object.entries(values).filter(([name, value]) => !aboutTheRun.has(name) && value !== undefined);
  const gentle = (values['preset'] ?? recipe.preset) === recipe.preset ? {} : { lr: 1e-3 };
  const merged = { ...recipe, ...gentle, ...saved, ...Object.fromEntries(given) } as TrainSettings;
  const settings = { ...merged, data: Object.hasOwn(namedTexts, merged.data) ? merged.data : resolve(merged.data) };
  for (const name of whole) {
    const value = settings[name];
    const least = name === 'seed' || name === 'warmup' ? 0 : 1;
    if (value !== undefined && !(Number.isInteger(value) && value >= least)) {
      throw new LabError(`--${name} takes a whole number, ${least} or more; got ${value}.`);
    }
  }
  const { lr, 'min-lr': minimum = 0, dropout, precision = 'float32' } = settings;
  if (!['float32', 'mixed'].includes(precision)) throw new LabError(`--precision is float32 or mixed, got ${precision}.`);
  if (!(lr > 0)) throw new LabError(`--lr must be above 0, got ${lr}.`);
  if (!(minimum >= 0 && minimum <= lr)) throw new LabError(`--min-lr must be from 0 to the highest rate, ${lr}; got ${minimum}.`);
  if (!(dropout >= 0 && dropout < 1)) throw new LabError(`--dropout must be from 0 to below 1, got ${dropout}.`);
  if (saved) refuseChanges(settings, saved);
  return settings;
}

function refuseChanges(settings: TrainSettings, saved: TrainSettings): void {
  const changed = fixedWhenResumed.find((name) => settings[name] !== saved[name]);
  if (changed === undefined) return;
  const before = saved[changed] ?? 'the preset’s own';
  throw new LabError(
    `--${changed} ${settings[changed]} cannot be resumed: the checkpoint was trained with ${before}. ` +
      'Leave the option out, or start anew with --fresh or another --out.',
  );
}

/** The preset with the sizes that were asked for. */
export function modelSizes({ preset: name, layers, heads, width, context }: TrainSettings): TransformerPreset {
  const chosen = preset(name);
  const sizes = Object.entries({ layers, heads, width, contextLength: context }).filter(([, value]) => value !== undefined);
  // A preset's own inner size belongs to its own width.
  const { hiddenSize, ...rest } = chosen;
  return { ...rest, ...(width === undefined && hiddenSize !== undefined ? { hiddenSize } : {}), ...Object.fromEntries(sizes) };
}

/** A text to learn and to be measured on. */
export interface Corpus extends NamedText {
  readonly digest: string;
  /** Characters at the beginning that are learned; the first nine tenths unless the text says otherwise. */
  readonly learned?: number;
  /** What a perfect model would lose on the rest, in nats per character, where that is known. */
  readonly floor?: number;
}

/** The text to learn. Shakespeare is fetched if it is not here yet. */
export async function corpus(data: string): Promise<Corpus> {
  const found = await (Object.hasOwn(namedTexts, data) ? namedTexts[data]!() : readFile(data));
  if (found.text.trim() === '') throw new LabError(`${data} is empty: there is nothing to learn from.`);
  return { ...found, digest: sha256(found.text) };
}

const readFile = async (path: string): Promise<Omit<Corpus, 'digest'>> => ({ name: path, text: await readText(path) });

const namedTexts: Readonly<Record<string, () => Promise<Omit<Corpus, 'digest'>>>> = {
  shakespeare: async () => ({ name: 'Tiny Shakespeare', text: await shakespeare() }),
  stories: async () => {
    const { train, validation } = await storiesText();
    return { name: 'Stories', text: train + validation, learned: train.length, floor: storySurprisal(validation).floor };
  },
};

/** The file a checkpoint's name stands for: a path if it looks like one, else a name in `.lab/checkpoints`. */
export function checkpointPath(name: string): string {
  const isPath = isAbsolute(name) || /[/\\]/.test(name) || name.endsWith('.safetensors');
  if (!isPath) return labFolder('checkpoints', `${name}.safetensors`);
  return extname(name) === '.safetensors' ? resolve(name) : join(resolve(name), 'checkpoint.safetensors');
}

export function defaultName(data: string): string {
  return basename(data, extname(data));
}

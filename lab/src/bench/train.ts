/**
 * @file `bench train`: one training step of a small GPT, in TensorFlow.js's plain operations and by the lab's own model, and
 * with `--torch PYTHON` the same step in PyTorch, in turn with the lab's.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { LabError } from '../base/index.ts';
import { measurePeak } from '../profile/index.ts';
import { LabModel } from './lab-model.ts';
import { measure, shareOf, timesOf, type BenchRow, type MeasureOptions, type Times } from './measure.ts';
import { TorchProcess } from './torch.ts';
import { SIZES, sizeNamed, YardstickModel, type YardstickSize } from './yardstick.ts';

export interface BenchTrainOptions {
  /** An interpreter that has PyTorch. */
  readonly torch?: string;
  /** One of SIZES; unless told 'small', and 'tiny' on a GPU made of software and in plain JavaScript. */
  readonly size?: string;
}

interface Model {
  readonly parameterCount: number;
  step(index: number): Promise<number>;
  dispose(): void;
}

const BUDGET: MeasureOptions = { warmUp: 2, leastRuns: 3, mostRuns: 20, budgetMs: 10_000 };
/** Turns, steps in each, and the pause between them in which the other's idle threads go to sleep. */
const TURNS = { count: 8, steps: 3, pauseMs: 250, warmUp: 3 };

/** What a row says besides its times. */
interface About {
  readonly name: string;
  readonly backend: string;
  readonly size: YardstickSize;
  /** Of the lab's device, operations a second. */
  readonly peak?: number | undefined;
}

function rowOf({ name, backend, size, peak }: About, parameters: number, times: Times): BenchRow {
  const { batch, tokens } = size;
  // A step costs six operations for each parameter and token (Kaplan et al. 2020, section 2.1), attention not counted.
  const gflops = (6 * parameters * batch * tokens) / times.medianMs / 1e6;
  const tokensPerSecond = (1000 * batch * tokens) / times.medianMs;
  const shape = `${parameters} parameters, ${batch} × ${tokens} tokens`;
  return { name, backend, shape, ...times, tokensPerSecond, gflops, ...shareOf(gflops, peak) };
}

async function checkedStep(model: Model, index: number): Promise<void> {
  const loss = await model.step(index);
  if (!Number.isFinite(loss)) throw new LabError(`bench train: the loss of step ${index} is ${loss}.`);
}

async function measureModel(about: About, model: Model): Promise<BenchRow> {
  const times = await measure((index) => checkedStep(model, index), BUDGET);
  const { parameterCount } = model;
  model.dispose();
  return rowOf(about, parameterCount, times);
}

/** The lab's model and PyTorch's in turn, so that what else the machine does hits both. */
async function measureInTurn(about: About, python: string): Promise<BenchRow[]> {
  const { size } = about;
  const torch = await TorchProcess.start(python, 'yardstick.py', size);
  const model = new LabModel(size);
  const torchTimes: number[] = [];
  let torchPeak = 0;
  const torchTurn = async (steps: number, times: number[]): Promise<void> => {
    await pause(TURNS.pauseMs);
    for (let i = 0; i < steps; i++) {
      const { ms, peakBytes } = await torch.step();
      times.push(ms);
      torchPeak = Math.max(torchPeak, peakBytes);
    }
    await pause(TURNS.pauseMs);
  };
  try {
    await torchTurn(TURNS.warmUp, []);
    const runs = TURNS.count * TURNS.steps;
    const inTurn = (done: number): Promise<void> | undefined =>
      done % TURNS.steps === 0 ? torchTurn(TURNS.steps, torchTimes) : undefined;
    const times = await measure((index) => checkedStep(model, index), {
      warmUp: TURNS.warmUp,
      leastRuns: runs,
      mostRuns: runs,
      budgetMs: 0,
      inTurn,
    });
    const ours = rowOf(about, model.parameterCount, times);
    const other: About = { name: 'the same in PyTorch', backend: torch.words, size };
    const theirs = rowOf(other, torch.about.parameters!, timesOf(torchTimes, torchPeak));
    return [{ ...ours, baseline: 'PyTorch', ratio: theirs.medianMs / ours.medianMs }, theirs];
  } finally {
    torch.stop();
    model.dispose();
  }
}

export async function benchTrain(backend: string, { torch, size }: BenchTrainOptions = {}): Promise<BenchRow[]> {
  const chosen = sizeNamed('bench train', size);
  const peak = await measurePeak();
  const about = (name: string): About => ({ name, backend, size: chosen, peak });
  const runsPlain = chosen === SIZES['tiny'] || chosen === SIZES['small'];
  const plain = runsPlain ? [await measureModel(about('training step, plain operations'), new YardstickModel(chosen))] : [];
  const lab = about("training step, the lab's model");
  return [...plain, ...(torch ? await measureInTurn(lab, torch) : [await measureModel(lab, new LabModel(chosen))])];
}

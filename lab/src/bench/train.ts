/**
 * @file `bench train`: one training step of a small GPT, in TensorFlow.js's plain operations and by the lab's own model, and
 * with `--torch PYTHON` the same step in PyTorch, in turn with the lab's.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { currentDevice } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import { LabModel } from './lab-model.ts';
import { measure, timesOf, type BenchRow, type MeasureOptions, type Times } from './measure.ts';
import { TorchYardstick } from './torch.ts';
import { SIZES, YardstickModel, type YardstickSize } from './yardstick.ts';

export interface BenchTrainOptions {
  /** An interpreter that has PyTorch. */
  readonly torch?: string;
  /** One of SIZES. */
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

function rowOf(name: string, backend: string, size: YardstickSize, parameters: number, times: Times): BenchRow {
  const { batch, tokens } = size;
  // A step costs six operations for each parameter and token (Kaplan et al. 2020, section 2.1), attention not counted.
  const gflops = (6 * parameters * batch * tokens) / times.medianMs / 1e6;
  return { name, backend, shape: `${parameters} parameters, ${batch} × ${tokens} tokens`, ...times, gflops };
}

async function checkedStep(model: Model, index: number): Promise<void> {
  const loss = await model.step(index);
  if (!Number.isFinite(loss)) throw new LabError(`bench train: the loss of step ${index} is ${loss}.`);
}

async function measureModel(name: string, backend: string, size: YardstickSize, model: Model): Promise<BenchRow> {
  const times = await measure((index) => checkedStep(model, index), BUDGET);
  model.dispose();
  return rowOf(name, backend, size, model.parameterCount, times);
}

/** The lab's model and PyTorch's in turn, so that what else the machine does hits both. */
async function measureInTurn(name: string, backend: string, size: YardstickSize, python: string): Promise<BenchRow[]> {
  const threads = currentDevice()!.threads;
  const torch = await TorchYardstick.start(python, threads, size);
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
    const ours = rowOf(name, backend, size, model.parameterCount, times);
    const words = `PyTorch ${torch.version}, ${threads} threads`;
    const theirs = rowOf('the same in PyTorch', words, size, torch.parameterCount, timesOf(torchTimes, torchPeak));
    return [{ ...ours, baseline: 'PyTorch', ratio: theirs.medianMs / ours.medianMs }, theirs];
  } finally {
    torch.stop();
    model.dispose();
  }
}

export async function benchTrain(backend: string, { torch, size = 'small' }: BenchTrainOptions = {}): Promise<BenchRow[]> {
  const chosen = Object.hasOwn(SIZES, size) ? SIZES[size] : undefined;
  if (!chosen) throw new LabError(`bench train: --size must be one of ${Object.keys(SIZES).join(', ')}, got '${size}'.`);
  const plain = size === 'small' ? [await measureModel('training step, plain operations', backend, chosen, new YardstickModel(chosen))] : [];
  const name = "training step, the lab's model";
  const lab = torch
    ? await measureInTurn(name, backend, chosen, torch)
    : [await measureModel(name, backend, chosen, new LabModel(chosen))];
  return [...plain, ...lab];
}

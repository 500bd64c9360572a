/**
 * @file Several ways to do the same work, measured in turn, so that what else the machine does hits all of them.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { currentDevice, tf, wasmHeap, type Tensor } from '../backend/index.ts';
import { profile } from '../profile/index.ts';
import { settled, timesOf, type Times } from './measure.ts';
import type { TorchProcess } from './torch.ts';

/** One way; a step does the work once. */
export interface Competitor {
  /** @returns milliseconds */
  step(): Promise<number>;
  /** The most memory it has taken, in bytes; measured by who knows it. */
  peakBytes(): Promise<number>;
}

export interface TurnOptions {
  readonly turns: number;
  /** Steps in each turn, at most. */
  readonly steps: number;
  /** After so many milliseconds a turn has no further step. */
  readonly budgetMs: number;
  readonly warmUp: number;
  /** Between turns, in which the other's idle threads go to sleep. */
  readonly pauseMs: number;
}

export const TURNS: TurnOptions = { turns: 4, steps: 40, budgetMs: 250, warmUp: 2, pauseMs: 20 };

/** The lab's own way. */
export function labCompetitor(run: () => Promise<void>): Competitor {
  return {
    async step() {
      const before = performance.now();
      await run();
      return performance.now() - before;
    },
    async peakBytes() {
      if (currentDevice()?.name !== 'wasm') return (await profile(run, { machine: null })).peakBytes;
      const { usage } = wasmHeap();
      usage.resetPeak();
      await run();
      return usage.peak;
    },
  };
}

/** The same for work that gives tensors: they are waited for and disposed of. */
export function tensorCompetitor(run: () => Tensor[]): Competitor {
  return labCompetitor(async () => {
    const results = run();
    for (const result of results) await settled(result);
    tf.dispose(results);
  });
}

/** PyTorch's. */
export function torchCompetitor(torch: TorchProcess): Competitor {
  let peak = 0;
  return {
    async step() {
      const { ms, peakBytes } = await torch.step();
      peak = Math.max(peak, peakBytes);
      return ms;
    },
    peakBytes: async () => peak,
  };
}

/** The times of each, in their order. */
export async function takeTurns(competitors: readonly Competitor[], options: TurnOptions = TURNS): Promise<Times[]> {
  const { turns, steps, budgetMs, warmUp, pauseMs } = options;
  const times = competitors.map((): number[] => []);
  for (const competitor of competitors) for (let i = 0; i < warmUp; i++) await competitor.step();
  for (let turn = 0; turn < turns; turn++) {
    for (const [i, competitor] of competitors.entries()) {
      await pause(pauseMs);
      const until = performance.now() + budgetMs;
      for (let done = 0; done === 0 || (done < steps && performance.now() < until); done++) {
        times[i]!.push(await competitor.step());
      }
    }
  }
  const peaks: number[] = [];
  for (const competitor of competitors) peaks.push(await competitor.peakBytes());
  return times.map((one, i) => timesOf(one, peaks[i]!));
}

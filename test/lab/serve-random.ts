/**
 * @file Random schedules: requests come in bursts, are called off, lose their place, share beginnings; each gets what it would
 * get alone.
 */
import {
  ChunkedScheduler,
  DynamicScheduler,
  Engine,
  OrcaScheduler,
  PrefillFirstScheduler,
  Random,
  SplitFuseScheduler,
  StaticScheduler,
  type Completion,
  type Executor,
  type Scheduler,
} from 'lab';
import { expect } from 'vitest';

/** The policies, with settings drawn at random. */
export const policies: Record<string, (random: Random) => Scheduler> = {
  static: (random) => new StaticScheduler({ batchSize: 1 + random.integer(4) }),
  dynamic: (random) => new DynamicScheduler({ batchSize: 1 + random.integer(4), timeout: random.pick([0, 0.002]) }),
  orca: (random) => new OrcaScheduler({ batchSize: 1 + random.integer(4) }),
  'prefillFirst, recompute': (random) => new PrefillFirstScheduler({ tokenBudget: 1 + random.integer(20), watermark: 0 }),
  'prefillFirst, swap': (random) => new PrefillFirstScheduler({ maxSequences: 1 + random.integer(9), preemption: 'swap' }),
  'chunked, recompute': (random) =>
    new ChunkedScheduler({ tokenBudget: 1 + random.integer(9), maxSequences: 1 + random.integer(9) }),
  'chunked, swap': (random) =>
    new ChunkedScheduler({
      tokenBudget: 4 + random.integer(9),
      longPrefillThreshold: 1 + random.integer(5),
      preemption: 'swap',
    }),
  splitFuse: (random) => new SplitFuseScheduler({ tokenBudget: 1 + random.integer(12), maxSequences: 1 + random.integer(9) }),
};

/** What happened over many schedules, to see that they were worth something. */
export interface Totals {
  preemptions: number;
  found: number;
  cancelled: number;
}

/** A model that serves, and what a request would get alone. */
export interface Served {
  /** `before` is to be called before every pass. */
  executor(blocks: number, blockSize: number, before: () => void): Executor;
  alone(prompt: readonly number[], maxTokens: number): readonly number[];
}

/** Everything that the model keeps is freed at the end. */

export async function randomSchedule(
  seed: number,
  policy: (random: Random) => Scheduler,
  totals: Totals,
  served: Served,
): Promise<void> {
  const random = new Random(seed);
  const blockSize = 1 + random.integer(4);
  const executor = served.executor(Math.ceil(26 / blockSize) + random.integer(6), blockSize, () => between());
  const engine = new Engine(executor, {
    scheduler: policy(random),
    check: true,
    prefixCaching: random.integer(4) > 0,
    swapBlocks: random.pick([0, 3, 1000]),
  });
  const requests: { prompt: number[]; maxTokens: number; completion: Completion }[] = [];
  const submit = (): void => {
    const prompt = Array.from({ length: 1 + random.integer(14) }, (_, i) => (i < 8 ? 5 : random.integer(2)));
    const maxTokens = 1 + random.integer(12);
    requests.push({ prompt, maxTokens, completion: engine.submit(prompt, { maxTokens, temperature: 0 }) });
  };
  let toCome = 3 + random.integer(6);
  const between = (): void => {
    if (toCome > 0 && random.integer(3) === 0) for (let burst = 1 + random.integer(2); burst-- > 0 && toCome-- > 0;) submit();
    if (random.integer(12) === 0) random.pick(requests).completion.cancel();
  };
  submit();
  submit();
  await engine.idle();
  for (const { prompt, maxTokens, completion } of requests) {
    const { tokens, finishReason, record } = await completion.result;
    const expected = served.alone(prompt, maxTokens);
    expect(tokens, `seed ${seed}, request ${completion.id}`).toEqual(
      finishReason === 'cancelled' ? expected.slice(0, tokens.length) : expected,
    );
    totals.preemptions += record.preemptions;
    totals.found += record.found;
    if (finishReason === 'cancelled') totals.cancelled++;
  }
  expect(engine.state.manager.free, `seed ${seed}: all blocks are free`).toBe(executor.blocks);
  engine.state.check();
  await engine.dispose();
}

/**
 * @file Every policy gives every request what it would get alone, and leaks nothing: hundreds of random schedules on a model on
 * paper. And what each policy is known for, step by step.
 */
import {
  ChunkedScheduler,
  DynamicScheduler,
  Engine,
  makeScheduler,
  OrcaScheduler,
  PrefillFirstScheduler,
  schedulers,
  Sequence,
  ServingState,
  SplitFuseScheduler,
  StaticScheduler,
  type PassPlan,
  type Scheduler,
} from 'lab';
import { describe, expect, it } from 'vitest';
import { PaperExecutor, writeOnPaper } from './serve-paper.ts';
import { policies, randomSchedule, type Served } from './serve-random.ts';

const onPaper: Served = {
  alone: writeOnPaper,
  executor(blocks, blockSize, before) {
    const paper = new PaperExecutor({ blocks, blockSize });
    paper.before = before;
    paper.dispose = () => expect(paper.host.size).toBe(0);
    return paper;
  },
};

describe('a random schedule gives every request what it would get alone, and leaks nothing', () => {
  for (const [name, policy] of Object.entries(policies)) {
    it(`under ${name}`, async () => {
      const totals = { preemptions: 0, found: 0, cancelled: 0 };
      for (let seed = 0; seed < 120; seed++) await randomSchedule(seed, policy, totals, onPaper);
      expect(totals.cancelled).toBeGreaterThan(20);
      expect(totals.found).toBeGreaterThan(100);
      const reserves = ['static', 'dynamic', 'orca'].includes(name);
      if (reserves) expect(totals.preemptions).toBe(0);
      else expect(totals.preemptions).toBeGreaterThan(20);
    });
  }
});

/** A state with requests of these prompts, which want that many tokens; prompts have nothing in common. */
function stateOf(prompts: readonly number[], { maxTokens = 8, blocks = 100, prefixCaching = true } = {}): ServingState {
  const state = new ServingState({ blocks, blockSize: 4, prefixCaching });
  for (const [id, length] of prompts.entries()) {
    state.add(new Sequence({ id, prompt: Array.from({ length }, (_, i) => 1000 * id + i), maxTokens }));
  }
  return state;
}

/** The plan in short, `id:tokens` or `id:tokens+padding`; then it is carried out. */
function step(state: ServingState, scheduler: Scheduler): string {
  const plan: PassPlan = scheduler.step(state);
  state.checkPlan(plan);
  state.takeTransfers();
  const words = plan.entries.map(
    ({ sequence, tokens, padding = 0 }) => `${sequence.id}:${tokens}${padding > 0 ? `+${padding}` : ''}`,
  );
  for (const sequence of state.advance(plan)) {
    sequence.tokens.push(0);
    if (sequence.generated < sequence.maxTokens) continue;
    sequence.complete = true;
    if (!scheduler.wholeBatches) state.giveBack(sequence);
  }
  state.check();
  return words.join(' ');
}

const steps = (state: ServingState, scheduler: Scheduler, count: number): string[] =>
  Array.from({ length: count }, () => step(state, scheduler));

describe('what each policy does', () => {
  it('static: pads prompts to the longest, and keeps who is done until all are', () => {
    const state = stateOf([3, 5, 2], { maxTokens: 3 });
    state.waiting[0]!.tokens.push(7, 7); // has two of its three already
    expect(steps(state, new StaticScheduler({ batchSize: 2 }), 5)).toEqual(['0:5 1:5', '0:0+1 1:1', '0:0+1 1:1', '2:2', '2:1']);
    const padded = stateOf([3, 5], { maxTokens: 1 });
    expect(step(padded, new StaticScheduler())).toBe('0:3+2 1:5');
    expect(padded.manager.free).toBeLessThan(100); // not answered yet
  });

  it('dynamic: waits for a full batch, but not longer than its timeout', () => {
    const state = stateOf([2, 2]);
    const scheduler = new DynamicScheduler({ batchSize: 3, timeout: 0.5 });
    expect(scheduler.step(state)).toEqual({ entries: [], wakeAt: 0.5 });
    state.now = 0.5;
    expect(step(state, scheduler)).toBe('0:2 1:2');
    const full = stateOf([1, 1, 1, 1]);
    expect(step(full, scheduler)).toBe('0:1 1:1 2:1');
  });

  it('orca: sets memory aside for the longest answer, and mixes prompts with single tokens', () => {
    const state = stateOf([4, 4, 4], { maxTokens: 5, blocks: 5 }); // two blocks each
    const scheduler = new OrcaScheduler({ batchSize: 4 });
    expect(steps(state, scheduler, 2)).toEqual(['0:4 1:4', '0:1 1:1']);
    state.giveBack(state.running[0]!);
    expect(step(state, scheduler)).toBe('1:1 2:4');
  });

  it('prefillFirst: prompts or single tokens, never both; a long prompt goes alone', () => {
    const state = stateOf([6, 5, 30, 1]);
    const scheduler = new PrefillFirstScheduler({ tokenBudget: 12 });
    expect(steps(state, scheduler, 4)).toEqual(['0:6 1:5', '2:30', '3:1', '0:1 1:1 2:1 3:1']);
  });

  it('prefillFirst: the last one in makes room, and comes back before anybody new', () => {
    for (const preemption of ['recompute', 'swap'] as const) {
      const state = stateOf([4, 4, 4, 1], { blocks: 4, maxTokens: 2 });
      const scheduler = new PrefillFirstScheduler({ maxSequences: 3, preemption, watermark: 0 });
      expect(step(state, scheduler)).toBe('0:4 1:4 2:4');
      expect(step(state, scheduler), preemption).toBe('0:1 1:1');
      const aside = preemption === 'swap' ? state.swapped : state.waiting;
      expect(aside[0]!.id).toBe(2);
      expect(aside[0]!.computed).toBe(preemption === 'swap' ? 4 : 0);
      expect(state.lostTokens).toBe(preemption === 'swap' ? 0 : 4);
      expect(step(state, scheduler)).toBe(preemption === 'swap' ? '2:1' : '2:5 3:1');
    }
  });

  it('chunked: who runs comes first, and a prompt is cut where the budget ends', () => {
    const state = stateOf([3, 20, 4]);
    const scheduler = new ChunkedScheduler({ tokenBudget: 10 });
    expect(steps(state, scheduler, 4)).toEqual(['0:3 1:7', '0:1 1:9', '0:1 1:4 2:4', '0:1 1:1 2:1']);
  });

  it('chunked: a threshold keeps a long prompt from taking all', () => {
    const state = stateOf([20, 4]);
    expect(step(state, new ChunkedScheduler({ tokenBudget: 10, longPrefillThreshold: 6 }))).toBe('0:6 1:4');
  });

  it('chunked: preempts from the tail, then admits nobody', () => {
    const state = stateOf([4, 4, 1], { blocks: 3, maxTokens: 5 });
    const scheduler = new ChunkedScheduler();
    expect(step(state, scheduler)).toBe('0:4 1:4 2:1');
    expect(step(state, scheduler)).toBe('0:1'); // 2 made room for 0; then 1 is the last and finds none
    expect(state.waiting.map(({ id }) => id)).toEqual([1, 2]);
    // There would be room for its first chunk again; but whoever has just lost everything would lose it once more.
    const thrash = stateOf([4, 12], { blocks: 4, maxTokens: 3, prefixCaching: false });
    const cut = new ChunkedScheduler({ longPrefillThreshold: 4 });
    expect(steps(thrash, cut, 3)).toEqual(['0:4 1:4', '0:1 1:4', '0:1']);
  });

  it('splitFuse: every pass is exactly full: single tokens first, then prompts, split', () => {
    const state = stateOf([3, 20, 9]);
    const scheduler = new SplitFuseScheduler({ tokenBudget: 8 });
    expect(steps(state, scheduler, 4)).toEqual(['0:3 1:5', '0:1 1:7', '0:1 1:7', '0:1 1:1 2:6']);
  });

  it('splitFuse: a prompt starts only where there is room for all of it', () => {
    const state = stateOf([8, 12], { blocks: 4, maxTokens: 4 });
    expect(step(state, new SplitFuseScheduler({ tokenBudget: 16 }))).toBe('0:8');
  });

  it('splitFuse: when everybody waits for a block, the last one in starts over with what it has written', () => {
    const state = stateOf([4, 4], { blocks: 2, maxTokens: 5 });
    const scheduler = new SplitFuseScheduler();
    expect(steps(state, scheduler, 2)).toEqual(['0:4 1:4', '0:1']);
    expect(state.waiting.map(({ id, length, computed }) => [id, length, computed])).toEqual([[1, 5, 0]]);
  });
});

describe('a scheduler of your own', () => {
  it('is told when its plan cannot be carried out', () => {
    const state = stateOf([4, 4]);
    const [first, second] = state.waiting as [Sequence, Sequence];
    state.admit(first);
    const refused = (entries: PassPlan['entries'], words: RegExp): void =>
      expect(() => state.checkPlan({ entries })).toThrow(words);
    refused([{ sequence: second, tokens: 1 }], /request 1, which is waiting: admit it first/);
    refused([{ sequence: first, tokens: 5 }], /5 tokens of request 0, of which 4 remain/);
    refused([{ sequence: first, tokens: 0 }], /0 tokens of request 0/);
    refused(
      [
        { sequence: first, tokens: 1 },
        { sequence: first, tokens: 1 },
      ],
      /names request 0 twice/,
    );
    first.computed = 4;
    first.tokens.push(1);
    refused([{ sequence: first, tokens: 1 }], /up to token 5, but it has 1 blocks of 4: extend it first/);
    expect(() => state.preempt(second)).toThrow(/Request 1 is waiting/);
    expect(() => state.add(new Sequence({ id: 9, prompt: [1], maxTokens: 500 }))).toThrow(
      /request 9 may need 125 blocks, but there are 100/,
    );
  });

  it('runs in the engine: shortest first', async () => {
    const shortestFirst: Scheduler = {
      name: 'shortest first',
      step(state) {
        const next = [...state.waiting].sort((a, b) => a.length - b.length)[0];
        if (state.running.length === 0 && next) state.admit(next, next.mostComputed);
        return { entries: state.running.map((sequence) => ({ sequence, tokens: sequence.remaining })) };
      },
    };
    const engine = new Engine(new PaperExecutor({ blocks: 20, blockSize: 4 }), { scheduler: shortestFirst, check: true });
    const done: number[] = [];
    const all = [9, 2, 5].map(async (length) => {
      await engine.submit(new Array<number>(length).fill(1), { maxTokens: 3 }).result;
      done.push(length);
    });
    await Promise.all(all);
    expect(done).toEqual([2, 5, 9]);
  });

  it('fails its requests when it does nothing or throws, and not those that come later', async () => {
    let mood: 'idle' | 'throws' | 'works' = 'idle';
    const orca = new OrcaScheduler();
    const moody: Scheduler = {
      name: 'moody',
      step(state) {
        if (mood === 'throws') throw new Error('no mood');
        return mood === 'idle' ? { entries: [] } : orca.step(state);
      },
    };
    const engine = new Engine(new PaperExecutor({ blocks: 20, blockSize: 4 }), { scheduler: moody, check: true });
    await expect(engine.submit([1]).result).rejects.toThrow(/'moody' does nothing, though requests wait/);
    mood = 'throws';
    await expect(engine.submit([1]).result).rejects.toThrow('no mood');
    mood = 'works';
    expect((await engine.submit([1], { maxTokens: 3, temperature: 0 }).result).tokens).toEqual(writeOnPaper([1], 3));
  });
});

it('schedulers are known by name', () => {
  for (const name of Object.keys(schedulers)) expect(makeScheduler(name).name).toBe(name);
  expect(() => makeScheduler('fifo')).toThrow(/no scheduler 'fifo'. Schedulers: static, dynamic/);
});

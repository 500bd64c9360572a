/**
 * @file Chapter 06, serving: its exercises, the library's functions in their place, and how the reader's steps become the
 * scheduler of the engine.
 */
import {
  cacheBytesPerToken,
  goodput,
  OrcaScheduler,
  SplitFuseScheduler,
  timePerToken,
  timeToFirstToken,
  type BlockCopy,
  type ModelProfile,
  type PassPlan,
  type PlanEntry,
  type RequestRecord,
  type Scheduler,
  type ServingState,
} from '../../serve/index.ts';
import type { Answer, Assembly, Chapter } from '../exercise.ts';

type Pass = (tokens: number[], start: number) => Promise<ArrayLike<number>>;
type Hash = (parent: number, tokens: number[]) => number;

/** The parameters play no part. */
function cacheBytes(shape: Omit<ModelProfile, 'parameters' | 'width'>, tokens: number): number {
  return cacheBytesPerToken({ ...shape, parameters: 0, width: 0 }) * tokens;
}

/** `generateTokens` at temperature 0, on a pass of the caller's in the place of a model. */
async function writeGreedily(pass: Pass, prompt: number[], maxTokens: number): Promise<number[]> {
  const tokens = [...prompt];
  for (let computed = 0; tokens.length < prompt.length + maxTokens; ) {
    const logits = await pass(tokens.slice(computed), computed);
    computed = tokens.length;
    let best = 0;
    for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
    tokens.push(best);
  }
  return tokens.slice(prompt.length);
}

function iterationStep(state: ServingState, batchSize: number): readonly PlanEntry[] {
  return new OrcaScheduler({ batchSize }).step(state).entries;
}

/** As `raggedTiles` lays rows down. */
function slotsOf(table: number[], blockSize: number, from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => {
    const position = from + i;
    return table[Math.floor(position / blockSize)]! * blockSize + (position % blockSize);
  });
}

interface Pool {
  readonly free: number[];
  readonly references: number[];
}

/** `BlockManager.release` on plain data. */
function release({ free, references }: Pool, table: number[]): void {
  for (const block of table.splice(0).reverse()) if (--references[block]! === 0) free.push(block);
}

/** The part of `BlockManager.grow` that copies, on plain data. */
function makeWritable({ free, references }: Pool, table: number[], index: number): BlockCopy | null {
  const from = table[index]!;
  if (references[from]! <= 1) return null;
  const to = free.shift()!;
  references[from]!--;
  references[to] = 1;
  table[index] = to;
  return { from, to };
}

/** As `BlockManager.commit` names blocks, with a hash of the caller's. */
function blockHashes(tokens: number[], blockSize: number, hash: Hash): number[] {
  const hashes: number[] = [];
  for (let end = blockSize; end <= tokens.length; end += blockSize) {
    hashes.push(hash(hashes.at(-1) ?? 0, tokens.slice(end - blockSize, end)));
  }
  return hashes;
}

function tokensFound(hashes: number[], length: number, blockSize: number, cached: Set<number>): number {
  const usable = hashes.slice(0, Math.floor((length - 1) / blockSize));
  const missing = usable.findIndex((hash) => !cached.has(hash));
  return (missing < 0 ? usable.length : missing) * blockSize;
}

interface ServingEvent {
  readonly time: number;
  readonly request: number;
  readonly kind: 'arrive' | 'admit' | 'token';
}

/** What the library's metrics read. */
function recordsOf(events: readonly ServingEvent[]): RequestRecord[] {
  const arrivals = events.filter(({ kind }) => kind === 'arrive');
  return arrivals.map(({ request, time: arrival }) => {
    const tokenTimes = events.filter((event) => event.request === request && event.kind === 'token').map(({ time }) => time);
    return { id: request, arrival, promptLength: 0, tokenTimes, finish: tokenTimes.at(-1)!, found: 0, preemptions: 0 };
  });
}

function requestTimes(events: ServingEvent[]): { request: number; ttft: number; tpot: number }[] {
  return recordsOf(events).map((record) => {
    const tpot = timePerToken(record);
    return { request: record.id, ttft: timeToFirstToken(record), tpot: Number.isNaN(tpot) ? 0 : tpot };
  });
}

function goodputOf(events: ServingEvent[], promised: { readonly ttft: number; readonly tpot: number }): number {
  return goodput(recordsOf(events), promised);
}

/** The library's own finds its way out of a deadlock by itself. */
function splitFuseStep(state: ServingState, budget: number): readonly PlanEntry[] {
  return new SplitFuseScheduler({ tokenBudget: budget }).step(state).entries;
}

/** Passes that are too slow come after those that are not. */
function chooseBudget(secondsOf: (tokens: number) => number, interval: number, writing: number): number | null {
  let budget = 8192;
  while (budget > writing && secondsOf(budget) > interval) budget -= 64;
  return budget > writing && budget > 0 ? budget : null;
}

type Step = (state: ServingState, size: number) => readonly PlanEntry[];

/** Requests that run at once, of the reader's continuous batching in the engine. */
const BATCH_SIZE = 8;
/** Tokens of a pass, of the reader's SplitFuse in the engine. */
const TOKEN_BUDGET = 128;

/** A step with the way out of a deadlock: the last one in starts over. */
function withPreemption(step: Step, budget: number): (state: ServingState) => PassPlan {
  return (state) => {
    for (;;) {
      const entries = step(state, budget);
      if (entries.length > 0 || state.running.length === 0) return { entries };
      state.preempt(state.running.at(-1)!);
    }
  };
}

export const chapter: Chapter = {
  number: 6,
  slug: '06-serving',
  title: 'Serving',
  exercises: [
    { id: '6.1', title: 'bytes of the cache', names: ['cacheBytes'], difficulty: 1, minutes: 5, library: { cacheBytes } },
    {
      id: '6.2',
      title: 'nothing is computed twice',
      names: ['writeGreedily'],
      difficulty: 2,
      minutes: 15,
      library: { writeGreedily },
    },
    {
      id: '6.3',
      title: 'iteration-level scheduling',
      names: ['iterationStep'],
      difficulty: 3,
      minutes: 20,
      library: { iterationStep },
      room: 'continuous batching',
      plug: ({ iterationStep: step }: Answer, assembly: Assembly) => {
        const scheduler: Scheduler = {
          name: 'your continuous batching',
          step: (state) => ({ entries: (step as Step)(state, BATCH_SIZE) }),
        };
        assembly.serve = { ...assembly.serve, scheduler };
      },
    },
    { id: '6.4', title: 'block table', names: ['slotsOf'], difficulty: 1, minutes: 10, library: { slotsOf } },
    {
      id: '6.5',
      title: 'free list and copy-on-write',
      names: ['release', 'makeWritable'],
      difficulty: 3,
      minutes: 20,
      library: { release, makeWritable },
    },
    {
      id: '6.6',
      title: 'prefix hashes',
      names: ['blockHashes', 'tokensFound'],
      difficulty: 2,
      minutes: 15,
      library: { blockHashes, tokensFound },
    },
    {
      id: '6.7',
      title: 'times and goodput',
      names: ['requestTimes', 'goodputOf'],
      difficulty: 2,
      minutes: 15,
      library: { requestTimes, goodputOf },
    },
    {
      id: '6.8',
      title: 'Dynamic SplitFuse',
      names: ['splitFuseStep'],
      difficulty: 4,
      minutes: 25,
      library: { splitFuseStep },
      room: 'SplitFuse',
      plug: ({ splitFuseStep: step }: Answer, assembly: Assembly) => {
        const scheduler: Scheduler = { name: 'your SplitFuse', step: withPreemption(step as Step, TOKEN_BUDGET) };
        assembly.serve = { ...assembly.serve, scheduler };
      },
    },
    {
      id: '6.9',
      title: 'the budget of a pass',
      names: ['chooseBudget'],
      difficulty: 2,
      minutes: 10,
      library: { chooseBudget },
    },
  ],
};

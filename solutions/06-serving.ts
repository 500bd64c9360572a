/**
 * @file Reference answers of chapter 06, serving: many requests share one model and one memory.
 * Yu et al. 2022 (Orca), Kwon et al. 2023 (PagedAttention), Holmes et al. 2024 (DeepSpeed-FastGen).
 */
import type * as lab from 'lab';

// #region 6.1 bytes of the cache
/** A model, as far as its cache goes. */
interface CacheShape {
  layers: number;
  /** Of the queries. */
  heads: number;
  /** As many as heads (multi-head), fewer (grouped-query) or one (multi-query). */
  keyValueHeads: number;
  headSize: number;
  /** Bytes of one number. */
  bytes: number;
}

/**
 * What a text occupies in the cache.
 *
 * @param tokens of the text
 * @returns bytes, in all layers together
 */
export function cacheBytes({ layers, keyValueHeads, headSize, bytes }: CacheShape, tokens: number): number {
  return 2 * layers * keyValueHeads * headSize * bytes * tokens;
}
// #endregion

// #region 6.2 nothing is computed twice
/**
 * A model with a cache: computes these tokens, which stand at `start` and after it, and remembers their keys and values.
 * Whatever was remembered from `start` on is forgotten first.
 *
 * @returns the logits [V] of what comes after the last of them
 */
type Pass = (tokens: number[], start: number) => Promise<ArrayLike<number>>;

/**
 * Continues a prompt with the likeliest token, again and again.
 *
 * @returns the new tokens, without the prompt
 */
export async function writeGreedily(pass: Pass, prompt: number[], maxTokens: number): Promise<number[]> {
  const written: number[] = [];
  let unread = prompt;
  let start = 0;
  while (written.length < maxTokens) {
    const logits = Array.from(await pass(unread, start));
    const token = logits.indexOf(Math.max(...logits));
    written.push(token);
    start += unread.length;
    unread = [token];
  }
  return written;
}
// #endregion

// #region 6.3 iteration-level scheduling
/**
 * What the next pass computes, when after any pass those that are done have left and others may come in.
 *
 * @param state moved on by `admit`
 * @param batchSize requests that run at once
 * @returns an entry for everybody who runs: all tokens that remain to be computed
 */
export function iterationStep(state: lab.ServingState, batchSize: number): lab.PlanEntry[] {
  while (state.running.length < batchSize) {
    const next = state.waiting[0];
    if (!next || !state.admit(next, next.mostComputed)) break;
  }
  return state.running.map((sequence) => ({ sequence, tokens: sequence.remaining }));
}
// #endregion

// #region 6.4 block table
/**
 * Where the keys and values of neighbouring tokens lie.
 *
 * @param table the blocks of a text, in order
 * @param from position of the first token
 * @param to position after the last one
 * @returns a slot for each token
 */
export function slotsOf(table: number[], blockSize: number, from: number, to: number): number[] {
  const slots: number[] = [];
  for (let position = from; position < to; position++) {
    const block = table[Math.floor(position / blockSize)]!;
    slots.push(block * blockSize + (position % blockSize));
  }
  return slots;
}
// #endregion

// #region 6.5 free list and copy-on-write
interface Pool {
  /** Blocks that nobody uses; taken from the front, given back at the end. */
  free: number[];
  /** For each block, how many tables list it. */
  references: number[];
}

/** Gives a table's blocks back, the last first, and empties the table. */
export function release(pool: Pool, table: number[]): void {
  while (table.length > 0) {
    const block = table.pop()!;
    pool.references[block]!--;
    if (pool.references[block] === 0) pool.free.push(block);
  }
}

/**
 * Somebody is about to write into a block of a table. If others list the block, too, the table gets another one.
 *
 * @param index the place in the table
 * @returns what must be copied before writing; null when there is nothing to copy
 */
export function makeWritable(pool: Pool, table: number[], index: number): { from: number; to: number } | null {
  const from = table[index]!;
  if (pool.references[from] === 1) return null;
  const to = pool.free.shift()!;
  pool.references[from]!--;
  pool.references[to] = 1;
  table[index] = to;
  return { from, to };
}
// #endregion

// #region 6.6 prefix hashes
/** The hash of a block: of its tokens and of the hash of the block before (0 for a first block). */
type Hash = (parent: number, tokens: number[]) => number;

/** The hash of each full block of a text. */
export function blockHashes(tokens: number[], blockSize: number, hash: Hash): number[] {
  const hashes: number[] = [];
  for (let end = blockSize; end <= tokens.length; end += blockSize) {
    hashes.push(hash(hashes.at(-1) ?? 0, tokens.slice(end - blockSize, end)));
  }
  return hashes;
}

/**
 * How many tokens of a prompt need not be computed, because their blocks are there.
 *
 * @param hashes of the prompt's full blocks
 * @param length of the prompt; its last token is computed in any case
 * @param cached the hashes of all blocks that are there
 */
export function tokensFound(hashes: number[], length: number, blockSize: number, cached: Set<number>): number {
  let blocks = 0;
  while (blocks < hashes.length && cached.has(hashes[blocks]!) && (blocks + 1) * blockSize < length) blocks++;
  return blocks * blockSize;
}
// #endregion

// #region 6.7 times and goodput
/** Something that happened to a request, at a time in seconds. */
interface ServingEvent {
  time: number;
  request: number;
  kind: 'arrive' | 'admit' | 'token';
}

/** In seconds. */
interface RequestTimes {
  request: number;
  /** From the arrival to the first token. */
  ttft: number;
  /** On average between two tokens; 0 where there is only one. */
  tpot: number;
}

/** The times of each request, in the order of arrival. */
export function requestTimes(events: ServingEvent[]): RequestTimes[] {
  return events
    .filter(({ kind }) => kind === 'arrive')
    .map(({ request, time: arrival }) => {
      const tokens = events.filter((event) => event.request === request && event.kind === 'token').map(({ time }) => time);
      const [first, last] = [tokens[0]!, tokens.at(-1)!];
      return { request, ttft: first - arrival, tpot: tokens.length > 1 ? (last - first) / (tokens.length - 1) : 0 };
    });
}

/** Requests a second that kept both promises; the clock runs from the first event to the last. */
export function goodputOf(events: ServingEvent[], promised: { ttft: number; tpot: number }): number {
  const times = events.map(({ time }) => time);
  const kept = requestTimes(events).filter(({ ttft, tpot }) => ttft <= promised.ttft && tpot <= promised.tpot);
  return kept.length / (Math.max(...times) - Math.min(...times));
}
// #endregion

// #region 6.8 Dynamic SplitFuse
/**
 * A pass of at most `budget` tokens: one for everybody who writes, then prompts, first come first served, the last of them cut
 * where the budget ends.
 *
 * @param state moved on by `extend` and `admit`
 */
export function splitFuseStep(state: lab.ServingState, budget: number): lab.PlanEntry[] {
  const entries: lab.PlanEntry[] = [];
  let left = budget;
  const schedule = (sequence: lab.Sequence): void => {
    const tokens = Math.min(sequence.remaining, left);
    if (tokens === 0 || !state.extend(sequence, tokens)) return;
    entries.push({ sequence, tokens });
    left -= tokens;
  };
  state.running.filter((sequence) => sequence.decoding).forEach(schedule);
  state.running.filter((sequence) => !sequence.decoding).forEach(schedule);
  while (left > 0) {
    const next = state.waiting[0];
    if (!next || !state.admit(next)) break;
    schedule(next);
  }
  return entries;
}
// #endregion

// #region 6.9 the budget of a pass
/**
 * The largest budget that keeps a promise to those who write.
 *
 * @param secondsOf how long a pass of so many tokens takes; more tokens never take less
 * @param interval seconds between two tokens at most
 * @param writing how many requests write at once: each takes a token of every pass
 * @returns a multiple of 64, at most 8192; null when none leaves a token for prompts
 */
export function chooseBudget(secondsOf: (tokens: number) => number, interval: number, writing: number): number | null {
  let best: number | null = null;
  for (let budget = 64; budget <= 8192; budget += 64) {
    if (budget > writing && secondsOf(budget) <= interval) best = budget;
  }
  return best;
}
// #endregion

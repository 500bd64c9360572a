/**
 * @file Chapter 06: plausible wrong answers, each under the hint that its author must be given, and right answers that are
 * written differently from the solution.
 */
import type { ChapterMistakes, PlanEntry, Sequence, ServingState } from 'lab';

interface Shape {
  layers: number;
  heads: number;
  keyValueHeads: number;
  headSize: number;
  bytes: number;
}
const bytesOf = (s: Shape, tokens: number): number => s.layers * s.keyValueHeads * s.headSize * s.bytes * tokens * 2;

type Pass = (tokens: number[], start: number) => Promise<ArrayLike<number>>;

const largest = (logits: ArrayLike<number>): number =>
  Array.from(logits).reduce((best, value, i, all) => (value > all[best]! ? i : best), 0);
const smallest = (logits: ArrayLike<number>): number => largest(Array.from(logits, (value) => -value));

/** Greedy writing with its parts exchanged. */
const writeWith =
  ({
    unread = (all: number[], from: number) => all.slice(from),
    start = (_all: number[], from: number, _prompt: number) => from,
    draw = largest,
    result = (all: number[], prompt: number) => all.slice(prompt),
    until = (count: number) => count,
    extra = false,
    own = true,
  }) =>
  async (pass: Pass, prompt: number[], maxTokens: number) => {
    const all = own ? prompt.slice() : prompt;
    const length = prompt.length;
    let from = 0;
    for (let i = 0; i < until(maxTokens); i++) {
      const logits = await pass(unread(all, from), start(all, from, length));
      from = all.length;
      all.push(draw(logits));
    }
    if (extra && maxTokens > 0) await pass(all.slice(from), from);
    return result(all, length);
  };

async function promptTokenByToken(pass: Pass, prompt: number[], maxTokens: number): Promise<number[]> {
  let logits: ArrayLike<number> = [];
  for (const [i, token] of prompt.entries()) logits = await pass([token], i);
  const written: number[] = [];
  while (written.length < maxTokens) {
    written.push(largest(logits));
    if (written.length < maxTokens) logits = await pass([written.at(-1)!], prompt.length + written.length - 1);
  }
  return written;
}

/** Iteration-level scheduling with its parts exchanged. */
const stepWith =
  ({
    open = (_state: ServingState) => true,
    most = (batchSize: number) => batchSize,
    reserve = (next: Sequence): number | undefined => Math.max(next.length, next.mostComputed),
    passOver = false,
    planned = (state: ServingState, _before: readonly Sequence[]): readonly Sequence[] => state.running,
    tokens = (sequence: Sequence) => sequence.remaining,
  }) =>
  (state: ServingState, batchSize: number): PlanEntry[] => {
    const before = [...state.running];
    if (open(state)) {
      for (const next of state.waiting.slice()) {
        if (state.running.length >= most(batchSize)) break;
        if (!state.admit(next, reserve(next)) && !passOver) break;
      }
    }
    return planned(state, before).map((sequence) => ({ sequence, tokens: tokens(sequence) }));
  };

/** A walk through a text's slots with its parts exchanged. */
const slotsWith =
  (slot: (table: number[], size: number, position: number, from: number) => number, end = 0) =>
  (table: number[], size: number, from: number, to: number) => {
    const slots: number[] = [];
    for (let position = from; position < to + end; position++) slots.push(slot(table, size, position, from));
    return slots;
  };
const whole = (position: number, size: number): number => Math.floor(position / size);

interface Pool {
  free: number[];
  references: number[];
}

/** Giving back with its parts exchanged. */
const releaseWith =
  ({
    order = (table: number[]) => table.slice().reverse(),
    lower = true,
    isFree = (references: number): boolean => references === 0,
    put = (free: number[], block: number) => void free.push(block),
    empty = true,
  }) =>
  (pool: Pool, table: number[]) => {
    for (const block of order(table)) {
      const references = pool.references[block]! - 1;
      if (lower) pool.references[block] = references;
      if (isFree(references)) put(pool.free, block);
    }
    if (empty) table.splice(0);
  };

/** Copy-on-write with its parts exchanged. */
const writableWith =
  ({
    alone = (references: number) => references < 2,
    take = (free: number[]) => free.shift()!,
    lower = true,
    count = true,
    list = true,
    told = (from: number, to: number) => ({ from, to }),
  }) =>
  (pool: Pool, table: number[], index: number) => {
    const from = table[index]!;
    if (alone(pool.references[from]!)) return null;
    const to = take(pool.free);
    if (lower) pool.references[from]! -= 1;
    if (count) pool.references[to] = 1;
    if (list) table[index] = to;
    return told(from, to);
  };

type Hash = (parent: number, tokens: number[]) => number;

/** Hashes with their parts exchanged. */
const hashesWith =
  ({
    blocks = (length: number, size: number) => Math.floor(length / size),
    parent = (hashes: number[]) => hashes[hashes.length - 1] ?? 0,
    begin = (block: number, size: number) => block * size,
  }) =>
  (tokens: number[], size: number, hash: Hash) => {
    const hashes: number[] = [];
    for (let block = 0; block < blocks(tokens.length, size); block++) {
      hashes.push(hash(parent(hashes), tokens.slice(begin(block, size), (block + 1) * size)));
    }
    return hashes;
  };

/** A search with its parts exchanged. */
const foundWith =
  ({
    usable = (hashes: number[], length: number, size: number) => hashes.filter((_, i) => (i + 1) * size <= length - 1),
    count = (hashes: number[], cached: Set<number>) => {
      const missing = hashes.findIndex((hash) => !cached.has(hash));
      return missing < 0 ? hashes.length : missing;
    },
    unit = (blocks: number, size: number) => blocks * size,
  }) =>
  (hashes: number[], length: number, size: number, cached: Set<number>) =>
    unit(count(usable(hashes, length, size), cached), size);

interface Event {
  time: number;
  request: number;
  kind: 'arrive' | 'admit' | 'token';
}

/** Times with their parts exchanged, gathered in one walk through the log. */
const timesWith =
  ({
    ttft = (arrival: number, _admitted: number, tokens: number[]) => tokens[0]! - arrival,
    tpot = (_arrival: number, tokens: number[]) => (tokens[tokens.length - 1]! - tokens[0]!) / Math.max(1, tokens.length - 1),
  }) =>
  (events: Event[]) => {
    const seen = new Map<number, { arrival: number; admitted: number; tokens: number[] }>();
    for (const { time, request, kind } of events) {
      if (kind === 'arrive') seen.set(request, { arrival: time, admitted: NaN, tokens: [] });
      else if (kind === 'admit') seen.get(request)!.admitted = time;
      else seen.get(request)!.tokens.push(time);
    }
    return [...seen].map(([request, { arrival, admitted, tokens }]) => ({
      request,
      ttft: ttft(arrival, admitted, tokens),
      tpot: tpot(arrival, tokens),
    }));
  };

interface Promised {
  ttft: number;
  tpot: number;
}

/** Goodput with its parts exchanged. */
const goodputWith =
  ({
    keeps = (times: Promised, promised: Promised) => !(times.ttft > promised.ttft || times.tpot > promised.tpot),
    divisor = (events: Event[]) => events[events.length - 1]!.time - events[0]!.time,
  }) =>
  (events: Event[], promised: Promised) => {
    let kept = 0;
    for (const times of timesWith({})(events)) if (keeps(times, promised)) kept++;
    return kept / divisor(events);
  };

/** SplitFuse with its parts exchanged. */
const fuseWith =
  ({
    order = (running: Sequence[]) => [
      ...running.filter(({ decoding }) => decoding),
      ...running.filter(({ decoding }) => !decoding),
    ],
    share = (sequence: Sequence, left: number) => Math.min(sequence.remaining, left),
    paid = (_sequence: Sequence, tokens: number) => tokens,
    extend = (state: ServingState, sequence: Sequence, tokens: number) => state.extend(sequence, tokens),
    givesUp = false,
    keepsEmpty = false,
    newcomers = Infinity,
    newcomersFirst = false,
  }) =>
  (state: ServingState, budget: number): PlanEntry[] => {
    const entries: PlanEntry[] = [];
    let left = budget;
    const plan = (sequence: Sequence): boolean => {
      const tokens = share(sequence, left);
      if (tokens <= 0 && !keepsEmpty) return true;
      if (!extend(state, sequence, tokens)) return false;
      entries.push({ sequence, tokens });
      left -= paid(sequence, tokens);
      return true;
    };
    const begun = order([...state.running]);
    const admit = (): void => {
      for (let i = 0; i < newcomers && left > 0 && state.waiting.length > 0; i++) {
        const next = state.waiting[0]!;
        if (!state.admit(next)) return;
        plan(next);
      }
    };
    const writers = begun.filter(({ decoding }) => decoding);
    if (newcomersFirst) {
      writers.forEach(plan);
      admit();
    }
    for (const sequence of begun) {
      if (newcomersFirst && writers.includes(sequence)) continue;
      if (!plan(sequence) && givesUp) return entries;
    }
    admit();
    return entries;
  };

/** A search for a budget with its parts exchanged. */
const budgetWith =
  ({
    step = 64,
    most = 8192,
    keeps = (seconds: number, interval: number) => seconds <= interval,
    room = (budget: number, writing: number) => budget > writing,
    choose = (fitting: number[]): number | null => (fitting.length > 0 ? Math.max(...fitting) : null),
    finish = (budget: number | null, _writing: number): number | null => budget,
  }) =>
  (secondsOf: (tokens: number) => number, interval: number, writing: number) => {
    const fitting: number[] = [];
    for (let budget = step; budget <= most; budget += step) {
      if (keeps(secondsOf(budget), interval) && room(budget, writing)) fitting.push(budget);
    }
    return finish(choose(fitting), writing);
  };

export default {
  '6.1': {
    mistakes: {
      'keys-only': { cacheBytes: (s: Shape, tokens: number) => bytesOf(s, tokens) / 2 },
      'query-heads': { cacheBytes: (s: Shape, tokens: number) => bytesOf({ ...s, keyValueHeads: s.heads }, tokens) },
      'one-layer': { cacheBytes: (s: Shape, tokens: number) => bytesOf({ ...s, layers: 1 }, tokens) },
      'heads-forgotten': { cacheBytes: (s: Shape, tokens: number) => bytesOf({ ...s, keyValueHeads: 1 }, tokens) },
      'numbers-not-bytes': { cacheBytes: (s: Shape, tokens: number) => bytesOf({ ...s, bytes: 1 }, tokens) },
      'bits': { cacheBytes: (s: Shape, tokens: number) => bytesOf({ ...s, bytes: 8 * s.bytes }, tokens) },
      'one-token': { cacheBytes: (s: Shape) => bytesOf(s, 1) },
    },
    right: [
      { cacheBytes: bytesOf },
      {
        cacheBytes: ({ layers, keyValueHeads, headSize, bytes }: Shape, tokens: number) => {
          const keys = tokens * keyValueHeads * headSize;
          let total = 0;
          for (let layer = 0; layer < layers; layer++) total += (keys + keys) * bytes;
          return total;
        },
      },
    ],
  },
  '6.2': {
    mistakes: {
      'computes-all-again': { writeGreedily: writeWith({ unread: (all) => all, start: () => 0 }) },
      'prompt-token-by-token': { writeGreedily: promptTokenByToken },
      'leaves-a-gap': { writeGreedily: writeWith({ start: (_all, from) => (from === 0 ? 0 : from + 1) }) },
      'forgets-where-it-is': { writeGreedily: writeWith({ start: (_all, from, prompt) => Math.max(0, from - prompt) }) },
      'prompt-in-the-result': { writeGreedily: writeWith({ result: (all, _prompt) => all }) },
      'likeliest-is-the-largest': { writeGreedily: writeWith({ draw: smallest }) },
      'one-missing': { writeGreedily: writeWith({ until: (count) => count - 1 }) },
      'computes-the-last-token': { writeGreedily: writeWith({ extra: true }) },
      'changes-the-prompt': { writeGreedily: writeWith({ own: false }) },
    },
    right: [
      { writeGreedily: writeWith({}) },
      {
        writeGreedily: async (pass: Pass, prompt: number[], maxTokens: number): Promise<number[]> => {
          const next = async (tokens: number[], start: number, left: number): Promise<number[]> => {
            if (left === 0) return [];
            const token = largest(await pass(tokens, start));
            return [token, ...(await next([token], start + tokens.length, left - 1))];
          };
          return next(prompt, 0, maxTokens);
        },
      },
    ],
  },
  '6.3': {
    mistakes: {
      'batch-too-large': { iterationStep: stepWith({ most: (batchSize) => batchSize + 1 }) },
      'one-token-of-a-prompt': { iterationStep: stepWith({ tokens: () => 1 }) },
      'waits-for-the-batch': { iterationStep: stepWith({ open: ({ running }) => running.length === 0 }) },
      'writers-stand-still': {
        iterationStep: stepWith({
          planned: ({ running }, before) => {
            const fresh = running.filter((sequence) => !before.includes(sequence));
            return fresh.length > 0 ? fresh : running;
          },
        }),
      },
      'newcomers-wait': {
        iterationStep: stepWith({ planned: ({ running }, before) => (before.length > 0 ? before : running) }),
      },
      'nothing-set-aside': { iterationStep: stepWith({ reserve: () => undefined }) },
      'out-of-turn': { iterationStep: stepWith({ passOver: true }) },
    },
    right: [
      { iterationStep: stepWith({}) },
      {
        iterationStep: (state: ServingState, batchSize: number): PlanEntry[] => {
          let places = batchSize - state.running.length;
          while (places-- > 0 && state.waiting.length > 0) {
            const [next] = state.waiting;
            if (!state.admit(next!, next!.promptLength + next!.maxTokens - 1)) places = 0;
          }
          // The order within a pass does not matter.
          return state.running.map((sequence) => ({ sequence, tokens: sequence.length - sequence.computed })).reverse();
        },
      },
    ],
  },
  '6.4': {
    mistakes: {
      'one-too-many': { slotsOf: slotsWith((table, size, p) => table[whole(p, size)]! * size + (p % size), 1) },
      'table-not-used': { slotsOf: slotsWith((_, __, p) => p) },
      'in-one-piece': { slotsOf: slotsWith((table, size, p) => table[0]! * size + p) },
      'block-not-multiplied': { slotsOf: slotsWith((table, size, p) => table[whole(p, size)]! + (p % size)) },
      'all-at-the-start': { slotsOf: slotsWith((table, size, p) => table[whole(p, size)]! * size) },
      'block-and-offset-swapped': { slotsOf: slotsWith((table, size, p) => table[p % size]! * size + whole(p, size)) },
      'counts-from-the-first': {
        slotsOf: slotsWith((table, size, p, from) => table[whole(p - from, size)]! * size + ((p - from) % size)),
      },
    },
    right: [
      { slotsOf: slotsWith((table, size, p) => table[whole(p, size)]! * size + (p % size)) },
      {
        slotsOf: (table: number[], size: number, from: number, to: number) => {
          const all = table.flatMap((block) => Array.from({ length: size }, (_, i) => block * size + i));
          return Int32Array.from(all.slice(from, to));
        },
      },
    ],
  },
  '6.5': {
    mistakes: {
      'counts-not-lowered': { release: releaseWith({ lower: false }) },
      'not-freed': { release: releaseWith({ put: () => {} }) },
      'beginning-first': { release: releaseWith({ order: (table) => table }) },
      'put-at-the-front': { release: releaseWith({ put: (free, block) => void free.unshift(block) }) },
      'table-not-emptied': { release: releaseWith({ empty: false }) },
      'frees-what-others-use': { release: releaseWith({ isFree: () => true }) },
      'copies-its-own': { makeWritable: writableWith({ alone: () => false }) },
      'writes-into-the-shared': { makeWritable: writableWith({ alone: () => true }) },
      'table-not-changed': { makeWritable: writableWith({ list: false }) },
      'not-the-first-free': { makeWritable: writableWith({ take: (free) => free.pop()! }) },
      'still-free': { makeWritable: writableWith({ take: (free) => free[0]! }) },
      'old-count-not-lowered': { makeWritable: writableWith({ lower: false }) },
      'new-count-not-set': { makeWritable: writableWith({ count: false }) },
      'copied-the-wrong-way': { makeWritable: writableWith({ told: (from, to) => ({ from: to, to: from }) }) },
    },
    right: [
      { release: releaseWith({}), makeWritable: writableWith({}) },
      {
        release: ({ free, references }: Pool, table: number[]) => {
          for (let i = table.length - 1; i >= 0; i--) if (--references[table[i]!]! < 1) free.push(table[i]!);
          table.length = 0;
        },
        makeWritable: (pool: Pool, table: number[], index: number) => {
          const old = table[index]!;
          if (pool.references[old]! > 1) {
            const [fresh] = pool.free.splice(0, 1);
            table.splice(index, 1, fresh!);
            pool.references[fresh!]!++;
            pool.references[old]!--;
            return { to: fresh!, from: old };
          }
          return null;
        },
      },
    ],
  },
  '6.6': {
    mistakes: {
      'not-chained': { blockHashes: hashesWith({ parent: () => 0 }) },
      'partial-block': { blockHashes: hashesWith({ blocks: (length, size) => Math.ceil(length / size) }) },
      'last-full-block-missing': { blockHashes: hashesWith({ blocks: (length, size) => Math.floor((length - 1) / size) }) },
      'first-is-everybodys-parent': { blockHashes: hashesWith({ parent: (hashes) => hashes[0] ?? 0 }) },
      'beginning-hashed-again': { blockHashes: hashesWith({ parent: () => 0, begin: () => 0 }) },
      'counts-blocks': { tokensFound: foundWith({ unit: (blocks) => blocks }) },
      'goes-on-after-a-gap': {
        tokensFound: foundWith({ count: (hashes, cached) => hashes.filter((hash) => cached.has(hash)).length }),
      },
      'nothing-left-to-compute': { tokensFound: foundWith({ usable: (hashes) => hashes }) },
      'last-block-never-found': { tokensFound: foundWith({ usable: (hashes) => hashes.slice(0, -1) }) },
    },
    right: [
      { blockHashes: hashesWith({}), tokensFound: foundWith({}) },
      {
        blockHashes: (tokens: number[], size: number, hash: Hash) => {
          const from = (start: number, parent: number): number[] => {
            if (start + size > tokens.length) return [];
            const own = hash(parent, tokens.slice(start, start + size));
            return [own, ...from(start + size, own)];
          };
          return from(0, 0);
        },
        tokensFound: (hashes: number[], length: number, size: number, cached: Set<number>) => {
          let found = 0;
          for (const hash of hashes) {
            if (!cached.has(hash)) break;
            found += size;
          }
          return found >= length ? Math.floor((length - 1) / size) * size : found;
        },
      },
    ],
  },
  '6.7': {
    mistakes: {
      'from-admission': { requestTimes: timesWith({ ttft: (_, admitted, tokens) => tokens[0]! - admitted }) },
      'clock-time': { requestTimes: timesWith({ ttft: (_, __, tokens) => tokens[0]! }) },
      'to-the-last-token': { requestTimes: timesWith({ ttft: (arrival, _, tokens) => tokens.at(-1)! - arrival }) },
      'single-token': { requestTimes: timesWith({ tpot: (_, tokens) => (tokens.at(-1)! - tokens[0]!) / (tokens.length - 1) }) },
      'divided-by-tokens': { requestTimes: timesWith({ tpot: (_, tokens) => (tokens.at(-1)! - tokens[0]!) / tokens.length }) },
      'first-token-included': {
        requestTimes: timesWith({ tpot: (arrival, tokens) => (tokens.at(-1)! - arrival) / tokens.length }),
      },
      'longest-interval': {
        requestTimes: timesWith({
          tpot: (_, tokens) => tokens.slice(1).reduce((most, time, i) => Math.max(most, time - tokens[i]!), 0),
        }),
      },
      'either-promise': {
        goodputOf: goodputWith({ keeps: (times, promised) => times.ttft <= promised.ttft || times.tpot <= promised.tpot }),
      },
      'exactly-is-kept': {
        goodputOf: goodputWith({ keeps: (times, promised) => times.ttft < promised.ttft && times.tpot < promised.tpot }),
      },
      'clock-from-zero': { goodputOf: goodputWith({ divisor: (events) => events.at(-1)!.time }) },
      'count-not-rate': { goodputOf: goodputWith({ divisor: () => 1 }) },
      'share-not-rate': { goodputOf: goodputWith({ divisor: (events) => events.filter((e) => e.kind === 'arrive').length }) },
      'only-ttft': { goodputOf: goodputWith({ keeps: (times, promised) => times.ttft <= promised.ttft }) },
    },
    right: [
      { requestTimes: timesWith({}), goodputOf: goodputWith({}) },
      {
        requestTimes: (events: Event[]) => {
          const of = (request: number, kind: string) => events.filter((e) => e.request === request && e.kind === kind);
          return [...new Set(events.map(({ request }) => request))].map((request) => {
            const times = of(request, 'token').map(({ time }) => time);
            const gaps = times.slice(1).map((time, i) => time - times[i]!);
            const tpot = gaps.length === 0 ? 0 : gaps.reduce((a, b) => a + b, 0) / gaps.length;
            return { tpot, request, ttft: times[0]! - of(request, 'arrive')[0]!.time };
          });
        },
      },
    ],
  },
  '6.8': {
    mistakes: {
      'prompts-before-writers': { splitFuseStep: fuseWith({ order: (running) => running }) },
      'over-the-budget': { splitFuseStep: fuseWith({ paid: (sequence, tokens) => (sequence.decoding ? 0 : tokens) }) },
      'prompt-not-cut': {
        splitFuseStep: fuseWith({ share: ({ remaining }, left) => (remaining <= left ? remaining : 0) }),
      },
      'newcomers-first': { splitFuseStep: fuseWith({ newcomersFirst: true }) },
      'pass-not-filled': { splitFuseStep: fuseWith({ newcomers: 0 }) },
      'one-prompt-a-pass': { splitFuseStep: fuseWith({ newcomers: 1 }) },
      'empty-entries': { splitFuseStep: fuseWith({ keepsEmpty: true }) },
      'no-room-asked-for': { splitFuseStep: fuseWith({ extend: () => true }) },
      'stops-where-no-room-is': { splitFuseStep: fuseWith({ givesUp: true }) },
    },
    right: [
      { splitFuseStep: fuseWith({}) },
      {
        splitFuseStep: (state: ServingState, budget: number): PlanEntry[] => {
          const shares = new Map<Sequence, number>();
          const left = () => [...shares.values()].reduce((rest, tokens) => rest - tokens, budget);
          const give = (sequence: Sequence) => {
            const tokens = Math.min(sequence.length - sequence.computed, left());
            if (tokens > 0 && state.extend(sequence, tokens)) shares.set(sequence, tokens);
          };
          for (const sequence of state.running) if (sequence.decoding) give(sequence);
          for (const sequence of state.running) if (!shares.has(sequence) && !sequence.decoding) give(sequence);
          for (let next = state.waiting[0]; next && left() > 0 && state.admit(next); next = state.waiting[0]) give(next);
          return [...shares].map(([sequence, tokens]) => ({ tokens, sequence }));
        },
      },
    ],
  },
  '6.9': {
    mistakes: {
      'smallest-instead-of-largest': { chooseBudget: budgetWith({ choose: (fitting) => fitting[0] ?? null }) },
      'one-too-far': {
        chooseBudget: budgetWith({ finish: (budget) => (budget === null ? null : budget + 64) }),
      },
      'one-too-early': {
        chooseBudget: budgetWith({ finish: (budget) => (budget === null ? null : budget - 64) }),
      },
      'stops-too-early': { chooseBudget: budgetWith({ keeps: (seconds, interval) => seconds < interval }) },
      'not-a-multiple': { chooseBudget: budgetWith({ step: 1 }) },
      'zero-instead-of-null': { chooseBudget: budgetWith({ choose: (fitting) => Math.max(0, ...fitting) }) },
      'smallest-at-any-price': { chooseBudget: budgetWith({ choose: (fitting) => Math.max(64, ...fitting) }) },
      'no-token-for-prompts': { chooseBudget: budgetWith({ room: (budget, writing) => budget >= writing }) },
      'writers-come-on-top': {
        chooseBudget: budgetWith({
          room: () => true,
          finish: (budget, writing) => (budget !== null && writing > 100 ? budget + writing : budget),
        }),
      },
    },
    right: [
      { chooseBudget: budgetWith({}) },
      {
        // Halving: more tokens never take less.
        chooseBudget: (secondsOf: (tokens: number) => number, interval: number, writing: number) => {
          let [low, high] = [0, 128];
          while (low < high) {
            const middle = Math.ceil((low + high) / 2);
            if (secondsOf(64 * middle) <= interval) low = middle;
            else high = middle - 1;
          }
          return low > 0 && 64 * low > writing ? 64 * low : null;
        },
      },
    ],
  },
} satisfies ChapterMistakes;

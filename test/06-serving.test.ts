/**
 * @file Chapter 06, serving: what each answer must do, and what the usual mistakes look like.
 * Schedulers are asked on the library's own ServingState, small enough to say in words who must be in the next pass; then they
 * serve whole workloads in the simulator. No two sizes are equal.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  Diagnosis,
  expectClose,
  lengths,
  makeWorkload,
  prefixHash,
  Random,
  Sequence,
  ServingState,
  simulate,
  startBackend,
  type Hints,
  type PlanEntry,
} from 'lab';
import {
  blockHashes,
  cacheBytes,
  chooseBudget,
  goodputOf,
  iterationStep,
  makeWritable,
  release,
  requestTimes,
  slotsOf,
  splitFuseStep,
  tokensFound,
  writeGreedily,
} from '../solutions/06-serving.ts';

beforeAll(async () => {
  await startBackend();
});

/** @throws Diagnosis when it does not hold. */
function expectThat(holds: boolean, hint: string, say: string): void {
  if (!holds) throw new Diagnosis(hint, say);
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

describe('6.1 bytes of the cache', () => {
  const shape = { layers: 5, heads: 12, keyValueHeads: 3, headSize: 16, bytes: 4 };
  type Shape = typeof shape;
  const hintsFor = (s: Shape, tokens: number): Hints => {
    const right = 2 * s.layers * s.keyValueHeads * s.headSize * s.bytes * tokens;
    return {
      'keys-only': {
        say: 'The result is half of what it should be: the cache holds keys and values.',
        looksLike: right / 2,
      },
      'query-heads': {
        say: 'You count the heads of the queries. Queries are not kept; in the cache there are keyValueHeads heads.',
        looksLike: (right / s.keyValueHeads) * s.heads,
      },
      'one-layer': { say: 'This is one layer. Each layer has keys and values of its own.', looksLike: right / s.layers },
      'heads-forgotten': {
        say: 'The number of key/value heads is missing: each of them keeps headSize numbers of a token.',
        looksLike: right / s.keyValueHeads,
      },
      'numbers-not-bytes': {
        say: 'You count numbers. Each of them takes several bytes.',
        looksLike: right / s.bytes,
      },
      'bits': { say: 'The result is eight times too large: these are bits. bytes is in bytes already.', looksLike: right * 8 },
      'one-token': { say: 'This is one token. A text has many.', looksLike: right / tokens },
    };
  };

  it.each([
    ['grouped queries', shape],
    ['one key/value head for all (multi-query)', { ...shape, keyValueHeads: 1 }],
    ['one for each (multi-head)', { ...shape, keyValueHeads: 12 }],
    ['one byte a number', { layers: 3, heads: 35, keyValueHeads: 7, headSize: 24, bytes: 1 }],
  ])('%s', async (_, given) => {
    const expected = 2 * given.layers * given.keyValueHeads * given.headSize * given.bytes * 37;
    await expectClose(cacheBytes(given, 37), expected, { tolerance: 0, hints: hintsFor(given, 37) });
  });

  it('is what the papers say of Llama 2 70B: 320 KiB a token', async () => {
    const llama = { layers: 80, heads: 64, keyValueHeads: 8, headSize: 128, bytes: 2 };
    await expectClose(cacheBytes(llama, 7), 7 * 320 * 1024, { tolerance: 0 });
  });
});

describe('6.2 nothing is computed twice', () => {
  const VOCABULARY = 11;

  /** A model that remembers tokens by their places. The next one depends on all of them. */
  class Model {
    readonly remembered: (number | undefined)[] = [];
    readonly calls: { start: number; tokens: number[] }[] = [];

    readonly pass = (tokens: number[], start: number): Promise<number[]> => {
      this.calls.push({ start, tokens: [...tokens] });
      this.remembered.length = Math.min(this.remembered.length, start);
      for (const [i, token] of tokens.entries()) this.remembered[start + i] = token;
      return Promise.resolve(Model.logits(this.remembered));
    };

    static logits(all: readonly (number | undefined)[]): number[] {
      let state = 17;
      for (let place = 0; place < all.length; place++) state = (state * 31 + (place + 1) * ((all[place] ?? 40) + 3)) % 9973;
      return range(0, VOCABULARY).map((token) => -((state * (token + 5)) % 101) - token / 1000);
    }

    /** Everything from the beginning, for each token. */
    static slowly(prompt: readonly number[], count: number): number[] {
      const all = [...prompt];
      for (let i = 0; i < count; i++) {
        const logits = Model.logits(all);
        all.push(logits.indexOf(Math.max(...logits)));
      }
      return all.slice(prompt.length);
    }
  }

  const prompt = [3, 1, 4, 1, 5];
  const count = 7;
  const truth = Model.slowly(prompt, count);

  /** What is wrong with the calls, before looking at the tokens. */
  function inspect({ calls, remembered }: Model): void {
    const starts = calls.map(({ start }) => start);
    const computed = sum(calls.map(({ tokens }) => tokens.length));
    const first = calls[0];
    expectThat(
      calls.length < 2 || calls[1]!.tokens.length === 1 || calls[1]!.start > 0,
      'computes-all-again',
      `Each pass computes the whole text: ${computed} tokens instead of ${prompt.length + count - 1}. The model ` +
        'remembers what it was given; give it the new token alone.',
    );
    expectThat(
      first?.tokens.length !== 1,
      'prompt-token-by-token',
      'The prompt goes through the model token by token. All its tokens are known: compute them in one pass.',
    );
    expectThat(
      !range(0, remembered.length).some((place) => remembered[place] === undefined),
      'leaves-a-gap',
      `You start at ${starts.join(', ')}: a place between is left out. The first new token stands at ${prompt.length}, right ` +
        'behind the prompt.',
    );
    expectThat(
      starts.every((start, i) => i === 0 || start === starts[i - 1]! + calls[i - 1]!.tokens.length),
      'forgets-where-it-is',
      `You start at ${starts.join(', ')}. A pass starts where the one before ended; starting earlier makes the model forget.`,
    );
  }

  it('writes what recomputing everything would write', async () => {
    const model = new Model();
    const written = await writeGreedily(model.pass, [...prompt], count);
    inspect(model);
    await expectClose(written, truth, {
      what: 'the tokens',
      hints: {
        'prompt-in-the-result': {
          say: 'The prompt is part of your result. Return the new tokens alone.',
          looksLike: [...prompt, ...truth],
        },
        'likeliest-is-the-largest': {
          say: 'You take the token with the smallest logit; the likeliest has the largest.',
          when: () => {
            const logits = Model.logits(prompt);
            return written[0] === logits.indexOf(Math.min(...logits));
          },
        },
        'one-missing': { say: 'The last token is missing.', looksLike: truth.slice(0, -1) },
      },
    });
  });

  it('computes each token once, and the last one not at all', async () => {
    const model = new Model();
    await writeGreedily(model.pass, [...prompt], count);
    inspect(model);
    expectThat(
      model.calls.length <= count,
      'computes-the-last-token',
      'The last token goes through the model, too, and nobody looks at what comes out. Stop when there are enough.',
    );
    expect(model.calls.map(({ tokens }) => tokens.length)).toEqual([prompt.length, ...range(1, count).map(() => 1)]);
  });

  it('writes nothing when nothing is asked for', async () => {
    expect(await writeGreedily(new Model().pass, [...prompt], 0)).toEqual([]);
  });

  it('leaves the prompt as it is', async () => {
    const given = [...prompt];
    await writeGreedily(new Model().pass, given, 3);
    expectThat(given.length === prompt.length, 'changes-the-prompt', 'The prompt that your function was given has grown.');
  });
});

/** Requests wait, as pairs of prompt length and tokens asked for. */
function stateOf(blocks: number, blockSize: number, requests: readonly (readonly [number, number])[]): ServingState {
  const state = new ServingState({ blocks, blockSize, prefixCaching: false });
  requests.forEach(([prompt, maxTokens], id) => {
    state.add(new Sequence({ id, prompt: range(0, prompt), maxTokens }));
  });
  return state;
}

/** Carries a plan out: those with nothing left to compute get a token, and leave when it is their last. */
function carryOut(state: ServingState, entries: readonly PlanEntry[]): void {
  state.checkPlan({ entries });
  for (const sequence of state.advance({ entries })) {
    sequence.tokens.push(7);
    if (sequence.generated === sequence.maxTokens) state.giveBack(sequence);
  }
}

/** `request: tokens`, in the order of the requests. */
const inWords = (entries: readonly PlanEntry[]): string[] =>
  [...entries].sort((a, b) => a.sequence.id - b.sequence.id).map(({ sequence, tokens }) => `${sequence.id}: ${tokens}`);
const idsOf = (sequences: readonly { readonly id: number }[]): string => sequences.map(({ id }) => id).join(', ');

describe('6.3 iteration-level scheduling', () => {
  it('starts with whole prompts, first come first served, as many as may run', () => {
    const state = stateOf(60, 4, [
      [5, 3],
      [7, 4],
      [2, 6],
      [3, 2],
    ]);
    const entries = iterationStep(state, 3);
    expectThat(
      state.running.length <= 3,
      'batch-too-large',
      `With a batch size of 3, ${state.running.length} requests run at once.`,
    );
    expectThat(
      inWords(entries).join() !== '0: 1,1: 1,2: 1',
      'one-token-of-a-prompt',
      'You compute one token of each prompt. A prompt goes through the model in one pass: all that remains of it.',
    );
    expect(inWords(entries)).toEqual(['0: 5', '1: 7', '2: 2']);
  });

  it('fills a place as soon as it is empty, while the others go on', () => {
    const state = stateOf(60, 4, [
      [5, 1],
      [7, 4],
      [3, 2],
    ]);
    carryOut(state, iterationStep(state, 2));
    const entries = iterationStep(state, 2);
    expectThat(
      state.running.length === 2,
      'waits-for-the-batch',
      'Request 0 is done and request 2 waits, but nobody takes the empty place until request 1 is done, too. That is static ' +
        'batching.',
    );
    expectThat(
      entries.some(({ sequence }) => sequence.id === 1),
      'writers-stand-still',
      'While the prompt of request 2 is computed, request 1 stands still. Prompts and single tokens go through the same pass.',
    );
    expectThat(
      inWords(entries).join() !== '1: 1',
      'newcomers-wait',
      'Request 2 was admitted, but is not part of the pass. Plan after admitting.',
    );
    expect(inWords(entries)).toEqual(['1: 1', '2: 3']);
  });

  it('sets the memory for the longest possible answer aside', () => {
    // 6 blocks of 4: each may need 15 tokens, so four blocks; the prompts alone need one each.
    const state = stateOf(6, 4, [
      [4, 12],
      [4, 12],
    ]);
    iterationStep(state, 4);
    expectThat(
      state.running.length < 2,
      'nothing-set-aside',
      'Both requests run, but there is no memory for both answers. Nobody can be thrown out here: admit with room for the ' +
        'longest answer, state.admit(next, next.mostComputed).',
    );
    expect(idsOf(state.running)).toBe('0');
    expect(state.running[0]!.table.blocks).toHaveLength(4);
  });

  it('lets nobody pass the first in the queue', () => {
    const state = stateOf(6, 4, [
      [4, 12],
      [4, 12],
      [2, 2],
    ]);
    iterationStep(state, 4);
    expectThat(
      idsOf(state.running) !== '0, 2',
      'out-of-turn',
      'Request 2 passed request 1, for which there was no room. Short requests that pass could keep a long one waiting for ' +
        'ever; stop at the first that does not fit.',
    );
    expect(idsOf(state.running)).toBe('0');
  });

  it('serves everybody in the simulator, and is done with nobody', () => {
    const workload = makeWorkload({ requests: 30, prompt: lengths.uniform(1, 20), output: lengths.uniform(1, 15), seed: 3 });
    const scheduler = { name: 'yours', step: (state: ServingState) => ({ entries: iterationStep(state, 4) }) };
    const { records, rows } = simulate(workload, { scheduler, cost: () => 1, blocks: 40, blockSize: 4, check: true });
    expect(records).toHaveLength(30);
    // Each prompt once, and each new token but the last.
    expect(rows).toBe(sum(workload.map(({ prompt, output }) => prompt.length + output - 1)));
    expect(iterationStep(stateOf(5, 4, []), 3)).toEqual([]);
  });
});

describe('6.4 block table', () => {
  const table = [7, 2, 9, 0, 11, 4];
  const size = 4;
  const by = (slot: (position: number) => number, from: number, to: number): number[] => range(from, to).map(slot);
  const block = (position: number): number => table[Math.floor(position / size)]!;
  const hintsFor = (from: number, to: number): Hints => ({
    'one-too-many': {
      say: '`to` stands after the last token, as in slice; it has no slot here.',
      looksLike: by((p) => block(p) * size + (p % size), from, to + 1),
    },
    'table-not-used': {
      say: 'The slots are the positions, so the text lies in one piece from slot 0 on. Ask the table where a block lies.',
      looksLike: by((p) => p, from, to),
    },
    'in-one-piece': {
      say: 'The first block is right, but then the text goes on in one piece. Ask the table again for each block.',
      looksLike: by((p) => table[0]! * size + p, from, to),
    },
    'block-not-multiplied': {
      say: 'Block b starts at slot b · blockSize, not at slot b.',
      looksLike: by((p) => block(p) + (p % size), from, to),
    },
    'all-at-the-start': {
      say: 'All tokens of a block get its first slot. Add the place within the block.',
      looksLike: by((p) => block(p) * size, from, to),
    },
    'block-and-offset-swapped': {
      say: 'The remainder of the division chooses the block, the quotient the place in it: it is the other way round.',
      looksLike: by((p) => (table[p % size] ?? NaN) * size + Math.floor(p / size), from, to),
    },
    'counts-from-the-first': {
      say: 'You count from the first token asked for. Positions count from the beginning of the text.',
      looksLike: by((p) => block(p - from) * size + ((p - from) % size), from, to),
    },
  });

  it.each([
    ['a whole text', 0, 22],
    ['a single token', 13, 14],
    ['a piece that begins and ends within blocks', 3, 18],
  ])('%s', async (_, from, to) => {
    const expected = by((p) => block(p) * size + (p % size), from, to);
    await expectClose(slotsOf([...table], size, from, to), expected, { what: 'the slots', hints: hintsFor(from, to) });
  });

  it('of nothing, and in blocks of one token', () => {
    expect(Array.from(slotsOf([...table], size, 5, 5))).toEqual([]);
    expect(Array.from(slotsOf([5, 3, 8], 1, 0, 3))).toEqual([5, 3, 8]);
  });
});

describe('6.5 free list and copy-on-write', () => {
  const pool = (free: number[], references: number[]) => ({ free, references });

  it('gives back a table’s blocks', () => {
    const given = pool([6], [0, 1, 1, 1, 0, 0, 0]);
    const table = [2, 1, 3];
    release(given, table);
    expectThat(
      given.references[1] === 0,
      'counts-not-lowered',
      'The blocks have left the table, but their references still count it.',
    );
    expectThat(given.free.length > 1, 'not-freed', 'Nobody lists the blocks any more, but they are not in the free list.');
    expectThat(
      given.free.join() !== '6,2,1,3',
      'beginning-first',
      'The blocks become free from the first to the last, so that the beginning of the text is lost first. But other texts ' +
        'may begin the same way; give back the last block first.',
    );
    expectThat(
      given.free.at(0) === 6,
      'put-at-the-front',
      'The blocks stand at the front of the free list, where the next one is taken. At its end they live longer.',
    );
    expectThat(table.length === 0, 'table-not-emptied', 'The table still lists blocks that it has given back.');
    expect(given.free).toEqual([6, 3, 1, 2]);
  });

  it('frees no block that another table lists', () => {
    const given = pool([], [1, 2, 3, 1]);
    const table = [3, 1, 2];
    release(given, table);
    expectThat(
      !given.free.includes(1) && !given.free.includes(2),
      'frees-what-others-use',
      'Blocks 1 and 2 stand in other tables, too, but are free now: somebody will write over them. Free a block when its ' +
        'count reaches 0.',
    );
    expectThat(given.references[3] === 0, 'counts-not-lowered', 'Block 3 left the table, but its references are not lowered.');
    expect([given.free, given.references]).toEqual([[3], [1, 1, 2, 0]]);
  });

  it('copies nothing that a table owns alone', () => {
    const given = pool([0, 4], [0, 1, 2, 1, 0]);
    const table = [1, 2, 3];
    const copy = makeWritable(given, table, 2);
    expectThat(
      copy === null,
      'copies-its-own',
      'Block 3 stands in this table alone, and is copied all the same. Nobody else sees what is written: return null.',
    );
    expect([given.free, given.references, table]).toEqual([[0, 4], [0, 1, 2, 1, 0], [1, 2, 3]]);
  });

  it('copies a block that others list, too', () => {
    const given = pool([5, 0, 4], [0, 1, 3, 1, 0, 0]);
    const table = [1, 2, 3];
    const copy = makeWritable(given, table, 1);
    const to = table[1]!;
    expectThat(
      copy !== null,
      'writes-into-the-shared',
      'Block 2 stands in three tables, and nothing is copied: the others would see what is written.',
    );
    expectThat(
      to !== 2,
      'table-not-changed',
      'The table still lists block 2. Put the new block in its place, or the copy is for nobody.',
    );
    expectThat(to === 5, 'not-the-first-free', `Block ${to} was taken; the first of the free list is 5.`);
    expectThat(given.free.length === 2, 'still-free', 'The new block is still in the free list: it will be given out twice.');
    expectThat(
      given.references[2] === 2,
      'old-count-not-lowered',
      `Block 2 counts ${given.references[2]} references; this table has left it, and two are there.`,
    );
    expectThat(given.references[5] === 1, 'new-count-not-set', 'The new block counts no reference, though a table lists it.');
    expectThat(copy!.from === 2, 'copied-the-wrong-way', `The content goes from block 2 to block 5, not from ${copy!.from}.`);
    expect(copy).toEqual({ from: 2, to: 5 });
  });

  it('loses no block and shares none wrongly, whatever happens', () => {
    const random = new Random(61);
    const given = pool(range(0, 40), new Array<number>(40).fill(0));
    const tables: number[][] = [];
    for (let step = 0; step < 400; step++) {
      const table = tables[random.integer(Math.max(1, tables.length))];
      const kind = random.integer(4);
      if (kind === 0 && table && tables.length < 9) {
        for (const block of table) given.references[block]!++;
        tables.push([...table]);
      } else if (kind === 1 && table) {
        release(given, table);
        tables.splice(tables.indexOf(table), 1);
      } else if (kind === 2 && table && given.free.length > 0) {
        makeWritable(given, table, random.integer(table.length));
      } else if (tables.length < 9 && given.free.length > 6) {
        const blocks = given.free.splice(0, 3);
        for (const block of blocks) given.references[block] = 1;
        tables.push(blocks);
      }
      const counts = given.references.map((_, block) => tables.filter((listed) => listed.includes(block)).length);
      expect(given.references).toEqual(counts);
      expect(new Set(given.free).size).toBe(given.free.length);
      expect([...given.free].sort((a, b) => a - b)).toEqual(range(0, 40).filter((block) => counts[block] === 0));
    }
  });
});

describe('6.6 prefix hashes', () => {
  /** Small, as `expectClose` takes very large numbers for infinite. */
  const hash = (parent: number, tokens: number[]): number => prefixHash(parent, tokens) % 1_000_003;
  const chain = (tokens: number[], size: number): number[] => {
    let parent = 0;
    return range(0, Math.floor(tokens.length / size)).map((i) => {
      return (parent = hash(parent, tokens.slice(i * size, (i + 1) * size)));
    });
  };
  const blocksOf = (tokens: number[], size: number): number[][] =>
    range(0, Math.ceil(tokens.length / size)).map((i) => tokens.slice(i * size, (i + 1) * size));
  const hintsFor = (tokens: number[], size: number): Hints => {
    const all = blocksOf(tokens, size);
    const full = all.filter((block) => block.length === size);
    return {
      'not-chained': {
        say:
          'Each block is hashed by itself, so that the same tokens behind another beginning get the same hash. Their keys ' +
          'and values differ: give each block the hash of the one before.',
        looksLike: full.map((block) => hash(0, block)),
      },
      'partial-block': {
        say: 'The last block is not full and has a hash. More tokens will come into it and change its content.',
        looksLike: () => {
          let parent = 0;
          return all.map((block) => (parent = hash(parent, block)));
        },
      },
      'last-full-block-missing': {
        say: 'The last block is full and has no hash. Somebody with a longer prompt can use it.',
        looksLike: () => chain(tokens, size).slice(0, -1),
      },
      'first-is-everybodys-parent': {
        say: 'Every block has the first one as its parent. The parent is the block right before.',
        looksLike: full.map((block, i) => hash(i === 0 ? 0 : hash(0, full[0]!), block)),
      },
      'beginning-hashed-again': {
        say:
          'You hash all tokens from the beginning for each block. That tells them apart, too, but costs more with each ' +
          'block; the parent’s hash stands for all of them.',
        looksLike: full.map((_, i) => hash(0, tokens.slice(0, (i + 1) * size))),
      },
    };
  };
  const text = range(0, 14).map((i) => (i * i) % 23);

  it('one hash for each full block, of its tokens and of what was before', async () => {
    await expectClose(blockHashes([...text], 4, hash), chain(text, 4), { tolerance: 0, hints: hintsFor(text, 4) });
  });

  it('a text that ends with a block', async () => {
    const even = text.slice(0, 12);
    await expectClose(blockHashes([...even], 4, hash), chain(even, 4), { tolerance: 0, hints: hintsFor(even, 4) });
  });

  it('of a short text none', () => {
    expect(Array.from(blockHashes([1, 2, 3], 4, hash))).toEqual([]);
  });

  it('the same tokens behind another beginning are another content', () => {
    const [a, b] = [[1, 2, 9, 9, 5], [3, 4, 9, 9, 5]].map((tokens) => Array.from(blockHashes(tokens, 2, hash)));
    expectThat(
      a![1] !== b![1],
      'not-chained',
      'Two texts that differ in their first block have the same hash for their second: the parent is not in it.',
    );
  });

  const hashes = chain(text, 4);
  const foundHints = (): Hints => ({
    'counts-blocks': { say: 'You count blocks. What is asked for is tokens.', looksLike: 2 },
  });

  it('finds the beginning that is there', async () => {
    const cached = new Set(hashes.slice(0, 2));
    await expectClose(tokensFound([...hashes], 14, 4, cached), 8, { tolerance: 0, hints: foundHints() });
  });

  it('stops at the first block that is missing', async () => {
    await expectClose(tokensFound([...hashes], 14, 4, new Set([hashes[0]!, hashes[2]!])), 4, {
      tolerance: 0,
      hints: {
        'goes-on-after-a-gap': {
          say: 'The second block is missing, the third is counted. Only an unbroken beginning can be used here.',
          looksLike: 8,
        },
      },
    });
  });

  it('leaves the last token to compute, but no more than it must', async () => {
    const all = new Set(hashes);
    expectThat(
      tokensFound([...hashes], 12, 4, all) < 12,
      'nothing-left-to-compute',
      'The whole prompt was found, so nothing is computed, and there are no logits to draw the next token from.',
    );
    expectThat(
      tokensFound([...hashes], 14, 4, all) !== 8,
      'last-block-never-found',
      'Two tokens follow the third block, so it can be used as well. Only where it ends the prompt it must be computed again.',
    );
    expect([tokensFound([...hashes], 12, 4, all), tokensFound([...hashes], 14, 4, all)]).toEqual([8, 12]);
  });
});

describe('6.7 times and goodput', () => {
  const event = (time: number, request: number, kind: 'arrive' | 'admit' | 'token') => ({ time, request, kind });
  const events = [
    event(2, 0, 'arrive'),
    event(2.5, 0, 'admit'),
    event(3, 1, 'arrive'),
    event(3.5, 0, 'token'),
    event(4, 0, 'token'),
    event(4.25, 1, 'admit'),
    event(5, 2, 'arrive'),
    event(5.75, 1, 'token'),
    event(6, 0, 'token'),
    event(6.5, 2, 'admit'),
    event(7, 2, 'token'),
    event(7.5, 2, 'token'),
    event(8, 2, 'token'),
    event(8.5, 0, 'token'),
    event(10, 2, 'token'),
  ];
  const arrivals = [2, 3, 5];
  const admissions = [2.5, 4.25, 6.5];
  const tokens = [[3.5, 4, 6, 8.5], [5.75], [7, 7.5, 8, 10]];
  const ttft = tokens.map((times, i) => times[0]! - arrivals[i]!);
  const tpot = tokens.map((times) => (times.length > 1 ? (times.at(-1)! - times[0]!) / (times.length - 1) : 0));
  const several = tokens.map((times) => times.length > 1);

  it('the time to the first token', async () => {
    const received = requestTimes(structuredClone(events)).map((times) => times.ttft);
    await expectClose(received, ttft, {
      what: 'ttft',
      hints: {
        'from-admission': {
          say: 'You count from when the request was admitted. Waiting in the queue is waiting, too: count from its arrival.',
          looksLike: tokens.map((times, i) => times[0]! - admissions[i]!),
        },
        'clock-time': {
          say: 'This is the time on the clock. Take away when the request arrived.',
          looksLike: tokens.map((times) => times[0]!),
        },
        'to-the-last-token': {
          say: 'This is the time to the last token, not to the first.',
          looksLike: tokens.map((times, i) => times.at(-1)! - arrivals[i]!),
        },
      },
    });
  });

  it('the time per token after it', async () => {
    const received = requestTimes(structuredClone(events)).map((times) => times.tpot);
    const where = (wrong: (times: number[], i: number) => number): number[] =>
      tokens.map((times, i) => (several[i] ? wrong(times, i) : 0));
    await expectClose(received, tpot, {
      what: 'tpot',
      hints: {
        'single-token': {
          say: 'A request with one token has no interval: 0 / 0 is not a number. Say 0.',
          when: () => !Number.isFinite(received[1]),
        },
        'divided-by-tokens': {
          say: 'Between 4 tokens there are 3 intervals: divide by one less.',
          looksLike: where((times) => (times.at(-1)! - times[0]!) / times.length),
        },
        'first-token-included': {
          say: 'The wait for the first token is in it. Count from the first token on.',
          looksLike: tokens.map((times, i) => (times.at(-1)! - arrivals[i]!) / times.length),
        },
        'longest-interval': {
          say: 'This is the longest interval of each request; the average is asked for.',
          looksLike: where((times) => Math.max(...times.slice(1).map((time, i) => time - times[i]!))),
        },
      },
    });
    expect(requestTimes(events).map(({ request }) => request)).toEqual([0, 1, 2]);
  });

  it('goodput counts requests that kept both promises, a second', async () => {
    const seconds = 8;
    await expectClose(goodputOf(structuredClone(events), { ttft: 2, tpot: 1.2 }), 1 / seconds, {
      what: 'goodput',
      hints: {
        'either-promise': {
          say: 'A request counts when it kept one of the promises. It must keep both.',
          looksLike: 3 / seconds,
        },
        'exactly-is-kept': {
          say: 'A request that took just as long as promised is missing: exactly on time is on time.',
          looksLike: 0,
        },
        'clock-from-zero': {
          say: 'You divide by the time on the clock at the end. The first request came at 2 s.',
          looksLike: 1 / 10,
        },
        'count-not-rate': { say: 'This is how many; divide by the seconds that it took.', looksLike: 1 },
        'share-not-rate': { say: 'This is a share of the requests. Goodput is requests a second.', looksLike: 1 / 3 },
        'only-ttft': { say: 'The promise on the time per token is not looked at.', looksLike: 2 / seconds },
      },
    });
  });

  it('goodput is the throughput where nothing is promised', async () => {
    await expectClose(goodputOf(structuredClone(events), { ttft: Infinity, tpot: Infinity }), 3 / 8);
  });
});

describe('6.8 Dynamic SplitFuse', () => {
  /** Requests 0 and 1 write, 2 is in the middle of its prompt of 30 (9 are computed), 3 and 4 wait. */
  function busy(blocks = 200): ServingState {
    const state = stateOf(blocks, 4, [
      [3, 20],
      [5, 20],
      [30, 4],
      [6, 9],
      [25, 2],
    ]);
    const [a, b, c] = state.waiting as [Sequence, Sequence, Sequence];
    // The one with the prompt was admitted first.
    for (const sequence of [c, a, b]) state.admit(sequence);
    for (const [sequence, tokens] of [[c, 9], [a, 3], [b, 5]] as const) {
      state.extend(sequence, tokens);
      carryOut(state, [{ sequence, tokens }]);
    }
    return state;
  }
  const total = (entries: readonly PlanEntry[]): number => sum(entries.map(({ tokens }) => tokens));
  const has = (entries: readonly PlanEntry[], id: number): boolean => entries.some(({ sequence }) => sequence.id === id);

  it('one token for everybody who writes comes first', () => {
    const entries = splitFuseStep(busy(), 6);
    expectThat(
      has(entries, 0) && has(entries, 1),
      'prompts-before-writers',
      'The prompt took the whole budget, and requests 0 and 1 stand still. Those who write come first: it costs a token each.',
    );
    expectThat(
      total(entries) <= 6,
      'over-the-budget',
      `The budget is 6 tokens, but ${total(entries)} are planned. All that is planned makes it smaller, a writer's token, too.`,
    );
    expectThat(
      has(entries, 2) || !has(entries, 3),
      'newcomers-first',
      'Request 3 starts while request 2, which began before, gets nothing. Finish what has been begun.',
    );
    expectThat(
      has(entries, 2),
      'prompt-not-cut',
      'Request 2 has 21 tokens to go and gets none, because all of them do not fit. Give it what is left of the budget.',
    );
    expect(inWords(entries)).toEqual(['0: 1', '1: 1', '2: 4']);
  });

  /** Says whether somebody was admitted and then left out. */
  function expectCut(state: ServingState, entries: readonly PlanEntry[], id: number): void {
    expectThat(
      has(entries, id) || !state.running.some((sequence) => sequence.id === id),
      'prompt-not-cut',
      `Request ${id} was admitted and gets nothing, because its whole prompt does not fit. Give it what is left of the budget.`,
    );
  }

  it('fills the pass up with prompts, those that began first', () => {
    const state = busy();
    const entries = splitFuseStep(state, 26);
    expectThat(total(entries) <= 26, 'over-the-budget', `The budget is 26 tokens, but ${total(entries)} are planned.`);
    expectCut(state, entries, 3);
    expectThat(
      has(entries, 3),
      'pass-not-filled',
      `Only ${total(entries)} of 26 tokens are used, and request 3 waits. Admit it, and give it the rest.`,
    );
    expect(inWords(entries)).toEqual(['0: 1', '1: 1', '2: 21', '3: 3']);
    expect(idsOf(state.waiting)).toBe('4');
  });

  it('takes several prompts into a pass', () => {
    const state = busy();
    const entries = splitFuseStep(state, 40);
    expectThat(
      has(entries, 3),
      'pass-not-filled',
      `Only ${total(entries)} of 40 tokens are used, and requests 3 and 4 wait.`,
    );
    expectCut(state, entries, 4);
    expectThat(
      has(entries, 4),
      'one-prompt-a-pass',
      `Only ${total(entries)} of 40 tokens are used: one new prompt was admitted, and request 4 would have filled the rest.`,
    );
    expectThat(total(entries) <= 40, 'over-the-budget', `The budget is 40 tokens, but ${total(entries)} are planned.`);
    expect(inWords(entries)).toEqual(['0: 1', '1: 1', '2: 21', '3: 6', '4: 11']);
  });

  it('lets those who write share a budget that is smaller than they are many', () => {
    const entries = splitFuseStep(busy(), 1);
    expectThat(total(entries) <= 1, 'over-the-budget', `The budget is 1 token, but ${total(entries)} are planned.`);
    expectThat(
      entries.every(({ tokens }) => tokens > 0),
      'empty-entries',
      'The plan has entries of 0 tokens. Who gets nothing is not in the plan.',
    );
    expect(total(entries)).toBe(1);
  });

  it('asks for room before it plans', () => {
    // Request 0 has 4 tokens in a block of 4; its next one needs a block, as does that of request 1 two tokens later.
    const state = busy();
    for (const _ of range(0, 2)) carryOut(state, splitFuseStep(state, 2));
    const entries = splitFuseStep(state, 12);
    const short = entries.find(({ sequence, tokens }) => sequence.table.blocks.length * 4 < sequence.computed + tokens);
    expectThat(
      short === undefined,
      'no-room-asked-for',
      `Request ${short?.sequence.id} is planned, but has no block for its next token. Call state.extend(sequence, tokens), ` +
        'and plan it when that says true.',
    );
    state.checkPlan({ entries });
    expect(entries).toHaveLength(3);
  });

  it('leaves out who has no room, and goes on with the others', () => {
    // No block is free: request 0 needs one, request 1 does not, request 2 has room for its prompt.
    const state = stateOf(11, 4, [
      [4, 9],
      [5, 9],
      [30, 4],
    ]);
    for (const sequence of state.waiting.slice()) state.admit(sequence);
    const [a, b] = state.running as [Sequence, Sequence];
    carryOut(state, [
      { sequence: a, tokens: 4 },
      { sequence: b, tokens: 5 },
    ]);
    const entries = splitFuseStep(state, 12);
    expectThat(
      !has(entries, 0),
      'no-room-asked-for',
      'Request 0 needs a block for its next token, and none is free. Plan it only when state.extend says true.',
    );
    expectThat(
      has(entries, 1),
      'stops-where-no-room-is',
      'There is no room for request 0, and nobody else gets anything. The next one may have room in its last block.',
    );
    expect(inWords(entries)).toEqual(['1: 1', '2: 11']);
  });

  it('serves everybody in the simulator', () => {
    const workload = makeWorkload({
      requests: 40,
      prompt: lengths.uniform(1, 60),
      output: lengths.uniform(1, 25),
      rate: 0.2,
      seed: 4,
    });
    let most = 0;
    const scheduler = {
      name: 'yours',
      step: (state: ServingState) => {
        for (;;) {
          const entries = splitFuseStep(state, 16);
          most = Math.max(most, total(entries));
          if (entries.length > 0 || state.running.length === 0) return { entries };
          state.preempt(state.running.at(-1)!);
        }
      },
    };
    const { records } = simulate(workload, { scheduler, cost: () => 1, blocks: 50, blockSize: 4, check: true });
    expect(records.map(({ tokenTimes }) => tokenTimes.length)).toEqual(workload.map(({ output }) => output));
    expect(most).toBe(16);
  });
});

describe('6.9 the budget of a pass', () => {
  const linear = (tokens: number): number => 0.03 + tokens * 1e-4;

  function expectBudget(received: number | null, right: number | null, hints: Record<string, [number | null, string]>): void {
    if (received === right) return;
    for (const [hint, [wrong, say]] of Object.entries(hints)) expectThat(received !== wrong, hint, say);
    expectThat(
      received === null || received % 64 === 0,
      'not-a-multiple',
      `${received} is not a multiple of 64: sizes that are not waste a part of a tile.`,
    );
    expect(received).toBe(right);
  }

  it('is the largest that keeps the promise', () => {
    expectBudget(chooseBudget(linear, 0.1, 20), 640, {
      'smallest-instead-of-largest': [64, 'The smallest budget keeps the promise, too, but prompts then take for ever.'],
      'one-too-far': [704, 'A pass of 704 tokens takes longer than promised. You return the first budget that is too large.'],
      'one-too-early': [576, 'A budget of 640 keeps the promise, too.'],
    });
  });

  it('takes a pass that lasts just as long as promised', () => {
    const steps = (tokens: number): number => Math.ceil(tokens / 256) / 4;
    expectBudget(chooseBudget(steps, 0.5, 20), 512, {
      'exactly-is-kept': [null, 'Passes of 512 tokens take as long as promised; that is kept.'],
      'stops-too-early': [256, 'Passes of 512 tokens take as long as promised; that is kept.'],
      'one-too-far': [576, 'A pass of 576 tokens takes longer than promised.'],
    });
  });

  it('is at most 8192', () => {
    expectBudget(chooseBudget(() => 0.01, 1, 20), 8192, {
      'one-too-far': [8256, 'The largest budget to choose from is 8192.'],
      'one-too-early': [8128, 'The largest budget to choose from is 8192, and it keeps the promise.'],
    });
  });

  it('is null where even the smallest pass takes too long', () => {
    expectBudget(chooseBudget(linear, 0.02, 5), null, {
      'zero-instead-of-null': [0, 'With a budget of 0 nothing would ever be computed. Return null.'],
      'smallest-at-any-price': [64, 'A pass of 64 tokens breaks the promise. Return null.'],
      'below-zero': [-64, 'No budget keeps the promise: return null.'],
    });
  });

  it('is null where those who write would fill the pass', () => {
    const promise = 0.06; // 256 tokens
    expectBudget(chooseBudget(linear, promise, 256), null, {
      'no-token-for-prompts': [256, 'The 256 who write take every token of the pass: no prompt would ever be computed.'],
      'writers-come-on-top': [512, 'Those who write are part of the budget: they do not come on top.'],
    });
    expect(chooseBudget(linear, promise, 255)).toBe(256);
  });
});

/**
 * @file Chapter 05, FlashAttention: what each answer must do, and what the usual mistakes look like.
 * Expected values come from plain loops in float64; what a mistake would have given comes from the same loops with one part
 * exchanged. No two sizes are equal, and tiles never divide the lengths.
 */
import { afterEach, beforeAll, beforeEach, describe, it } from 'vitest';
import {
  Diagnosis,
  expectClose,
  LabError,
  lessonShader,
  Random,
  runShader,
  ShaderError,
  startBackend,
  tf,
  type Hints,
} from 'lab';
import {
  absorbKey,
  flashBackward,
  flashForward,
  flashWords,
  mergePartials,
  plainWords,
  tileKind,
  updateSoftmax,
} from '../solutions/05-flash-attention.ts';

beforeAll(async () => {
  await startBackend();
});
beforeEach(() => tf.engine().startScope());
afterEach(() => tf.engine().endScope());

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
const dot = (a: readonly number[], b: readonly number[]): number => sum(a.map((x, i) => x * b[i]!));
const table = <T>(rows: number, columns: number, value: (row: number, column: number) => T): T[][] =>
  Array.from({ length: rows }, (_, row) => Array.from({ length: columns }, (_, column) => value(row, column)));

describe('5.1 online softmax', () => {
  interface State {
    m: number;
    l: number;
  }
  const EMPTY: State = { m: -Infinity, l: 0 };
  type Update = (state: State, scores: number[]) => State;

  /** An update with one part exchanged. */
  const updateWith =
    ({
      largest = (state: State, scores: number[]) => Math.max(state.m, ...scores),
      kept = (state: State, m: number) => (state.m === -Infinity ? 0 : Math.exp(state.m - m)),
      weight = (score: number, m: number, _state: State) => (score === -Infinity ? 0 : Math.exp(score - m)),
    }): Update =>
    (state, scores) => {
      const m = largest(state, scores);
      return { m, l: state.l * kept(state, m) + sum(scores.map((score) => weight(score, m, state))) };
    };
  const right = updateWith({});
  const fold = (update: Update, chunks: readonly number[][]): [number, number] => {
    const { m, l } = chunks.reduce((state, chunk) => update(state, chunk), EMPTY);
    return [m, l];
  };
  const hintsFor = (chunks: readonly number[][]): Hints => ({
    'not-rescaled': {
      say:
        'What was summed before is taken over as it is. But those terms were exp(score - old maximum): when the maximum ' +
        'grows, the old sum must shrink by exp(old maximum - new maximum).',
      looksLike: () => fold(updateWith({ kept: () => 1 }), chunks),
    },
    'forgets-the-state': {
      say: 'The result knows nothing of the scores before: only the new chunk is in it. Start from the state that is given.',
      looksLike: () => fold((_, scores) => right(EMPTY, scores), chunks),
    },
    'rescale-inverted': {
      say:
        'The old sum is multiplied by exp(new maximum - old maximum), which makes it grow. The terms are to become smaller, ' +
        'relative to a larger maximum.',
      looksLike: () => fold(updateWith({ kept: (state, m) => (state.m === -Infinity ? 0 : Math.exp(m - state.m)) }), chunks),
    },
    'weighed-by-the-old-maximum': {
      say: 'The new scores are weighed relative to the old maximum, the old ones relative to the new. All need the new one.',
      looksLike: () =>
        fold(updateWith({ weight: (score, m, state) => Math.exp(score - (state.m === -Infinity ? m : state.m)) }), chunks),
    },
    'maximum-of-the-chunk': {
      say: 'The maximum is that of the newest chunk. It must never become smaller: compare with the one in the state, too.',
      looksLike: () =>
        fold(
          updateWith({
            largest: (_, scores) => Math.max(...scores),
            kept: (state, m) => (state.m === -Infinity ? 0 : Math.exp(state.m - m)),
          }),
          chunks,
        ),
    },
  });
  const random = new Random(51);
  const scores = random.normals(23);
  const chunksOf = (sizes: readonly number[], scale = 1): number[][] => {
    let at = 0;
    return sizes.map((size) => Array.from(scores.slice(at, (at += size)), (x) => x * scale));
  };
  const truth = (chunks: readonly number[][]): [number, number] => {
    const all = chunks.flat();
    const m = Math.max(...all);
    return [m, sum(all.map((score) => Math.exp(score - m)))];
  };

  it.each([
    ['one chunk', [23]],
    ['chunks of many sizes', [1, 9, 4, 7, 2]],
    ['one score at a time', Array<number>(23).fill(1)],
  ])('gives what two passes over all scores give: %s', async (_, sizes) => {
    const chunks = chunksOf(sizes, 2);
    await expectClose(fold(updateSoftmax, chunks), truth(chunks), { what: '[m, l]', hints: hintsFor(chunks) });
  });

  it('survives scores in the thousands', async () => {
    // The largest come first: only what overflows goes wrong here.
    const chunks = chunksOf([23], 2000).flatMap((all) => [0, 1, 2].map(() => all.sort((a, b) => b - a).splice(0, 8)));
    const received = fold(updateSoftmax, chunks);
    await expectClose(received, truth(chunks), {
      what: '[m, l]',
      hints: {
        ...hintsFor(chunks),
        overflow: {
          say:
            'Large scores give Infinity or NaN: exp(1000) is beyond every number. Exponentials must be taken of ' +
            'score - maximum, which is never above 0.',
          when: received.some((x) => !Number.isFinite(x)),
        },
      },
    });
  });

  it('knows nothing before the first visible key, and that is no NaN', async () => {
    const hidden = updateSoftmax(EMPTY, [-Infinity, -Infinity]);
    const hints: Hints = {
      'nothing-seen-is-nan': {
        say:
          'A row that has seen only hidden keys gives NaN: -Infinity - -Infinity is not a number. Nothing was seen, so m ' +
          'stays -Infinity and l stays 0.',
        when: Number.isNaN(hidden.l) || Number.isNaN(hidden.m),
      },
    };
    await expectClose([hidden.l, hidden.m === -Infinity ? 1 : 0], [0, 1], { what: '[l, whether m is -Infinity]', hints });
    const after = updateSoftmax(hidden, [1, -Infinity, 2]);
    await expectClose([after.m, after.l], [2, 1 + Math.exp(-1)], { what: '[m, l]', hints });
  });

  it('leaves the given state alone', async () => {
    const state = { m: 0, l: 1 };
    updateSoftmax(state, [1, 2]);
    await expectClose([state.m, state.l], [0, 1], {
      what: 'the state that was given',
      hints: {
        'changes-the-state': {
          say: 'The state that was given has changed. Return a new one: the old may be needed again, to be merged with others.',
          when: state.m !== 0 || state.l !== 1,
        },
      },
    });
  });
});

describe('5.2 merging two parts', () => {
  interface Part {
    m: number;
    l: number;
    o: number[];
  }
  const S = 3;
  const random = new Random(52);
  const U = 17;
  const scores = Array.from(random.normals(U), (x) => 3 * x);
  const values = table(U, S, () => random.normal());
  /** The answer from the keys `from` … `to` − 1, at once. */
  const partOf = (from: number, to: number): Part => {
    if (from === to) return { m: -Infinity, l: 0, o: [0, 0, 0] };
    const own = scores.slice(from, to);
    const m = Math.max(...own);
    const weights = own.map((score) => Math.exp(score - m));
    return {
      m,
      l: sum(weights),
      o: Array.from({ length: S }, (_, s) =>
        dot(
          weights,
          values.slice(from, to).map((v) => v[s]!),
        ),
      ),
    };
  };
  const flat = ({ m, l, o }: Part): number[] => [m, l, ...o];
  interface Factors {
    l?: (m: number, own: number) => number;
    o?: (m: number, own: number) => number;
    join?: (a: number, b: number) => number;
  }
  const exact = (m: number, own: number) => Math.exp(own - m);
  const mergeWith =
    ({ l = exact, o = exact, join = (a, b) => a + b }: Factors) =>
    (a: Part, b: Part): Part => {
      const m = Math.max(a.m, b.m);
      return { m, l: a.l * l(m, a.m) + b.l * l(m, b.m), o: a.o.map((x, i) => join(x * o(m, a.m), b.o[i]! * o(m, b.m))) };
    };
  const hintsFor = (cut: number): Hints => {
    const looks = (factors: Factors) => () => flat(mergeWith(factors)(partOf(0, cut), partOf(cut, U)));
    const one = () => 1;
    return {
      'nothing-rescaled': {
        say:
          'Sums and outputs are added as they are. But the terms of each part are relative to its own maximum: bring both to ' +
          'the common one first.',
        looksLike: looks({ l: one, o: one }),
      },
      'outputs-not-rescaled': {
        say:
          'l is right, but the outputs were added without bringing them to the common maximum. o is made of the same ' +
          'weights as l.',
        looksLike: looks({ o: one }),
      },
      'sums-not-rescaled': {
        say: 'o is right, but the sums l were added without bringing them to the common maximum.',
        looksLike: looks({ l: one }),
      },
      averaged: {
        say: 'The outputs were averaged. They are sums that were not divided yet: add them.',
        looksLike: looks({ join: (a, b) => (a + b) / 2 }),
      },
      divided: {
        say:
          'o has already been divided by l. Only the very last step divides: an o that is divided can no longer be ' +
          'added to.',
        looksLike: () => {
          const { m, l, o } = mergeWith({})(partOf(0, cut), partOf(cut, U));
          return [m, l, ...o.map((x) => x / l)];
        },
      },
    };
  };

  it.each([4, 11, 16])('of %i keys and the others, gives the answer from all', async (cut) => {
    const received = mergePartials(partOf(0, cut), partOf(cut, U));
    await expectClose(flat(received), flat(partOf(0, U)), { what: '[m, l, ...o]', hints: hintsFor(cut) });
  });

  it('does not mind in which order, nor where the brackets are', async () => {
    const parts = [partOf(0, 2), partOf(2, 9), partOf(9, 10), partOf(10, U)] as const;
    const merge = mergePartials as (a: Part, b: Part) => Part;
    const [a, b, c, d] = parts;
    const results = [merge(merge(merge(a, b), c), d), merge(a, merge(b, merge(c, d))), merge(merge(d, b), merge(c, a))];
    await expectClose(
      results.map(flat),
      results.map(() => flat(partOf(0, U))),
      { what: 'three ways to merge four parts' },
    );
  });

  it.each([
    ['before', 0],
    ['behind', U],
  ])('takes a part that saw nothing: %s', async (_, cut) => {
    const received = flat(mergePartials(partOf(0, cut), partOf(cut, U)));
    await expectClose(received, flat(partOf(0, U)), { what: '[m, l, ...o]', hints: emptyHints(received) });
  });

  it('takes two parts that saw nothing', async () => {
    const { m, l, o } = mergePartials(partOf(0, 0), partOf(5, 5));
    const received = [m === -Infinity ? 1 : 0, l, ...o];
    await expectClose(received, [1, 0, 0, 0, 0], { what: '[whether m is -Infinity, l, ...o]', hints: emptyHints(received) });
  });

  function emptyHints(received: number[]): Hints {
    return {
      'empty-part-is-nan': {
        say:
          'Parts that saw nothing give NaN: their m is -Infinity, and -Infinity - -Infinity is not a number. What is merged ' +
          'with nothing stays what it is.',
        when: received.some((x) => Number.isNaN(x)),
      },
    };
  }

  it('leaves both parts alone', async () => {
    const [a, b] = [partOf(0, 6), partOf(6, U)];
    mergePartials(a, b);
    const received = [...flat(a), ...flat(b)];
    const wanted = [...flat(partOf(0, 6)), ...flat(partOf(6, U))];
    await expectClose(received, wanted, {
      what: 'the two parts that were given',
      hints: {
        'changes-its-inputs': {
          say: 'One of the parts that were given has changed. Return a new one, with an o of its own.',
          when: received.some((x, i) => x !== wanted[i]),
        },
      },
    });
  });
});

type Heads = number[][][][];

/** A GPU made of software takes its time to compile what it runs for the first time. */
const PATIENT = { timeout: 15_000 };

interface Tiles {
  causal?: boolean;
  tileQueries?: number;
  tileKeys?: number;
}

/** Random q, k, v as tensors and as numbers. */
async function inputsOf(seed: number, [B, H, T, U, S]: readonly [number, number, number, number, number], spread = 1) {
  const random = new Random(seed);
  const make = (length: number, scale = 1) =>
    tf.tensor4d(
      random.normals(B * H * length * S).map((x) => x * scale),
      [B, H, length, S],
    );
  const tensors = [make(T, spread), make(U), make(U), make(T)] as const;
  const [q, k, v, dO] = (await Promise.all(tensors.map((x) => x.array()))) as [Heads, Heads, Heads, Heads];
  return { tensors, numbers: { q, k, v, dO } };
}
type Numbers = Awaited<ReturnType<typeof inputsOf>>['numbers'];

/** What an answer to 5.3 or 5.6 is tried on: lengths, tiles, and whether the future is hidden. */
const shapes: [string, readonly [number, number, number, number, number], Tiles][] = [
  ['no mask, tiles that do not fit', [2, 3, 13, 17, 4], { tileQueries: 8, tileKeys: 7 }],
  ['causal', [1, 2, 19, 19, 4], { causal: true, tileQueries: 8, tileKeys: 7 }],
  ['causal, more keys than queries', [1, 2, 11, 23, 4], { causal: true, tileQueries: 6, tileKeys: 9 }],
];

/** Does something and notes which kernels and named scopes were entered and the largest tensor that any kernel made. */
function observed<T>(work: () => T): { result: T; largest: number; entered: Set<string> } {
  const engine = tf.engine() as unknown as {
    runKernel: (name: string, ...rest: unknown[]) => unknown;
    startScope: (name?: string) => void;
  };
  const [run, start] = [engine.runKernel.bind(engine), engine.startScope.bind(engine)];
  const notes = { largest: 0, entered: new Set<string>() };
  engine.startScope = (name) => {
    if (name) notes.entered.add(name);
    start(name);
  };
  engine.runKernel = (name, ...rest) => {
    const made = run(name, ...rest);
    notes.entered.add(name);
    for (const { size = 0 } of [made].flat() as { size?: number }[]) notes.largest = Math.max(notes.largest, size);
    return made;
  };
  try {
    const result = work();
    return { result, ...notes };
  } finally {
    Reflect.deleteProperty(engine, 'runKernel');
    Reflect.deleteProperty(engine, 'startScope');
  }
}

/** The two ways to be right that miss the point. */
async function expectTiles(
  { largest, entered }: { largest: number; entered: Set<string> },
  [B, H, T, U, S]: readonly [number, number, number, number, number],
): Promise<void> {
  const allowed = Math.max(B * H * Math.max(T, U) * S, (B * H * T * U) / 4);
  await expectClose(largest <= allowed ? 1 : 0, 1, {
    what: `whether every tensor has at most ${allowed} numbers (1) or one has ${largest} (0)`,
    hints: {
      'calls-the-library': {
        say: 'The numbers are right, but they come from the attention of the library. Here you write it.',
        when: [...entered].some((name) => /attention/i.test(name)),
      },
      'writes-the-whole-matrix': {
        say:
          `A tensor of ${largest} numbers was made, where a tile has far fewer: somewhere all ${B} · ${H} · ${T} · ${U} ` +
          `scores ` +
          'are written down at once. Slice queries and keys first, then multiply.',
        when: largest > allowed,
      },
    },
  });
  if ([...entered].some((name) => /attention/i.test(name)))
    throw new Diagnosis('calls-the-library', 'The numbers come from the attention of the library. Here you write it.');
}

/** Attention by tiles in float64, with its parts open to mistakes. */
interface ForwardParts {
  scale?: (S: number) => number;
  /** Whether query t sees key u; both tiles begin where it says. */
  sees?: (t: number, u: number, T: number, U: number, tileT: number, tileU: number) => boolean;
  keptSum?: (before: number, next: number) => number;
  keptOutput?: (before: number, next: number) => number;
  /** Which keys are looked at. */
  keys?: (U: number, tile: number) => number;
  finish?: (o: number, l: number) => number;
  logSumExp?: (m: number, l: number) => number;
}
const sees = (causal: boolean) => (t: number, u: number, T: number, U: number) => !causal || u <= t + U - T;

function forward64({ q, k, v }: Numbers, { causal = false, tileQueries = 32, tileKeys = 32 }: Tiles, parts: ForwardParts = {}) {
  const { scale = (size) => 1 / Math.sqrt(size), keptSum = (a, b) => Math.exp(a - b), keys = (length) => length } = parts;
  const { keptOutput = keptSum, finish = (o, l) => o / l, logSumExp = (m, l) => m + Math.log(l) } = parts;
  const seesKey = parts.sees ?? sees(causal);
  const L: number[][][] = [];
  const output = q.map((heads, b) => {
    L.push([]);
    return heads.map((queries, h) => {
      const T = queries.length;
      const U = k[b]![h]!.length;
      const S = queries[0]!.length;
      const last: number[] = [];
      L[b]!.push(last);
      return queries.map((query, t) => {
        let [m, l, o] = [-1e30, 0, query.map(() => 0)];
        for (let u = 0; u < keys(U, tileKeys); u += tileKeys) {
          const tile = Array.from({ length: Math.min(tileKeys, U - u) }, (_, i) => u + i).filter((key) =>
            seesKey(t, key, T, U, t - (t % tileQueries), u),
          );
          if (tile.length === 0) continue;
          const scores = tile.map((key) => dot(query, k[b]![h]![key]!) * scale(S));
          const next = Math.max(m, ...scores);
          const weights = scores.map((score) => Math.exp(score - next));
          l = l * keptSum(m, next) + sum(weights);
          const before = m;
          o = o.map(
            (x, s) =>
              x * keptOutput(before, next) +
              dot(
                weights,
                tile.map((key) => v[b]![h]![key]![s]!),
              ),
          );
          m = next;
        }
        last.push(logSumExp(m, l));
        return o.map((x) => finish(x, l));
      });
    });
  });
  return { output, logSumExp: L };
}

describe('5.3 flash attention, forward', () => {
  /** A softmax in every tile by itself, and the mean of these. */
  const tileBySoftmax = (numbers: Numbers, tiles: Tiles): Heads => {
    const U = numbers.k[0]![0]!.length;
    const size = tiles.tileKeys!;
    const parts = Array.from({ length: Math.ceil(U / size) }, (_, j) => {
      const inTile: ForwardParts = {
        sees: (t, u, T, all) => Math.floor(u / size) === j && sees(tiles.causal ?? false)(t, u, T, all),
      };
      return forward64(numbers, tiles, { ...inTile, finish: (o, l) => (l === 0 ? 0 : o / l) }).output;
    });
    return numbers.q.map((heads, b) =>
      heads.map((rows, h) => rows.map((row, t) => row.map((_, s) => sum(parts.map((part) => part[b]![h]![t]![s]!))))),
    );
  };

  const hintsFor = (numbers: Numbers, tiles: Tiles): Hints => {
    const looks = (parts: ForwardParts) => () => forward64(numbers, tiles, parts).output;
    const S = numbers.q[0]![0]![0]!.length;
    const hints: Hints = {
      'not-normalised': {
        say: 'The weights do not sum to 1: the outputs still have to be divided by l, once, at the end of the row.',
        looksLike: looks({ finish: (o) => o }),
      },
      'output-not-rescaled': {
        say:
          'l is brought down to each new maximum, but o is not: what was added from earlier tiles is too heavy. Both ' +
          'are sums ' +
          'of the same weights.',
        looksLike: looks({ keptOutput: () => 1 }),
      },
      'sum-not-rescaled': {
        say: 'o is brought down to each new maximum, but l is not, so the outputs come out too small.',
        looksLike: looks({ keptSum: () => 1, keptOutput: (a, b) => Math.exp(a - b) }),
      },
      'nothing-rescaled': {
        say: 'When a tile raises the maximum, what the earlier tiles left in l and o must shrink by exp(m - new m).',
        looksLike: looks({ keptSum: () => 1 }),
      },
      'not-scaled': { say: 'The scores are not divided by √S.', looksLike: looks({ scale: () => 1 }) },
      'scaled-by-size': {
        say: 'The scores are divided by S. It is its square root.',
        looksLike: looks({ scale: () => 1 / S }),
      },
      'softmax-of-each-tile': {
        say:
          'Each tile got a softmax of its own, and the answers were added. A softmax shares out one whole over all ' +
          'keys: keep m ' +
          'and l across the tiles, and divide once at the end.',
        looksLike: () => tileBySoftmax(numbers, tiles),
      },
      'last-tile-missing': {
        say: 'The keys behind the last whole tile are never looked at. The last tile is shorter: Math.min(tileKeys, U - u).',
        looksLike: looks({ keys: (U, tile) => Math.floor(U / tile) * tile }),
      },
    };
    if (!tiles.causal) return hints;
    return {
      'mask-ignored': { say: 'The future is visible: the causal mask is missing.', looksLike: looks({ sees: () => true }) },
      'mask-inside-the-tile': {
        say:
          'Each tile is masked as if it stood at the beginning: rows and columns are counted from the corner of the ' +
          'tile. Count ' +
          'queries and keys from the beginning of the text.',
        looksLike: looks({ sees: (t, u, _T, _U, tileT, tileU) => u - tileU <= t - tileT }),
      },
      'aligned-at-the-start': {
        say:
          'Right when there are as many queries as keys, wrong otherwise: the queries are the last tokens, so query t ' +
          'stands at ' +
          'position U - T + t.',
        looksLike: looks({ sees: (t, u) => u <= t }),
      },
      ...hints,
    };
  };

  it.each(shapes)('gives what attention gives: %s', PATIENT, async (_, shape, tiles) => {
    const { tensors, numbers } = await inputsOf(531, shape);
    const [q, k, v] = tensors;
    const { result, ...notes } = observed(() => flashForward(q, k, v, tiles));
    const what = 'output';
    await expectClose(result?.output, forward64(numbers, tiles).output, { what, hints: hintsFor(numbers, tiles) });
    await expectTiles(notes, shape);
  });

  it('keeps the logarithm of the sum of exponentials', PATIENT, async () => {
    const [, shape, tiles] = shapes[1]!;
    const { tensors, numbers } = await inputsOf(532, shape);
    const [q, k, v] = tensors;
    const looks = (logSumExp: (m: number, l: number) => number) => () => forward64(numbers, tiles, { logSumExp }).logSumExp;
    const { output, logSumExp } = flashForward(q, k, v, tiles);
    await expectClose(output, forward64(numbers, tiles).output, { what: 'output', hints: hintsFor(numbers, tiles) });
    await expectClose(logSumExp, forward64(numbers, tiles).logSumExp, {
      what: 'logSumExp',
      hints: {
        'logarithm-without-maximum': {
          say: 'logSumExp is log l. But l is relative to the maximum: log Σ exp(score) = m + log l.',
          looksLike: looks((_, l) => Math.log(l)),
        },
        'maximum-only': { say: 'logSumExp is m. The logarithm of l is missing.', looksLike: looks((m) => m) },
        'sum-without-logarithm': {
          say: 'logSumExp is m + l. It is the logarithm of l that belongs there.',
          looksLike: looks((m, l) => m + l),
        },
        'column-of-one': {
          say:
            'The numbers of logSumExp are right, but the shape is not: squeeze the last axis away, [B, H, T, 1] → ' +
            '[B, H, T].',
          when: logSumExp instanceof tf.Tensor && logSumExp.shape.length === 4,
        },
      },
    });
  });

  it('survives scores in the hundreds', PATIENT, async () => {
    const [, shape, tiles] = shapes[1]!;
    const { tensors, numbers } = await inputsOf(533, shape, 300);
    const [q, k, v] = tensors;
    const { output } = flashForward(q, k, v, tiles);
    const received = await output.data();
    await expectClose(output, forward64(numbers, tiles).output, {
      what: 'output',
      tolerance: 1e-3,
      hints: {
        overflow: {
          say: 'Large scores give NaN: exp of a few hundred is Infinity in float32. Subtract the running maximum first.',
          when: received.some((x) => Number.isNaN(x)),
        },
        ...hintsFor(numbers, tiles),
      },
    });
  });
});

describe('5.4 counting what is moved', () => {
  interface Count {
    rows?: (N: number, d: number, M: number) => number;
    tiles?: (N: number, rows: number) => number;
    /** Words of K and V that are read, for so many tiles of queries. */
    keys?: (N: number, d: number, tiles: number) => number;
    logSumExp?: (N: number) => number;
  }
  const flashWith =
    ({
      rows = (_N, d, M) => Math.max(1, Math.floor(M / (4 * d))),
      tiles = (N, size) => Math.ceil(N / size),
      keys = (N, d, count) => count * 2 * N * d,
      logSumExp = (N) => N,
    }: Count) =>
    (N: number, d: number, M: number): number =>
      2 * N * d + keys(N, d, tiles(N, rows(N, d, M))) + logSumExp(N);
  const sizes = [
    [8, 2],
    [100, 16],
    [1024, 64],
    [2345, 128],
  ] as const;
  const cases = [
    [8, 2, 32],
    [100, 16, 500],
    [100, 16, 100_000],
    [100, 16, 32],
    [1024, 64, 24_576],
    [2345, 128, 49_152],
  ] as const;
  const plain = (squares: number, lines: number) => () => sizes.map(([N, d]) => lines * N * d + squares * N * N);
  const flash = (count: Count) => () => cases.map(([N, d, M]) => flashWith(count)(N, d, M));

  it('counts three steps of plain attention', async () => {
    await expectClose(
      sizes.map(([N, d]) => plainWords(N, d)),
      plain(4, 4)(),
      {
        what: 'plainWords',
        tolerance: 1e-9,
        hints: {
          'softmax-not-counted': {
            say:
              'Half of the N · N words are missing. The softmax is a step of its own, so scores and weights are each ' +
              'written by one ' +
              'step and read again by the next.',
            looksLike: plain(2, 4),
          },
          'only-the-squares': {
            say: 'Only the N · N matrices are counted. Q, K, V and the output are moved, too: N · d each.',
            looksLike: plain(4, 0),
          },
          'output-not-counted': { say: 'The output, N · d words, is written, too.', looksLike: plain(4, 3) },
          'in-bytes': { say: 'That is four times as much: bytes of float32. A word is one number.', looksLike: plain(16, 16) },
        },
      },
    );
  });

  it('counts FlashAttention for every size of fast memory', async () => {
    await expectClose(
      cases.map(([N, d, M]) => flashWords(N, d, M)),
      flash({})(),
      {
        what: 'flashWords',
        tolerance: 1e-9,
        hints: {
          'tile-of-nothing': {
            say: 'Where not even one row of each fits, the tile has 0 rows and the count is infinite. Take at least one row.',
            looksLike: flash({ rows: (_N, d, M) => Math.floor(M / (4 * d)) }),
          },
          'memory-for-one-tile': {
            say: 'A single tile fills the whole fast memory. Tiles of Q, K, V and O must fit at once: ⌊M / 4d⌋ rows each.',
            looksLike: flash({ rows: (_N, d, M) => Math.max(1, Math.floor(M / d)) }),
          },
          'tiles-not-rounded-up': {
            say: 'A shorter last tile reads all of K and V as well: the number of tiles is rounded up.',
            looksLike: flash({ tiles: (N, rows) => N / rows }),
          },
          'last-tile-missing': {
            say: 'The number of tiles is rounded down: the queries behind the last whole tile are forgotten.',
            looksLike: flash({ tiles: (N, rows) => Math.floor(N / rows) }),
          },
          'keys-read-once': {
            say:
              'K and V are counted as read once. They do not fit into fast memory: each tile of queries reads all of ' +
              'them again.',
            looksLike: flash({ keys: (N, d) => 2 * N * d }),
          },
          'keys-read-for-every-query': {
            say: 'K and V are counted as read once for every query. The queries of a tile share what is read: count tiles.',
            looksLike: flash({ keys: (N, d) => 2 * N * N * d }),
          },
          'values-not-counted': {
            say: 'Each tile of queries reads the values as well as the keys: twice N · d.',
            looksLike: flash({ keys: (N, d, count) => count * N * d }),
          },
          'log-sum-exp-not-counted': {
            say: 'The log-sum-exp, one number for each query, is written, too.',
            looksLike: flash({ logSumExp: () => 0 }),
          },
        },
      },
    );
  });
});

describe('5.5 which tiles', () => {
  type Ranges = [number, number][];
  const clip = (x: number, most: number) => Math.min(Math.max(x, 0), most);
  const causal = (T: number, U: number): Ranges => Array.from({ length: T }, (_, t) => [0, clip(t + U - T + 1, U)]);
  const windowed = (T: number, left: number): Ranges => Array.from({ length: T }, (_, t) => [clip(t - left, T), t + 1]);
  const documents = (...lengths: number[]): Ranges => {
    let start = 0;
    return lengths.flatMap((length) => {
      const range: [number, number] = [start, (start += length)];
      return Array.from({ length }, () => range);
    });
  };
  const masks: [string, Ranges, number][] = [
    ['a causal mask', causal(20, 20), 20],
    ['a causal mask with more keys than queries', causal(10, 23), 23],
    ['a causal mask with more queries than keys: the first see nothing', causal(23, 10), 10],
    ['a sliding window', windowed(25, 6), 25],
    ['packed documents', documents(7, 4, 13), 24],
    ['no mask', Array.from({ length: 9 }, () => [0, 14]), 14],
  ];
  const sizes = [
    [4, 4],
    [3, 5],
    [7, 2],
    [1, 3],
  ] as const;
  const KINDS = ['skipped', 'partial', 'full'];
  const cuts = (length: number, tile: number): Ranges =>
    Array.from({ length: Math.ceil(length / tile) }, (_, i) => [i * tile, Math.min(length, (i + 1) * tile)]);
  type Decide = (ranges: Ranges, queries: [number, number], keys: [number, number]) => unknown;
  const all = (decide: Decide, ranges: Ranges, U: number): number[] =>
    sizes.flatMap(([tileT, tileU]) =>
      cuts(ranges.length, tileT).flatMap((t) => cuts(U, tileU).map((u) => KINDS.indexOf(decide(ranges, t, u) as string))),
    );
  /** By looking at every pair. */
  const truth: Decide = (ranges, [t, tEnd], [u, uEnd]) => {
    const pairs = ranges
      .slice(t, tEnd)
      .flatMap(([from, to]) => Array.from({ length: uEnd - u }, (_, i) => from <= u + i && u + i < to));
    return pairs.every(Boolean) ? 'full' : pairs.some(Boolean) ? 'partial' : 'skipped';
  };
  const kindOf = (skipped: boolean, full: boolean) => (skipped ? 'skipped' : full ? 'full' : 'partial');
  const decide =
    (skipped: (first: number[], last: number[], u: number, uEnd: number) => boolean, full: typeof skipped): Decide =>
    (ranges, [t, tEnd], [u, uEnd]) => {
      const [first, last] = [ranges[t]!, ranges[tEnd - 1]!];
      return kindOf(skipped(first, last, u, uEnd), full(first, last, u, uEnd));
    };
  const isSkipped = (first: number[], last: number[], u: number, uEnd: number) => last[1]! <= u || uEnd <= first[0]!;
  const isFull = (first: number[], last: number[], u: number, uEnd: number) => last[0]! <= u && uEnd <= first[1]!;

  it.each(masks)('finds the tiles of %s', async (_, ranges, U) => {
    const received = all(tileKind as Decide, ranges, U);
    const looks = (wrong: Decide) => () => all(wrong, ranges, U);
    await expectClose(received, all(truth, ranges, U), {
      what: 'the kinds of all tiles (0 skipped, 1 partial, 2 full)',
      hints: {
        'unknown-word': {
          say: "Something other than 'skipped', 'partial' or 'full' was returned.",
          when: received.includes(-1),
        },
        'never-skips': {
          say: 'Tiles in which nobody sees anything are not skipped. They are where the work is saved.',
          looksLike: looks(decide(() => false, isFull)),
        },
        'never-full': {
          say: 'Tiles in which everybody sees everything count as partial: the mask is applied where it changes nothing.',
          looksLike: looks(decide(isSkipped, () => false)),
        },
        'overlap-is-full': {
          say: 'Every tile that is not skipped counts as full. In a partial one some pairs must still be hidden.',
          looksLike: looks(decide(isSkipped, () => true)),
        },
        'first-query-only': {
          say: 'The decision looks at the first query of the tile alone. The last one may see more, or less.',
          looksLike: looks(
            decide(
              (f, _l, u, end) => isSkipped(f, f, u, end),
              (f, _l, u, end) => isFull(f, f, u, end),
            ),
          ),
        },
        'last-query-only': {
          say: 'The decision looks at the last query of the tile alone. The first one may see less, or earlier keys.',
          looksLike: looks(
            decide(
              (_f, l, u, end) => isSkipped(l, l, u, end),
              (_f, l, u, end) => isFull(l, l, u, end),
            ),
          ),
        },
        'ends-included': {
          say: 'The ends of the ranges count as seen: a query sees ranges[t][0] ≤ u < ranges[t][1], without the end itself.',
          looksLike: looks(
            decide(
              (f, l, u, end) => l[1]! < u || end <= f[0]!,
              (f, l, u, end) => l[0]! <= u && end - 1 <= f[1]!,
            ),
          ),
        },
      },
    });
  });
});

interface BackwardParts {
  scale?: number;
  /** On the way back. */
  scaleBack?: number;
  sees?: (t: number, u: number, T: number, U: number) => boolean;
  D?: (dO: number[], o: number[]) => number;
  P?: (score: number, L: number) => number;
  dS?: (p: number, dP: number, D: number) => number;
  /** Which queries have a say in dK and dV. */
  queries?: (t: number, T: number) => boolean;
  /** Which keys have a say in dQ. */
  keys?: (u: number, U: number) => boolean;
}

/** The gradients in float64, with their parts open to mistakes. */
function backward64(numbers: Numbers, tiles: Tiles, parts: BackwardParts = {}): { dq: Heads; dk: Heads; dv: Heads } {
  const { q, k, v, dO } = numbers;
  const { output, logSumExp } = forward64(numbers, tiles);
  const S = q[0]![0]![0]!.length;
  const { scale = 1 / Math.sqrt(S), scaleBack = scale, D = dot, P = (score, L) => Math.exp(score - L) } = parts;
  const { dS = (p, dP, d) => p * (dP - d), queries = () => true, keys = () => true } = parts;
  const seesKey = parts.sees ?? sees(tiles.causal ?? false);
  const zeros = (x: Heads): Heads => x.map((heads) => heads.map((rows) => rows.map((row) => row.map(() => 0))));
  const gradients = { dq: zeros(q), dk: zeros(k), dv: zeros(v) };
  const add = (target: number[], row: number[], factor: number) => row.forEach((x, s) => (target[s]! += factor * x));
  q.forEach((heads, b) =>
    heads.forEach((rows, h) =>
      rows.forEach((query, t) =>
        k[b]![h]!.forEach((key, u) => {
          const [T, U] = [rows.length, k[b]![h]!.length];
          if (!seesKey(t, u, T, U)) return;
          const up = dO[b]![h]![t]!;
          const p = P(dot(query, key) * scale, logSumExp[b]![h]![t]!);
          const ds = dS(p, dot(up, v[b]![h]![u]!), D(up, output[b]![h]![t]!)) * scaleBack;
          if (queries(t, T)) add(gradients.dv[b]![h]![u]!, up, p);
          if (queries(t, T)) add(gradients.dk[b]![h]![u]!, query, ds);
          if (keys(u, U)) add(gradients.dq[b]![h]![t]!, key, ds);
        }),
      ),
    ),
  );
  return gradients;
}

describe('5.6 flash attention, backward', () => {
  const hintsFor = (numbers: Numbers, tiles: Tiles): Record<'dq' | 'dk' | 'dv', Hints> => {
    const { tileQueries = 32, tileKeys = 32 } = tiles;
    const lastTile = (i: number, length: number, tile: number) => i >= Math.floor((length - 1) / tile) * tile;
    const wrong: Record<string, { say: string; parts: BackwardParts }> = {
      'log-sum-exp-ignored': {
        say: 'The recomputed weights are exp(scores), which do not sum to 1. P = exp(scores - logSumExp).',
        parts: { P: Math.exp },
      },
      'mask-ignored': {
        say: 'The recomputed weights see the future: the causal mask belongs into the backward pass as well.',
        parts: { sees: () => true },
      },
      'aligned-at-the-start': {
        say:
          'The mask of the backward pass is aligned at the start. As in the forward pass, query t stands at position ' +
          'U - T + t.',
        parts: { sees: (t, u) => u <= t },
      },
      'd-missing': {
        say:
          'dS is P ∘ dP: what a softmax subtracts is missing. When one weight grows the others shrink, so dS = P ∘ (dP ' +
          '- D) with ' +
          'D = rowsum(dO ∘ O).',
        parts: { D: () => 0 },
      },
      'd-of-the-output-gradient': { say: 'D is the sum of dO alone. It is rowsum(dO ∘ O).', parts: { D: (up) => sum(up) } },
      'p-missing': {
        say: 'dS is dP - D. Each of its numbers is multiplied by the weight P.',
        parts: { dS: (_, dP, D) => dP - D },
      },
      'scale-missing': {
        say: 'dQ and dK are too large by √S: the scores were divided by √S, and so is what comes back through them.',
        parts: { scaleBack: 1 },
      },
      'only-the-last-tile-of-queries': {
        say: 'dK and dV hold what the last tile of queries sent back: each tile overwrites the one before. Add them up.',
        parts: { queries: (t, T) => lastTile(t, T, tileQueries) },
      },
      'only-the-last-tile-of-keys': {
        say: 'dQ holds what the last tile of keys sent back: each tile overwrites the one before. Add them up.',
        parts: { keys: (u, U) => lastTile(u, U, tileKeys) },
      },
    };
    const hintsOf = (name: 'dq' | 'dk' | 'dv'): Hints =>
      Object.fromEntries(
        Object.entries(wrong).map(([id, { say, parts }]) => [
          id,
          { say, looksLike: () => backward64(numbers, tiles, parts)[name] },
        ]),
      );
    return { dq: hintsOf('dq'), dk: hintsOf('dk'), dv: hintsOf('dv') };
  };

  it.each(shapes)('gives the gradients of attention: %s', PATIENT, async (_, shape, tiles) => {
    const { tensors, numbers } = await inputsOf(561, shape);
    const [q, k, v, outputGradient] = tensors;
    const forward = forward64(numbers, tiles);
    const saved = { output: tf.tensor4d(forward.output), logSumExp: tf.tensor3d(forward.logSumExp), outputGradient };
    const { result, ...notes } = observed(() => flashBackward(q, k, v, saved, tiles));
    const wanted = backward64(numbers, tiles);
    const hints = hintsFor(numbers, tiles);
    for (const name of ['dv', 'dq', 'dk'] as const) {
      await expectClose(result?.[name], wanted[name], { what: name, hints: hints[name] });
    }
    await expectTiles(notes, shape);
  });
});

describe('5.7 on the GPU', () => {
  interface State {
    m: number;
    l: number;
    o: number[];
  }
  type Absorb = (state: State, score: number, values: number[][], key: number) => State;
  interface Parts {
    rescale?: (m: number, next: number) => number;
    keptSum?: (rescale: number) => number;
    keptOutput?: (rescale: number) => number;
    weight?: (score: number, m: number, next: number) => number;
    m?: (m: number, next: number) => number;
    value?: (values: number[][], key: number) => number[];
  }
  const absorbWith = (parts: Parts = {}): Absorb => {
    const { rescale = (m, next) => Math.exp(m - next), keptSum = (r) => r, keptOutput = (r) => r } = parts;
    const { weight = (score, _m, next) => Math.exp(score - next), m: kept = (_, next) => next } = parts;
    const valueOf = parts.value ?? ((values, key) => values[key]!);
    return ({ m, l, o }, score, values, key) => {
      const next = Math.max(m, score);
      const [r, w] = [rescale(m, next), weight(score, m, next)];
      const value = valueOf(values, key);
      return { m: kept(m, next), l: l * keptSum(r) + w, o: o.map((x, s) => x * keptOutput(r) + w * value[s]!) };
    };
  };
  /** What the whole shader does with it. */
  const emulate = ({ q, k, v }: Numbers, causal: boolean, absorb: Absorb): { output: number[]; logSumExp: number[] } => {
    const rows = q[0]!.flatMap((queries, h) =>
      queries.map((query, t) => {
        const keys = k[0]![h]!;
        const seen = causal ? t + 1 + keys.length - queries.length : keys.length;
        let state: State = { m: -1e30, l: 0, o: query.map(() => 0) };
        for (let u = 0; u < seen; u++) {
          const tile = v[0]![h]!.slice(u - (u % 16), u - (u % 16) + 16);
          state = absorb(state, dot(query, keys[u]!) / Math.sqrt(query.length), tile, u % 16);
        }
        return state;
      }),
    );
    return { output: rows.flatMap(({ l, o }) => o.map((x) => x / l)), logSumExp: rows.map(({ m, l }) => m + Math.log(l)) };
  };

  const hintsFor = (looks: (parts: Parts) => () => number[]): Hints => ({
    'output-not-rescaled': {
      say: 'l is rescaled to the new maximum, but o is not. Both are sums of the same weights.',
      looksLike: looks({ keptOutput: () => 1 }),
    },
    'sum-not-rescaled': {
      say: 'o is rescaled to the new maximum, but l is not.',
      looksLike: looks({ keptSum: () => 1 }),
    },
    'nothing-rescaled': {
      say:
        'When the maximum grows, what is in l and o must shrink by exp(m - new m). (If you wrote that: is m still the ' +
        'old one ' +
        'there? Keep the new one in a variable of its own until the end.)',
      looksLike: looks({ rescale: () => 1 }),
    },
    'maximum-not-kept': {
      say: 'm never changes: each key forgets all keys before it. Set m to the new maximum at the end.',
      looksLike: looks({ m: (m) => m }),
    },
    'always-the-first-value': {
      say: 'Every key brings the value of the first key of the tile. The value of this key begins at valueTile[key * S4].',
      looksLike: looks({ value: (values) => values[0]! }),
    },
    'values-not-added': {
      say: 'l is right, but o only shrinks: the weight times the value has to be added to it.',
      looksLike: looks({ value: (values) => values[0]!.map(() => 0) }),
    },
  });

  /** A shader that did not end once will not end in the next test either. */
  let hung: Diagnosis | undefined;

  /** The reader's shader on the GPU. What is wrong with its text, or with its running, is a diagnosis, too. */
  async function run(numbers: Numbers, causal: boolean): Promise<{ output: Float32Array; logSumExp: Float32Array }> {
    const absorb: unknown = absorbKey();
    if (hung) throw hung;
    if (typeof absorb !== 'string' || !/\bfn\s+absorb\s*\(/.test(absorb))
      throw new Diagnosis(
        'no-function',
        'absorbKey() must return a text of WGSL that holds `fn absorb(score: f32, key: u32) { … }`.',
      );
    const [heads, T, U, S] = [
      numbers.q[0]!.length,
      numbers.q[0]![0]!.length,
      numbers.k[0]![0]!.length,
      numbers.q[0]![0]![0]!.length,
    ];
    const flat = (x: Heads): Float32Array => Float32Array.from(x.flat(3));
    const code = lessonShader({ heads, queries: T, keys: U, headSize: S, causal }, absorb);
    try {
      const { outputs } = await runShader(code, {
        inputs: [flat(numbers.q), flat(numbers.k), flat(numbers.v)],
        outputs: [heads * T * S, heads * T],
        workgroups: [Math.ceil(T / 64), heads],
        limitMs: 5000,
      });
      return { output: outputs[0]!, logSumExp: outputs[1]! };
    } catch (error) {
      const ids = {
        compile: 'does-not-compile',
        refused: 'refused',
        time: 'never-ends',
        crashed: 'crashed',
        unavailable: undefined,
      };
      const id = error instanceof ShaderError ? ids[error.reason] : undefined;
      if (id === undefined) throw error instanceof ShaderError ? new LabError(error.message) : error;
      const diagnosis = new Diagnosis(id, (error as Error).message);
      if (id === 'never-ends') hung = diagnosis;
      throw diagnosis;
    }
  }

  async function expectShader(
    numbers: Numbers,
    causal: boolean,
    more: (received: Float32Array) => Hints = () => ({}),
  ): Promise<void> {
    const { output, logSumExp } = await run(numbers, causal);
    const wanted = emulate(numbers, causal, absorbWith());
    const looks = (name: 'output' | 'logSumExp') => (parts: Parts) => () => emulate(numbers, causal, absorbWith(parts))[name];
    const what = 'o / l';
    await expectClose(output, wanted.output, { what, hints: { ...more(output), ...hintsFor(looks('output')) } });
    await expectClose(logSumExp, wanted.logSumExp, { what: 'm + log l', hints: hintsFor(looks('logSumExp')) });
  }

  it('gives what attention gives, in several tiles of keys', PATIENT, async () => {
    const { numbers } = await inputsOf(571, [1, 2, 70, 39, 8]);
    await expectShader(numbers, false);
  });

  it('gives it under a causal mask, with more keys than queries', PATIENT, async () => {
    const { numbers } = await inputsOf(572, [1, 1, 21, 33, 4]);
    await expectShader(numbers, true);
  });

  it('survives scores in the hundreds', PATIENT, async () => {
    const { numbers } = await inputsOf(573, [1, 1, 9, 33, 4], 300);
    await expectShader(numbers, false, (received) => ({
      overflow: {
        say: 'Large scores give NaN or Infinity: exponentials must be taken of score - (new maximum), which is never above 0.',
        when: received.some((x) => !Number.isFinite(x)),
      },
    }));
  });
});

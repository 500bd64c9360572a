/**
 * @file The simulator: the same by its seed, times that can be told by hand, the shapes of published figures; metrics;
 * timelines.
 */
import {
  cacheBlocks,
  cacheBytesPerToken,
  ChunkedScheduler,
  effectiveThroughput,
  fitLinearCost,
  goodput,
  gpuCost,
  gpuProfiles,
  lengths,
  linearCost,
  makeWorkload,
  metricsOf,
  modelProfiles,
  OrcaScheduler,
  PrefillFirstScheduler,
  Random,
  renderSvg,
  schedulers,
  servingColors,
  simulate,
  SplitFuseScheduler,
  StaticScheduler,
  timelinePlot,
  type PassWork,
  type RequestRecord,
  type Scheduler,
  type ScatterTrace,
  type Simulation,
} from 'lab';
import { describe, expect, it } from 'vitest';

/** A second a pass, whatever is in it. */
const aSecond = (): number => 1;
const request = (output: number, arrival = 0, prompt = [1, 2, 3]): { arrival: number; prompt: number[]; output: number } => ({
  arrival,
  prompt,
  output,
});
const [gpu, model] = [gpuProfiles['4 × A100'], modelProfiles['llama-2-70b']];
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

describe('a simulation', () => {
  it('tells times that can be told by hand', () => {
    const workload = [request(3), request(1), request(2, 0.5)];
    const orca = simulate(workload, { scheduler: new OrcaScheduler({ batchSize: 2 }), cost: aSecond, blocks: 10, check: true });
    expect(orca.records.map(({ tokenTimes }) => tokenTimes)).toEqual([[1, 2, 3], [1], [2, 3]]);
    expect(orca).toMatchObject({ passes: 3, decisions: 6, paddedRows: 0, rows: 3 * 3 + 3 });
    const fixed = simulate(workload, {
      scheduler: new StaticScheduler({ batchSize: 2 }),
      cost: aSecond,
      blocks: 10,
      check: true,
    });
    expect(fixed.records.map(({ finish }) => finish)).toEqual([3, 3, 5]); // the second waits for the first
    expect(fixed.paddedRows).toBe(2);
    expect(fixed.records[2]!.tokenTimes).toEqual([4, 5]);
  });

  it('lets time pass until somebody comes', () => {
    const late = simulate([request(1, 10), request(1, 30)], { scheduler: new ChunkedScheduler(), cost: aSecond, blocks: 4 });
    expect(late.records.map(({ finish }) => finish)).toEqual([11, 31]);
  });

  it('with clients: each sends its next request when the last one is answered', () => {
    const one = simulate([request(2), request(2), request(2)], {
      scheduler: new OrcaScheduler(),
      cost: aSecond,
      blocks: 9,
      clients: 1,
    });
    expect(one.records.map(({ arrival, finish }) => [arrival, finish])).toEqual([
      [0, 2],
      [2, 4],
      [4, 6],
    ]);
  });

  it('is the same by its seed, holds its blocks together, and serves everybody, under every policy', () => {
    const options = { requests: 60, prompt: lengths.normal(40), output: lengths.exponential(12, 60), rate: 30, burst: 3 };
    for (const [name, make] of Object.entries(schedulers)) {
      const run = (seed: number): Simulation =>
        simulate(makeWorkload({ ...options, seed, prefixes: { count: 3, tokens: 20 } }), {
          scheduler: make(),
          cost: ({ rows }) => 0.002 + 1e-4 * rows,
          blocks: 40,
          blockSize: 8,
          check: true,
          log: true,
        });
      const [a, b, c] = [run(1), run(1), run(2)];
      expect(a, name).toEqual(b);
      expect(a.records, name).not.toEqual(c.records);
      expect(a.records).toHaveLength(60);
      expect(sum(a.records.map(({ found }) => found)), name).toBeGreaterThan(0);
      for (const { tokenTimes, arrival } of a.records) {
        expect(tokenTimes[0]!).toBeGreaterThan(arrival);
        expect(tokenTimes.every((time, i) => i === 0 || time > tokenTimes[i - 1]!)).toBe(true);
      }
    }
  });

  it('saves the prefill of what is found: shared beginnings, fewer rows', () => {
    const workload = makeWorkload({
      requests: 40,
      prompt: lengths.fixed(100),
      output: lengths.fixed(2),
      rate: 5,
      prefixes: { count: 1, tokens: 96 },
    });
    const run = (prefixCaching: boolean): Simulation =>
      simulate(workload, { scheduler: new ChunkedScheduler(), cost: () => 0.01, blocks: 100, prefixCaching });
    const [cached, plain] = [run(true), run(false)];
    expect(plain.rows).toBe(40 * 101);
    expect(plain.rows - cached.rows).toBe(sum(cached.records.map(({ found }) => found)));
    expect(cached.rows).toBeLessThan(0.1 * plain.rows);
  });

  it('paging wastes less than a block a request; reservation wastes what is not written', () => {
    const workload = makeWorkload({ requests: 30, prompt: lengths.fixed(64), output: lengths.exponential(100, 400) });
    const share = (scheduler: Scheduler): number => simulate(workload, { scheduler, cost: aSecond, blocks: 2000 }).roomInUse;
    expect(share(new ChunkedScheduler())).toBeGreaterThan(0.9);
    expect(share(new StaticScheduler({ batchSize: 30 }))).toBeLessThan(0.8);
  });

  it('says so when a scheduler does nothing for ever', () => {
    const nothing: Scheduler = { name: 'nothing', step: () => ({ entries: [] }) };
    expect(() => simulate([request(1)], { scheduler: nothing, cost: aSecond, blocks: 2 })).toThrow(
      /'nothing' does nothing, but 1 requests wait/,
    );
    expect(() => simulate([request(100)], { scheduler: new OrcaScheduler(), cost: aSecond, blocks: 2 })).toThrow(
      /may need 7 blocks, but there are 2/,
    );
  });
});

describe('workloads', () => {
  it('come at their rate, alone or in bursts', () => {
    const gaps = (burst: number): number[] => {
      const workload = makeWorkload({
        requests: 4000,
        prompt: lengths.fixed(1),
        output: lengths.fixed(1),
        rate: 20,
        burst,
        seed: 3,
      });
      return workload.slice(1).map(({ arrival }, i) => arrival - workload[i]!.arrival);
    };
    for (const burst of [1, 5]) {
      const all = gaps(burst);
      expect(Math.abs(sum(all) / all.length - 0.05)).toBeLessThan(0.006);
      expect(Math.abs(all.filter((gap) => gap === 0).length / all.length - (1 - 1 / burst))).toBeLessThan(0.03);
    }
    const mean = sum(gaps(1)) / 3999;
    expect(sum(gaps(1).map((gap) => (gap - mean) ** 2)) / 3999 / mean ** 2).toBeCloseTo(1, 0); // exponential
  });

  it('have the lengths that were asked for', () => {
    const random = new Random(1);
    const draw = (f: (r: Random) => number): number[] => Array.from({ length: 5000 }, () => f(random));
    const normal = draw(lengths.normal(2600));
    const mean = sum(normal) / normal.length;
    expect(Math.abs(mean / 2600 - 1)).toBeLessThan(0.02);
    expect(Math.abs(Math.sqrt(sum(normal.map((n) => (n - mean) ** 2)) / 5000) / 780 - 1)).toBeLessThan(0.05);
    expect(new Set(draw(lengths.uniform(3, 5)))).toEqual(new Set([3, 4, 5]));
    const short = draw(lengths.exponential(10, 25));
    expect([Math.min(...short), Math.max(...short)]).toEqual([1, 25]);
  });
});

describe('costs', () => {
  it('of a pass are what counting gives: weights, arithmetic, links, host', () => {
    expect(cacheBytesPerToken(model)).toBe(327_680); // 2 · 80 · 8 · 128 · 2
    expect(cacheBlocks(model, gpu)).toBe(Math.floor((0.9 * 320e9 - 138e9) / (327_680 * 16)));
    expect(() => cacheBlocks(model, gpuProfiles['1 × A100'])).toThrow(/138 GB of weights leave no room on 1 GPUs/);
    const cost = gpuCost(model, {
      ...gpu,
      overhead: 0,
      linkLatency: 0,
      linkBytesPerSecond: Infinity,
      computeEfficiency: 0.5,
      memoryEfficiency: 0.5,
    });
    const work: PassWork = { rows: 1, sequences: 1, pairs: 1, cacheTokens: 1, swappedTokens: 0 };
    expect(cost(work)).toBeCloseTo(138e9 / (4 * 2039e9 * 0.5), 4); // memory
    expect(cost({ ...work, rows: 4000 })).toBeCloseTo((2 * 69e9 * 4000) / (4 * 312e12 * 0.5), 3); // arithmetic
    expect(cost({ ...work, swappedTokens: 1000 }) - cost(work)).toBeCloseTo((1000 * 327_680) / 25e9, 8);
    const linked = gpuCost(model, { ...gpu, overhead: 0, linkLatency: 1e-5 });
    expect(linked(work) - gpuCost(model, { ...gpu, overhead: 0, linkLatency: 0 })(work)).toBeCloseTo(160e-5, 8);
  });

  it('of measured passes are found again', () => {
    const truth = { fixed: 0.003, perRow: 2e-4, perSequence: 1e-4, perPair: 3e-7 };
    const random = new Random(2);
    const passes = Array.from({ length: 60 }, () => {
      const sequences = 1 + random.integer(8);
      const work = {
        sequences,
        rows: sequences + random.integer(60),
        pairs: random.integer(9000),
        cacheTokens: 0,
        swappedTokens: 0,
      };
      return { ...work, seconds: linearCost(truth)(work) };
    });
    for (const [name, value] of Object.entries(fitLinearCost(passes))) {
      expect(Math.abs(value / truth[name as keyof typeof truth] - 1), name).toBeLessThan(1e-4);
    }
    const shorter = passes.map((pass) => ({ ...pass, seconds: pass.seconds - 2e-4 * pass.sequences }));
    expect(fitLinearCost(shorter).perSequence).toBe(0); // it would be negative
    expect(() => fitLinearCost(passes.slice(0, 3))).toThrow(/only 3 passes/);
  });
});

describe('metrics', () => {
  const record = (id: number, arrival: number, tokenTimes: number[], promptLength = 512): RequestRecord => ({
    id,
    arrival,
    promptLength,
    tokenTimes,
    finish: tokenTimes.at(-1)!,
    found: 0,
    preemptions: 0,
  });
  const records = [
    record(0, 0, [1, 1.2, 1.4]),
    record(1, 1, [1.5, 2.5, 2.6]),
    record(2, 2, [5]),
    record(3, 2, [2.5, 3.5, 4.5, 6]),
  ];

  it('of a few requests', () => {
    const metrics = metricsOf(records);
    expect(metrics).toMatchObject({ requests: 4, duration: 6, tokensPerSecond: 11 / 6 });
    expect(metrics.ttft).toEqual({ mean: 1.25, p50: 0.5, p95: 3, p99: 3, max: 3 });
    expect(metrics.tpot.p50).toBeCloseTo(0.55, 10);
    expect(metrics.itl.max).toBe(1.5);
    expect(metrics.e2e.mean).toBeCloseTo((1.4 + 1.6 + 3 + 4) / 4, 10);
    expect(() => metricsOf([])).toThrow(/no requests/);
  });

  it('goodput counts who kept every promise', () => {
    expect(goodput(records, {}) * 6).toBeCloseTo(4, 10);
    expect(goodput(records, { ttft: 1 }) * 6).toBeCloseTo(3, 10);
    expect(goodput(records, { ttft: 1, tpot: 0.3 }) * 6).toBeCloseTo(1, 10);
    expect(goodput(records, { e2e: 3 }) * 6).toBeCloseTo(3, 10);
  });

  it('effective throughput forgives a stall, not slowness', () => {
    const count = (options = {}): number => Math.round(effectiveThroughput(records, options) * 6);
    expect(count({ tokenRate: 1, smoothing: 1 })).toBe(2); // 2 came late, 3 stalls once
    expect(count({ tokenRate: 0.9 })).toBe(3);
    expect(count({ tokenRate: 4 })).toBe(1);
    const stalled = [record(0, 0, [1, 1.1, 1.2, 2.2, 2.3])];
    expect(effectiveThroughput(stalled, { tokenRate: 4 })).toBeGreaterThan(0);
    expect(effectiveThroughput(stalled, { tokenRate: 4, smoothing: 1 })).toBe(0);
    expect(effectiveThroughput([record(0, 0, [1.01])])).toBe(0); // its prompt took too long
  });
});

describe('a 70B model on four A100s: the shapes of the published figures', () => {
  const run = (scheduler: Scheduler, clients: number): Simulation => {
    const workload = makeWorkload({ requests: 160, prompt: lengths.normal(2600), output: lengths.normal(60), seed: 1 });
    const blocks = cacheBlocks(model, gpu);
    return simulate(workload, { scheduler, cost: gpuCost(model, gpu), blocks, clients, prefixCaching: false });
  };

  it('FastGen: SplitFuse keeps promises where prefill-first does not, and its slowest tokens come far sooner', () => {
    const best = (make: () => Scheduler): number =>
      Math.max(...[4, 8, 12, 16, 20].map((clients) => effectiveThroughput(run(make(), clients).records, { tokenRate: 6 })));
    const ratio = best(() => new SplitFuseScheduler()) / best(() => new PrefillFirstScheduler());
    expect(ratio).toBeGreaterThan(1.4);
    expect(ratio).toBeLessThan(3);
    const [fuse, prefill] = [new SplitFuseScheduler(), new PrefillFirstScheduler()].map((scheduler) =>
      metricsOf(run(scheduler, 8).records),
    );
    expect(prefill!.itl.p95 / fuse!.itl.p95).toBeGreaterThan(2.5);
    expect(Math.abs(fuse!.e2e.p50 / prefill!.e2e.p50 - 1)).toBeLessThan(0.25);
    expect(fuse!.requestsPerSecond).toBeGreaterThan(prefill!.requestsPerSecond);
  });

  it('Anyscale: the wider answers are spread, the more continuous batching gains over static batches', () => {
    const gains = [lengths.fixed(64), lengths.uniform(1, 127), lengths.exponential(64, 512)].map((output) => {
      const workload = makeWorkload({ requests: 200, prompt: lengths.fixed(128), output, seed: 2 });
      const rate = (scheduler: Scheduler): number => {
        return metricsOf(
          simulate(workload, { scheduler, cost: gpuCost(model, gpu), blocks: 5000, prefixCaching: false }).records,
        ).tokensPerSecond;
      };
      return rate(new OrcaScheduler({ batchSize: 32 })) / rate(new StaticScheduler({ batchSize: 32 }));
    });
    expect(gains[1]!).toBeGreaterThan(1.3 * gains[0]!);
    expect(gains[2]!).toBeGreaterThan(1.3 * gains[1]!);
  });
});

describe('a timeline', () => {
  const workload = [request(6), request(6), request(2, 0.5)];
  const log = simulate(workload, {
    scheduler: new PrefillFirstScheduler({ maxSequences: 2, watermark: 0 }),
    cost: aSecond,
    blocks: 4,
    blockSize: 3,
    prefixCaching: false,
    log: true,
  }).log!;

  it('covers each request from its arrival to its end, without gaps', () => {
    for (const [i, { name, spans }] of log.rows().entries()) {
      expect(name).toBe(`request ${i}`);
      expect(spans[0]!.from).toBe(workload[i]!.arrival);
      for (const [j, span] of spans.entries()) if (j > 0) expect(span.from).toBe(spans[j - 1]!.to);
    }
  });

  it('tells prefill, decoding, waiting, and what was lost', () => {
    const words = log.rows().map(({ spans }) => spans.map(({ kind, from, to }) => `${kind} ${from}-${to}`));
    expect(words[0]).toEqual(['prefill 0-1', 'decode 1-6']);
    expect(words[1]!.map((word) => word.split(' ')[0])).toEqual(['prefill', 'decode', 'preempted', 'recomputed', 'decode']);
    expect(words[2]![0]).toMatch(/^waiting 0.5-/);
    const fixed = simulate([request(1), request(3)], {
      scheduler: new StaticScheduler(),
      cost: aSecond,
      blocks: 9,
      log: true,
    }).log!;
    expect(fixed.rows()[0]!.spans.map(({ kind }) => kind)).toEqual(['prefill', 'wasted']);
  });

  it('becomes a figure with a row for each request and a legend of what occurs', () => {
    const figure = timelinePlot(log.rows(), { kinds: servingColors, title: 'prefillFirst <b>' });
    const traces = figure.data as ScatterTrace[];
    expect(traces.map(({ name, line }) => [name, line?.color])).toEqual(
      Object.entries(servingColors).filter(([kind]) => kind !== 'wasted'),
    );
    const strokes = traces.flatMap(({ y }) => y.filter((value) => value === null)).length;
    expect(strokes).toBe(sum(log.rows().map(({ spans }) => spans.length)));
    expect(figure.layout.yaxis.ticktext).toEqual(['request 0', 'request 1', 'request 2']);
    expect(figure.layout.showlegend).toBe(true);
    expect(renderSvg(figure)).toContain('>request 2<');
    expect(renderSvg(figure)).toContain('prefillFirst &lt;b&gt;');
    const many = timelinePlot(
      Array.from({ length: 60 }, (_, i) => ({ name: `${i}`, spans: [{ kind: 'a', from: i, to: i + 1 }] })),
    );
    expect(many.layout.yaxis.ticktext).toBeUndefined();
    expect(() => timelinePlot([{ name: 'x', spans: [{ kind: 'odd', from: 0, to: 1 }] }], { kinds: { a: 'red' } })).toThrow(
      /no colour for 'odd'/,
    );
    expect(() => timelinePlot([{ name: 'x', spans: [{ kind: 'a', from: 2, to: 1 }] }])).toThrow(/from 2 to 1/);
  });
});

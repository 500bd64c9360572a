/**
 * @file The engine on the lab's model: what one request alone would get, bit for bit where it is promised; streams, stops,
 * errors and calling off, none of which concerns another request.
 */
import {
  BlockStore,
  CharacterTokenizer,
  ChunkedScheduler,
  Engine,
  fitLinearCost,
  generate,
  generateTokens,
  LabError,
  ModelExecutor,
  OrcaScheduler,
  plainAttention,
  PrefillFirstScheduler,
  Random,
  SplitFuseScheduler,
  startBackend,
  StaticScheduler,
  tf,
  Transformer,
  type CompletionPart,
  type CompletionResult,
  type EngineOptions,
  type ModelExecutorOptions,
  type Scheduler,
  type TransformerConfig,
} from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import { onEveryBackend } from './core-fixture.ts';
import { hasSoftwareGpu } from './ops/software-gpu.ts';
import { PaperExecutor, writeOnPaper } from './serve-paper.ts';
import { policies as randomPolicies, randomSchedule, type Served } from './serve-random.ts';

const tokenizer = CharacterTokenizer.train('abcdefghijkl ');
const config: TransformerConfig = {
  vocabSize: tokenizer.vocabSize,
  contextLength: 40,
  layers: 2,
  width: 16,
  heads: 4,
  initializerStd: 0.5,
  tiedHead: false,
  seed: 3,
};
const variants: Record<string, Partial<TransformerConfig>> = {
  'learned positions': {},
  'rotary positions, grouped queries': { position: 'rotary', keyValueHeads: 2, norm: 'rms', mlp: 'swiglu', bias: false },
  'scaled rotary positions': { position: 'rotary', rotaryScaling: { type: 'linear', factor: 2 } },
  ALiBi: { position: 'alibi' },
  'a window and a soft cap': { slidingWindow: 5, attentionSoftCap: 3, position: 'none' },
  'an attention and positions of your own': {
    attention: (q, k, v, options) => plainAttention(q, k, v, options),
    position: () => ({ embed: (x, offset) => tf.mul(x, tf.range(offset + 1, offset + 1 + x.shape[1]).reshape([1, -1, 1])) }),
  },
};

async function alone(model: Transformer, prompt: number[], maxTokens: number): Promise<number[]> {
  const tokens: number[] = [];
  for await (const token of generateTokens(model, prompt, { maxTokens, temperature: 0 })) tokens.push(token);
  return tokens;
}

/** Everybody's result; the engine is disposed of, and nothing may be left. */
async function serve(
  model: Transformer,
  prompts: readonly number[][],
  options: EngineOptions & ModelExecutorOptions,
  maxTokens = 9,
): Promise<CompletionResult[]> {
  const before = tf.memory().numTensors;
  const engine = Engine.forModel(model, { check: true, ...options });
  const results = await Promise.all(prompts.map((prompt) => engine.submit(prompt, { maxTokens, temperature: 0 }).result));
  expect(engine.state.manager.free).toBe(engine.state.manager.blocks);
  await engine.dispose();
  expect(tf.memory().numTensors).toBe(before);
  return results;
}

function promptsOf(seed: number, count: number, most = 14): number[][] {
  const random = new Random(seed);
  return Array.from({ length: count }, () =>
    Array.from({ length: 1 + random.integer(most) }, (_, i) => (i < 6 ? 3 : random.integer(12))),
  );
}

const policies: Record<string, () => Scheduler> = {
  static: () => new StaticScheduler({ batchSize: 3 }),
  orca: () => new OrcaScheduler({ batchSize: 3 }),
  'prefillFirst, swap': () => new PrefillFirstScheduler({ preemption: 'swap', watermark: 0 }),
  chunked: () => new ChunkedScheduler({ tokenBudget: 7 }),
  splitFuse: () => new SplitFuseScheduler({ tokenBudget: 9 }),
};

onEveryBackend((backend) => {
  for (const [name, variant] of Object.entries(variants)) {
    it(`${name}: every policy gives what generateTokens gives one at a time`, async () => {
      const model = new Transformer({ ...config, ...variant });
      const prompts = promptsOf(1, 5);
      const expected: number[][] = [];
      for (const prompt of prompts) expected.push(await alone(model, prompt, 9));
      expect(new Set(expected.flat()).size).toBeGreaterThan(3);
      const some = backend === 'wasm' ? Object.entries(policies) : Object.entries(policies).slice(2, 4);
      for (const [policy, make] of some) {
        for (const batchInvariant of [true, false]) {
          const results = await serve(model, prompts, { scheduler: make(), blocks: 14, blockSize: 4, batchInvariant });
          expect(
            results.map(({ tokens }) => tokens),
            `${policy}, batch-invariant ${batchInvariant}`,
          ).toEqual(expected);
        }
      }
      model.dispose();
    });
  }

  it('batch-invariant logits are the same bits, whoever is there and however a prompt is cut', async () => {
    const model = new Transformer({ ...config, contextLength: 64, width: 32 });
    const watched = Array.from({ length: 21 }, (_, i) => (i * 5) % 12);
    const logitsOf = async (others: number[][], scheduler: Scheduler): Promise<Float32Array[]> => {
      const executor = new ModelExecutor(model, { blocks: 40, blockSize: 4, batchInvariant: true });
      const seen: Float32Array[] = [];
      const run = executor.run.bind(executor);
      executor.run = async (plan, transfers) => {
        const logits = await run(plan, transfers);
        const drawn = plan.entries.filter(({ sequence, tokens }) => sequence.remaining === tokens && tokens > 0);
        for (const [i, { sequence }] of drawn.entries()) if (sequence.promptLength === watched.length) seen.push(logits[i]!);
        return logits;
      };
      const engine = new Engine(executor, { scheduler, prefixCaching: false });
      const all = [...others, watched].map((prompt) => engine.submit(prompt, { maxTokens: 4, temperature: 0 }).result);
      await Promise.all(all);
      await engine.dispose();
      return seen;
    };
    const reference = await logitsOf([], new OrcaScheduler());
    expect(reference).toHaveLength(4);
    for (const scheduler of [
      new OrcaScheduler(),
      new ChunkedScheduler({ tokenBudget: 5 }),
      new SplitFuseScheduler({ tokenBudget: 11 }),
    ]) {
      expect(await logitsOf(promptsOf(7, 5), scheduler)).toEqual(reference);
    }
    model.dispose();
  });

  it('the store: what is written, copied, read and restored is what is gathered', async () => {
    const store = new BlockStore({ layers: 2, keyValueHeads: 2, headSize: 4, blocks: 5, blockSize: 3 });
    const random = new Random(4);
    const [k, v] = [random.normals(5 * 2 * 4), random.normals(5 * 2 * 4)].map((x) => tf.tensor3d(x, [5, 2, 4])) as [
      tf.Tensor3D,
      tf.Tensor3D,
    ];
    const slots = [6, 7, 8, 0, -1]; // block 2 is full, block 0 begins, the last row is not written
    store.write(1, k, v, slots);
    const [keys, values] = [k.arraySync(), v.arraySync()];
    const gathered = store.gather(1, [2, 0]);
    expect(gathered.k.shape).toEqual([1, 2, 6, 4]);
    for (const [head, rows] of gathered.k.arraySync()[0]!.entries()) {
      expect(rows.slice(0, 4)).toEqual(keys.slice(0, 4).map((row) => row[head]));
      expect(rows[4]).toEqual([0, 0, 0, 0]);
    }
    expect(gathered.v.arraySync()[0]![1]!.slice(0, 4)).toEqual(values.slice(0, 4).map((row) => row[1]));
    store.copy({ from: 2, to: 4 });
    expect(store.gather(1, [4]).k.arraySync()).toEqual(store.gather(1, [2]).k.arraySync());
    const host = await store.read([2, 0]);
    store.restore(host, [1, 3]);
    expect(store.gather(1, [1, 3]).v.arraySync()).toEqual(gathered.v.arraySync());
    expect(store.gather(0, [1]).k.max().dataSync()[0]).toBe(0);
    expect(() => store.write(0, k, v, [1])).toThrow(/must be \[1,2,4\], for 1 slots/);
    store.dispose();
  });
});

describe('random schedules on a tiny model, batch-invariant', () => {
  let model: Transformer;
  const known = new Map<string, readonly number[]>();
  const tiny: Served = {
    executor(blocks, blockSize, before) {
      const executor = new ModelExecutor(model, { blocks, blockSize, batchInvariant: true });
      const run = executor.run.bind(executor);
      executor.run = (plan, transfers) => {
        before();
        return run(plan, transfers);
      };
      return executor;
    },
    alone: (prompt, maxTokens) => known.get(prompt.join())!.slice(0, maxTokens),
  };

  beforeAll(async () => {
    await startBackend({ backend: 'wasm', threads: 2 });
    model = new Transformer({ ...config, layers: 1, width: 8, heads: 2 });
    // All prompts that there can be: eight times 5, then any of two tokens.
    for (let length = 1; length <= 14; length++) {
      for (let tail = 0; tail < 2 ** Math.max(0, length - 8); tail++) {
        const prompt = Array.from({ length }, (_, i) => (i < 8 ? 5 : (tail >> (i - 8)) & 1));
        known.set(prompt.join(), await alone(model, prompt, 12));
      }
    }
  });

  for (const [name, policy] of Object.entries(randomPolicies)) {
    it(`under ${name}`, async () => {
      const before = tf.memory().numTensors;
      const totals = { preemptions: 0, found: 0, cancelled: 0 };
      for (let seed = 0; seed < 30; seed++) await randomSchedule(seed, policy, totals, tiny);
      expect(totals.found).toBeGreaterThan(20);
      expect(tf.memory().numTensors).toBe(before);
    });
  }
});

describe('on one backend', () => {
  it('a prompt whose beginning was computed before is not computed again', async () => {
    const model = new Transformer(config);
    const common = Array.from({ length: 17 }, (_, i) => i % 5);
    const engine = Engine.forModel(model, { blockSize: 4, log: true, check: true });
    const first = await engine.submit([...common, 1], { maxTokens: 3, temperature: 0 }).result;
    const rows = engine.passes.reduce((sum, pass) => sum + pass.rows, 0);
    const second = await engine.submit([...common, 2], { maxTokens: 3, temperature: 0 }).result;
    const apart = await engine.submit([...common, 2], { maxTokens: 3, temperature: 0, extras: 'another adapter' }).result;
    expect([first, second, apart].map(({ record }) => record.found)).toEqual([0, 16, 0]);
    expect(rows).toBe(18 + 2);
    expect(engine.passes.reduce((sum, pass) => sum + pass.rows, 0)).toBe(20 + 4 + 20);
    expect(second.tokens).toEqual(await alone(model, [...common, 2], 3));
    expect(second.tokens).toEqual(apart.tokens);
    expect(fitLinearCost(engine.passes).fixed).toBeGreaterThanOrEqual(0);
    expect(engine.log!.rows().map(({ name }) => name)).toEqual(['request 0', 'request 1', 'request 2']);
    await engine.dispose();
  });

  it('draws by each request with its own seed and options, whoever else is there', async () => {
    const model = new Transformer(config);
    const engine = Engine.forModel(model, { batchInvariant: true });
    const options = { maxTokens: 12, temperature: 1.3, topK: 8, repetitionPenalty: 1.2 };
    const one = (await engine.submit([1, 2], { ...options, seed: 5 }).result).tokens;
    const crowd = [4, 5, 6, 5].map((seed) => engine.submit([1, 2], { ...options, seed }).result);
    const [four, five, six, again] = (await Promise.all(crowd)).map(({ tokens }) => tokens);
    expect(five).toEqual(one);
    expect(again).toEqual(one);
    expect(new Set([four!.join(), five!.join(), six!.join()]).size).toBe(3);
    const written: number[] = [];
    for await (const token of generateTokens(model, [1, 2], { ...options, seed: 5 })) written.push(token);
    expect(one).toEqual(written);
    await engine.dispose();
  });

  it('reads and writes texts, holds back what may become a stop text, and ends before it', async () => {
    const model = new Transformer({ ...config, contextLength: 64 });
    const engine = Engine.forModel(model, { tokenizer, batchInvariant: true });
    const plain = await generate(model, tokenizer, 'abc', { maxTokens: 30, seed: 2 });
    const full = await engine.submit('abc', { maxTokens: 30, seed: 2 }).result;
    expect(`abc${full.text}`).toBe(plain);
    const stop = full.text.slice(11, 14);
    const at = full.text.indexOf(stop);
    const completion = engine.submit('abc', { maxTokens: 30, seed: 2, stop: [stop, 'not there'] });
    const parts: CompletionPart[] = [];
    for await (const part of completion) parts.push(part);
    const stopped = await completion.result;
    expect(stopped).toMatchObject({ text: full.text.slice(0, at), finishReason: 'stop' });
    expect(parts.map(({ text }) => text).join('')).toBe(stopped.text);
    const last = full.tokens[5]!;
    const byToken = await engine.submit('abc', { maxTokens: 30, seed: 2, stop: [last] }).result;
    expect(byToken.tokens).toEqual(full.tokens.slice(0, full.tokens.indexOf(last)));
    expect(byToken.finishReason).toBe('stop');
    expect(full.finishReason).toBe('length');
    await engine.dispose();
  });

  it('refuses a model whose blocks it does not know', () => {
    const model = new Transformer({
      ...config,
      block: (options) =>
        Object.assign(new Transformer({ ...config, seed: options.layer }).blocks[0]!, { forward: (x: tf.Tensor3D) => x }),
    });
    expect(() => new ModelExecutor(model)).toThrow(/block 0 is another. Use generate/);
  });
});

describe('requests that go wrong', () => {
  const executor = (): PaperExecutor => new PaperExecutor({ blocks: 8, blockSize: 4, contextLength: 40 });

  it('fail with a clear error, and the others get what they would', async () => {
    const engine = new Engine(executor(), { check: true });
    const long = (length: number): number[] => new Array<number>(length).fill(1);
    const wrong: [Parameters<Engine['submit']>, RegExp][] = [
      [[[]], /prompt is empty/],
      [[long(40)], /prompt of 40 tokens leaves no room for an answer in a context of 40/],
      [[long(35)], /prompt of 35 tokens leaves no room for an answer in a cache for 32/],
      [[long(30), { maxTokens: 5 }], /30 tokens of the prompt and 5 of the answer do not fit: .* ask for at most 3/],
      [[[1], { maxTokens: 0 }], /maxTokens must be 1, 2, …, got 0/],
      [[[1], { maxTokens: 1e9 }], /1000000000 of the answer do not fit/],
      [[[1], { maxTokens: 2.5 }], /got 2.5/],
      [[[1, 97]], /Token 97 at position 1 is not in the vocabulary/],
      [[[1, -1]], /Token -1 at position 1/],
      [[[1], { temperature: -1 }], /temperature must be 0 or more/],
      [[[1], { seed: 0.5 }], /seed must be an integer/],
      [[[1], { stop: ['x'] }], /Stop texts need a tokenizer/],
      [['text'], /needs a tokenizer/],
    ];
    const good = engine.submit([3, 4], { maxTokens: 9, temperature: 0 });
    for (const [request, words] of wrong) {
      const completion = engine.submit(...request);
      await expect(completion.result).rejects.toThrow(words);
      await expect(
        (async () => {
          for await (const _ of completion) expect.fail('it has no parts');
        })(),
      ).rejects.toThrow(words);
      completion.cancel();
    }
    await expect(engine.submit([1], { maxTokens: 0 }).result).rejects.toBeInstanceOf(LabError);
    const most = engine.submit(long(30), { temperature: 0 });
    expect((await good.result).tokens).toEqual(writeOnPaper([3, 4], 9));
    expect((await most.result).tokens).toEqual(writeOnPaper(long(30), 3));
  });

  it('one whose logits are broken fails alone', async () => {
    const paper = executor();
    paper.distort = ({ promptLength }, logits) => void (promptLength === 2 && logits.fill(NaN, 5, 6));
    const engine = new Engine(paper, { check: true });
    const options = { maxTokens: 5, temperature: 0 };
    const [good, bad, sampled] = [
      engine.submit([1], options),
      engine.submit([1, 2], options),
      engine.submit([1, 2], { maxTokens: 5 }),
    ];
    await expect(bad.result).rejects.toThrow(/The model gave NaN for token 5/);
    await expect(sampled.result).rejects.toThrow(/probabilities sum to NaN/);
    expect((await good.result).tokens).toEqual(writeOnPaper([1], 5));
    expect(engine.state.manager.free).toBe(8);
  });

  it('when a pass fails, those who were there fail, and those who come later do not', async () => {
    const paper = executor();
    let passes = 0;
    paper.before = () => {
      if (++passes === 3) throw new Error('the device is lost');
    };
    const engine = new Engine(paper, {
      check: true,
      scheduler: new PrefillFirstScheduler({ preemption: 'swap', watermark: 0 }),
    });
    const both = [engine.submit([1, 2, 3], { maxTokens: 20 }), engine.submit([4], { maxTokens: 20 })];
    for (const { result } of both) await expect(result).rejects.toThrow('the device is lost');
    expect((await engine.submit([1], { maxTokens: 4, temperature: 0 }).result).tokens).toEqual(writeOnPaper([1], 4));
    expect(engine.state.manager.free).toBe(8);
  });
});

it('what a failed step had planned to move is forgotten', async () => {
  const paper = new PaperExecutor({ blocks: 8, blockSize: 4 });
  const policy = new PrefillFirstScheduler({ preemption: 'swap', watermark: 0 });
  let swaps = 0;
  const scheduler: Scheduler = {
    name: 'breaks off',
    step(state) {
      const plan = policy.step(state);
      if (state.swapped.length > 0 && swaps++ === 0) throw new Error('after a swap');
      return plan;
    },
  };
  const engine = new Engine(paper, { scheduler, check: true });
  const crowd = Array.from({ length: 8 }, (_, i) => engine.submit([i, 1, 2, 3], { maxTokens: 9 }));
  for (const { result } of crowd) await expect(result).rejects.toThrow('after a swap');
  expect((await engine.submit([7, 7], { maxTokens: 9, temperature: 0 }).result).tokens).toEqual(writeOnPaper([7, 7], 9));
  expect(paper.host.size).toBe(0);
});

describe('a stream', () => {
  it('gives tokens as they come, to everybody who listens, from the first', async () => {
    const paper = new PaperExecutor({ blocks: 8, blockSize: 4 });
    const engine = new Engine(paper);
    const completion = engine.submit([1, 2], { maxTokens: 6, temperature: 0 });
    const listen = async (): Promise<number[]> => {
      const heard: number[] = [];
      for await (const { token } of completion) heard.push(token);
      return heard;
    };
    const [a, b] = await Promise.all([listen(), listen()]);
    expect(a).toEqual(writeOnPaper([1, 2], 6));
    expect(b).toEqual(a);
    expect(await listen()).toEqual(a); // also afterwards
  });

  it('can be called off: it ends with what there is, and its blocks are free', async () => {
    const engine = new Engine(new PaperExecutor({ blocks: 16, blockSize: 4 }), { check: true });
    const [completion, other] = [
      engine.submit([1], { maxTokens: 30, temperature: 0 }),
      engine.submit([2], { maxTokens: 30, temperature: 0 }),
    ];
    const heard: number[] = [];
    for await (const { token } of completion) {
      heard.push(token);
      if (heard.length === 4) completion.cancel();
    }
    const result = await completion.result;
    expect(result.finishReason).toBe('cancelled');
    expect(result.tokens).toEqual(heard);
    expect(heard.length).toBeGreaterThanOrEqual(4);
    expect(heard.length).toBeLessThan(8);
    expect(heard).toEqual(writeOnPaper([1], 30).slice(0, heard.length));
    expect((await other.result).tokens).toEqual(writeOnPaper([2], 30));
    expect(engine.state.manager.free).toBe(16);
    completion.cancel(); // nothing happens
  });

  it('before it begins, and while a batch waits to be filled', async () => {
    const engine = new Engine(new PaperExecutor({ blocks: 16, blockSize: 4 }), {
      scheduler: { name: 'later', step: ({ now }) => ({ entries: [], wakeAt: now + 60 }) },
    });
    const completion = engine.submit([1], { maxTokens: 3 });
    await new Promise((resolve) => setTimeout(resolve, 5));
    completion.cancel();
    expect(await completion.result).toMatchObject({ tokens: [], finishReason: 'cancelled' });
    await engine.idle();
  });

  it('dispose calls off everybody', async () => {
    const paper = new PaperExecutor({ blocks: 16, blockSize: 4 });
    const engine = new Engine(paper);
    const all = [1, 2, 3].map((token) => engine.submit([token], { maxTokens: 30 }));
    await engine.dispose();
    for (const { result } of all) expect((await result).finishReason).toBe('cancelled');
    expect(paper.disposed).toBe(true);
  });
});

describe.skipIf(!hasSoftwareGpu)('on a software GPU', () => {
  it('every request gets what it would get alone, and keys are written in place', { timeout: 60_000 }, async () => {
    await startBackend({ backend: 'webgpu', softwareGpu: true });
    const model = new Transformer({ ...config, layers: 1 });
    const prompts = [[1, 2, 3, 4, 5], [6]];
    const engine = Engine.forModel(model, { blockSize: 4, blocks: 6, scheduler: new ChunkedScheduler({ tokenBudget: 4 }) });
    const results = await Promise.all(prompts.map((prompt) => engine.submit(prompt, { maxTokens: 3, temperature: 0 }).result));
    for (const [i, { tokens }] of results.entries()) expect(tokens).toEqual(await alone(model, prompts[i]!, 3));
    await engine.dispose();
    const store = new BlockStore({ layers: 1, keyValueHeads: 1, headSize: 4, blocks: 2, blockSize: 4 });
    const room = store.pools(0).k;
    const k = tf.tensor3d(new Random(1).normals(12), [3, 1, 4]);
    store.write(0, k, k, [6, 7, 1]);
    expect(store.pools(0).k).toBe(room);
    const [kept, rows] = [await room.array(), await k.array()];
    expect([6, 7, 1].map((slot) => kept[0]![0]![slot])).toEqual(rows.map((row) => row[0]));
    expect(kept[0]![0]![0]).toEqual([0, 0, 0, 0]);
    store.dispose();
    await startBackend({ backend: 'wasm', threads: 2 });
  });
});

/**
 * @file What a server in the open meets: clients that leave, readers that do not read, floods, failures, the end. Each gets its
 * answer, and nobody else notices.
 */
import type { ServerResponse } from 'node:http';
import { Writable } from 'node:stream';
import { Random } from 'lab';
import { describe, expect, it } from 'vitest';
import { EventStream } from '../../lab/dist/serve/server/event-stream.js';
import { emptied, paperText, paperTokenizer, post, rawConnection, rawPost, withServer } from './server-fixture.ts';

const greedy = { model: 'paper', temperature: 0, prompt: 'Once upon' } as const;
const sleep = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms));

describe('clients that leave', () => {
  it('at random, in work and in the queue, streaming or not: all blocks are free, and the others get what they asked for', () =>
    withServer({ maxSequences: 4, blocks: 48, passMs: 1 }, async ({ client, engine, server }) => {
      const random = new Random(11);
      const tasks = Array.from({ length: 60 }, async (_, i) => {
        await sleep(random.integer(150));
        const prompt = `request ${i}`;
        const tokens = 10 + random.integer(40);
        const controller = new AbortController();
        const leaves = random.integer(2) === 0;
        if (leaves) setTimeout(() => controller.abort(), random.integer(120));
        const request = { model: 'paper', temperature: 0, prompt, max_tokens: tokens, n: 1 + random.integer(2) };
        let text = '';
        try {
          if (random.integer(2) === 0) {
            const pieces = await client.completions.create({ ...request, stream: true }, { signal: controller.signal });
            for await (const { choices } of pieces) if (choices[0]!.index === 0) text += choices[0]!.text;
          } else text = (await client.completions.create(request, { signal: controller.signal })).choices[0]!.text;
        } catch (error) {
          expect(leaves, String(error)).toBe(true);
          return 'left';
        }
        // A stream that is aborted ends without an error.
        if (!(leaves && controller.signal.aborted)) expect(text).toBe(paperText(prompt, tokens));
        return 'served';
      });
      const outcomes = await Promise.all(tasks);
      expect(outcomes.filter((outcome) => outcome === 'served').length).toBeGreaterThan(20);
      expect(outcomes.filter((outcome) => outcome === 'left').length).toBeGreaterThan(5);
      await emptied(engine);
      expect(server.metrics.expose()).toMatch(/lab_http_requests_total\{path="\/v1\/completions",status="499"\} [1-9]/);
      expect(server.metrics.expose()).toMatch(/lab_answers_total\{reason="cancelled"\} [1-9]/);
    }));

  it('by closing half of the connection, or all of it, without a word', () =>
    withServer({ contextLength: 2000, blocks: 500, passMs: 2 }, async ({ url, engine }) => {
      for (const end of ['end', 'destroy', 'resetAndDestroy'] as const) {
        for (const stream of [true, false]) {
          const { socket } = await rawConnection(url);
          socket.write(rawPost('/v1/completions', { ...greedy, max_tokens: 1900, stream }));
          await expect.poll(() => engine.state.running.length, { timeout: 5000, interval: 1 }).toBe(1);
          socket[end]();
          await emptied(engine);
        }
      }
    }));

  it('while the others of its n answers wait for the first', () =>
    withServer({}, async ({ url, engine, executor, server }) => {
      const { socket } = await rawConnection(url);
      // In the first pass there is only the first of them.
      executor.before = async () => {
        socket.destroy();
        await sleep(100);
      };
      socket.write(rawPost('/v1/completions', { ...greedy, n: 8 }));
      await expect.poll(() => server.metrics.expose(), { timeout: 5000 }).toContain('reason="cancelled"');
      await emptied(engine);
      await sleep(50);
      expect(server.metrics.expose().match(/lab_answers_total\{.*/g)).toEqual(['lab_answers_total{reason="cancelled"} 1']);
    }));
});

describe('readers that do not read', () => {
  // A model's name of 64 KiB: every piece is so long, and the system's own buffers are full soon.
  const long = 'm'.repeat(2 ** 16);

  it('are cut off after a while, hold little, and nobody else waits', () =>
    withServer({ model: long, stallSeconds: 0.4, contextLength: 1000, blocks: 600, passMs: 1 }, async (served) => {
      const { url, engine, client, server } = served;
      const model = long;
      const slow = await rawConnection(url);
      slow.socket.pause();
      slow.socket.write(rawPost('/v1/completions', { ...greedy, model, max_tokens: 900, stream: true }));
      await expect.poll(() => engine.state.running.length, { timeout: 5000, interval: 1 }).toBe(1);
      const { choices } = await client.completions.create({ ...greedy, model, max_tokens: 50 });
      expect(choices[0]!.text).toBe(paperText('Once upon', 50));
      await expect.poll(() => server.metrics.expose(), { timeout: 10_000 }).toContain('status="499"} 1');
      await emptied(engine);
      slow.socket.resume();
      await slow.closed;
      expect(slow.text().length).toBeLessThan(900 * 2 ** 16);
    }));

  it('have one piece wait for them, not all', async () => {
    const taken: (() => void)[] = [];
    const response = new Writable({ highWaterMark: 10, write: (_chunk, _encoding, next) => void taken.push(next) });
    const head = { headersSent: false, writeHead: () => (head.headersSent = true) };
    let stalls = 0;
    const options = { stallSeconds: 0.2, onStall: () => void stalls++ };
    const stream = new EventStream(Object.assign(response, head) as unknown as ServerResponse, options);
    const sent = Array.from({ length: 5 }, (_, i) => stream.send(`piece ${i} of many`));
    await sleep(20);
    expect([response.writableLength, taken.length]).toEqual(['data: "piece 0 of many"\n\n'.length, 1]);
    taken.pop()!();
    await sleep(20);
    expect([response.writableLength, taken.length, stalls]).toEqual(['data: "piece 1 of many"\n\n'.length, 1, 0]);
    // Nothing is taken any more: the rest is dropped, and nobody waits for ever.
    await Promise.all([...sent, stream.end()]);
    expect([stalls, response.destroyed]).toEqual([1, true]);
  });

  it('of a whole answer are cut off, too', () => {
    const model = 'm'.repeat(30_000_000);
    return withServer({ model, stallSeconds: 0.3, maxBodyBytes: 2 ** 26 }, async ({ url, server }) => {
      const slow = await rawConnection(url);
      slow.socket.pause();
      slow.socket.write(`GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n`);
      await expect.poll(() => server.metrics.expose(), { timeout: 10_000 }).toContain('path="/v1/models",status="499"} 1');
      slow.socket.destroy();
    });
  });

  it('but slowly are served', () =>
    withServer({ model: long, stallSeconds: 1, contextLength: 300, blocks: 100 }, async ({ url }) => {
      const slow = await rawConnection(url);
      slow.socket.write(rawPost('/v1/completions', { ...greedy, model: long, max_tokens: 250, stream: true }));
      slow.socket.on('data', () => {
        slow.socket.pause();
        setTimeout(() => slow.socket.resume(), 2);
      });
      await expect.poll(() => slow.text().endsWith('data: [DONE]\n\n\r\n0\r\n\r\n'), { timeout: 30_000 }).toBe(true);
      slow.socket.destroy();
    }));
});

describe('floods', () => {
  it('beyond the queue get 429 and when to come again; the rest is served', () =>
    withServer({ maxSequences: 2, maxWaiting: 3, passMs: 2 }, async ({ client, url, engine }) => {
      const tasks = Array.from({ length: 40 }, () => post(`${url}/v1/completions`, { ...greedy, max_tokens: 40 }));
      const answers = await Promise.all(tasks);
      const refused = answers.filter(({ status }) => status === 429);
      const served = answers.filter(({ status }) => status === 200);
      expect(refused.length + served.length).toBe(40);
      expect(served.length).toBeGreaterThanOrEqual(5);
      expect(refused.length).toBeGreaterThan(10);
      for (const { error, headers } of refused) {
        expect(error).toMatchObject({ type: 'rate_limit_error', code: 'queue_full' });
        expect(Number(headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
      }
      expect(served.every(({ text }) => text.includes(JSON.stringify(paperText('Once upon', 40))))).toBe(true);
      await emptied(engine);
      // n answers need n places.
      const both = [5, 1].map((n) => client.completions.create({ ...greedy, n, max_tokens: 30 }));
      expect((await Promise.allSettled(both)).map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
      expect(await post(`${url}/v1/completions`, { ...greedy, n: 6 })).toMatchObject({ status: 400, error: { param: 'n' } });
    }));

  it('64 clients for a while lose nothing', () =>
    withServer({ contextLength: 128, blocks: 400 }, async ({ client, engine }) => {
      const until = performance.now() + 2000;
      let served = 0;
      const one = async (id: number): Promise<void> => {
        for (let round = 0; performance.now() < until; round++) {
          const prompt = `client ${id} asks for the ${round}th time`;
          const request = { model: 'paper', temperature: 0, prompt, max_tokens: 5 + (id % 20) };
          let text = '';
          if (id % 2 === 0) text = (await client.completions.create(request)).choices[0]!.text;
          else {
            const pieces = await client.completions.create({ ...request, stream: true });
            for await (const { choices } of pieces) text += choices[0]!.text;
          }
          expect(text).toBe(paperText(prompt, request.max_tokens));
          served++;
        }
      };
      await Promise.all(Array.from({ length: 64 }, (_, id) => one(id)));
      expect(served).toBeGreaterThanOrEqual(64);
      await emptied(engine);
    }));
});

describe('when something goes wrong', () => {
  it('a pass that fails is a 500 for those in it, told without its inside, and the server goes on', () => {
    const errors: unknown[] = [];
    return withServer({ onError: (error) => errors.push(error) }, async ({ executor, url, client }) => {
      executor.before = () => {
        throw new Error('a secret of the device');
      };
      for (const path of ['/v1/completions', '/v1/chat/completions']) {
        for (const stream of [false, true]) {
          const body = { ...greedy, messages: [{ role: 'user', content: 'a' }], stream, n: 2 };
          const answer = await post(url + path, body);
          expect(answer).toMatchObject({ status: 500, error: { type: 'server_error' } });
          expect(answer.text).not.toMatch(/secret/);
        }
      }
      expect(errors.map(String)).toEqual(Array.from({ length: 4 }, () => 'Error: a secret of the device'));
      executor.before = undefined;
      expect((await client.completions.create({ ...greedy, max_tokens: 5 })).choices[0]!.text).toBe(paperText('Once upon', 5));
    });
  });

  it('in the middle of a stream it is told there', () => {
    const errors: unknown[] = [];
    return withServer({ onError: (error) => errors.push(error) }, async ({ executor, client }) => {
      let passes = 0;
      executor.before = () => {
        if (++passes === 5) throw new Error('a secret of the device');
      };
      let text = '';
      const reading = (async () => {
        const pieces = await client.completions.create({ ...greedy, max_tokens: 20, stream: true });
        for await (const { choices } of pieces) text += choices[0]!.text;
      })();
      await expect(reading).rejects.toThrow(/The server failed; the answer is not whole/);
      expect(text).toBe(paperText('Once upon', 4));
      expect(errors).toHaveLength(1);
    });
  });

  it('logits that are NaN are one request’s misfortune', () =>
    withServer({ onError: () => undefined }, async ({ executor, url, client, server }) => {
      executor.distort = (sequence, logits) => {
        if (sequence.tokens[0] === paperTokenizer.encode('X')[0]) logits[0] = NaN;
      };
      const [bad, good] = await Promise.all([
        post(`${url}/v1/completions`, { ...greedy, prompt: 'X' }),
        client.completions.create({ ...greedy, max_tokens: 9 }),
      ]);
      expect(bad.status).toBe(500);
      expect(good.choices[0]!.text).toBe(paperText('Once upon', 9));
      // What else the same request wanted is not computed any more.
      expect((await post(`${url}/v1/completions`, { ...greedy, prompt: ['X', 'Y'], max_tokens: 60 })).status).toBe(500);
      expect(server.metrics.expose()).toContain('lab_answers_total{reason="cancelled"} 1\n');
    }));

  it('a request that takes too long is called off: 504, or an error in the stream', () =>
    withServer({ requestSeconds: 0.5, passMs: 20 }, async ({ url, client, engine }) => {
      const request = { ...greedy, max_tokens: 50 };
      const late = await post(`${url}/v1/completions`, request);
      expect(late).toMatchObject({ status: 504, error: { type: 'server_error', code: 'timeout' } });
      await emptied(engine);
      let text = '';
      const reading = (async () => {
        for await (const { choices } of await client.completions.create({ ...request, stream: true })) text += choices[0]!.text;
      })();
      await expect(reading).rejects.toThrow(/longer than 0.5 s/);
      expect(paperText('Once upon', 50).startsWith(text) && text !== '').toBe(true);
    }));
});

describe('stopping', () => {
  it('lets those who are there end, and nobody new in', () =>
    withServer({ passMs: 15 }, async ({ client, url, server, engine }) => {
      const running = [true, false].map(async (stream) => {
        if (!stream) return (await client.completions.create({ ...greedy, max_tokens: 40 })).choices[0]!.text;
        let text = '';
        const pieces = await client.completions.create({ ...greedy, max_tokens: 40, stream: true });
        for await (const { choices } of pieces) text += choices[0]!.text;
        return text;
      });
      // This connection is there before, and idle connections are closed at once: it asks in the middle.
      const open = await rawConnection(url);
      open.socket.write('GET /health HTTP/1.1\r\nHost: a\r\n');
      await expect.poll(() => engine.state.running.length, { timeout: 5000, interval: 1 }).toBe(2);
      const stopped = server.stop(10);
      open.socket.write('\r\n');
      await open.closed;
      expect(open.text()).toMatch(/^HTTP\/1\.1 503 [^]*connection: close[^]*stopping/i);
      await expect(fetch(`${url}/health`)).rejects.toThrow(/fetch failed/);
      expect(await Promise.all(running)).toEqual([paperText('Once upon', 40), paperText('Once upon', 40)]);
      await stopped;
    }));

  it('calls off those who take too long, and tells them', () =>
    withServer({ passMs: 40 }, async ({ client, url, server, engine }) => {
      // Nobody has asked anything on it, and nobody is waited for.
      const bare = await rawConnection(url);
      const whole = post(`${url}/v1/completions`, { ...greedy, max_tokens: 55 });
      const streamed = (async () => {
        const pieces = await client.completions.create({ ...greedy, max_tokens: 55, stream: true });
        for await (const _ of pieces);
      })();
      const outcome = streamed.then(
        () => 'served',
        (error: unknown) => String(error),
      );
      await expect.poll(() => engine.state.running.length, { timeout: 5000, interval: 1 }).toBe(2);
      const before = performance.now();
      await server.stop(0.1);
      expect(await whole).toMatchObject({ status: 503, error: { code: 'server_stopping' } });
      expect(await outcome).toMatch(/The server is stopping/);
      await bare.closed;
      expect(performance.now() - before).toBeLessThan(5000);
      await server.stop();
    }));
});

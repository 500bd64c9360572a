/** @file The server and OpenAI's own client: what it answers is what the engine writes, whole and in pieces. */
import { CharacterTokenizer, Engine, LabError, startBackend, tf, Transformer } from 'lab';
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { serverRows } from '../../lab/dist/bench/serve-server.js';
import { SIZES } from '../../lab/dist/bench/index.js';
import { APIServer, plainConversation, templateConversation } from '../../lab/dist/serve/server/index.js';
import { all, asked, paperText, paperTokenizer, post, withServer } from './server-fixture.ts';
import { PaperExecutor } from './serve-paper.ts';

const greedy = { model: 'paper', temperature: 0 } as const;

describe('completions', () => {
  it('are what the model writes, with what they cost', () =>
    withServer({}, async ({ client }) => {
      const answer = await client.completions.create({ ...greedy, prompt: 'Once upon', max_tokens: 12 });
      expect(answer).toMatchObject({ object: 'text_completion', model: 'paper' });
      expect(answer.id).toMatch(/^cmpl-/);
      expect(answer.choices).toEqual([{ index: 0, text: paperText('Once upon', 12), logprobs: null, finish_reason: 'length' }]);
      expect(answer.usage).toEqual({
        prompt_tokens: 9,
        completion_tokens: 12,
        total_tokens: 21,
        prompt_tokens_details: { cached_tokens: 0 },
      });
      expect(answer._request_id).toMatch(/^req-/);
    }));

  it('come in pieces that make up the whole', () =>
    withServer({}, async ({ client }) => {
      const stream = await client.completions.create({
        ...greedy,
        prompt: 'Once upon',
        max_tokens: 12,
        stream: true,
        stream_options: { include_usage: true },
      });
      const pieces = await all(stream);
      expect(pieces.slice(0, -2).map(({ choices }) => choices[0]!.text.length)).toEqual(Array.from({ length: 12 }, () => 1));
      expect(pieces.map(({ choices }) => choices[0]?.text ?? '').join('')).toBe(paperText('Once upon', 12));
      expect(pieces.map(({ choices }) => choices[0]?.finish_reason)).toEqual([
        ...Array.from({ length: 12 }, () => null),
        'length',
        undefined,
      ]);
      expect(pieces.map(({ usage }) => usage?.total_tokens)).toEqual([...Array.from({ length: 13 }, () => undefined), 21]);
      expect(new Set(pieces.map(({ id }) => id)).size).toBe(1);
    }));

  it('write 16 tokens unless told, or as many as fit', () =>
    withServer({ contextLength: 30 }, async ({ client }) => {
      const lengths = await Promise.all(
        ['a', 'a'.repeat(25)].map(async (prompt) => {
          const { choices } = await client.completions.create({ ...greedy, prompt });
          return choices[0]!.text.length;
        }),
      );
      expect(lengths).toEqual([16, 5]);
    }));

  it('take token ids, several prompts and several answers, in order', () =>
    withServer({}, async ({ client }) => {
      const ids = [...paperTokenizer.encode('to be')];
      const one = await client.completions.create({ ...greedy, prompt: ids, max_tokens: 5 });
      expect(one.choices[0]!.text).toBe(paperText('to be', 5));
      const two = await client.completions.create({ ...greedy, prompt: ['ab', 'cde'], max_tokens: 5, n: 2 });
      expect(two.choices.map(({ index, text }) => [index, text])).toEqual([
        [0, paperText('ab', 5)],
        [1, paperText('ab', 5)],
        [2, paperText('cde', 5)],
        [3, paperText('cde', 5)],
      ]);
      expect(two.usage).toMatchObject({ prompt_tokens: 5, completion_tokens: 20 });
      const lists = await client.completions.create({ ...greedy, prompt: [ids, ids.slice(1)], max_tokens: 3 });
      expect(lists.choices.map(({ text }) => text)).toEqual([paperText('to be', 3), paperText('o be', 3)]);
    }));

  it('n answers differ, repeat with the seed, and share the blocks of the prompt', () =>
    withServer({}, async ({ client, engine }) => {
      const prompt = 'a prompt of 30 tokens, exactly';
      const request = { model: 'paper', prompt, max_tokens: 8, temperature: 1.5, n: 5, seed: 7 } as const;
      let most = 0;
      const observe = engine.state.observe;
      engine.state.observe = (event, sequence, time) => {
        observe?.(event, sequence, time);
        const { manager } = engine.state;
        most = Math.max(most, manager.blocks - manager.free);
      };
      const found: unknown[] = [];
      const texts = async (): Promise<string[]> => {
        const { choices, usage } = await client.completions.create(request);
        found.push(usage!.prompt_tokens_details!.cached_tokens);
        return choices.map(({ text }) => text);
      };
      const first = await texts();
      expect(new Set(first).size).toBe(5);
      // 38 tokens are 10 blocks; 7 of them are full of the prompt and there once.
      expect(most).toBeLessThanOrEqual(7 + 5 * 3);
      expect(await texts()).toEqual(first);
      // What the first answer found, not what the others found of the first.
      expect(found).toEqual([0, 28]);
      const { choices } = await client.completions.create({ ...request, n: 1, seed: 9 });
      expect(choices[0]!.text).toBe(first[2]);
    }));

  it('n answers in one stream keep their places', () =>
    withServer({}, async ({ client }) => {
      const request = { model: 'paper', prompt: ['one', 'other'], max_tokens: 9, n: 3, seed: 3 };
      const whole = await client.completions.create(request);
      const texts = Array.from({ length: 6 }, () => '');
      const reasons: (string | null)[] = [];
      for await (const { choices } of await client.completions.create({ ...request, stream: true })) {
        texts[choices[0]!.index] += choices[0]!.text;
        if (choices[0]!.finish_reason) reasons[choices[0]!.index] = choices[0]!.finish_reason;
      }
      expect(texts).toEqual(whole.choices.map(({ text }) => text));
      expect(reasons).toEqual(Array.from({ length: 6 }, () => 'length'));
    }));

  it('without a seed are drawn anew', () =>
    withServer({}, async ({ client }) => {
      const draws = Array.from({ length: 4 }, async () => {
        const { choices } = await client.completions.create({ model: 'paper', prompt: 'x', max_tokens: 20 });
        return choices[0]!.text;
      });
      expect(new Set(await Promise.all(draws)).size).toBe(4);
    }));

  it('end before a stop text, of which nothing is shown', () =>
    withServer({}, async ({ client }) => {
      const text = paperText('Once upon', 30);
      const stop = text.slice(10, 13);
      const request = { ...greedy, prompt: 'Once upon', max_tokens: 30, stop: [stop, 'never'] };
      const whole = await client.completions.create(request);
      expect(whole.choices[0]).toMatchObject({ text: text.slice(0, text.indexOf(stop)), finish_reason: 'stop' });
      let streamed = '';
      for await (const { choices } of await client.completions.create({ ...request, stop, stream: true })) {
        streamed += choices[0]!.text;
      }
      expect(streamed).toBe(whole.choices[0]!.text);
    }));

  it('end at the model’s stop tokens, unless told to ignore them', () => {
    const tokens = paperTokenizer.encode(paperText('Once upon', 10));
    const end = tokens.findIndex((token, i) => i > 2 && !tokens.subarray(0, i).includes(token));
    return withServer({ stopTokens: [tokens[end]!] }, async ({ client }) => {
      const request = { ...greedy, prompt: 'Once upon', max_tokens: 10 };
      const stopped = await client.completions.create(request);
      expect(stopped.choices[0]).toMatchObject({ text: paperText('Once upon', end), finish_reason: 'stop' });
      expect(stopped.usage!.completion_tokens).toBe(end + 1);
      const ignored = await client.completions.create({ ...request, ignore_eos: true } as typeof request);
      expect(ignored.choices[0]!.text).toBe(paperText('Once upon', 10));
    });
  });

  it('say how likely each token was, of the model’s own numbers, and draw the same tokens', () =>
    withServer({}, async ({ client }) => {
      const request = { model: 'paper', prompt: 'Once upon', max_tokens: 12, temperature: 1.7, seed: 6 };
      const plain = await client.completions.create(request);
      const { choices } = await client.completions.create({ ...request, logprobs: 2 });
      const { text, logprobs } = choices[0]!;
      expect(text).toBe(plain.choices[0]!.text);
      expect(logprobs!.tokens).toEqual([...text]);
      expect(logprobs!.text_offset).toEqual(Array.from({ length: 12 }, (_, i) => i));
      // The likeliest of 97 has the logit 1, all others 0.
      const total = Math.log(Math.E + 96);
      for (const [i, character] of [...text].entries()) {
        const [likeliest, other] = Object.entries(logprobs!.top_logprobs![i]!);
        expect(likeliest![0]).toBe(paperText(`Once upon${text.slice(0, i)}`, 1));
        expect(likeliest![1]).toBeCloseTo(1 - total, 5);
        expect(other![1]).toBeCloseTo(-total, 5);
        expect(logprobs!.token_logprobs![i]).toBeCloseTo(character === likeliest![0] ? 1 - total : -total, 5);
      }
      const pieces = await all(await client.completions.create({ ...request, logprobs: 2, stream: true }));
      const parts = pieces.flatMap((piece) => piece.choices[0]!.logprobs ?? []);
      for (const field of ['tokens', 'token_logprobs', 'top_logprobs', 'text_offset'] as const) {
        expect(parts.flatMap((part) => part[field] as unknown[])).toEqual(logprobs![field]);
      }
    }));

  it('draw by temperature, top_p and top_k', () =>
    withServer({}, async ({ client }) => {
      const request = { model: 'paper', prompt: 'Once upon', max_tokens: 12 };
      // The likeliest has e/96 times as much as all others together: a nucleus of 2% holds nothing else.
      for (const narrow of [{ temperature: 0.01 }, { top_p: 0.02 }, { top_k: 1 }]) {
        const { choices } = await client.completions.create({ ...request, ...narrow });
        expect(choices[0]!.text, JSON.stringify(narrow)).toBe(paperText('Once upon', 12));
      }
      const wide = await client.completions.create({ ...request, top_k: -1, top_p: 1, seed: 1 } as typeof request);
      expect(wide.choices[0]!.text).not.toBe(paperText('Once upon', 12));
    }));
});

describe('conversations', () => {
  it('are asked plainly, and answered until the next question', () =>
    withServer({ contextLength: 100 }, async ({ client }) => {
      const messages = [
        { role: 'developer' as const, content: 'Be short.' },
        { role: 'user' as const, content: [{ type: 'text' as const, text: 'Wh' }, { type: 'text' as const, text: 'y?' }] },
      ];
      const text = paperText(`System: Be short.\n\n${asked('Why?')}`, 9);
      const answer = await client.chat.completions.create({ ...greedy, messages, max_completion_tokens: 9 });
      expect(answer.object).toBe('chat.completion');
      expect(answer.choices[0]).toMatchObject({ message: { role: 'assistant', content: text }, finish_reason: 'length' });
      const pieces = await all(
        await client.chat.completions.create({ ...greedy, messages, max_tokens: 9, stream: true }),
      );
      expect(pieces[0]!.choices[0]!.delta).toEqual({ role: 'assistant', content: '' });
      expect(pieces.map(({ choices }) => choices[0]!.delta.content ?? '').join('')).toBe(text);
      expect(pieces.at(-1)!.choices[0]).toMatchObject({ delta: {}, finish_reason: 'length' });
      expect(pieces.every(({ object }) => object === 'chat.completion.chunk')).toBe(true);
    }));

  it('go on as far as the context allows unless told', () =>
    withServer({ contextLength: 60, maxTokens: 25 }, async ({ client }) => {
      const ask = async (content: string): Promise<number> => {
        const messages = [{ role: 'user' as const, content }];
        return (await client.chat.completions.create({ ...greedy, messages })).usage!.completion_tokens;
      };
      expect(await ask('Why?')).toBe(25);
      expect(await ask('Why? Why? Why? Why? Why?')).toBe(60 - asked('Why? Why? Why? Why? Why?').length);
    }));

  it('say how likely each token was, but for the one that ends them', () => {
    const prompt = asked('Why?');
    const tokens = paperTokenizer.encode(paperText(prompt, 12));
    const end = tokens.findIndex((token, i) => i > 2 && !tokens.subarray(0, i).includes(token));
    return withServer({ contextLength: 100, stopTokens: [tokens[end]!] }, async ({ client }) => {
      const messages = [{ role: 'user' as const, content: 'Why?' }];
      const request = { ...greedy, messages, max_tokens: 12, logprobs: true, top_logprobs: 1 };
      const content = (await client.chat.completions.create(request)).choices[0]!.logprobs!.content!;
      const text = paperText(prompt, end);
      expect(content.map(({ token }) => token).join('')).toBe(text);
      expect(content[0]).toEqual({
        token: text[0],
        logprob: expect.closeTo(1 - Math.log(Math.E + 96), 5),
        bytes: [...Buffer.from(text[0]!)],
        top_logprobs: [{ token: text[0], logprob: content[0]!.logprob, bytes: [...Buffer.from(text[0]!)] }],
      });
      const pieces = await all(await client.chat.completions.create({ ...request, stream: true }));
      expect(pieces.flatMap(({ choices }) => choices[0]!.logprobs?.content ?? [])).toEqual(content);
    });
  });

  it('can be streamed by the client’s helper', () =>
    withServer({ contextLength: 100 }, async ({ client }) => {
      const messages = [{ role: 'user' as const, content: 'Why?' }];
      const run = client.chat.completions.stream({ ...greedy, messages, max_tokens: 11 });
      expect(await run.finalContent()).toBe(paperText(asked('Why?'), 11));
    }));

  it('are written by the template that came with the model', () => {
    const template = {
      render: (messages: readonly { role: string; content: string }[]) => {
        if (messages[0]!.role === 'system') throw new LabError('The chat template refuses these messages: no system.');
        return messages.map(({ role, content }) => `[${role}] ${content}`).join('');
      },
    };
    return withServer({ conversation: templateConversation(template, paperTokenizer) }, async ({ client, url }) => {
      const messages = [{ role: 'user' as const, content: 'Why?' }];
      const { choices } = await client.chat.completions.create({ ...greedy, messages, max_tokens: 7 });
      expect(choices[0]!.message.content).toBe(paperText('[user] Why?', 7));
      const refused = await post(`${url}/v1/chat/completions`, { model: 'paper', messages: [{ role: 'system', content: '' }] });
      expect(refused).toMatchObject({ status: 400, error: { param: 'messages', message: expect.stringMatching(/no system/) } });
    });
  });

  it('plainly: every message is a paragraph, and the answer’s turn comes last', () => {
    const conversation = plainConversation(paperTokenizer);
    const ids = conversation.encode([
      { role: 'user', content: 'a' },
      { role: 'assistant', content: 'b' },
      { role: 'user', content: 'c' },
    ]);
    expect(paperTokenizer.decode(ids)).toBe('User: a\n\nAssistant: b\n\nUser: c\n\nAssistant:');
    expect(conversation.stop).toEqual(['\nUser:']);
  });
});

describe('beside them', () => {
  it('the model can be listed and looked up', () =>
    withServer({ model: 'a/b c' }, async ({ client }) => {
      expect((await all(client.models.list())).map(({ id }) => id)).toEqual(['a/b c']);
      expect(await client.models.retrieve('a/b c')).toMatchObject({ id: 'a/b c', object: 'model', max_model_len: 64 });
      await expect(client.models.retrieve('other')).rejects.toMatchObject({ status: 404, code: 'model_not_found' });
    }));

  it('metrics count what happened, in Prometheus’s format', () =>
    withServer({}, async ({ client, url }) => {
      await client.completions.create({ ...greedy, prompt: 'twelve chars', max_tokens: 6 });
      await client.completions.create({ ...greedy, prompt: 'twelve chars', max_tokens: 6 });
      await post(`${url}/v1/completions`, '{');
      await expect.poll(async () => (await fetch(`${url}/metrics`)).text()).toContain('status="400"} 1');
      const answer = await fetch(`${url}/metrics`);
      expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
      const text = await answer.text();
      const value = (name: string): number => {
        const found = text.split('\n').find((line) => line.startsWith(`${name} `));
        return Number(found?.split(' ')[1]);
      };
      expect(value('lab_http_requests_total{path="/v1/completions",status="200"}')).toBe(2);
      expect(value('lab_http_requests_total{path="/v1/completions",status="400"}')).toBe(1);
      expect(value('lab_answers_total{reason="length"}')).toBe(2);
      expect(value('lab_prompt_tokens_total')).toBe(24);
      expect(value('lab_prompt_tokens_cached_total')).toBe(8);
      expect(value('lab_generated_tokens_total')).toBe(12);
      expect(value('lab_cache_blocks')).toBe(64);
      expect(value('lab_cache_blocks_used')).toBe(0);
      expect(value('lab_time_to_first_token_seconds_count')).toBe(2);
      expect(value('lab_time_to_first_token_seconds_bucket{le="+Inf"}')).toBe(2);
      expect(value('lab_inter_token_seconds_count')).toBe(10);
      const lines = text.trimEnd().split('\n');
      expect(lines.filter((line) => !/^(# (HELP|TYPE) lab_\w+ .+|lab_\w+(\{[^}]*\})? [\d.e+-]+)$/.test(line))).toEqual([]);
      const typed = lines.filter((line) => line.startsWith('# TYPE')).map((line) => line.split(' ')[2]);
      expect(new Set(typed).size).toBe(typed.length);
    }));

  it('needs an engine that can read texts', () => {
    const engine = new Engine(new PaperExecutor({ blocks: 4, blockSize: 4 }));
    expect(() => new APIServer(engine, { model: 'mute' })).toThrow(/needs an engine with a tokenizer/);
  });

  it('what bench serve measures, in short: with clients that leave all the time nobody else loses anything', async () => {
    await startBackend({ backend: 'wasm', threads: 1 });
    const before = tf.memory().numTensors;
    const [requests, health] = await serverRows('wasm', SIZES['tiny']!, true);
    expect(requests!.shape).toMatch(/^8 clients and 2 that leave, 2 s: [1-9]\d* served, 0 lost, [1-9]\d* left$/);
    expect(requests!.tokensPerSecond).toBeGreaterThan(0);
    expect(health!.shape).toMatch(/^[1-9]\d* times, p99 [\d.]+ ms$/);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('the lab’s own model answers over the wire as the engine does', async () => {
    await startBackend({ backend: 'wasm', threads: 1 });
    const tokenizer = CharacterTokenizer.train('abcdefghijkl ');
    const { vocabSize } = tokenizer;
    const model = new Transformer({ vocabSize, contextLength: 40, layers: 1, width: 16, heads: 2, seed: 3 });
    const engine = Engine.forModel(model, { tokenizer, batchInvariant: true });
    const server = new APIServer(engine, { model: 'lab' });
    await server.listen({ port: 0 });
    const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 });
    const options = { temperature: 0.9, seed: 5 };
    const { text } = await engine.submit('a bad cab', { ...options, maxTokens: 20 }).result;
    const request = { model: 'lab', prompt: 'a bad cab', ...options, max_tokens: 20 };
    const answers = await Promise.all(Array.from({ length: 3 }, () => client.completions.create(request)));
    expect(answers.map(({ choices }) => choices[0]!.text)).toEqual([text, text, text]);
    await server.stop();
    await engine.dispose();
    model.dispose();
  });
});

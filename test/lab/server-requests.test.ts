/** @file Requests that make no sense: each gets its status and an error in OpenAI's shape, and nobody else notices. */
import { describe, expect, it } from 'vitest';
import { emptied, paperText, post, rawConnection, rawPost, withServer } from './server-fixture.ts';

const greedy = { model: 'paper', temperature: 0, prompt: 'Once upon' } as const;
/** A prompt of a byte that begins nothing. */
const notUTF8 = Uint8Array.from(Buffer.from('{"model":"paper","prompt":"\xff"}', 'latin1'));

type BadRequest = readonly [
  name: string,
  body: object | string | Uint8Array<ArrayBuffer>,
  status: number,
  param: string | null,
  message: RegExp,
];

describe('a request that makes no sense gets its status and an error in OpenAI’s shape', () => {
  const message = (role: unknown, content: unknown): object => ({ model: 'paper', messages: [{ role, content }] });
  const completions: BadRequest[] = [
    ['no JSON', '{"model": ', 400, null, /not JSON/],
    ['an empty body', '', 400, null, /not JSON/],
    ['an array', '[]', 400, null, /must be a JSON object, got an empty array/],
    ['null', 'null', 400, null, /must be a JSON object/],
    ['invalid UTF-8', notUTF8, 400, null, /JSON in UTF-8/],
    ['a thousand brackets', '['.repeat(100_000), 400, null, /not JSON/],
    ['no model', { prompt: 'a' }, 400, 'model', /model is missing/],
    ['a model of another type', { ...greedy, model: 3 }, 400, 'model', /must be a string, got 3/],
    ['an unknown model', { ...greedy, model: 'gpt-9' }, 404, 'model', /no model 'gpt-9' here; there is 'paper'/],
    ['no prompt', { model: 'paper' }, 400, 'prompt', /prompt is missing/],
    ['an empty prompt', { ...greedy, prompt: '' }, 400, 'prompt', /prompt is empty/],
    ['no prompts', { ...greedy, prompt: [] }, 400, 'prompt', /must be a string, strings, .* got an empty array/],
    ['a prompt among others that is empty', { ...greedy, prompt: ['a', ''] }, 400, 'prompt', /prompt is empty/],
    ['a prompt that is a number', { ...greedy, prompt: 5 }, 400, 'prompt', /must be a string/],
    ['mixed prompts', { ...greedy, prompt: [1, 'a'] }, 400, 'prompt', /must be a string/],
    ['a token that there is not', { ...greedy, prompt: [1, 97] }, 400, 'prompt', /Token 97 at position 1/],
    ['half a token', { ...greedy, prompt: [1.5] }, 400, 'prompt', /Token 1.5/],
    ['a character that there is not', { ...greedy, prompt: 'naïve' }, 400, 'prompt', /ï/],
    ['half a character', { ...greedy, prompt: '\uD800' }, 400, 'prompt', /./],
    ['a prompt as long as the context', { ...greedy, prompt: 'a'.repeat(64) }, 400, 'prompt', /At most 64 tokens fit/],
    ['max_tokens 0', { ...greedy, max_tokens: 0 }, 400, 'max_tokens', /whole number from 1 on, got 0/],
    ['max_tokens below 0', { ...greedy, max_tokens: -1 }, 400, 'max_tokens', /got -1/],
    ['half of max_tokens', { ...greedy, max_tokens: 1.5 }, 400, 'max_tokens', /got 1.5/],
    ['max_tokens in words', { ...greedy, max_tokens: '5' }, 400, 'max_tokens', /got a string/],
    ['more than fits', { ...greedy, max_tokens: 56 }, 400, 'prompt', /the prompt has 9, the answer is to have 56/],
    ['much more than fits', { ...greedy, max_tokens: 1e300 }, 400, 'max_tokens', /got 1e\+300/],
    ['infinitely many', `{"model":"paper","prompt":"a","max_tokens":1e999}`, 400, 'max_tokens', /got Infinity/],
    ['a temperature below 0', { ...greedy, temperature: -0.1 }, 400, 'temperature', /from 0 to 2, got -0.1/],
    ['a temperature of 3', { ...greedy, temperature: 3 }, 400, 'temperature', /got 3/],
    ['top_p 0', { ...greedy, top_p: 0 }, 400, 'top_p', /above 0 up to 1, got 0/],
    ['top_k in words', { ...greedy, top_k: 'all' }, 400, 'top_k', /whole number/],
    ['half a seed', { ...greedy, seed: 0.5 }, 400, 'seed', /whole number, got 0.5/],
    ['n 0', { ...greedy, n: 0 }, 400, 'n', /from 1 to 12, got 0/],
    ['many answers', { ...greedy, n: 1e6 }, 400, 'n', /from 1 to 12/],
    ['many answers to many prompts', { ...greedy, prompt: ['a', 'b'], n: 7 }, 400, 'n', /more than 12 answers/],
    ['a stop that is a number', { ...greedy, stop: [1] }, 400, 'stop', /a string, or an array of at most 16/],
    ['very many stops', { ...greedy, stop: Array.from({ length: 17 }, String) }, 400, 'stop', /at most 16/],
    ['stream in words', { ...greedy, stream: 'yes' }, 400, 'stream', /true or false/],
    ['stream_options of another type', { ...greedy, stream_options: true }, 400, 'stream_options', /must be a JSON object/],
    ['include_usage 1', { ...greedy, stream_options: { include_usage: 1 } }, 400, 'stream_options.include_usage', /./],
    ['echo', { ...greedy, echo: true }, 400, 'echo', /not supported/],
    ['many logprobs', { ...greedy, logprobs: 21 }, 400, 'logprobs', /from 0 to 20, got 21/],
    ['a penalty', { ...greedy, frequency_penalty: 0.5 }, 400, 'frequency_penalty', /not supported/],
    ['best_of', { ...greedy, best_of: 3 }, 400, 'best_of', /not supported/],
    ['a suffix', { ...greedy, suffix: 'end' }, 400, 'suffix', /not supported/],
    ['a bias', { ...greedy, logit_bias: { 5: 1 } }, 400, 'logit_bias', /not supported/],
  ];
  const chats: BadRequest[] = [
    ['no messages', { model: 'paper' }, 400, 'messages', /messages is missing/],
    ['an empty conversation', { model: 'paper', messages: [] }, 400, 'messages', /at least one message/],
    ['a text for messages', { model: 'paper', messages: 'hi' }, 400, 'messages', /must be an array, got a string/],
    ['a message that is a text', { model: 'paper', messages: ['hi'] }, 400, 'messages[0]', /must be a JSON object/],
    ['no role', message(undefined, 'a'), 400, 'messages[0].role', /is missing/],
    ['an unknown role', message('king', 'a'), 400, 'messages[0].role', /'king' is none of: system, user/],
    ['a content of another type', message('user', 5), 400, 'messages[0].content', /got 5/],
    ['a picture', message('user', [{ type: 'image_url' }]), 400, 'messages[0].content[0].type', /must be 'text'/],
    ['a part without a text', message('user', [{ type: 'text' }]), 400, 'messages[0].content[0].text', /is missing/],
    ['a long conversation', message('user', 'a'.repeat(60)), 400, 'messages', /the prompt has 78/],
    ['tools', { ...message('user', 'a'), tools: [{}] }, 400, 'tools', /not supported/],
    ['JSON', { ...message('user', 'a'), response_format: { type: 'json_object' } }, 400, 'response_format', /not supported/],
    ['logprobs 1', { ...message('user', 'a'), logprobs: 1 }, 400, 'logprobs', /true or false/],
    ['top_logprobs alone', { ...message('user', 'a'), top_logprobs: 2 }, 400, 'top_logprobs', /needs logprobs/],
    ['no token', { ...message('user', 'a'), max_completion_tokens: 0 }, 400, 'max_completion_tokens', /from 1/],
  ];

  it('all of them, while another request is in work', () =>
    withServer({ maxSamples: 12, passMs: 5 }, async ({ client, url, engine }) => {
      const other = client.completions.create({ ...greedy, max_tokens: 55 });
      for (const [path, cases] of [
        ['/v1/completions', completions],
        ['/v1/chat/completions', chats],
      ] as const) {
        for (const [name, body, status, param, words] of cases) {
          const answer = await post(url + path, body);
          expect(answer.status, name).toBe(status);
          expect(answer.headers.get('content-type'), name).toMatch(/^application\/json/);
          const { message: told, code, ...error } = answer.error;
          expect(error, name).toEqual({ type: 'invalid_request_error', param });
          expect(told, name).toMatch(words);
          if (status === 404) expect(code).toBe('model_not_found');
        }
      }
      const long = await post(`${url}/v1/completions`, { ...greedy, max_tokens: 56 });
      expect(long.error.code).toBe('context_length_exceeded');
      expect((await other).choices[0]!.text).toBe(paperText('Once upon', 55));
      await emptied(engine);
    }));

  it('a prompt longer than the whole cache', () =>
    withServer({ blocks: 5, contextLength: 64 }, async ({ url, client }) => {
      const refused = await post(`${url}/v1/completions`, { ...greedy, prompt: 'a'.repeat(21) });
      expect(refused).toMatchObject({ status: 400, error: { code: 'context_length_exceeded' } });
      expect(refused.error.message).toMatch(/At most 21 tokens fit/);
      const { choices } = await client.completions.create({ ...greedy, prompt: 'a'.repeat(20) });
      expect(choices[0]!.text).toBe(paperText('a'.repeat(20), 1));
    }));

  it('more tokens than the server writes', () =>
    withServer({ maxTokens: 5 }, async ({ url }) => {
      const refused = await post(`${url}/v1/completions`, { ...greedy, max_tokens: 6 });
      expect(refused).toMatchObject({ status: 400, error: { param: 'max_tokens' } });
      expect((await post(`${url}/v1/completions`, greedy)).status).toBe(200);
    }));

  it('fields that nobody knows, and nulls, are no reason', () =>
    withServer({}, async ({ url }) => {
      const nothing = { stop: null, n: null, seed: null, stream: null, logprobs: null, user: 'me', metadata: { a: 1 } };
      const harmless = { frequency_penalty: 0, presence_penalty: 0, logit_bias: {}, best_of: 1, echo: false, __proto__x: 1 };
      const answer = await post(`${url}/v1/completions`, { ...greedy, ...nothing, ...harmless });
      expect(answer.status).toBe(200);
    }));

  it('the wrong place, way or type', () =>
    withServer({}, async ({ url }) => {
      const get = await fetch(`${url}/v1/completions`);
      expect([get.status, get.headers.get('allow')]).toEqual([405, 'POST']);
      expect(await get.text()).toMatch(/takes POST/);
      expect(await post(`${url}/v1/embeddings`, {})).toMatchObject({ status: 404, error: { type: 'invalid_request_error' } });
      expect((await post(`${url}/%zz`, {})).error.message).toMatch(/./);
      const typed = await post(`${url}/v1/completions`, greedy, { 'content-type': 'text/plain' });
      expect(typed.status).toBe(415);
      expect(typed.error.message).toMatch(/Content-Type: application\/json/);
    }));

  it('a body that is too large', () =>
    withServer({ maxBodyBytes: 10_000 }, async ({ url, client }) => {
      const large = await post(`${url}/v1/completions`, { ...greedy, prompt: 'a'.repeat(20_000) });
      expect(large).toMatchObject({ status: 413, error: { type: 'invalid_request_error' } });
      await expect(client.completions.create({ ...greedy, prompt: 'a'.repeat(20_000) })).rejects.toMatchObject({ status: 413 });
    }));

  it('what is no HTTP, and what never comes to an end', () =>
    withServer({ receiveSeconds: 0.3 }, async ({ url }) => {
      const garbage = await rawConnection(url);
      garbage.socket.write('HELLO\r\n\r\n');
      await garbage.closed;
      expect(garbage.text()).toMatch(/^HTTP\/1\.1 400 [^]*"type":"invalid_request_error"/);
      const half = await rawConnection(url);
      half.socket.write(rawPost('/v1/completions', greedy).slice(0, -1));
      await half.closed;
      expect(half.text()).toMatch(/^HTTP\/1\.1 408 /);
    }));
});

describe('a key', () => {
  it('is asked for at /v1 and nowhere else', () =>
    withServer({ apiKey: 'secret' }, async ({ url, client }) => {
      for (const authorization of ['', 'Bearer secret2', 'secret', 'Bearer ']) {
        const answer = await post(`${url}/v1/completions`, greedy, authorization === '' ? {} : { authorization });
        expect(answer).toMatchObject({ status: 401, error: { type: 'authentication_error', code: 'invalid_api_key' } });
      }
      await expect(client.models.list()).rejects.toMatchObject({ status: 401 });
      expect((await client.withOptions({ apiKey: 'secret' }).models.list()).data).toHaveLength(1);
      expect((await fetch(`${url}/health`)).status).toBe(200);
      expect((await fetch(`${url}/metrics`)).status).toBe(200);
    }));
});

/** @file `npm run lab -- serve`: starts, says where, answers, and stops when it is told to. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CharacterTokenizer, labFolder, projectRoot, savePretrained, startBackend, Transformer } from 'lab';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const main = join(projectRoot(), 'lab', 'dist', 'cli', 'main.js');
mkdirSync(labFolder(), { recursive: true });
const folder = mkdtempSync(labFolder('scratch-'));
const env = { ...process.env, LAB_BACKEND: 'wasm', LAB_THREADS: '1', LAB_API_KEY: '' };
const tokenizer = CharacterTokenizer.train('abcdefghijklmnopqrstuvwxyzUA: \n[]?');
const children: ChildProcess[] = [];

beforeAll(async () => {
  await startBackend({ backend: 'wasm', threads: 1 });
  const { vocabSize } = tokenizer;
  const sizes = { contextLength: 400, layers: 1, width: 16, heads: 2 };
  const model = new Transformer({ vocabSize, ...sizes, seed: 3, initializerStd: 0.5 });
  await savePretrained(model, join(folder, 'tiny'), { tokenizer });
  const template = '{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}';
  writeFileSync(join(folder, 'tiny', 'tokenizer_config.json'), JSON.stringify({ chat_template: template }));
});
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

interface Served {
  readonly child: ChildProcess;
  readonly client: OpenAI;
  readonly output: () => string;
}

async function serve(args: readonly string[], more: NodeJS.ProcessEnv = {}): Promise<Served> {
  const child = spawn(process.execPath, [main, 'serve', ...args, '--port', '0'], { cwd: folder, env: { ...env, ...more } });
  children.push(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += String(data)));
  await expect.poll(() => output, { timeout: 30_000 }).toMatch(/http:\/\/\S+\/v1/);
  const baseURL = /http:\/\/\S+\/v1/.exec(output)![0];
  return { child, client: new OpenAI({ baseURL, apiKey: 'secret', maxRetries: 0 }), output: () => output };
}

describe('serve', () => {
  it('answers under the folder’s name, asks by its template, and ends well on SIGTERM', async () => {
    const { child, client, output } = await serve(['--model', 'tiny', '--max-sequences', '4', '--batch-invariant']);
    expect(output()).toMatch(/http:\/\/127\.0\.0\.1:\d+\/v1 serves tiny: chunked, 100 blocks of 16 tokens\.\n$/);
    const request = { model: 'tiny', temperature: 0, max_tokens: 12 };
    const { choices } = await client.chat.completions.create({ ...request, messages: [{ role: 'user', content: 'why?' }] });
    const same = await client.completions.create({ ...request, prompt: '[user] why?' });
    expect(choices[0]!.message.content).toBe(same.choices[0]!.text);
    expect(same.choices[0]!.text).toHaveLength(12);
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
    expect(output()).toMatch(/Stopping: answers in work have 10 s/);
  });

  it('lets the answers in work end on SIGINT, and asks for the key of the environment', async () => {
    const args = ['--model', 'tiny', '--name', 'mine', '--scheduler', 'splitFuse', '--block-size', '8', '--blocks', '60'];
    const { child, client, output } = await serve(args, { LAB_API_KEY: 'secret' });
    expect(output()).toMatch(/serves mine: splitFuse, 60 blocks of 8 tokens/);
    await expect(client.withOptions({ apiKey: 'other' }).models.list()).rejects.toMatchObject({ status: 401 });
    const pieces = await client.completions.create({ model: 'mine', prompt: 'why?', max_tokens: 300, stream: true });
    let text = '';
    for await (const { choices } of pieces) {
      if (text === '') child.kill('SIGINT');
      text += choices[0]!.text;
    }
    expect(text).toHaveLength(300);
    if (child.exitCode === null) await once(child, 'exit');
    expect(child.exitCode).toBe(0);
  });

  it.each<[string[], RegExp]>([
    [['--model', 'nowhere'], /There is no folder nowhere/],
    [['nobody'], /There is no checkpoint .*nobody\.safetensors/],
    [['--model', 'tiny', '--scheduler', 'fair'], /There is no scheduler 'fair'\. Schedulers: static, dynamic, orca/],
    [['--model', 'tiny', '--max-sequences', '0'], /--max-sequences takes a whole number, 1 or more; got 0/],
    [['--model', 'tiny', '--timeout', '0'], /--timeout takes seconds above 0/],
    [['--model', 'tiny', '--host', '203.0.113.1'], /This machine has no address 203\.0\.113\.1/],
  ])('%j is refused in a sentence', (args, message) => {
    const { status, stderr } = spawnSync(process.execPath, [main, 'serve', ...args], { cwd: folder, env, encoding: 'utf8' });
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/ {4}at /);
    expect(status).toBe(2);
  });
});

/** @file The command line with models of others: train here, export, let the exported folder write, and measure it. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { labFolder, projectRoot, Random } from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fixturePath } from './interop-fixture.ts';

const main = join(projectRoot(), 'lab', 'dist', 'cli', 'main.js');
mkdirSync(labFolder(), { recursive: true });
const folder = mkdtempSync(labFolder('scratch-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const env = { ...process.env, LAB_BACKEND: 'wasm', LAB_THREADS: '1' };

function lab(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [main, ...args], { cwd: folder, env, encoding: 'utf8' });
}

const random = new Random(2);
const story = Array.from({ length: 1500 }, () => random.pick(['the ', 'cat ', 'sat ', 'on ', 'a ', 'mat. ', 'ran.\n'])).join('');
const exported = join(folder, 'exported');

beforeAll(() => {
  writeFileSync(join(folder, 'story.txt'), story);
  writeFileSync(join(folder, 'other.txt'), story.slice(300, 700));
  const small = ['--layers', '1', '--heads', '2', '--width', '16', '--context', '16', '--batch', '4', '--steps', '40', '--lr', '0.01'];
  expect(lab('train', '--data', 'story.txt', ...small, '--out', './mine').status).toBe(0);
  const { status, stdout, stderr } = lab('export', './mine', 'exported');
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^Saved as gpt2, [\d,]+ parameters: .*exported\n$/);
  expect(status).toBe(0);
});

describe('a checkpoint that was exported', () => {
  it('is what transformers looks for, and writes what the checkpoint writes', () => {
    expect(readdirSync(exported).sort()).toEqual(['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json']);
    const options = ['--prompt', 'the cat ', '--tokens', '40', '--seed', '3'];
    const [own, theirs] = [lab('sample', './mine', ...options), lab('sample', '--model', 'exported', ...options)];
    expect(theirs.status).toBe(0);
    expect(theirs.stdout).toBe(own.stdout);
    expect(theirs.stdout.length).toBe('the cat '.length + 40 + 1);
  });

  it('can be rounded, and is never overwritten', () => {
    expect(lab('export', './mine', 'rounded', '--dtype', 'bf16').status).toBe(0);
    const size = (name: string): number => readFileSync(join(folder, name, 'model.safetensors')).length;
    expect(size('rounded') / size('exported')).toBeLessThan(0.8);
    const again = lab('export', './mine', 'exported');
    expect([again.status, again.stderr]).toEqual([2, expect.stringMatching(/There is a model in .*exported already/)]);
  });

  it('is measured on a text', () => {
    const { status, stdout } = lab('evaluate', '--perplexity', 'other.txt', '--model', 'exported', '--stride', '4');
    expect(status).toBe(0);
    const [found, loss, bits] = /perplexity (\d+\.\d+): (\d\.\d+) nats a token, (\d\.\d+) bits a byte/.exec(stdout)!.slice(1).map(Number);
    expect(found).toBeGreaterThan(1);
    expect(found).toBeLessThan(14); // 14 different characters
    expect(Math.exp(loss!)).toBeCloseTo(found!, 2);
    expect(bits).toBeCloseTo(((loss! / Math.LN2) * 399) / 400, 3); // a token is a byte here
    expect(stdout).toContain('399 tokens judged, 400 bytes');
  });
});

describe('a model that answers', () => {
  it('is asked in its own way, and stops where it says so', () => {
    const chat = join(folder, 'chat');
    cpSync(exported, chat, { recursive: true });
    const template = '{{ messages[0].content }}{% if add_generation_prompt %} {% endif %}';
    writeFileSync(join(chat, 'tokenizer_config.json'), JSON.stringify({ chat_template: template }));
    const options = ['--tokens', '20', '--temperature', '0'];
    const asked = lab('sample', '--model', 'chat', '--chat', '--prompt', 'the cat', ...options);
    expect(asked.status).toBe(0);
    expect(`the cat ${asked.stdout}`).toBe(lab('sample', '--model', 'chat', '--prompt', 'the cat ', ...options).stdout);
    const vocab = (JSON.parse(readFileSync(join(chat, 'tokenizer.json'), 'utf8')) as { model: { vocab: Record<string, number> } }).model.vocab;
    writeFileSync(join(chat, 'generation_config.json'), JSON.stringify({ eos_token_id: Object.values(vocab) }));
    expect(lab('sample', '--model', 'chat', '--chat', '--prompt', 'the cat', ...options).stdout).toBe('\n');
  });
});

describe('bad input gets a sentence and exit status 2', () => {
  it.each<[string[], RegExp]>([
    [['sample', '--model', 'nowhere'], /There is no folder nowhere/],
    [['sample', './mine', '--model', 'exported'], /not both/],
    [['sample', './mine', '--chat'], /--chat needs --model/],
    [['sample', '--model', 'exported', '--chat'], /has no chat template/],
    [['sample', '--model', fixturePath('gpt2')], /There is no tokenizer.json in/],
    [['evaluate'], /evaluate takes --perplexity FILE and --model DIR/],
    [['evaluate', '--perplexity', 'nowhere.txt', '--model', 'exported'], /There is no file .*nowhere.txt/],
    [['evaluate', '--perplexity', 'other.txt', '--model', 'exported', '--window', '17'], /window must be from 2 to the model's context of 16/],
    [['evaluate', '--perplexity', 'other.txt', '--model', 'exported', '--stride', '0'], /stride must be from 1/],
    [['export', './mine'], /export takes a checkpoint and a folder/],
    [['export', './nothing', 'there'], /There is no checkpoint/],
    [['export', './mine', 'there', '--dtype', 'int4'], /--dtype must be f32, f16, bf16; got 'int4'/],
    [['data', 'gpt2', '--from', 'nowhere'], /There is no config.json in .*nowhere/],
    [['data', 'gpt2', '--from', fixturePath('gpt2')], /config.json is not the expected file: its SHA-256 is/],
    [['data', 'gpt2', '--count', '3'], /--count is not an option of 'data gpt2'/],
  ])('%j', (args, says) => {
    const { status, stderr } = lab(...args);
    expect(stderr).toMatch(says);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(status).toBe(2);
  });
});

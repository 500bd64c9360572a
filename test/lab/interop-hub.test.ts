/** @file Models are fetched whole and right, or not at all. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fetchModel, hubModels, loadPretrained, sha256, startBackend, type HubModel } from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fixturePath, newFolder } from './interop-fixture.ts';

const source = fixturePath('gpt2');
const files = ['config.json', 'model.safetensors'];
const model: HubModel = {
  repository: 'somebody/tiny',
  revision: 'abc',
  files: Object.fromEntries(files.map((file) => [file, sha256(readFileSync(join(source, file)))])),
};

const asked: string[] = [];
let server: Server;
let hub: string;
beforeAll(async () => {
  await startBackend({ backend: 'wasm', threads: 1 });
  server = createServer((request, response) => {
    asked.push(request.url!);
    const [, name] = /^\/somebody\/tiny\/resolve\/abc\/(.+)$/.exec(request.url!) ?? [];
    if (name === undefined) response.writeHead(404).end();
    else response.end(readFileSync(join(source, name)));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  hub = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => server.close());

describe('a model', () => {
  it('is fetched once, file by file, and loads', async () => {
    const folder = join(newFolder(), 'models', 'tiny');
    asked.length = 0;
    await fetchModel(model, folder, { hub, quiet: true });
    expect(asked).toEqual(files.map((file) => `/somebody/tiny/resolve/abc/${file}`));
    const { model: loaded } = await loadPretrained(folder, { quiet: true });
    loaded.dispose();
    await fetchModel(model, folder, { hub, quiet: true });
    expect(asked.length).toBe(2);
    // What is damaged is fetched again.
    writeFileSync(join(folder, 'config.json'), '{}');
    await fetchModel(model, folder, { hub, quiet: true });
    expect(asked.slice(2)).toEqual(['/somebody/tiny/resolve/abc/config.json']);
    expect(readFileSync(join(folder, 'config.json'))).toEqual(readFileSync(join(source, 'config.json')));
    expect(readdirSync(folder).sort()).toEqual(files);
  });

  it('is taken from a folder without asking anybody', async () => {
    const folder = newFolder();
    asked.length = 0;
    await fetchModel(model, folder, { from: source, hub });
    expect(asked).toEqual([]);
    expect(files.map((file) => statSync(join(folder, file)).size)).toEqual(files.map((file) => statSync(join(source, file)).size));
  });

  it('that is not the right one is not kept', async () => {
    const wrong: HubModel = { ...model, files: { 'config.json': '0'.repeat(64) } };
    const folder = newFolder();
    await expect(fetchModel(wrong, folder, { hub, quiet: true })).rejects.toThrow(/is not the expected file: its SHA-256 is .* It was not kept\. .*--from DIR/);
    const copy = newFolder();
    mkdirSync(copy, { recursive: true });
    cpSync(join(source, 'config.json'), join(copy, 'config.json'));
    await expect(fetchModel(wrong, folder, { from: copy })).rejects.toThrow(/config.json is not the expected file/);
    await expect(fetchModel(model, folder, { from: copy })).rejects.toThrow(/There is no model.safetensors in/);
    expect(readdirSync(folder)).toEqual(['config.json']);
  });

  it('that is not there, or a hub that does not answer, is a sentence', async () => {
    const folder = newFolder();
    await expect(fetchModel({ ...model, revision: 'nothing' }, folder, { hub, quiet: true })).rejects.toThrow(/answered 404 .*--from DIR/);
    await expect(fetchModel(model, folder, { hub: 'http://127.0.0.1:9', quiet: true })).rejects.toMatchObject({ name: 'LabError' });
    expect(readdirSync(folder)).toEqual([]);
  });

  it('of the list has a commit and a digest for every file that is needed', () => {
    for (const { revision, files: all } of Object.values(hubModels)) {
      expect(revision).toMatch(/^[0-9a-f]{40}$/);
      expect(Object.keys(all)).toEqual(expect.arrayContaining(['config.json', 'tokenizer.json', 'model.safetensors']));
      for (const digest of Object.values(all)) expect(digest).toMatch(/^[0-9a-f]{64}$/);
    }
  });
});

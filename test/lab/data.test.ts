/** @file Batches show a model the text, all of it, and never more than it should see. */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  courseText,
  randomBatches,
  sequentialBatches,
  sha256,
  shakespeare,
  tinyShakespeare,
  TokenDataset,
  type Batch,
} from 'lab';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

const counting = (length: number): TokenDataset =>
  new TokenDataset(
    Int32Array.from({ length }, (_, i) => i),
    length,
  );

function expectNextTokens({ inputs, targets, batchSize, contextLength }: Batch): void {
  expect(inputs.length).toBe(batchSize * contextLength);
  expect(targets.length).toBe(batchSize * contextLength);
  for (let b = 0; b < batchSize; b++) {
    for (let t = 0; t < contextLength; t++) {
      const at = b * contextLength + t;
      expect(inputs[at]).toBe(inputs[b * contextLength]! + t);
      expect(targets[at]).toBe(inputs[at]! + 1);
    }
  }
}

describe('a dataset', () => {
  it('is split by position', () => {
    const [first, second] = counting(1115394).split(0.9);
    expect([first.length, second.length]).toEqual([1003854, 111540]);
    expect([first.ids[0], first.ids.at(-1), second.ids[0], second.ids.at(-1)]).toEqual([0, 1003853, 1003854, 1115393]);
  });

  it.each([[-1], [5], [1.5], [NaN]])('refuses the id %s and says where it stands', (id) => {
    expect(() => new TokenDataset([0, 1, id, 4], 5)).toThrow(
      `token id ${id} at position 2 is out of range; the vocabulary has 0 … 4`,
    );
  });

  it.each([-0.1, 1.1, NaN])('refuses to be split at %s', (fraction) => {
    expect(() => counting(10).split(fraction)).toThrow(RangeError);
  });
});

describe('random batches', () => {
  it('ask for the token that follows', () => {
    const batches = randomBatches(counting(50), { batchSize: 3, contextLength: 7, seed: 1 });
    for (let i = 0; i < 20; i++) expectNextTokens(batches.next());
  });

  it('start everywhere, the first and the last place included, about equally often', () => {
    const batches = randomBatches(counting(20), { batchSize: 100, contextLength: 8, seed: 5 });
    const counts = new Array<number>(20).fill(0);
    for (let i = 0; i < 120; i++) {
      const { inputs } = batches.next();
      for (let b = 0; b < 100; b++) counts[inputs[b * 8]!]!++;
    }
    // 12,000 draws over 12 places: 1,000 each, give or take five standard deviations.
    expect(counts.slice(12)).toEqual(new Array(8).fill(0));
    for (const count of counts.slice(0, 12)) expect(Math.abs(count - 1000)).toBeLessThan(5 * Math.sqrt(1000));
  });

  it('are the same for the same seed, others for another, and go on from a saved state', () => {
    const make = (seed: number) => randomBatches(counting(1000), { batchSize: 4, contextLength: 8, seed });
    const [a, b, c] = [make(1), make(1), make(2)];
    expect(a.next()).toEqual(b.next());
    expect(a.next()).not.toEqual(c.next());
    const state: unknown = JSON.parse(JSON.stringify(a.state));
    const following = [a.next(), a.next()];
    c.state = state;
    expect([c.next(), c.next()]).toEqual(following);
  });

  it('fit exactly into a dataset of one context and one token', () => {
    expectNextTokens(randomBatches(counting(9), { batchSize: 2, contextLength: 8 }).next());
    const one = new TokenDataset([0, 1, 2], 3);
    expect(() => randomBatches(one, { batchSize: 1, contextLength: 3 })).toThrow(/3 tokens.*a context of 3.*need 4/);
    expect(() => randomBatches(new TokenDataset([], 3), { batchSize: 1, contextLength: 3 })).toThrow(/0 tokens/);
  });

  it.each([0, -1, 2.5, NaN])('refuse a batch or context of %s', (size) => {
    expect(() => randomBatches(counting(50), { batchSize: size, contextLength: 4 })).toThrow(
      /batchSize must be a positive integer/,
    );
    expect(() => randomBatches(counting(50), { batchSize: 4, contextLength: size })).toThrow(/contextLength/);
    expect(() => sequentialBatches(counting(50), { batchSize: 4, contextLength: size })).toThrow(/contextLength/);
  });
});

describe('sequential batches', () => {
  it.each([
    [2, 1, 1],
    [10, 3, 4],
    [65, 4, 16],
    [66, 4, 16],
    [5, 2, 16],
    [129, 3, 8],
  ])('predict each of %i tokens but the first exactly once (batch %i, context %i)', (length, batchSize, contextLength) => {
    const predicted: number[] = [];
    for (const batch of sequentialBatches(counting(length), { batchSize, contextLength })) {
      expectNextTokens(batch);
      expect(batch.batchSize).toBeLessThanOrEqual(batchSize);
      expect(batch.contextLength).toBeLessThanOrEqual(contextLength);
      predicted.push(...batch.targets);
    }
    expect(predicted).toEqual(Array.from({ length: length - 1 }, (_, i) => i + 1));
  });

  it('can be gone through again', () => {
    const batches = sequentialBatches(counting(30), { batchSize: 2, contextLength: 5 });
    expect([...batches]).toEqual([...batches]);
  });

  it('refuse a text of one token', () => {
    expect(() => sequentialBatches(counting(1), { batchSize: 1, contextLength: 4 })).toThrow(/1 tokens/);
  });
});

describe('Tiny Shakespeare', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lab-data-'));
  const path = join(folder, 'kept.txt');
  let server: Server | undefined;
  const serve = async (answer: RequestListener): Promise<string> => {
    server = createServer(answer);
    await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/input.txt`;
  };
  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
    server = undefined;
    rmSync(path, { force: true });
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('is refused from a file that is something else, and nothing is kept', async () => {
    const other = join(folder, 'other.txt');
    writeFileSync(other, 'Call me Ishmael.');
    await expect(shakespeare({ from: other, path })).rejects.toThrow(
      /other.txt is not Tiny Shakespeare: its SHA-256 is .* not 86c4e6aa/,
    );
    await expect(shakespeare({ from: join(folder, 'nothing'), path })).rejects.toThrow(/There is no file/);
    expect(existsSync(path)).toBe(false);
  });

  it('is refused from a server that sends something else, and nothing is kept', async () => {
    const url = await serve((_, response) => response.end('<html>Please log in</html>'));
    await expect(shakespeare({ url, path, quiet: true })).rejects.toThrow(/not the expected file.*--from FILE/s);
    expect(existsSync(path)).toBe(false);
  });

  it('says what the server answered, and that a damaged copy is damaged', async () => {
    const url = await serve((_, response) => response.writeHead(404).end());
    await expect(shakespeare({ url, path, quiet: true })).rejects.toThrow(/404.*--from FILE/s);
    writeFileSync(path, 'not any more');
    await expect(shakespeare({ url, path, quiet: true })).rejects.toThrow(/404.*is damaged/s);
    expect(readFileSync(path, 'utf8')).toBe('not any more');
  });

  it('gives up when a server falls silent, or is not there', async () => {
    const url = await serve((_, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('First');
    });
    await expect(shakespeare({ url, path, timeLimit: 0.3, quiet: true })).rejects.toThrow(
      /nothing came for 0.3 s|longer than 0.3 s/,
    );
    await expect(shakespeare({ url: 'http://127.0.0.1:9/x', path, quiet: true })).rejects.toMatchObject({ name: 'LabError' });
  });

  it('is known by the digest that others give for it', () => {
    expect(tinyShakespeare.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(sha256('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  });
});

it('there is always a text: the course itself', async () => {
  const text = await courseText();
  expect(text.length).toBeGreaterThan(1000);
  expect(text).not.toContain('"cell_type"');
});

/**
 * @file `npm run lab -- data market`: writes the market's data set, in one of its sizes.
 */
import { resolve } from 'node:path';
import { interruptible, LabError, Progress, type Interruption } from '../base/index.ts';
import { labFolder, writeFilesAtomically, type FileContent } from '../files/index.ts';
import { marketFiles, marketSizes, withCommas, type MarketFile, type MarketSizeName } from '../worlds/index.ts';
import type { Option, Values } from './command.ts';

export const marketOptions = {
  size: { type: 'string', value: 'small|large', help: 'market: some 5 megabytes, or some 100 (default small)' },
} as const satisfies Readonly<Record<string, Option>>;

/** The seed of `datasets/market`. */
const usualSeed = 1;

/** Lines are written so many bytes at a time. */
const chunkBytes = 1 << 17;

export async function writeMarket({ size = 'small', seed = usualSeed, out }: Values): Promise<number> {
  if (!isSize(size)) throw new LabError(`--size is ${Object.keys(marketSizes).join(' or ')}, got ${size}.`);
  if (!(Number.isSafeInteger(seed) && Number(seed) >= 0)) {
    throw new LabError(`--seed takes a whole number, 0 or more; got ${seed}.`);
  }
  const folder = typeof out === 'string' ? resolve(out) : labFolder('data', `market-${size}`);
  const files = marketFiles(marketSizes[size], Number(seed));
  const counts = new Map<string, Count>();
  await interruptible(async (signal) => {
    const total = files.reduce((sum, { bytes = 0 }) => sum + bytes, 0);
    const progress = new Progress({ total: Math.round(total / 1000), unit: 'kB', label: 'writing texts' });
    const report = new Report(progress, counts, signal);
    await writeFilesAtomically(folder, files.map((file) => report.content(file)));
    progress.done();
  });
  for (const [name, { lines, bytes }] of counts) {
    const [left, right] = [withCommas(lines).padStart(9), withCommas(bytes).padStart(12)];
    console.log(`${name.padEnd(24)} ${left} lines ${right} bytes`);
  }
  console.log(folder);
  return 0;
}

function isSize(name: unknown): name is MarketSizeName {
  return typeof name === 'string' && Object.hasOwn(marketSizes, name);
}

interface Count {
  lines: number;
  bytes: number;
}

/** Turns lines into chunks, and counts what was written. */
class Report {
  readonly #progress: Progress;
  readonly #counts: Map<string, Count>;
  readonly #signal: Interruption;
  #bytes = 0;

  constructor(progress: Progress, counts: Map<string, Count>, signal: Interruption) {
    this.#progress = progress;
    this.#counts = counts;
    this.#signal = signal;
  }

  content(file: MarketFile): FileContent {
    return { name: file.name, chunks: () => this.#chunks(file) };
  }

  async *#chunks({ name, bytes, lines }: MarketFile): AsyncGenerator<Uint8Array> {
    const count = { lines: 0, bytes: 0 };
    const isCounted = bytes !== undefined;
    this.#counts.set(name, count);
    let chunk = '';
    for (const line of lines()) {
      chunk += line;
      count.lines += line.split('\n').length - 1;
      if (chunk.length >= chunkBytes) {
        yield this.#flush(chunk, count, isCounted);
        chunk = '';
        await this.#signal.breathe();
      }
      if (this.#signal.stopped) throw new LabError('Interrupted: nothing was saved.');
    }
    yield this.#flush(chunk, count, isCounted);
  }

  /** @param isCounted whether its length was known before, so that it is a part of the progress */
  #flush(chunk: string, count: Count, isCounted: boolean): Uint8Array {
    const bytes = Buffer.from(chunk);
    count.bytes += bytes.length;
    if (isCounted) this.#progress.update(Math.round((this.#bytes += bytes.length) / 1000));
    return bytes;
  }
}

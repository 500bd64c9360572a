/**
 * @file Files fetched from the internet on request: with a progress bar and time limits, and kept only if their digest is right.
 */
import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { LabError, messageOf, Progress } from '../base/index.ts';
import { writeAtomically } from '../files/index.ts';

export interface DownloadOptions {
  /** SHA-256 of the right content, in hexadecimal. */
  readonly sha256: string;
  /** Seconds until the server must have begun to answer, and longest silence after that. */
  readonly patience?: number;
  /** Seconds for the whole. */
  readonly timeLimit?: number;
  readonly quiet?: boolean;
}

/** Milliseconds; with more, a timer goes off at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/**
 * Fetches `url` into `path`, piece by piece: the file may be larger than the memory.
 *
 * @throws LabError when it cannot be reached in time or is not what was expected; `path` is untouched then.
 */
export async function download(url: string, path: string, options: DownloadOptions): Promise<void> {
  await writeAtomically(path, digestChecked(fetched(url, options), url, options.sha256));
}

/**
 * Passes the pieces of a file on.
 *
 * @param name what to call it in the error
 * @throws LabError at the end when they are not what was expected.
 */
export async function* digestChecked(pieces: AsyncIterable<Uint8Array>, name: string, expected: string): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  for await (const piece of pieces) {
    hash.update(piece);
    yield piece;
  }
  const digest = hash.digest('hex');
  if (digest === expected) return;
  throw new LabError(`${name} is not the expected file: its SHA-256 is ${digest}, not ${expected}. It was not kept.`);
}

async function* fetched(url: string, { patience = 15, timeLimit = 300, quiet = false }: DownloadOptions): AsyncGenerator<Uint8Array> {
  const stop = new AbortController();
  const whole = setTimeout(() => stop.abort(new Error(`it took longer than ${timeLimit} s`)), Math.min(timeLimit * 1000, LONGEST_TIMER));
  const silence = setTimeout(() => stop.abort(new Error(`nothing came for ${patience} s`)), patience * 1000);
  try {
    const response = await fetch(url, { signal: stop.signal });
    if (!response.ok || !response.body) throw new Error(`the server answered ${response.status} ${response.statusText}`);
    const total = Number(response.headers.get('content-length') ?? 0);
    const progress = total > 0 ? new Progress({ total, label: basename(url), unit: 'B', quiet }) : undefined;
    let done = 0;
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      yield chunk;
      silence.refresh();
      progress?.update(Math.min(total, (done += chunk.byteLength)));
    }
    progress?.done();
  } catch (error) {
    throw new LabError(`Cannot download ${url}: ${causeOf(stop.signal.aborted ? stop.signal.reason : error)}.`, { cause: error });
  } finally {
    clearTimeout(whole);
    clearTimeout(silence);
  }
}

/** fetch says only 'fetch failed'; the reason is one level down. */
function causeOf(error: unknown): string {
  const deeper = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return messageOf(deeper) || String(deeper);
}

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

export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/**
 * Fetches `url` into `path`.
 *
 * @throws LabError when it cannot be reached in time or is not what was expected; `path` is untouched then.
 */
export async function download(url: string, path: string, options: DownloadOptions): Promise<void> {
  const bytes = await fetchBytes(url, options);
  const digest = sha256(bytes);
  if (digest !== options.sha256) {
    throw new LabError(`${url} is not the expected file: its SHA-256 is ${digest}, not ${options.sha256}. It was not kept.`);
  }
  await writeAtomically(path, [bytes]);
}

async function fetchBytes(url: string, { patience = 15, timeLimit = 300, quiet = false }: DownloadOptions): Promise<Uint8Array> {
  const stop = new AbortController();
  const whole = setTimeout(() => stop.abort(new Error(`it took longer than ${timeLimit} s`)), timeLimit * 1000);
  const silence = setTimeout(() => stop.abort(new Error(`nothing came for ${patience} s`)), patience * 1000);
  const chunks: Uint8Array[] = [];
  try {
    const response = await fetch(url, { signal: stop.signal });
    if (!response.ok || !response.body) throw new Error(`the server answered ${response.status} ${response.statusText}`);
    const total = Number(response.headers.get('content-length') ?? 0);
    const progress = total > 0 ? new Progress({ total, label: basename(url), unit: 'B', quiet }) : undefined;
    let done = 0;
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      chunks.push(chunk);
      silence.refresh();
      progress?.update(Math.min(total, (done += chunk.byteLength)));
    }
    progress?.done();
    return Buffer.concat(chunks);
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

/**
 * @file The pipeline: documents pass through one filter after another, from file to file, in memory whose size does not depend
 * on the corpus's, but for the few bytes a document that the filters for duplicates name.
 *
 * A filter that must see the whole corpus first begins a new pass: it looks at what the pass before has left, then judges it,
 * and the filters behind it judge at the same time. Each pass ends with a file that is whole; an interrupted run goes on there.
 */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { interruptible, LabError, Progress, type Interruption } from '../../base/index.ts';
import { savingError, writeAtomically } from '../../files/index.ts';
import { isRemoval, type QualityDocument, type QualityFilter } from './filter.ts';
import { settledOptions, usualFilters, type CleanOptions } from './in-memory.ts';
import { excerptOf, originalsOf, Sum, Tally, withOriginals, type QualityReport, type TallyOptions } from './report.ts';
import type { CorpusSource, Unreadable } from './source.ts';
import { documentIn, keptLine, Piece, removedLine, spoolLines, textIn, unreadableLine, type SpoolLine } from './spool.ts';
import { Checkpoint, type PassResults } from './work.ts';

/** The run was interrupted; what was finished is kept, and the same call goes on from there. */
export class CleaningInterrupted extends LabError {
  override readonly name: string = 'CleaningInterrupted';
}

/**
 * Filters a corpus into `folder`: kept.jsonl, removed.jsonl (with filter and reason), report.json. Each is written whole or not
 * at all, report.json last. On the way the folder holds up to two copies of the corpus.
 *
 * @throws CleaningInterrupted after SIGINT; LabError when a record is refused or the disk is full. What passes were finished is
 * kept in the folder then, and the same call goes on behind them.
 */
export async function cleanCorpus(source: CorpusSource, folder: string, options: CleanOptions = {}): Promise<QualityReport> {
  const { filters, tally } = settledOptions({ filters: usualFilters(folder), ...options });
  const passes = intoPasses(filters);
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw savingError(error, folder);
  });
  const work = await Checkpoint.open(join(folder, '.unfinished'), {
    source: source.key,
    filters: filters.map(({ name, settings }) => ({ name, settings })),
    tally: { ...tally },
  });
  return interruptible(async (signal) => {
    const run = { source, work, tally, signal, passes: passes.length, quiet: options.quiet ?? false };
    for (const [index, pass] of passes.entries()) if (index >= work.finished) await onePass(run, index, pass);
    return finish(run, folder);
  });
}

/** Filters that judge in the same pass; the first one of each but the first pass has looked at everything before. */
function intoPasses(filters: readonly QualityFilter[]): QualityFilter[][] {
  const passes: QualityFilter[][] = [[]];
  for (const filter of filters) {
    if (filter.look) passes.push([filter]);
    else passes.at(-1)!.push(filter);
  }
  return passes;
}

interface Run {
  readonly source: CorpusSource;
  readonly work: Checkpoint;
  readonly tally: TallyOptions;
  readonly signal: Interruption;
  readonly passes: number;
  readonly quiet: boolean;
}

async function onePass(run: Run, index: number, filters: readonly QualityFilter[]): Promise<void> {
  const { work } = run;
  const label = `pass ${index + 1} of ${run.passes}: ${filters[0]?.name ?? 'reading'}`;
  try {
    const first = filters[0];
    if (index > 0 && first?.look) {
      const look = first.look.bind(first);
      await walk(run, index, `${label}, looking`, (line) => line.kept && look(documentIn(line)));
      first.settle?.();
    }
    const results = await (index === 0 ? firstPass(run, label, filters) : laterPass(run, index, label, filters));
    await work.finish(index, results);
  } finally {
    for (const filter of filters) filter.reset?.();
  }
}

/** Judges one document; its line for the spool. */
type Judge = (document: QualityDocument) => string;

function judgeWith(filters: readonly QualityFilter[], tallies: readonly Tally[], kept: Sum): Judge {
  return (document) => {
    let current = document;
    for (const [i, filter] of filters.entries()) {
      const verdict = filter.judge(current);
      tallies[i]!.add(current, verdict);
      if (verdict === undefined) continue;
      if (isRemoval(verdict)) return removedLine(current, filter.name, verdict);
      current = { ...current, text: verdict.text };
    }
    kept.add(Buffer.byteLength(current.text));
    return keptLine(current);
  };
}

/**
 * Writes what `steps` puts into the piece.
 *
 * @param total bytes of the input
 * @param steps fills the piece and says how many bytes of the input each step took
 */
async function* spooled(
  run: Run,
  label: string,
  total: number,
  steps: Iterable<number>,
  piece: Piece,
): AsyncGenerator<Uint8Array> {
  const progress = new Progress({ total: kilobytes(total), unit: 'kB', label, quiet: run.quiet });
  let done = 0;
  for (const bytes of steps) {
    done += bytes;
    await checkpointHere(run);
    if (!piece.full) continue;
    yield piece.take();
    progress.update(kilobytes(Math.min(done, total)));
  }
  yield piece.take();
  progress.update(kilobytes(total));
  progress.done();
}

const kilobytes = (bytes: number): number => Math.ceil(bytes / 1000);

async function checkpointHere({ signal, work, passes }: Run): Promise<void> {
  await signal.breathe();
  if (!signal.stopped) return;
  const done = work.finished === 0 ? 'No pass was finished' : `${work.finished} of ${passes} passes are finished and kept`;
  throw new CleaningInterrupted(
    `Interrupted. ${done}, ${Math.max(1, passes - work.finished)} to go; the same command goes on from there. ` +
      'What the folder held before is untouched.',
  );
}

async function firstPass(run: Run, label: string, filters: readonly QualityFilter[]): Promise<PassResults> {
  const { source, work, tally } = run;
  const tallies = filters.map((filter) => new Tally(filter, tally));
  const [read, kept] = [new Sum(), new Sum()];
  const unreadable: Record<string, Sum> = {};
  const unreadableExamples: Unreadable[] = [];
  let repaired = 0;
  const judge = judgeWith(filters, tallies, kept);
  const piece = new Piece();
  function* steps(): Generator<number, void> {
    for (const record of source.records()) {
      if (record.repaired) repaired++;
      if (record.document) {
        read.add(Buffer.byteLength(record.document.text));
        piece.text(judge(record.document));
      } else if (record.unreadable) {
        const sum = (unreadable[record.unreadable.reason] ??= new Sum());
        sum.add(record.bytes);
        if (sum.documents <= tally.examples) unreadableExamples.push(record.unreadable);
        piece.text(unreadableLine(record.unreadable));
      }
      yield record.bytes;
    }
  }
  await writeAtomically(work.spool(0), spooled(run, label, source.bytes, steps(), piece));
  return {
    filters: tallies.map((watch) => watch.report()),
    kept: kept.toJSON(),
    reading: { read: read.toJSON(), unreadable, unreadableExamples, repaired },
  };
}

async function laterPass(run: Run, index: number, label: string, filters: readonly QualityFilter[]): Promise<PassResults> {
  const { work, tally } = run;
  const tallies = filters.map((filter) => new Tally(filter, tally));
  const kept = new Sum();
  const judge = judgeWith(filters, tallies, kept);
  const piece = new Piece();
  function* steps(): Generator<number, void> {
    for (const line of spoolLines(work.spool(index - 1))) {
      if (line.kept) piece.text(judge(documentIn(line)));
      else piece.bytes(line.whole);
      yield line.whole.length + 1;
    }
  }
  await writeAtomically(work.spool(index), spooled(run, label, work.spoolBytes(index - 1), steps(), piece));
  return { filters: tallies.map((watch) => watch.report()), kept: kept.toJSON() };
}

/** Looks at every line of the spool before pass `index`. */
async function walk(run: Run, index: number, label: string, visit: (line: SpoolLine) => void): Promise<void> {
  const total = run.work.spoolBytes(index - 1);
  const progress = new Progress({ total: kilobytes(total), unit: 'kB', label, quiet: run.quiet });
  let done = 0;
  for (const line of spoolLines(run.work.spool(index - 1))) {
    visit(line);
    done += line.whole.length + 1;
    await checkpointHere(run);
    progress.update(kilobytes(done));
  }
  progress.done();
}

/** The last spool, taken apart; the report; and the working files go. */
async function finish(run: Run, folder: string): Promise<QualityReport> {
  const { work, source, passes } = run;
  const results = work.results;
  const filters = results.flatMap((pass) => pass.filters);
  const originals = originalsOf(filters);
  const excerpts = new Map<number, string>();
  await rm(join(folder, 'report.json'), { force: true });
  const part = async (name: string, kept: boolean): Promise<void> => {
    const piece = new Piece();
    function* steps(): Generator<number, void> {
      for (const line of spoolLines(work.spool(passes - 1))) {
        if (originals.has(line.number)) excerpts.set(line.number, beginning(line.kept, textIn(line.record)));
        if (line.kept === kept) piece.bytes(line.record);
        yield line.whole.length + 1;
      }
    }
    const label = `writing ${name}`;
    await writeAtomically(join(folder, name), spooled(run, label, work.spoolBytes(passes - 1), steps(), piece));
  };
  await part('kept.jsonl', true);
  await part('removed.jsonl', false);
  const report: QualityReport = {
    source: source.name,
    ...results[0]!.reading!,
    filters: withOriginals(filters, excerpts),
    kept: results.at(-1)!.kept,
  };
  await writeAtomically(join(folder, 'report.json'), [Buffer.from(`${JSON.stringify(report, undefined, 2)}\n`)]);
  await work.remove();
  return report;
}

function beginning(kept: boolean, json: string): string {
  const value = JSON.parse(json) as { text?: string; record?: { text: string } };
  return excerptOf((kept ? value.text : value.record?.text) ?? '');
}

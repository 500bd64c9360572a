/**
 * @file What lies where in a cache of fixed size, token by token: with one piece of memory for each request, long enough for
 * the longest answer, and with blocks that are given out as they are needed.
 * Kwon et al. 2023 (PagedAttention), sections 3.1 and 4.
 */
import { invariant } from '../base/index.ts';
import { BlockManager, BlockTable } from './block-manager.ts';

/** A request that is there from the start, or waits for room. In tokens. */
export interface MemoryVisit {
  readonly prompt: number;
  /** How many it writes; nobody knows before. */
  readonly output: number;
}

export interface MemorySpan {
  readonly kind: 'tokens' | 'kept for tokens to come' | 'kept for nothing';
  readonly from: number;
  readonly to: number;
}

/** The memory after a step, in which everybody who runs wrote a token. */
export interface MemoryStep {
  readonly running: number;
  /** Slots that hold a token. */
  readonly tokens: number;
  /** What is not free, by slots. */
  readonly spans: readonly MemorySpan[];
}

interface Piece {
  readonly from: number;
  readonly room: number;
  /** Tokens at the end of its answer. */
  readonly end: number;
  written: number;
}

/**
 * Each request gets prompt + longest slots in one piece, at the first place where it fits; first come, first served.
 *
 * @param slots of the whole cache
 * @param longest tokens of an answer at most
 * @throws RangeError for a request that never fits, or writes more than it may.
 */
export function memoryInPieces(visits: readonly MemoryVisit[], slots: number, longest: number): MemoryStep[] {
  for (const { prompt, output } of visits) {
    invariant(output <= longest, `memoryInPieces: an answer has ${output} tokens, at most ${longest} are allowed`);
    invariant(prompt + longest <= slots, `memoryInPieces: a piece of ${prompt + longest} slots never fits into ${slots}`);
  }
  const waiting = [...visits];
  const steps: MemoryStep[] = [];
  let pieces: Piece[] = [];
  while (waiting.length + pieces.length > 0) {
    for (let next = waiting[0]; next; next = waiting[0]) {
      const room = next.prompt + longest;
      const from = firstGap(pieces, room, slots);
      if (from === undefined) break;
      waiting.shift();
      pieces.push({ from, room, end: next.prompt + next.output, written: next.prompt });
      pieces.sort((a, b) => a.from - b.from);
    }
    for (const piece of pieces) piece.written++;
    steps.push(stepOf(pieces, pieces.flatMap(pieceSpans)));
    pieces = pieces.filter(({ written, end }) => written < end);
  }
  return steps;
}

/** @param pieces in the order of their places */
function firstGap(pieces: readonly Piece[], room: number, slots: number): number | undefined {
  let start = 0;
  for (const piece of pieces) {
    if (piece.from - start >= room) return start;
    start = piece.from + piece.room;
  }
  return slots - start >= room ? start : undefined;
}

function pieceSpans({ from, room, end, written }: Piece): MemorySpan[] {
  return [
    { kind: 'tokens', from, to: from + written },
    { kind: 'kept for tokens to come', from: from + written, to: from + end },
    { kind: 'kept for nothing', from: from + end, to: from + room },
  ];
}

interface Tenant extends MemoryVisit {
  readonly table: BlockTable;
  written: number;
}

/**
 * Each request gets a block when it needs one. One block for each that runs is left free at admission; where none is left all
 * the same, the last one in waits again.
 *
 * @param slots of the whole cache, a multiple of the block size
 * @throws RangeError for a request that never fits.
 */
export function memoryInBlocks(visits: readonly MemoryVisit[], slots: number, blockSize: number): MemoryStep[] {
  const manager = new BlockManager({ blocks: slots / blockSize, blockSize, prefixCaching: false });
  for (const { prompt, output } of visits) {
    const needed = manager.blocksFor(prompt + output);
    invariant(needed <= manager.blocks, `memoryInBlocks: a request needs ${needed} blocks, there are ${manager.blocks}`);
  }
  const waiting = visits.map((visit) => ({ ...visit, written: visit.prompt }));
  const steps: MemoryStep[] = [];
  let running: Tenant[] = [];
  while (waiting.length + running.length > 0) {
    for (let next = waiting[0]; next; next = waiting[0]) {
      const left = manager.free - manager.blocksFor(next.written);
      if (left < running.length || left < 0) break;
      const table = new BlockTable();
      manager.open(table, [], next.written);
      running.push({ ...next, table });
      waiting.shift();
    }
    for (let i = 0; i < running.length; i++) {
      while (i < running.length && !manager.grow(running[i]!.table, running[i]!.written + 1)) {
        const { table, ...last } = running.pop()!;
        manager.release(table);
        waiting.unshift(last);
      }
      if (i < running.length) running[i]!.written++;
    }
    const spans = running.flatMap((tenant) => blockSpans(tenant, blockSize));
    steps.push(stepOf(running, spans));
    running = running.filter((tenant) => {
      const writes = tenant.written < tenant.prompt + tenant.output;
      if (!writes) manager.release(tenant.table);
      return writes;
    });
  }
  return steps;
}

function blockSpans({ table, written }: Tenant, size: number): MemorySpan[] {
  return table.blocks.flatMap((block, index): MemorySpan[] => {
    const [from, middle] = [size * block, size * block + Math.min(size, written - size * index)];
    return [
      { kind: 'tokens', from, to: middle },
      { kind: 'kept for tokens to come', from: middle, to: from + size },
    ];
  });
}

function stepOf(running: readonly { readonly written: number }[], spans: readonly MemorySpan[]): MemoryStep {
  const tokens = running.reduce((sum, { written }) => sum + written, 0);
  return { running: running.length, tokens, spans: spans.filter(({ from, to }) => to > from) };
}

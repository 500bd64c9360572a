/**
 * @file Where every request stands: waiting, running or swapped out, each with its blocks. A scheduler moves them; the state
 * sees to it that nothing is moved that does not fit, and that a plan can be carried out.
 */
import { invariant } from '../base/index.ts';
import { BlockManager, type BlockTable, type BlockCopy, type BlockManagerOptions } from './block-manager.ts';
import type { PassPlan } from './scheduler.ts';
import type { Sequence } from './sequence.ts';

export interface ServingStateOptions extends BlockManagerOptions {
  /** Blocks of the host's memory for what is swapped out (default: as many as there are on the device). */
  readonly swapBlocks?: number;
}

/** Blocks whose content goes to the host's memory, or comes back. */
export interface Swap {
  readonly sequence: Sequence;
  readonly direction: 'out' | 'in';
  readonly blocks: readonly number[];
}

/** What must be moved before the next pass, in this order. */
export type Transfer = ({ readonly kind: 'copy' } & BlockCopy) | ({ readonly kind: 'swap' } & Swap);

/** What happened to a sequence between passes. */
export type SequenceEvent = 'arrive' | 'admit' | 'preempt' | 'swapOut' | 'swapIn' | 'finish';

export class ServingState {
  readonly manager: BlockManager;
  readonly swapBlocks: number;
  /** In seconds. */
  now = 0;
  /** Those that came first stand first; a preempted one goes back to the head. */
  readonly waiting: Sequence[] = [];
  /** In the order in which they were admitted. */
  readonly running: Sequence[] = [];
  readonly swapped: Sequence[] = [];
  /** Tokens that had been computed and were lost. */
  lostTokens = 0;
  /** Is told what happens; for logs. */
  observe: ((event: SequenceEvent, sequence: Sequence, time: number) => void) | undefined;
  #transfers: Transfer[] = [];
  #swappedBlocks = 0;

  constructor({ swapBlocks, ...options }: ServingStateOptions) {
    this.manager = new BlockManager(options);
    this.swapBlocks = swapBlocks ?? options.blocks;
  }

  /** Nobody is here. */
  get idle(): boolean {
    return this.waiting.length + this.running.length + this.swapped.length === 0;
  }

  /** @throws RangeError when it could never run, even alone. */
  add(sequence: Sequence): void {
    invariant(
      sequence.length > 0 && sequence.maxTokens > 0,
      `ServingState: request ${sequence.id} has no prompt, or wants no token`,
    );
    const needed = this.manager.blocksFor(sequence.mostComputed);
    invariant(
      needed <= this.manager.blocks,
      `ServingState: request ${sequence.id} may need ${needed} blocks, but there are ${this.manager.blocks}`,
    );
    this.waiting.push(sequence);
    this.observe?.('arrive', sequence, this.now);
  }

  /**
   * A waiting sequence starts to run, behind what the cache holds of it already.
   *
   * @param reserve tokens that get room at once; all that it has now unless told
   * @returns whether there was room; if not, nothing is changed
   */
  admit(sequence: Sequence, reserve = sequence.length): boolean {
    const { table, tokens, extras } = sequence;
    const found = this.manager.open(table, tokens, reserve, extras);
    if (found === undefined) return false;
    move(sequence, this.waiting, this.running, 'running');
    sequence.found = sequence.computed = found;
    this.observe?.('admit', sequence, this.now);
    return true;
  }

  /** Makes room for the next `tokens` tokens of a running sequence; says whether there was any. */
  extend(sequence: Sequence, tokens: number): boolean {
    const copies = this.manager.grow(sequence.table, sequence.computed + tokens, sequence.computed);
    if (!copies) return false;
    for (const copy of copies) this.#transfers.push({ kind: 'copy', ...copy });
    return true;
  }

  /** A running sequence gives up its blocks and waits at the head of the queue; all is to be computed again. */
  preempt(sequence: Sequence): void {
    move(sequence, this.running, undefined, 'waiting');
    this.waiting.unshift(sequence);
    this.manager.release(sequence.table);
    this.lostTokens += sequence.computed;
    sequence.computed = 0;
    sequence.preemptions++;
    this.observe?.('preempt', sequence, this.now);
  }

  /** A running sequence makes room by moving to the host's memory; says whether there was room for it. */
  swapOut(sequence: Sequence): boolean {
    const used = this.manager.blocksFor(sequence.computed);
    if (used === 0 || this.#swappedBlocks + used > this.swapBlocks) return false;
    move(sequence, this.running, this.swapped, 'swapped');
    const blocks = sequence.table.blocks.slice(0, used);
    this.#transfers.push({ kind: 'swap', sequence, direction: 'out', blocks });
    this.#swappedBlocks += used;
    this.manager.release(sequence.table);
    sequence.preemptions++;
    this.observe?.('swapOut', sequence, this.now);
    return true;
  }

  /** A swapped sequence comes back, with room for one more token; says whether there was room. */
  swapIn(sequence: Sequence): boolean {
    const used = this.manager.blocksFor(sequence.computed);
    // An empty table shares nothing: there is nothing to copy.
    if (!this.manager.grow(sequence.table, sequence.computed + 1)) return false;
    move(sequence, this.swapped, this.running, 'running');
    const blocks = sequence.table.blocks.slice(0, used);
    this.#transfers.push({ kind: 'swap', sequence, direction: 'in', blocks });
    this.#swappedBlocks -= used;
    this.observe?.('swapIn', sequence, this.now);
    return true;
  }

  /** A sequence leaves, wherever it stands, and its blocks are free. */
  giveBack(sequence: Sequence): void {
    if (sequence.status === 'swapped') this.#swappedBlocks -= this.manager.blocksFor(sequence.computed);
    move(sequence, this.#queueOf(sequence), undefined, 'finished');
    this.manager.release(sequence.table);
    this.observe?.('finish', sequence, this.now);
  }

  /** What must be moved before the pass; asked for once. */
  takeTransfers(): Transfer[] {
    const transfers = this.#transfers;
    this.#transfers = [];
    return transfers;
  }

  /**
   * After a pass: these tokens are computed.
   *
   * @returns the sequences whose next token can be drawn, in the plan's order
   */
  advance({ entries }: PassPlan): Sequence[] {
    const ready: Sequence[] = [];
    for (const { sequence, tokens } of entries) {
      if (tokens === 0) continue;
      sequence.computed += tokens;
      this.manager.commit(sequence.table, sequence.tokens, sequence.computed, sequence.extras);
      if (sequence.remaining === 0) ready.push(sequence);
    }
    return ready;
  }

  /** @throws RangeError when a plan cannot be carried out, naming the request. */
  checkPlan({ entries }: PassPlan): void {
    const seen = new Set<Sequence>();
    for (const { sequence, tokens, padding = 0 } of entries) {
      const { id, status, remaining, computed, table } = sequence;
      invariant(!seen.has(sequence), `The plan names request ${id} twice.`);
      seen.add(sequence);
      invariant(status === 'running', `The plan computes request ${id}, which is ${status}: admit it first.`);
      const most = sequence.complete ? 0 : remaining;
      invariant(
        Number.isInteger(tokens) && tokens >= 0 && tokens <= most && tokens + padding > 0,
        `The plan computes ${tokens} tokens of request ${id}, of which ${most} remain.`,
      );
      invariant(
        table.blocks.length >= this.manager.blocksFor(computed + tokens),
        `The plan computes request ${id} up to token ${computed + tokens}, but it has ${table.blocks.length} blocks of ` +
          `${this.manager.blockSize}: extend it first.`,
      );
    }
  }

  /** @throws RangeError when a block is leaked or shared wrongly, or a sequence stands in the wrong queue. */
  check(): void {
    const tables: BlockTable[] = [];
    for (const [status, queue] of [
      ['waiting', this.waiting],
      ['running', this.running],
      ['swapped', this.swapped],
    ] as const) {
      for (const sequence of queue) {
        const { id, table, computed, length } = sequence;
        invariant(sequence.status === status, `Request ${id} is ${sequence.status} but stands among the ${status}.`);
        invariant(computed <= length, `Request ${id} has ${length} tokens, of which ${computed} are computed.`);
        const holds = status === 'running';
        invariant(holds || table.blocks.length === 0, `Request ${id} is ${status} but holds ${table.blocks.length} blocks.`);
        invariant(
          !holds || table.blocks.length >= this.manager.blocksFor(computed),
          `Request ${id} has ${computed} tokens in ${table.blocks.length} blocks.`,
        );
        tables.push(table);
      }
    }
    this.manager.check(tables);
    const swapped = this.swapped.reduce((sum, { computed }) => sum + this.manager.blocksFor(computed), 0);
    invariant(swapped === this.#swappedBlocks, `${swapped} blocks are swapped out, but ${this.#swappedBlocks} are counted.`);
  }

  #queueOf({ status, id }: Sequence): Sequence[] {
    invariant(status !== 'finished', `Request ${id} has left already.`);
    return this[status];
  }
}

function move(sequence: Sequence, from: Sequence[], to: Sequence[] | undefined, status: Sequence['status']): void {
  const at = from.at(-1) === sequence ? from.length - 1 : from.indexOf(sequence);
  invariant(at >= 0, `Request ${sequence.id} is ${sequence.status} and cannot become ${status} from here.`);
  if (at === 0) from.shift();
  else from.splice(at, 1);
  to?.push(sequence);
  sequence.status = status;
}

/**
 * @file A model on paper: keys and values are the tokens themselves, laid down in slots, and the next token depends on all of
 * them.
 */
import type { Executor, PassPlan, Sequence, Transfer } from 'lab';

const VOCABULARY = 97;
const EMPTY = -1;

/** The token that follows. */
export function nextOnPaper(tokens: readonly number[]): number {
  return tokens.reduce((hash, token, i) => (hash * 31 + token * (i + 7)) % 100_003, 1) % VOCABULARY;
}

/** One request alone. */
export function writeOnPaper(prompt: readonly number[], maxTokens: number): number[] {
  const tokens = [...prompt];
  while (tokens.length < prompt.length + maxTokens) tokens.push(nextOnPaper(tokens));
  return tokens.slice(prompt.length);
}

/** Reads every earlier token through the block table: whoever gets a wrong block, or too late a copy, writes something else. */
export class PaperExecutor implements Executor {
  readonly vocabSize = VOCABULARY;
  readonly contextLength: number;
  readonly blocks: number;
  readonly blockSize: number;
  /** What was swapped out, by request. */
  readonly host = new Map<Sequence, number[][]>();
  disposed = false;
  /** Is asked before every pass; may throw. */
  before: ((plan: PassPlan) => void | Promise<void>) | undefined;
  /** May put something else in the place of a request's logits. */
  distort: ((sequence: Sequence, logits: Float32Array) => void) | undefined;
  readonly #content: number[][];

  constructor({ blocks, blockSize, contextLength = 64 }: { blocks: number; blockSize: number; contextLength?: number }) {
    this.blocks = blocks;
    this.blockSize = blockSize;
    this.contextLength = contextLength;
    this.#content = Array.from({ length: blocks }, () => new Array<number>(blockSize).fill(EMPTY));
  }

  async run(plan: PassPlan, transfers: readonly Transfer[]): Promise<Float32Array[]> {
    await this.before?.(plan);
    for (const transfer of transfers) this.#move(transfer);
    for (const { sequence, tokens } of plan.entries) {
      for (let at = sequence.computed; at < sequence.computed + tokens; at++)
        this.#block(sequence, at)[at % this.blockSize] = sequence.tokens[at]!;
    }
    return plan.entries
      .filter(({ sequence, tokens }) => tokens > 0 && tokens === sequence.remaining)
      .map(({ sequence }) => {
        const read = sequence.tokens.map((_, at) => this.#block(sequence, at)[at % this.blockSize]!);
        const logits = new Float32Array(VOCABULARY);
        logits[nextOnPaper(read)] = 1;
        this.distort?.(sequence, logits);
        return logits;
      });
  }

  forget(sequence: Sequence): void {
    this.host.delete(sequence);
  }

  dispose(): void {
    this.disposed = true;
  }

  #block({ table }: Sequence, at: number): number[] {
    return this.#content[table.blocks[Math.floor(at / this.blockSize)]!]!;
  }

  #move(transfer: Transfer): void {
    if (transfer.kind === 'copy') this.#content[transfer.to] = [...this.#content[transfer.from]!];
    else if (transfer.direction === 'out') {
      this.host.set(
        transfer.sequence,
        transfer.blocks.map((block) => [...this.#content[block]!]),
      );
    } else {
      const kept = this.host.get(transfer.sequence)!;
      for (const [i, block] of transfer.blocks.entries()) this.#content[block] = [...kept[i]!];
      this.host.delete(transfer.sequence);
    }
  }
}

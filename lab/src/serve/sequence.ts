/**
 * @file A request on its way through the server: its tokens, and for how many of them keys and values lie in the cache. There
 * is no "prefill phase": whatever is not computed yet is computed next, a prompt's thousand tokens or the one just drawn.
 */
import { BlockTable } from './block-manager.ts';

export type SequenceStatus = 'waiting' | 'running' | 'swapped' | 'finished';

/** What a scheduler must know of a request. */
export interface SequenceOptions {
  readonly id: number;
  /** Token ids; at least one. */
  readonly prompt: ArrayLike<number>;
  /** How many tokens it may get. */
  readonly maxTokens: number;
  /** When it came, in seconds (default 0). */
  readonly arrival?: number;
  /** What else its keys and values depend on: only requests with the same extras share blocks (default ''). */
  readonly extras?: string;
}

export class Sequence {
  readonly id: number;
  readonly arrival: number;
  readonly promptLength: number;
  readonly maxTokens: number;
  readonly extras: string;
  /** The prompt and what has been drawn. */
  readonly tokens: number[];
  status: SequenceStatus = 'waiting';
  /** It has all its tokens; a policy that answers whole batches may still keep it running. */
  complete = false;
  /** Tokens whose keys and values are there. */
  computed = 0;
  /** Tokens of the prompt that were found in the cache when it was last admitted. */
  found = 0;
  /** How often it lost its place. */
  preemptions = 0;
  readonly table = new BlockTable();

  constructor({ id, prompt, maxTokens, arrival = 0, extras = '' }: SequenceOptions) {
    this.id = id;
    this.arrival = arrival;
    this.tokens = Array.from(prompt);
    this.promptLength = this.tokens.length;
    this.maxTokens = maxTokens;
    this.extras = extras;
  }

  get length(): number {
    return this.tokens.length;
  }

  /** Tokens drawn so far. */
  get generated(): number {
    return this.tokens.length - this.promptLength;
  }

  /** Tokens to compute before the next can be drawn: 1 in decoding. */
  get remaining(): number {
    return this.tokens.length - this.computed;
  }

  /** Whether it only waits for its next token. */
  get decoding(): boolean {
    return this.remaining === 1 && this.generated > 0;
  }

  /** The most tokens that it can ever have keys and values for: the last one drawn is not computed any more. */
  get mostComputed(): number {
    return this.promptLength + this.maxTokens - 1;
  }
}

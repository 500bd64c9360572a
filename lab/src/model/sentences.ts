/**
 * @file Where sentences begin in a row of tokens, for whoever treats their beginnings and their ends differently.
 */
import type { Tokenizer } from '../tokenizer/index.ts';

/**
 * A sentence ends with a line, or with a full stop, question or exclamation mark. A full stop behind a digit may be a decimal
 * point, which only the blank behind it decides.
 */
export class SentencePlaces {
  readonly #tokenizer: Tokenizer;
  readonly #texts: string[] = [];

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** The place of each token in its sentence, 0 for the first one; and behind them that of the token to come. */
  of(ids: ArrayLike<number>): Int32Array {
    const places = new Int32Array(ids.length + 1);
    let place = 0;
    let before = '';
    for (let i = 0; i < ids.length; i++) {
      const text = this.#textOf(ids[i]!);
      if (/^\s/.test(text) && /[.!?]$/.test(before)) place = 0;
      places[i] = place++;
      before = (before + text).slice(-2);
      if (/\n\s*$/.test(text) || (/[.!?]$/.test(before) && !/\d\.$/.test(before))) place = 0;
    }
    places[ids.length] = place;
    return places;
  }

  #textOf(id: number): string {
    return (this.#texts[id] ??= this.#tokenizer.decode([id]));
  }
}

/**
 * @file Added tokens: names that are found in a text before anything else happens to it, as the library `tokenizers` finds them.
 * Those that are matched against the text as it comes go first; the others are looked for in what is left, normalized.
 */

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Only where no letter, digit or underscore stands next to it. */
  readonly singleWord: boolean;
  /** Swallows the white space before it, and behind it. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Is looked for in the normalized text. */
  readonly normalized: boolean;
  /** Says something about the text and is no part of it. */
  readonly special: boolean;
}

/** A stretch of text, or the token that stands in its place. */
export type Piece = string | number;

const WORD = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]';
const wordBefore = new RegExp(`${WORD}$`, 'u');
const wordBehind = new RegExp(`^${WORD}`, 'u');
const space = /^\p{White_Space}$/u;

export class AddedTokenFinder {
  readonly #pattern: RegExp | undefined;
  readonly #tokens: ReadonlyMap<string, AddedToken>;

  /** @param tokens where several begin at one place, the longest counts */
  constructor(tokens: readonly AddedToken[]) {
    const contents = tokens.map(({ content }) => content).filter((content) => content !== '');
    const longestFirst = contents.sort((a, b) => b.length - a.length);
    const escaped = longestFirst.map((content) => content.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'));
    this.#pattern = escaped.length > 0 ? new RegExp(escaped.join('|'), 'gu') : undefined;
    this.#tokens = new Map(tokens.map((token) => [token.content, token]));
  }

  /** The text in pieces, without empty ones. */
  split(text: string): Piece[] {
    if (!this.#pattern) return text === '' ? [] : [text];
    const pieces: Piece[] = [];
    let end = 0;
    for (const { 0: content, index } of text.matchAll(this.#pattern)) {
      const token = this.#tokens.get(content)!;
      let start = index;
      let stop = index + content.length;
      // Two code units hold any character.
      const touches = wordBefore.test(text.slice(Math.max(0, start - 2), start)) || wordBehind.test(text.slice(stop, stop + 2));
      if (token.singleWord && touches) continue;
      if (token.lstrip) while (start > end && space.test(text[start - 1]!)) start--;
      if (token.rstrip) while (stop < text.length && space.test(text[stop]!)) stop++;
      if (start > end) pieces.push(text.slice(end, start));
      pieces.push(token.id);
      end = stop;
    }
    if (end < text.length) pieces.push(text.slice(end));
    return pieces;
  }
}

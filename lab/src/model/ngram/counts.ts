/**
 * @file How often each n-gram of a text occurs, for every n up to an order: a tree in which a node is an n-gram and its
 * children are the n-grams one token longer.
 */
import { invariant } from '../../base/index.ts';

/** The empty n-gram. */
export const root = 0;
const none = -1;

export class NGramCounts {
  readonly order: number;
  readonly vocabSize: number;
  /** By node: how often the n-gram occurs. */
  readonly occurrences: number[] = [0];
  /** By node: how many different tokens stand before it (Kneser and Ney 1995 count these). */
  readonly predecessors: number[] = [0];
  /** By node: how many tokens it has. */
  readonly lengths: number[] = [0];
  readonly #lastToken: number[] = [none];
  readonly #firstChild: number[] = [none];
  readonly #nextSibling: number[] = [none];
  /** node · V + token → the child. */
  readonly #children = new Map<number, number>();

  /** @throws RangeError when an id is outside 0 … vocabSize − 1, saying which and where. */
  constructor(ids: ArrayLike<number>, order: number, vocabSize: number) {
    this.order = order;
    this.vocabSize = vocabSize;
    // The n-grams of every length that end at the token before this one; the empty one always does.
    let ending: number[] = [root];
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      checkToken(id, i, vocabSize);
      const longer = [root];
      for (const node of ending.slice(0, order)) longer.push(this.#count(node, id, longer.at(-1)!));
      this.occurrences[root]!++;
      ending = longer;
    }
  }

  /** How many n-grams there are, the empty one included. */
  get nodes(): number {
    return this.occurrences.length;
  }

  /** The n-gram with one more token, if it occurs. */
  child(node: number, token: number): number | undefined {
    return this.#children.get(node * this.vocabSize + token);
  }

  /** Calls `visit` with each token that follows the n-gram, and the longer n-gram. */
  forEachChild(node: number, visit: (token: number, child: number) => void): void {
    for (let child = this.#firstChild[node]!; child !== none; child = this.#nextSibling[child]!) {
      visit(this.#lastToken[child]!, child);
    }
  }

  /**
   * The n-grams that a text ends with after one more token, shortest (the empty one) first, as far as they occur.
   *
   * @param ending the same before that token
   */
  follow(ending: readonly number[], token: number): number[] {
    const longer = [root];
    for (const node of ending.slice(0, this.order - 1)) {
      const child = this.child(node, token);
      if (child === undefined) break;
      longer.push(child);
    }
    return longer;
  }

  /** @param shorter the n-gram without its first token, whose list of predecessors may become longer */
  #count(node: number, token: number, shorter: number): number {
    const known = this.child(node, token);
    if (known !== undefined) {
      this.occurrences[known]!++;
      return known;
    }
    const child = this.nodes;
    this.#children.set(node * this.vocabSize + token, child);
    this.occurrences.push(1);
    this.predecessors.push(0);
    this.lengths.push(this.lengths[node]! + 1);
    this.#lastToken.push(token);
    this.#firstChild.push(none);
    this.#nextSibling.push(this.#firstChild[node]!);
    this.#firstChild[node] = child;
    this.predecessors[shorter]!++;
    return child;
  }
}

export function checkToken(id: number, position: number, vocabSize: number): void {
  invariant(
    Number.isInteger(id) && id >= 0 && id < vocabSize,
    () => `NGramModel: token id ${id} at position ${position} is out of range; the vocabulary has 0 … ${vocabSize - 1}`,
  );
}

/**
 * @file The simplest tokenizer: every character of the training text is a token. What char-rnn and nanoGPT use for Shakespeare.
 */
import { invariant, LabError } from '../base/index.ts';
import type { Tokenizer, TokenizerJSON } from './tokenizer.ts';

export class CharacterTokenizer implements Tokenizer {
  /** The characters (Unicode code points) by id. */
  readonly vocabulary: readonly string[];
  readonly #ids: ReadonlyMap<string, number>;

  /** @param vocabulary one character each, none twice */
  constructor(vocabulary: readonly string[]) {
    const ids = new Map(vocabulary.map((character, id) => [character, id]));
    if (vocabulary.length === 0) throw new LabError('CharacterTokenizer: the vocabulary is empty.');
    if (ids.size !== vocabulary.length) throw new LabError('CharacterTokenizer: a character appears twice in the vocabulary.');
    const long = vocabulary.find((character) => [...character].length !== 1);
    if (long !== undefined) throw new LabError(`CharacterTokenizer: ${JSON.stringify(long)} is not one character.`);
    this.vocabulary = [...vocabulary];
    this.#ids = ids;
  }

  /**
   * The characters that occur in `text`, in the order of their code points.
   *
   * @throws LabError when the text is empty.
   */
  static train(text: string): CharacterTokenizer {
    if (text === '') throw new LabError('CharacterTokenizer: the text is empty, so there is no character to learn.');
    const characters = [...new Set(text)];
    return new CharacterTokenizer(characters.sort((a, b) => a.codePointAt(0)! - b.codePointAt(0)!));
  }

  static fromJSON(json: unknown): CharacterTokenizer {
    const vocabulary = typeof json === 'object' && json !== null && 'vocabulary' in json ? json.vocabulary : undefined;
    if (!Array.isArray(vocabulary) || !vocabulary.every((c) => typeof c === 'string')) {
      throw new LabError('CharacterTokenizer: the saved vocabulary is not a list of characters.');
    }
    return new CharacterTokenizer(vocabulary);
  }

  get vocabSize(): number {
    return this.vocabulary.length;
  }

  encode(text: string): Int32Array {
    const ids = new Int32Array(text.length);
    let length = 0;
    for (const character of text) {
      const id = this.#ids.get(character);
      if (id === undefined) throw this.#unknown(character, length);
      ids[length++] = id;
    }
    return ids.slice(0, length);
  }

  decode(ids: ArrayLike<number>): string {
    const characters = Array.from(ids, (id) => {
      const character = this.vocabulary[id];
      invariant(
        character !== undefined,
        () => `decode: token id ${id} is out of range; this vocabulary has 0 … ${this.vocabSize - 1}`,
      );
      return character;
    });
    return characters.join('');
  }

  toJSON(): TokenizerJSON {
    return { type: 'characters', vocabulary: this.vocabulary };
  }

  #unknown(character: string, position: number): LabError {
    const code = character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0');
    return new LabError(
      `The character ${JSON.stringify(character)} (U+${code}) at position ${position} is not in this vocabulary of ` +
        `${this.vocabSize} characters: it did not occur in the training text. Leave it out or replace it.`,
    );
  }
}

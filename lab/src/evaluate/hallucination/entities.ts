/**
 * @file Named entities that come from nowhere: names and numbers of a text that its reference does not have. The hallucinated
 * named-entity ratio of FactualityPrompts (Lee et al. 2022, section 3.2). It asks who is named, not what is said of them, and so
 * needs no grammar.
 */

/** Words that begin sentences, not names. */
const ORDINARY = new Set(
  (
    'A After All An And Answer As At Before But By During For From He Her His How I If In It Its Let More Not Of On One Our ' +
    'Question She Since So Take That The Their Then There These They This Those To Today Under We What When Where Which Who ' +
    'With You Your'
  ).split(' '),
);

const NAME = /\$?[A-Z][A-Za-z]+(?: [A-Z][A-Za-z]+)*/g;
const NUMBER = /-?\$?\d+(?:[.,]\d+)*%?(?: (?:million|billion|percent))?/g;

/**
 * Names (words with a capital letter in a row, without ordinary words in front) and numbers with their units, each once, in the
 * order in which they come.
 */
export function namedEntities(text: string): readonly string[] {
  const names = [...text.matchAll(NAME)].flatMap(({ 0: found, index }) => {
    const words = found.split(' ');
    const first = words.findIndex((word) => !ORDINARY.has(word));
    if (first < 0) return [];
    const name = words.slice(first).join(' ');
    return [{ name, index: index + found.length - name.length }];
  });
  const numbers = [...text.matchAll(NUMBER)].map(({ 0: name, index }) => ({ name, index }));
  const all = [...names, ...numbers].sort((a, b) => a.index - b.index);
  return [...new Set(all.map(({ name }) => name))];
}

export interface EntityRatio {
  readonly entities: readonly string[];
  /** Those that the reference does not have. */
  readonly hallucinated: readonly string[];
  /** hallucinated / entities; NaN for a text without entities. */
  readonly ratio: number;
}

/**
 * @param reference what is known on the topic of the text: a source, or every clean document about it
 */
export function entityRatio(text: string, reference: string): EntityRatio {
  const entities = namedEntities(text);
  const known = new Set(namedEntities(reference));
  const hallucinated = entities.filter((entity) => !known.has(entity) && !isPart(entity, known));
  return { entities, hallucinated, ratio: hallucinated.length / entities.length };
}

/** A first name, or a company without its second word, stands for the whole. */
function isPart(entity: string, known: ReadonlySet<string>): boolean {
  if (/\d/.test(entity)) return false;
  for (const name of known) if (` ${name} `.includes(` ${entity} `)) return true;
  return false;
}

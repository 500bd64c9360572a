/**
 * @file Reference answers of chapter 13, hallucination: measured against a world that is known, and what helps against it.
 * Maynez et al. 2020 (faithfulness), Min et al. 2023 (atomic facts), Lee et al. 2022 (entities, factual nucleus), Broder 1997
 * (MinHash), Rae et al. 2021 (rules), Muennighoff et al. 2023 (epochs).
 */

// #region 13.1 the judge
/** What somebody says, true or not. */
interface Statement {
  subject: string;
  relation: string;
  object: string;
  /** For what changes with time. */
  period?: string;
}

/**
 * Holds a statement against what is known.
 *
 * @param statement may be about somebody whom nobody knows
 * @param facts all that is known
 * @param rules relations of which a subject can have many values; and those whose value nobody else can have
 * @returns supported: it is a fact; contradicted: a fact rules it out; unsupported: neither
 */
export function judgeFact(
  statement: Statement,
  facts: Statement[],
  rules: { many: string[]; exclusive: string[] },
): 'supported' | 'contradicted' | 'unsupported' {
  const { subject, relation, object, period } = statement;
  const own = facts.filter((fact) => fact.subject === subject && fact.relation === relation && fact.period === period);
  if (own.some((fact) => fact.object === object)) return 'supported';
  if (own.length > 0 && !rules.many.includes(relation)) return 'contradicted';
  const isTaken = facts.some((fact) => fact.relation === relation && fact.object === object);
  return rules.exclusive.includes(relation) && isTaken ? 'contradicted' : 'unsupported';
}
// #endregion

// #region 13.2 atomic precision
/**
 * How much of what texts state is true.
 *
 * @param texts the verdicts on the statements of each text; 'abstained' for a sentence that says that something is not known
 * @returns of all statements together, the share that is supported and the share that is contradicted; NaN when there is none
 */
export function atomicPrecision(texts: string[][]): { supported: number; contradicted: number } {
  const statements = texts.flat().filter((verdict) => verdict !== 'abstained');
  const share = (wanted: string) => statements.filter((verdict) => verdict === wanted).length / statements.length;
  return { supported: share('supported'), contradicted: share('contradicted') };
}
// #endregion

// #region 13.3 names from nowhere
/**
 * The hallucinated named-entity ratio.
 *
 * @param entities names and numbers of a text, in its order, maybe several times
 * @param known names and numbers of its reference
 * @returns of the different entities, the share that is neither known nor, as whole words, a part of a known one; NaN for none
 */
export function entityRatio(entities: string[], known: string[]): number {
  const different = [...new Set(entities)];
  const isKnown = (entity: string) => known.some((name) => ` ${name} `.includes(` ${entity} `));
  return different.filter((entity) => !isKnown(entity)).length / different.length;
}
// #endregion

// #region 13.4 MinHash
/**
 * The signature of a set: two signatures agree in a place with the probability that is the sets' Jaccard similarity.
 *
 * @param shingles numbers that stand for the word n-grams of a text, maybe several times
 * @param hashes functions from numbers to numbers
 * @returns for each function the smallest value over the set
 */
export function signature(shingles: number[], hashes: ((shingle: number) => number)[]): number[] {
  return hashes.map((hash) => Math.min(...shingles.map(hash)));
}

/**
 * The probability that two sets are found to be near-duplicates: their signatures, cut into bands of so many rows, agree in all
 * rows of at least one band.
 *
 * @param s Jaccard similarity of the sets
 */
export function foundProbability(s: number, bands: number, rows: number): number {
  return 1 - (1 - s ** rows) ** bands;
}
// #endregion

// #region 13.5 Gopher's rules
/**
 * Which rules a text breaks.
 *
 * @returns any of 'word length' (the mean of the words is below 3 or above 10 characters), 'letters' (less than 80% of what
 *   stands between blanks has a letter in it) and 'stop words' (fewer than two different ones), in this order
 */
export function brokenRules(text: string): string[] {
  const stopWords = ['the', 'be', 'to', 'of', 'and', 'that', 'have', 'with'];
  const tokens = text.split(/\s+/).filter((token) => token !== '');
  const words = tokens.filter((token) => /[\p{L}\p{N}]/u.test(token));
  const length = words.reduce((sum, word) => sum + word.length, 0) / Math.max(1, words.length);
  const letters = tokens.filter((token) => /\p{L}/u.test(token)).length / Math.max(1, tokens.length);
  const plain = new Set(words.map((word) => word.toLowerCase().replace(/[^\p{L}]/gu, '')));
  const found = stopWords.filter((word) => plain.has(word)).length;
  const rules = { 'word length': length >= 3 && length <= 10, letters: letters >= 0.8, 'stop words': found >= 2 };
  return Object.entries(rules).flatMap(([name, kept]) => (kept ? [] : [name]));
}
// #endregion

// #region 13.6 a mixture
/**
 * Shares a training out over several sources, none of which is to be read too often.
 *
 * @param sources how many tokens each has, and its weight in the mixture
 * @param budget tokens to be trained on
 * @param maxEpochs how often a token may be seen at most; what a source cannot give, the others give by their weights
 * @returns tokens to take from each source; all that there is when that is less than the budget
 */
export function mixture(sources: { tokens: number; weight: number }[], budget: number, maxEpochs: number): number[] {
  const taken = sources.map(() => 0);
  let open = sources.map((_, i) => i).filter((i) => sources[i]!.weight > 0);
  let left = budget;
  while (open.length > 0) {
    const weights = open.reduce((sum, i) => sum + sources[i]!.weight, 0);
    const wanted = (i: number) => (left * sources[i]!.weight) / weights;
    const full = open.filter((i) => wanted(i) >= maxEpochs * sources[i]!.tokens);
    if (full.length === 0) {
      for (const i of open) taken[i] = wanted(i);
      break;
    }
    for (const i of full) taken[i] = maxEpochs * sources[i]!.tokens;
    left -= full.reduce((sum, i) => sum + taken[i]!, 0);
    open = open.filter((i) => !full.includes(i));
  }
  return taken;
}
// #endregion

// #region 13.7 the factual nucleus
/**
 * What the next token is drawn from: the fewest most likely tokens whose probabilities reach p together, where p falls from
 * token to token of a sentence.
 *
 * @param probabilities of all tokens; not changed
 * @param place how many tokens of the sentence are there already
 * @param options topP at the beginning of a sentence, the factor decay from token to token, and floor, below which p never falls
 * @returns probabilities that sum to 1; of equally likely tokens the first ones stay
 */
export function factualNucleusStep(
  probabilities: number[],
  place: number,
  options: { topP: number; decay: number; floor: number },
): number[] {
  const p = Math.max(options.floor, options.topP * options.decay ** place);
  const order = [...probabilities.keys()].sort((a, b) => probabilities[b]! - probabilities[a]! || a - b);
  const kept = new Set<number>();
  let mass = 0;
  for (const token of order) {
    if (kept.size > 0 && mass >= p) break;
    kept.add(token);
    mass += probabilities[token]!;
  }
  return probabilities.map((value, token) => (kept.has(token) ? value / mass : 0));
}
// #endregion

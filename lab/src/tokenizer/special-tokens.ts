/**
 * @file Special tokens: names such as `<|endoftext|>` with an id of their own, found in a text only where that is allowed.
 */
import { LabError } from '../base/index.ts';

/** Those of the special tokens that a text may contain. */
export interface AllowedSpecial {
  /** Finds the next one, the longest where several begin. */
  readonly pattern: RegExp;
  readonly ids: ReadonlyMap<string, number>;
  /** UTF-16 code units of the longest name. */
  readonly longest: number;
}

/** @throws LabError when a name is empty or given twice. */
export function checkSpecialTokens(names: readonly string[]): void {
  names.forEach((name, i) => {
    if (typeof name !== 'string' || name === '') throw new LabError('A special token needs a name, got an empty one.');
    if (/\p{Surrogate}/u.test(name)) throw new LabError(`The special token ${JSON.stringify(name)} has a lone surrogate.`);
    if (names.indexOf(name) !== i) throw new LabError(`The special token ${JSON.stringify(name)} is given twice.`);
  });
}

/**
 * @param allow `true` for all, `false` for none, or their names
 * @returns undefined when none is allowed
 * @throws LabError for a name that is no special token.
 */
export function allowedSpecial(
  known: ReadonlyMap<string, number>,
  allow: boolean | readonly string[],
): AllowedSpecial | undefined {
  if (allow === false) return undefined;
  const names = allow === true ? [...known.keys()] : allow;
  const unknown = names.find((name) => !known.has(name));
  if (unknown !== undefined) {
    const there = known.size === 0 ? 'it has none' : `it has ${[...known.keys()].join(', ')}`;
    throw new LabError(`allowSpecial: ${JSON.stringify(unknown)} is not a special token of this tokenizer; ${there}.`);
  }
  if (names.length === 0) return undefined;
  return {
    pattern: specialPattern(names),
    ids: new Map(names.map((name) => [name, known.get(name)!])),
    longest: Math.max(...names.map((name) => name.length)),
  };
}

/** Matches any of the names, the longest first. */
export function specialPattern(names: readonly string[]): RegExp {
  const longestFirst = [...names].sort((a, b) => b.length - a.length);
  return new RegExp(longestFirst.map((name) => name.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')).join('|'), 'gu');
}

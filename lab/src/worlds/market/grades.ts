/**
 * @file Documents of graded quality: clean ones, and what a crawl brings along: boilerplate, near-duplicates, garbled text, and
 * untruths.
 */
import type { Random } from '../../base/index.ts';
import { boilerplateWordings } from './catalog.ts';
import type { CleanDocument, DocumentSentence, DocumentSource } from './document.ts';
import { untruth } from './falsify.ts';
import type { Fact, MarketKnowledge, Statement } from './knowledge.ts';
import { relationInfo } from './relations.ts';
import type { Register } from './wordings/index.ts';
import type { View } from './write.ts';

/** The best first. */
export const grades = ['clean', 'boilerplate', 'near-duplicate', 'false', 'garbled'] as const;
export type Grade = (typeof grades)[number];

/** A fact and where it is stated: the characters from `start` up to and without `end`, which are a sentence. */
export interface FactMention {
  /** The fact's id. */
  readonly fact: string;
  readonly start: number;
  readonly end: number;
}

/** Where a fact is contradicted, and by what. */
export interface Falsehood extends FactMention {
  readonly says: string;
}

export interface GradedDocument {
  readonly register: Register;
  readonly grade: Grade;
  readonly text: string;
  /** The true facts that it states. */
  readonly facts: readonly FactMention[];
  /** Only in false documents. */
  readonly falsehoods: readonly Falsehood[];
}

/** The true facts and the untruths of a document's sentences. */
function mentionsOf(
  sentences: readonly DocumentSentence[],
  knowledge: MarketKnowledge,
): Pick<GradedDocument, 'facts' | 'falsehoods'> {
  const facts: FactMention[] = [];
  const falsehoods: Falsehood[] = [];
  for (const { start, end, statements } of sentences) {
    for (const statement of statements) {
      const known = factsLike(statement, knowledge);
      const same = known.find(({ object }) => object === statement.object);
      if (same) facts.push({ fact: same.id, start, end });
      else falsehoods.push({ fact: known[0]!.id, says: statement.object, start, end });
    }
  }
  return { facts, falsehoods };
}

function factsLike({ subject, relation, period }: Statement, knowledge: MarketKnowledge): readonly Fact[] {
  return knowledge.lookup(subject, relation, period);
}

/** As it was written. */
export function asClean({ register, text, sentences }: CleanDocument, knowledge: MarketKnowledge): GradedDocument {
  return { register, grade: 'clean', text, ...mentionsOf(sentences, knowledge) };
}

/** Between lines that say nothing. */
export function withBoilerplate(document: CleanDocument, knowledge: MarketKnowledge, random: Random): GradedDocument {
  const lines = random.shuffle([...boilerplateWordings]).slice(0, 4 + random.integer(8)).map(({ template }) => template);
  const above = lines.splice(0, 1 + random.integer(3)).map((line) => `${line}\n`).join('');
  const { register, text, sentences } = document;
  const moved = sentences.map((sentence) => shifted(sentence, above.length));
  return { register, grade: 'boilerplate', text: `${above}${text}\n${lines.join('\n')}`, ...mentionsOf(moved, knowledge) };
}

function shifted({ start, end, statements }: DocumentSentence, by: number): DocumentSentence {
  return { start: start + by, end: end + by, statements };
}

/** Nearly the same once more: without its last sentence, with other line breaks, or with a line at the end. */
export function asNearDuplicate(document: CleanDocument, knowledge: MarketKnowledge, random: Random): GradedDocument {
  const { register } = document;
  let { text, sentences } = document;
  const way = random.integer(3);
  if (way === 0 && sentences.length > 2) {
    sentences = sentences.slice(0, -1);
    text = text.slice(0, sentences.at(-1)!.end);
  } else if (way === 1) {
    const breaks = sentences.slice(1).map(({ start }) => start - 1);
    for (const place of breaks) if (random.integer(2) === 0) text = `${text.slice(0, place)}\n${text.slice(place + 1)}`;
  } else text += `\n${random.pick(boilerplateWordings).template}`;
  return { register, grade: 'near-duplicate', text, ...mentionsOf(sentences, knowledge) };
}

/** By somebody who holds about half of it for something else, always the same. */
export function asFalse(source: DocumentSource, knowledge: MarketKnowledge, random: Random): GradedDocument {
  for (;;) {
    const { register, text, sentences } = source.write(random, falseView(source.truth, knowledge, random));
    const mentions = mentionsOf(sentences, knowledge);
    if (mentions.falsehoods.length > 0) return { register, grade: 'false', text, ...mentions };
  }
}

function falseView(truth: View, knowledge: MarketKnowledge, random: Random): View {
  const believed = new Map<string, readonly string[]>();
  return (subject, relation, period) => {
    const key = `${subject}|${relation}|${period ?? ''}`;
    const before = believed.get(key);
    if (before) return before;
    const [fact] = knowledge.lookup(subject, relation, period);
    const lies = fact !== undefined && !relationInfo(relation).many && random.integer(2) === 0;
    const objects = lies ? [untruth(fact, knowledge, random)] : truth(subject, relation, period);
    believed.set(key, objects);
    return objects;
  };
}

/** Damaged on its way: letters lost, swapped or decoded wrongly, words doubled, the end cut off. It states nothing reliable. */
export function asGarbled({ register, text }: CleanDocument, random: Random): GradedDocument {
  const lines = text.split('\n').map((line) => line.split(' ').map((word) => garbledWord(word, random)).join(' '));
  const whole = lines.join('\n');
  const kept = random.integer(2) === 0 ? whole : whole.slice(0, Math.ceil(whole.length / 2));
  return { register, grade: 'garbled', text: kept, facts: [], falsehoods: [] };
}

function garbledWord(word: string, random: Random): string {
  const place = random.integer(word.length);
  const [before, after] = [word.slice(0, place), word.slice(place)];
  switch (random.integer(8)) {
    case 0:
      return before + after.slice(1);
    case 1:
      return before + after.slice(1, 2) + after.slice(0, 1) + after.slice(2);
    case 2:
      return `${before}Ã¢Â€${after.slice(1)}`;
    case 3:
      return `${word} ${word}`;
    case 4:
      return `${before}<br>${after}`;
    case 5:
      return word.toUpperCase();
    default:
      return word;
  }
}

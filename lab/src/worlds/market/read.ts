/**
 * @file Reading: which facts does each sentence of a text state? The inverse of `write.ts`, on the same wordings.
 *
 * Names are read as names, whether anybody has them or not, so that a text about invented companies can be read, too. Pronouns
 * and shortened names stand for who was spoken of before.
 */
import { allWordings } from './catalog.ts';
import type { MarketKnowledge, Statement } from './knowledge.ts';
import { relationInfo, type Relation } from './relations.ts';
import { readQuestion, type Asked } from './questions.ts';
import { readPeriod, withoutMark, yearBefore, type SubjectToken, type Topic, type Wording } from './wording.ts';

/** What a reader keeps in mind. */
interface Memory extends Topic {
  /** What was asked in the line before. */
  readonly asked?: Asked;
}

/** What a sentence says. */
export interface ReadStatement extends Omit<Statement, 'subject' | 'period'> {
  /** undefined where a pronoun stands for nobody. */
  readonly subject: string | undefined;
  readonly period?: string | undefined;
}

export interface ReadSentence {
  /** The characters from `start` up to and without `end` of the text. */
  readonly start: number;
  readonly end: number;
  readonly text: string;
  /** The template that it follows, or `Question:` or `Answer:`; undefined for a sentence that cannot be read. */
  readonly wording: string | undefined;
  /** In how many ways it can be understood: 1 for what this world writes, 0 for a sentence that cannot be read. */
  readonly meanings: number;
  /** What it states: nothing, one fact or several. */
  readonly statements: readonly ReadStatement[];
}

/** One way to read a sentence. */
interface Reading {
  readonly template: string;
  readonly statements: readonly ReadStatement[];
  readonly topic: Memory;
  /** Names in it that nobody has who could be meant. */
  readonly unknown: number;
}

/** Reads a text of one or more documents; an empty line ends a document, and with it whom pronouns stand for. */
export function readMarket(text: string, knowledge: MarketKnowledge): readonly ReadSentence[] {
  const sentences: ReadSentence[] = [];
  let topic: Memory = {};
  for (const { start, end } of sentenceSpans(text)) {
    if (start > 1 && text.startsWith('\n\n', start - 2)) topic = {};
    const sentence = text.slice(start, end);
    const [reading, ...others] = bestReadings(sentence, knowledge, topic);
    if (reading) topic = reading.topic;
    const { statements, template } = reading ?? { statements: [], template: undefined };
    const meanings = new Set([reading, ...others].flatMap((one) => (one ? [JSON.stringify(one.statements)] : []))).size;
    sentences.push({ start, end, text: sentence, wording: template, meanings, statements });
  }
  return sentences;
}

/** Where the sentences of a text are: they end with a line, or with a full stop, question or exclamation mark and a space. */
export function sentenceSpans(text: string): readonly { readonly start: number; readonly end: number }[] {
  const spans = [];
  for (const { index, 0: found } of text.matchAll(/[^\s](?:.*?[.!?](?= )|.*)/g)) {
    const end = index + found.trimEnd().length;
    spans.push({ start: index, end });
  }
  return spans;
}

/** The readings of a sentence that leave the fewest names unknown. */
function bestReadings(sentence: string, knowledge: MarketKnowledge, topic: Memory): readonly Reading[] {
  const dialogue = readDialogue(sentence, knowledge, topic);
  if (dialogue) return [dialogue];
  const found: Reading[] = [];
  for (const wording of allWordings) {
    if (!sentence.includes(wording.landmark)) continue;
    const said = wording.pattern.exec(sentence);
    if (!said) continue;
    const reading = new Interpretation(wording, said.slice(1), knowledge, topic).reading();
    // A name alone says nothing unless somebody has it.
    if (reading.statements.length > 0 || reading.unknown === 0) found.push(reading);
  }
  const fewest = Math.min(...found.map(({ unknown }) => unknown));
  return found.filter(({ unknown }) => unknown === fewest);
}

/** A question states nothing; an answer states what was asked for. */
function readDialogue(line: string, knowledge: MarketKnowledge, { asked, ...topic }: Memory): Reading | undefined {
  const [, question] = /^Question: (.+)$/.exec(line) ?? [];
  const found = question === undefined ? undefined : readQuestion(question, knowledge);
  if (found) return { template: 'Question:', statements: [], topic: { ...topic, asked: found }, unknown: 0 };
  const [, answer] = /^Answer: (.+)$/.exec(line) ?? [];
  if (answer === undefined || !asked) return undefined;
  const { value } = relationInfo(asked.relation);
  const object = value === 'company' ? (knowledge.company(answer)?.name ?? answer) : answer;
  return { template: 'Answer:', statements: [{ ...asked, object }], topic, unknown: 0 };
}

/** What the slots of a sentence hold. */
class Interpretation {
  readonly #wording: Wording;
  readonly #knowledge: MarketKnowledge;
  readonly #topic: Topic;
  readonly #objects = new Map<Relation, string>();
  readonly #statements: ReadStatement[] = [];
  #company: string | undefined;
  #person: string | undefined;
  #product: string | undefined;
  #period: string | undefined;
  #lastPerson: string | undefined;
  #unknown = 0;

  constructor(wording: Wording, said: readonly string[], knowledge: MarketKnowledge, topic: Topic) {
    this.#wording = wording;
    this.#knowledge = knowledge;
    this.#topic = topic;
    const slots = wording.tokens.filter((token) => token.type !== 'text');
    // Who is spoken of may be named at the end, so that values must wait for it.
    for (const [i, token] of slots.entries()) {
      if (token.type === 'subject') this.#hear(token, said[i]!);
      else if (token.type === 'period') this.#period = token.kind === 'thatYear' ? topic.period : readPeriod(said[i]!);
    }
    for (const [i, token] of slots.entries()) {
      if (token.type !== 'value') continue;
      const { relation, of, before } = token;
      const object = this.#canonical(relation, token.form.read(said[i]!));
      if (!before) this.#objects.set(relation, object);
      const subject = of === undefined ? this.#subjectOf(relation) : this.#objects.get(of);
      const timed = relationInfo(relation).period !== 'none';
      const period = before && this.#period !== undefined ? yearBefore(this.#period) : this.#period;
      this.#statements.push({ subject, relation, object, ...(timed ? { period } : {}) });
    }
  }

  reading(): Reading {
    const { subjects, period } = this.#wording;
    const person = this.#lastPerson ?? this.#topic.person;
    const company = subjects.includes('company') ? this.#company : this.#topic.company;
    const time = period === undefined ? this.#topic.period : this.#period;
    const topic = {
      ...(company === undefined ? {} : { company }),
      ...(person === undefined ? {} : { person }),
      ...(time === undefined ? {} : { period: time }),
    };
    return { template: this.#wording.template, statements: this.#statements, topic, unknown: this.#unknown };
  }

  #subjectOf(relation: Relation): string | undefined {
    const { subject } = relationInfo(relation);
    return subject === 'company' ? this.#company : subject === 'person' ? this.#person : this.#product;
  }

  #hear({ kind }: SubjectToken, said: string): void {
    const name = withoutMark(said);
    const isPronoun = /^(its?|the company)$/i.test(name);
    if (kind === 'company') this.#company = isPronoun ? this.#topic.company : this.#nameOfCompany(name);
    else if (kind === 'product') this.#product = this.#checked(name, this.#knowledge.product(name) !== undefined);
    else this.#lastPerson = this.#person = this.#personMeant(name);
  }

  #personMeant(name: string): string | undefined {
    const { person } = this.#topic;
    if (/^(he|she|his|her)$/i.test(name)) return person;
    if (person?.endsWith(` ${name}`)) return person;
    return this.#checked(name, this.#knowledge.person(name) !== undefined);
  }

  #nameOfCompany(name: string): string {
    return this.#knowledge.company(name)?.name ?? this.#checked(name, false);
  }

  #canonical(relation: Relation, said: string): string {
    const { value } = relationInfo(relation);
    if (value === 'company') return this.#nameOfCompany(said);
    if (value !== 'person') return said;
    this.#lastPerson = said;
    return this.#checked(said, this.#knowledge.person(said) !== undefined);
  }

  #checked(name: string, known: boolean): string {
    if (!known) this.#unknown++;
    return name;
  }
}

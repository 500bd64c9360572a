/**
 * @file Writing a sentence: a wording's slots are filled with what is true of somebody, or with what a writer holds true.
 */
import type { Random } from '../../base/index.ts';
import type { Company, Person, Product, Statement } from './knowledge.ts';
import { relationInfo, type Relation } from './relations.ts';
import {
  periodText,
  withMark,
  yearBefore,
  type SubjectToken,
  type Topic,
  type ValueToken,
  type Wording,
} from './wording.ts';

/** What a writer holds true: the objects that somebody has by a relation at a time. */
export type View = (subject: string, relation: Relation, period?: string) => readonly string[];

/** Whom and which time a sentence is to be about. */
export interface Scene {
  readonly company: Company;
  readonly person?: Person | undefined;
  readonly product?: Product | undefined;
  /** `2021`, or `2021 Q3` */
  readonly period: string;
}

export interface WrittenSentence {
  readonly text: string;
  readonly statements: readonly Statement[];
}

/** A document's writer: knows who was named before, so that names can be shortened. */
export class Writer {
  readonly #view: View;
  readonly #random: Random;
  readonly #introduced = new Set<string>();
  #topic: Topic = {};
  /** Who alone was named in the sentence before: a pronoun will be understood. */
  #alone: { readonly company: boolean; readonly person: boolean } = { company: false, person: false };

  constructor(view: View, random: Random) {
    this.#view = view;
    this.#random = random;
  }

  get topic(): Topic {
    return this.#topic;
  }

  /**
   * The sentence, if this wording can say what is true there: not of a loss that it was a profit, for instance.
   * Nothing is changed until `say`.
   */
  fill(wording: Wording, scene: Scene): WrittenSentence | undefined {
    return new Filling(wording, scene, this.#view, this.#random, this.#topic).sentence((token, atStart) =>
      this.#refer(token, scene, atStart),
    );
  }

  /** Takes note of a sentence that is now a part of the document. */
  say({ statements }: WrittenSentence, wording: Wording, scene: Scene): void {
    const { subjects, period } = wording;
    const aboutCompany = subjects.includes('company');
    const people = statements.filter(({ relation }) => relationInfo(relation).value === 'person').map(({ object }) => object);
    if (subjects.includes('person')) people.unshift(scene.person!.name);
    const others = statements.some(({ relation }) => ['company', 'firm', 'product'].includes(relationInfo(relation).value));
    this.#alone = { company: aboutCompany && !others, person: people.length === 1 };
    const time = timeOf(statements) ?? scene.period;
    this.#topic = {
      ...this.#topic,
      ...(aboutCompany && { company: scene.company.name }),
      ...(people.length > 0 && { person: people.at(-1)! }),
      ...(period !== undefined && { period: period === 'thatYear' ? this.#topic.period! : time }),
    };
    for (const name of [...(aboutCompany ? [scene.company.name] : []), ...people]) this.#introduced.add(name);
  }

  #refer(token: SubjectToken, { company, person, product }: Scene, atStart: boolean): string {
    if (token.kind === 'company') return this.#referToCompany(token, company, atStart);
    if (token.kind === 'product') return product!.name;
    return this.#referToPerson(token, person!, atStart);
  }

  #referToCompany({ style, possessive }: SubjectToken, { name, short, ticker }: Company, atStart: boolean): string {
    if (style === 'ticker') return `$${ticker}`;
    if (style === 'free' && this.#topic.company === name && this.#alone.company) {
      const way = this.#random.integer(8);
      if (way === 0) return withMark(atStart ? 'The company' : 'the company', possessive);
      if (way === 1 && possessive) return atStart ? 'Its' : 'its';
      if (way === 1 && atStart) return 'It';
    }
    // The full name introduces, mostly; afterwards it is the exception.
    const usesFull = this.#introduced.has(name) ? this.#random.integer(3) === 0 : this.#random.integer(4) > 0;
    return withMark(usesFull ? name : short, possessive);
  }

  #referToPerson({ style, possessive }: SubjectToken, { name, woman }: Person, atStart: boolean): string {
    if (style === 'free' && this.#topic.person === name && this.#alone.person) {
      const way = this.#random.integer(5);
      if (way <= 1) return withMark(name.split(' ')[1]!, possessive);
      if (way === 2 && atStart) return possessive ? (woman ? 'Her' : 'His') : woman ? 'She' : 'He';
    }
    return withMark(name, possessive);
  }
}

/** The time that statements give, if it is not the scene's. */
function timeOf(statements: readonly Statement[]): string | undefined {
  return statements.find(({ relation }) => isDated(relation))?.period;
}

/** What happened at a time of its own, where the scene's time says nothing. */
function isDated(relation: Relation): boolean {
  const { many, period } = relationInfo(relation);
  return many === true && period !== 'none';
}

/** One attempt at a sentence. */
class Filling {
  readonly #wording: Wording;
  readonly #scene: Scene;
  readonly #view: View;
  readonly #random: Random;
  readonly #topic: Topic;
  readonly #statements: Statement[] = [];
  readonly #period: string | undefined;

  constructor(wording: Wording, scene: Scene, view: View, random: Random, topic: Topic) {
    this.#wording = wording;
    this.#scene = scene;
    this.#view = view;
    this.#random = random;
    this.#topic = topic;
    this.#period = this.#time();
  }

  sentence(refer: (token: SubjectToken, atStart: boolean) => string): WrittenSentence | undefined {
    if (this.#wording.period !== undefined && this.#period === undefined) return undefined;
    let text = '';
    for (const token of this.#wording.tokens) {
      let said: string | undefined;
      if (token.type === 'text') said = token.text;
      else if (token.type === 'subject') said = refer(token, text === '');
      else if (token.type === 'value') said = this.#value(token);
      else if (token.kind === 'thatYear') said = text === '' ? 'That year' : 'that year';
      else said = periodText(this.#period!);
      if (said === undefined) return undefined;
      text += said;
    }
    return { text, statements: this.#statements };
  }

  /** The time that the sentence is about, where it can be said in this way. */
  #time(): string | undefined {
    const { period: kind, values } = this.#wording;
    const { company, period } = this.#scene;
    if (values.some(({ relation }) => isDated(relation))) {
      const { acquisitions } = company;
      return acquisitions.length === 0 ? undefined : String(this.#random.pick(acquisitions).year);
    }
    const fits = kind === 'period' || (!period.includes('Q') && (kind === 'year' || this.#topic.period === period));
    return fits ? period : undefined;
  }

  #value({ relation, form, before, of }: ValueToken): string | undefined {
    const { subject: kind, period: needs } = relationInfo(relation);
    const { company, person, product } = this.#scene;
    const own = kind === 'company' ? company.name : kind === 'person' ? person?.name : product?.name;
    const subject = of === undefined ? own : this.#statements.find((statement) => statement.relation === of)?.object;
    if (subject === undefined) return undefined;
    const time = needs === 'none' ? undefined : before ? yearBefore(this.#period!) : this.#period!;
    const objects = this.#view(subject, relation, time);
    if (objects.length === 0) return undefined;
    const object = this.#random.pick(objects);
    this.#statements.push({ subject, relation, object, ...(time === undefined ? {} : { period: time }) });
    return form.write(object);
  }
}

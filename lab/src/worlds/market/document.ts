/**
 * @file Clean documents: a register, a company or a person, a time, and sentences about them in any order.
 */
import type { Random } from '../../base/index.ts';
import { repertoires, type Repertoire } from './catalog.ts';
import { Weighted } from './draw.ts';
import { reportYears } from './figures.ts';
import type { Company, MarketKnowledge, Person, Statement } from './knowledge.ts';
import { relationInfo, relationNames, type Relation, type SubjectKind } from './relations.ts';
import type { Wording } from './wording.ts';
import type { Register } from './wordings/index.ts';
import { Writer, type Scene, type View, type WrittenSentence } from './write.ts';

/** A sentence of a document and where it stands: the characters from `start` up to and without `end`. */
export interface DocumentSentence {
  readonly start: number;
  readonly end: number;
  readonly statements: readonly Statement[];
}

export interface CleanDocument {
  readonly register: Register;
  /** A heading and paragraphs, a line each. */
  readonly text: string;
  readonly sentences: readonly DocumentSentence[];
}

/** How long the documents of a register are, and what they are about. */
interface Plan {
  /** Sentences: at least, and how many lengths there are. */
  readonly sentences: readonly [least: number, lengths: number];
  /** Of 8 documents, how many are about a quarter instead of a year. */
  readonly quarters: number;
  /** Of 8 documents, how many are about a person. */
  readonly people: number;
  /** Of 16 sentences, how many say nothing about anybody. */
  readonly fillers: number;
}

const plans: Readonly<Record<Register, Plan>> = {
  filing: { sentences: [6, 5], quarters: 3, people: 0, fillers: 1 },
  'press release': { sentences: [5, 4], quarters: 4, people: 0, fillers: 2 },
  'news wire': { sentences: [4, 4], quarters: 3, people: 0, fillers: 1 },
  'social post': { sentences: [1, 3], quarters: 2, people: 0, fillers: 2 },
  encyclopedia: { sentences: [5, 6], quarters: 0, people: 2, fillers: 0 },
  textbook: { sentences: [4, 4], quarters: 0, people: 0, fillers: 5 },
};

/** How often documents of a register are written. */
const registerWeights: Readonly<Record<Register, number>> = {
  filing: 3,
  'press release': 3,
  'news wire': 4,
  'social post': 3,
  encyclopedia: 5,
  textbook: 3,
};

const registerDraw = new Weighted(Object.entries(registerWeights) as [Register, number][], ([, weight]) => weight);

/** Relations of a kind of subject by how often they are mentioned. */
const relationDraws = Object.fromEntries(
  (['company', 'person', 'product'] as const).map((kind) => [
    kind,
    new Weighted(relationNames.filter((name) => relationInfo(name).subject === kind), (name) => relationInfo(name).weight),
  ]),
) as Readonly<Record<SubjectKind, Weighted<Relation>>>;

/** Attempts at a sentence that says something new, before the document ends. */
const attempts = 20;

/** Writes documents about a world, one after the other. */
export class DocumentSource {
  readonly #knowledge: MarketKnowledge;
  readonly #companies: Weighted<Company>;

  constructor(knowledge: MarketKnowledge) {
    this.#knowledge = knowledge;
    this.#companies = new Weighted(knowledge.companies, ({ weight }) => weight);
  }

  company(random: Random): Company {
    return this.#companies.draw(random);
  }

  /** What is true. */
  readonly truth: View = (subject, relation, period) =>
    this.#knowledge.lookup(subject, relation, period).map(({ object }) => object);

  /** @param view what the writer holds true; the truth unless told */
  write(random: Random, view: View = this.truth): CleanDocument {
    const [register] = registerDraw.draw(random);
    return new Draft(this.#knowledge, this.company(random), register, random, view).document();
  }
}

class Draft {
  readonly #knowledge: MarketKnowledge;
  readonly #register: Register;
  readonly #random: Random;
  readonly #plan: Plan;
  readonly #repertoire: Repertoire;
  readonly #writer: Writer;
  readonly #said = new Set<string>();
  readonly #fillersSaid = new Set<Wording>();
  readonly #sentences: DocumentSentence[] = [];
  #scene: Scene;
  #text = '';

  constructor(knowledge: MarketKnowledge, company: Company, register: Register, random: Random, view: View) {
    this.#knowledge = knowledge;
    this.#register = register;
    this.#random = random;
    this.#plan = plans[register];
    this.#repertoire = repertoires[register];
    this.#writer = new Writer(view, random);
    const year = String(random.pick(reportYears));
    const period = random.integer(8) < this.#plan.quarters ? `${year} Q${1 + random.integer(4)}` : year;
    this.#scene = { company, period };
  }

  document(): CleanDocument {
    const random = this.#random;
    const { sentences, people } = this.#plan;
    const { company } = this.#scene;
    const isPortrait = random.integer(8) < people;
    const person = isPortrait ? this.#knowledge.person(random.pick([company.founder, company.chiefExecutive])) : undefined;
    this.#heading(person);
    if (person) this.#state(person.name === company.founder ? 'founder' : 'chiefExecutive');
    const count = sentences[0] + random.integer(sentences[1]);
    for (let i = 0; i < count && this.#next(person); i++);
    return { register: this.#register, text: this.#text, sentences: this.#sentences };
  }

  #heading(person: Person | undefined): void {
    this.#scene = { ...this.#scene, person };
    const { headings, personHeadings } = this.#repertoire;
    const wordings = person ? personHeadings : headings;
    for (let i = 0; i < attempts && wordings.length > 0; i++) {
      const wording = this.#random.pick(wordings);
      const written = this.#writer.fill(wording, this.#scene);
      if (!written) continue;
      this.#append(written, wording);
      this.#text += '\n';
      return;
    }
  }

  /** One more sentence, about the company or about who was named last; false when nothing new can be said. */
  #next(about: Person | undefined): boolean {
    if (this.#random.integer(16) < this.#plan.fillers && this.#filler()) return true;
    for (let i = 0; i < attempts; i++) {
      const kind = this.#subjectKind(about, i);
      if (this.#state(relationDraws[kind].draw(this.#random))) return true;
    }
    return false;
  }

  /** A sentence that states something of this relation, if it can be said and was not. */
  #state(relation: Relation): boolean {
    const wording = this.#random.pick(this.#repertoire.stating.get(relation)!);
    const written = this.#writer.fill(wording, this.#scene);
    if (!written || written.statements.some((statement, place) => this.#repeats(statement, wording, place))) return false;
    this.#append(written, wording);
    return true;
  }

  /** Whom the next sentence is about; the scene follows. */
  #subjectKind(about: Person | undefined, attempt: number): SubjectKind {
    const { person: named } = this.#writer.topic;
    const die = this.#random.integer(8);
    const product = this.#lastProduct();
    if (product && die === 7 && attempt === 0) {
      this.#scene = { ...this.#scene, product: this.#knowledge.product(product) };
      return 'product';
    }
    const candidate = about ?? (named === undefined ? undefined : this.#knowledge.person(named));
    const person = die < (about ? 5 : 2) ? candidate : undefined;
    this.#scene = { ...this.#scene, person };
    return person ? 'person' : 'company';
  }

  #lastProduct(): string | undefined {
    return this.#sentences.at(-1)?.statements.find(({ relation }) => relation === 'product')?.object;
  }

  #filler(): boolean {
    const { fillers } = this.#repertoire;
    if (fillers.length === 0) return false;
    const wording = this.#random.pick(fillers);
    if (this.#fillersSaid.has(wording)) return false;
    const written = this.#writer.fill(wording, this.#scene);
    if (!written) return false;
    this.#fillersSaid.add(wording);
    this.#append(written, wording);
    return true;
  }

  /** Whether it was said in this document before; last year's figures, to compare with, may be. */
  #repeats(statement: Statement, wording: Wording, place: number): boolean {
    return !wording.values[place]!.before && this.#said.has(keyOf(statement));
  }

  #append(written: WrittenSentence, wording: Wording): void {
    const { text, statements } = written;
    if (this.#text !== '' && !this.#text.endsWith('\n')) this.#text += this.#random.integer(6) === 0 ? '\n' : ' ';
    const start = this.#text.length;
    this.#text += text;
    this.#sentences.push({ start, end: this.#text.length, statements });
    for (const statement of statements) this.#said.add(keyOf(statement));
    this.#writer.say(written, wording, this.#scene);
  }
}

function keyOf({ subject, relation, object, period }: Statement): string {
  return `${subject}|${relation}|${period ?? ''}|${object}`;
}

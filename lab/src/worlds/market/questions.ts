/**
 * @file Questions on facts, with their answers and other choices that could be right; and the way back, from a question to what
 * it asks for.
 */
import type { Random } from '../../base/index.ts';
import { untruths } from './falsify.ts';
import type { Fact, MarketKnowledge, Statement } from './knowledge.ts';
import { relationNames, type Relation } from './relations.ts';
import { compileWording, periodText, readPeriod, withMark, withoutMark, type Wording } from './wording.ts';
import { questionWordings } from './wordings/questions.ts';

/** train: ways of asking to learn from; held out: others, of the same. */
export type QuestionWay = 'train' | 'held out';

export interface MarketQuestion {
  /** The fact's id. */
  readonly fact: string;
  readonly question: string;
  /** The object in its canonical text. */
  readonly answer: string;
  /** All answers that are right, where there are several. */
  readonly answers: readonly string[];
}

export interface ChoiceQuestion extends MarketQuestion {
  /** Four answers of the same kind, of which one is right. */
  readonly choices: readonly string[];
}

/** What a question asks for. */
export type Asked = Omit<Statement, 'object'>;

const ways: readonly QuestionWay[] = ['train', 'held out'];

const compiled = new Map(
  relationNames.map((relation) => {
    const { train, heldOut } = questionWordings[relation];
    return [relation, { train: train.map(compileWording), 'held out': heldOut.map(compileWording) }] as const;
  }),
);

/** In how many ways there are to ask for a relation. */
export function questionCount(relation: Relation, way: QuestionWay): number {
  return compiled.get(relation)![way].length;
}

/**
 * The question for a fact, in one of its ways.
 *
 * @param index which: 0, 1, … below `questionCount`
 * @param short the company by its short name
 */
export function questionText(fact: Fact, knowledge: MarketKnowledge, way: QuestionWay, index: number, short = false): string {
  const company = knowledge.company(fact.subject);
  const name = short && company ? company.short : fact.subject;
  return compiled.get(fact.relation)![way][index]!.tokens
    .map((token) => {
      if (token.type === 'text') return token.text;
      if (token.type === 'period') return periodText(fact.period!);
      return withMark(name, token.type === 'subject' && token.possessive);
    })
    .join('');
}

/** A question and its answers; the seed of `random` decides how it is asked. */
export function askFor(fact: Fact, knowledge: MarketKnowledge, way: QuestionWay, random: Random): MarketQuestion {
  const index = random.integer(questionCount(fact.relation, way));
  const question = questionText(fact, knowledge, way, index, random.integer(2) === 0);
  const answers = knowledge.lookup(fact.subject, fact.relation, fact.period).map(({ object }) => object);
  return { fact: fact.id, question, answer: fact.object, answers };
}

/** The same with four choices in random order. */
export function choiceFor(fact: Fact, knowledge: MarketKnowledge, way: QuestionWay, random: Random): ChoiceQuestion {
  const question = askFor(fact, knowledge, way, random);
  return { ...question, choices: random.shuffle([fact.object, ...untruths(fact, knowledge, random, 3)]) };
}

/** A question and its answer as a text to learn from. */
export function questionLines({ question, answer }: Pick<MarketQuestion, 'question' | 'answer'>): string {
  return `${questionPrompt(question)} ${answer}\n\n`;
}

/** The beginning of `questionLines`, for a model to go on from. */
export function questionPrompt(question: string): string {
  return `Question: ${question}\nAnswer:`;
}

/** What a question of this world asks for; undefined for other questions. */
export function readQuestion(question: string, knowledge: MarketKnowledge): Asked | undefined {
  for (const relation of relationNames) {
    for (const wording of ways.flatMap((way) => compiled.get(relation)![way])) {
      const said = question.includes(wording.landmark) ? wording.pattern.exec(question) : null;
      if (said) return asked(relation, wording, said.slice(1), knowledge);
    }
  }
  return undefined;
}

function asked(relation: Relation, { tokens }: Wording, said: readonly string[], knowledge: MarketKnowledge): Asked {
  let subject = '';
  let period: string | undefined;
  for (const [i, token] of tokens.filter(({ type }) => type !== 'text').entries()) {
    if (token.type === 'period') period = readPeriod(said[i]!);
    else subject = withoutMark(said[i]!);
  }
  return { subject: knowledge.company(subject)?.name ?? subject, relation, ...(period === undefined ? {} : { period }) };
}

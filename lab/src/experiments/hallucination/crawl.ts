/**
 * @file A crawl as bad as a small model can notice: clean documents on the market, and among them copies, lines that say nothing,
 * damaged text, and rumours. Unlike the market's own false documents, rumours come in news and posts only: a filter cannot know
 * what is true, and helps against untruths as far as they are written in another tone than the truth.
 */
import { Random } from '../../base/index.ts';
import { marketDocuments, type Grade, type MarketDocument, type MarketKnowledge, type Register } from '../../worlds/index.ts';

export interface CrawlSettings {
  /** Documents of each kind. */
  readonly clean: number;
  readonly boilerplate: number;
  /** Near-duplicates, of an eighth of the clean documents: what is popular is copied most. */
  readonly copies: number;
  readonly rumours: number;
  readonly garbled: number;
  /** In which clean texts are written; all registers unless told. */
  readonly registers?: readonly Register[];
  readonly seed: number;
}

export interface CrawlDocument {
  readonly text: string;
  readonly grade: Grade;
  /** The company that it is about; undefined where nothing reliable is stated. */
  readonly topic: string | undefined;
}

/** Where rumours are told. */
const LOUD: readonly Register[] = ['news wire', 'social post'];
/** Where texts are written that a textbook could have. */
const SOBER: readonly Register[] = ['encyclopedia', 'textbook', 'filing'];

/** The documents in random order. */
export function crawl(knowledge: MarketKnowledge, settings: CrawlSettings): CrawlDocument[] {
  const { seed } = settings;
  const take = (grade: Exclude<Grade, 'near-duplicate'>, count: number, registers?: readonly Register[]): CrawlDocument[] => {
    const taken: CrawlDocument[] = [];
    const source = marketDocuments({ knowledge, grade, seed: seed * 100 + grade.length });
    while (taken.length < count) {
      const { value } = source.next();
      if (!registers || registers.includes(value.register)) taken.push({ text: value.text, grade, topic: topicOf(value, knowledge) });
    }
    return taken;
  };
  const clean = take('clean', settings.clean, settings.registers);
  const random = new Random(seed);
  const popular = clean.slice(0, Math.ceil(clean.length / 8));
  const copies = Array.from({ length: settings.copies }, () => copied(random.pick(popular), random));
  const rest = [
    ...take('boilerplate', settings.boilerplate, settings.registers),
    ...take('false', settings.rumours, LOUD),
    ...take('garbled', settings.garbled, settings.registers),
  ];
  return random.shuffle([...clean, ...copies, ...rest]);
}

/** Sober documents of the same world: what a selection is told to look for. */
export function soberTexts(knowledge: MarketKnowledge, count: number, seed: number): string[] {
  const source = marketDocuments({ knowledge, grade: 'clean', seed: seed * 100 + 77 });
  const texts: string[] = [];
  while (texts.length < count) {
    const { register, text } = source.next().value;
    if (SOBER.includes(register)) texts.push(text);
  }
  return texts;
}

/** Once more with another line below, or without its end. */
function copied({ text, topic }: CrawlDocument, random: Random): CrawlDocument {
  const line = random.pick(['Read more in our archive.', 'Share this page with your friends.', 'Back to top']);
  const end = text.lastIndexOf('. ');
  const shorter = random.integer(2) === 0 && end > text.length / 2;
  return { text: shorter ? text.slice(0, end + 1) : `${text}\n${line}`, grade: 'near-duplicate', topic };
}

function topicOf({ facts, falsehoods }: MarketDocument, knowledge: MarketKnowledge): string | undefined {
  for (const { fact } of [...facts, ...falsehoods]) {
    const company = knowledge.company(knowledge.fact(fact)?.subject ?? '');
    if (company) return company.name;
  }
  return undefined;
}

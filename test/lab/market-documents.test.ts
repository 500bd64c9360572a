/** @file Documents about the market: what is written is read back exactly, in every register and grade. */
import {
  amountText,
  compileWording,
  familyOf,
  grades,
  gradeShares,
  judgeMarket,
  marketDocuments,
  marketKnowledge,
  ownWordings,
  readMarket,
  registers,
  relationInfo,
  relationNames,
  sha256,
  untruth,
  untruths,
  Random,
  withCommas,
  wordingFamilies,
  type Grade,
  type MarketDocument,
} from 'lab';
import { describe, expect, it } from 'vitest';

const world = marketKnowledge();

function first(count: number, options: Parameters<typeof marketDocuments>[0] = {}): MarketDocument[] {
  const list: MarketDocument[] = [];
  for (const document of marketDocuments({ knowledge: world, ...options })) {
    if (list.push(document) >= count) break;
  }
  return list;
}

const documents = first(3000, { seed: 7 });
const graded = (grade: Grade): MarketDocument[] => documents.filter((document) => document.grade === grade);
const byPlace = (mentions: readonly { start: number; end: number; fact: string }[]): string[] =>
  mentions.map(({ fact, start, end }) => `${start}-${end} ${fact}`).sort();

describe('wordings', () => {
  it.each(Object.entries(wordingFamilies))('of the %s family say each relation in five ways or more', (_, templates) => {
    const wordings = templates.map(compileWording);
    expect(new Set(templates).size).toBe(templates.length);
    for (const relation of relationNames) {
      const ways = wordings.filter(({ values }) => values.some((value) => value.relation === relation && !value.before));
      expect(ways.length, relation).toBeGreaterThanOrEqual(5);
    }
  });

  it('differ from family to family and from register to register', () => {
    const { formal, news, reference } = wordingFamilies;
    const shared = formal.filter((template) => (news as readonly string[]).includes(template) || reference.includes(template));
    expect(shared.length).toBeLessThan(formal.length / 5);
    for (const register of registers) expect(ownWordings[register].length, register).toBeGreaterThan(1);
    expect(new Set(Object.values(familyOf)).size).toBe(3);
  });

  it.each([
    ['{Company} is {size}.', /no slot is called \{size\}/],
    ['Somebody is led by {chiefExecutive}.', /nobody has chiefExecutive/],
    ['{Company} earned {netIncome}.', /netIncome needs a time/],
    ['{Company} is in {headquarters.up}.', /headquarters cannot be written as 'up'/],
    ['{Company} has {product>launched}.', /nobody has launched/],
  ])('refuse %s', (template, message) => {
    expect(() => compileWording(template)).toThrow(message);
  });
});

describe('documents', () => {
  it('are decided by their seed, and the same on every platform', () => {
    const texts = (list: readonly MarketDocument[]): string => JSON.stringify(list);
    expect(texts(first(50, { seed: 7 }))).toBe(texts(documents.slice(0, 50)));
    expect(texts(first(50, { seed: 8 }))).not.toBe(texts(documents.slice(0, 50)));
    expect(sha256(texts(documents))).toBe('7eab5fa84e685635405d20e487b78b5c8ef37abf6b8c6f812cc31f93823554b8');
  });

  it('read back to exactly the facts that they state, each at its place, in one meaning', () => {
    for (const { text, facts, falsehoods } of documents.filter(({ grade }) => grade !== 'garbled')) {
      const { sentences, unsupported } = judgeMarket(text, world);
      expect(unsupported).toBe(0);
      const read = { correct: [] as string[], contradicted: [] as string[] };
      for (const { start, end, wording, meanings, statements } of sentences) {
        expect(wording, text.slice(start, end)).toBeDefined();
        expect(meanings, text.slice(start, end)).toBe(1);
        for (const { verdict, fact } of statements) {
          if (verdict !== 'unsupported') read[verdict].push(...byPlace([{ start, end, fact: fact!.id }]));
        }
      }
      expect(read.correct.sort()).toEqual(byPlace(facts));
      expect(read.contradicted.sort()).toEqual(byPlace(falsehoods));
    }
  });

  it('use every wording that there is', () => {
    const used = new Set(
      first(9000, { seed: 3, grade: 'clean' })
        .flatMap(({ text }) => readMarket(text, world))
        .map(({ wording }) => wording),
    );
    const all = [...Object.values(wordingFamilies).flat(), ...Object.values(ownWordings).flat()];
    expect(all.filter((template) => !used.has(template))).toEqual([]);
  });

  it('come in every register and are readable', () => {
    expect(new Set(documents.map(({ register }) => register))).toEqual(new Set(registers));
    for (const { text } of graded('clean')) {
      expect(text).not.toMatch(/[{}]|undefined| {2}|\n\n| [.,!?]|\bIts? (is|was) born|--|\$-|NaN/);
      expect(text.length).toBeGreaterThan(15);
      expect(text.length).toBeLessThan(1500);
      for (const line of text.split('\n')) expect(line).toMatch(/^["A-Z$\d]/);
    }
  });

  it('mention a few companies often and most seldom', () => {
    const mentions = new Map<string, number>();
    for (const { text } of graded('clean')) {
      for (const { statements } of readMarket(text, world)) {
        for (const { subject } of statements) mentions.set(subject!, (mentions.get(subject!) ?? 0) + 1);
      }
    }
    const of = (rank: number): number => mentions.get(world.companies[rank]!.name) ?? 0;
    expect(of(0) / of(30)).toBeGreaterThan(4);
    expect(of(30)).toBeGreaterThan(0);
  });
});

describe('grades', () => {
  it('come in their shares', () => {
    for (const grade of grades) {
      const expected = (gradeShares[grade] / 100) * documents.length;
      expect(Math.abs(graded(grade).length - expected), grade).toBeLessThan(4 * Math.sqrt(expected));
    }
  });

  it('false: contradict the truth, and say where', () => {
    for (const { text, falsehoods } of graded('false')) {
      expect(falsehoods.length).toBeGreaterThan(0);
      for (const { fact, says, start, end } of falsehoods) {
        expect(world.fact(fact)!.object).not.toBe(says);
        const words = says.replace(/^-?\$?/, '').replace(/ million$|%$/, '');
        expect(text.slice(start, end).toLowerCase()).toContain(words.toLowerCase());
      }
    }
    for (const document of documents.filter(({ grade }) => grade !== 'false')) expect(document.falsehoods).toEqual([]);
  });

  it('near-duplicate: repeat a document of before with small changes', () => {
    const byId = new Map(documents.map((document) => [document.id, document]));
    const words = (text: string): Set<string> => new Set(text.split(/\s+/));
    for (const { text, copyOf, id } of graded('near-duplicate')) {
      const original = byId.get(copyOf!)!;
      expect(original.grade).toBe('clean');
      expect(Number(copyOf!.slice(1))).toBeLessThan(Number(id.slice(1)));
      const [a, b] = [words(text), words(original.text)];
      const shared = [...a].filter((word) => b.has(word)).length;
      expect(shared / Math.min(a.size, b.size)).toBe(1);
    }
  });

  it('boilerplate: is half empty talk', () => {
    const lines = graded('boilerplate').flatMap(({ text, facts }) => text.split('\n').map((line) => ({ line, facts })));
    expect(lines.filter(({ line }) => line === 'All rights reserved.').length).toBeGreaterThan(20);
  });

  it('garbled: can hardly be read', () => {
    const sentences = graded('garbled').flatMap(({ text }) => readMarket(text, world));
    const parsed = sentences.filter(({ wording }) => wording !== undefined).length;
    expect(parsed / sentences.length).toBeLessThan(0.05);
    for (const { facts } of graded('garbled')) expect(facts).toEqual([]);
  });

  it('alone, when only one is wanted', () => {
    expect(new Set(first(30, { grade: 'false' }).map(({ grade }) => grade))).toEqual(new Set(['false']));
    expect(new Set(first(30, { grade: 'clean' }).map(({ grade }) => grade))).toEqual(new Set(['clean']));
  });
});

describe('an untruth', () => {
  it('is of the same kind and not true of anybody who could be meant', () => {
    const random = new Random(1);
    for (const fact of world.facts) {
      const object = untruth(fact, world, random);
      expect(world.lookup(fact.subject, fact.relation, fact.period).map((known) => known.object)).not.toContain(object);
      expect(object.startsWith('-')).toBe(fact.object.startsWith('-'));
      expect(object).not.toBe(fact.subject);
      const { value } = relationInfo(fact.relation);
      if (value === 'person') expect(world.person(object)).toBeDefined();
      if (value === 'city') expect(world.cities).toContain(object);
      if (value === 'money') expect(object).toMatch(/^-?\$[\d,]+ million$/);
    }
  });

  it('comes in any number, all different', () => {
    const fact = world.facts.find(({ relation }) => relation === 'sector')!;
    expect(new Set(untruths(fact, world, new Random(1), 5)).size).toBe(5);
    expect(() => untruths(fact, world, new Random(1), 40)).toThrow(/40 are wanted for .*\/sector, 11 were found/);
  });
});

describe('a judgement', () => {
  const company = world.companies[0]!;
  const other = world.companies[9]!;
  const judge = (text: string): string[] =>
    judgeMarket(text, world).sentences.flatMap(({ wording, statements }) => {
      return wording === undefined ? ['unread'] : statements.map(({ verdict, relation }) => `${relation} ${verdict}`);
    });

  it('knows what is correct, what is contradicted, and what nothing supports', () => {
    expect(judge(`${company.name} was founded in ${company.founded}.`)).toEqual(['founded correct']);
    expect(judge(`${company.name} was founded in ${company.founded + 1}.`)).toEqual(['founded contradicted']);
    expect(judge('Nobody Systems was founded in 1990.')).toEqual(['founded unsupported']);
    expect(judge(`${company.name} was founded, they say.`)).toEqual(['unread']);
    expect(judge(`${company.name} took in $5 million in 1999.`)).toEqual(['revenue unsupported']);
    expect(judge('A share is a small part of a company.')).toEqual([]);
  });

  it('holds what another company has against who claims it, and no more', () => {
    expect(judge(`${company.short} makes ${other.products[0]!.name}.`)).toEqual(['product contradicted']);
    expect(judge(`${company.short} makes Nothingium.`)).toEqual(['product unsupported']);
    expect(judge(`${company.short} is a rival of ${other.name}.`)).toEqual(['competitor unsupported']);
    expect(judge(`${company.short} and ${company.competitors[0]!} are rivals.`)).toEqual(['competitor correct']);
  });

  it('knows whom a pronoun means, as long as the document lasts', () => {
    const start = `${company.name} is led by ${company.chiefExecutive}.`;
    const { birthYear, name, woman } = world.person(company.chiefExecutive)!;
    const pronoun = woman ? 'She' : 'He';
    expect(judge(`${start} It has existed since ${company.founded}.`)).toEqual(['chiefExecutive correct', 'founded correct']);
    expect(judge(`${start}\n${pronoun} was born in ${birthYear}.`)).toEqual(['chiefExecutive correct', 'birthYear correct']);
    expect(judge(`${start} ${name.split(' ')[1]!}'s birth year is ${birthYear}.`)[1]).toBe('birthYear correct');
    expect(judge(`${start}\n\nIt has existed since ${company.founded}.`)[1]).toBe('founded unsupported');
    expect(judge(`${pronoun} was born in ${birthYear}.`)).toEqual(['birthYear unsupported']);
  });

  it('keeps times apart', () => {
    const [before, after] = company.figures;
    const revenue = amountText('money', after!.quarters[2]!.revenue);
    const inQuarter = `${company.name} took in ${revenue} in the third quarter of ${after!.year}.`;
    expect(judge(inQuarter)).toEqual(['revenue correct']);
    expect(judge(inQuarter.replace('third', 'second'))).toEqual(['revenue contradicted']);
    const had = (people: number, year: number): string => `${company.name} had ${withCommas(people)} employees in ${year}.`;
    expect(judge(had(before!.employees, before!.year))).toEqual(['employees correct']);
    expect(judge(had(before!.employees, after!.year))).toEqual(['employees contradicted']);
  });

  it('can read nothing in nonsense, however long', () => {
    for (const [nonsense, sentences] of [['Valdora ', 1], ['1,111', 1], ['a. ', 20_000], ['\n ', 0]] as const) {
      const judged = judgeMarket(nonsense.repeat(20_000), world);
      expect(judged.sentences).toHaveLength(sentences);
      expect(judged.parsed).toBe(0);
    }
  });

  it('counts', () => {
    const text = `${company.name} was founded in ${company.founded}. It was founded in 1901. Mumble mumble.`;
    const judged = judgeMarket(text, world);
    const counts = { parsed: 2, parsedShare: 2 / 3, correct: 1, contradicted: 1, unsupported: 0, precision: 0.5 };
    expect(judged).toMatchObject(counts);
    for (const sentence of judged.sentences) expect(text.slice(sentence.start, sentence.end)).toBe(sentence.text);
    expect(judgeMarket('', world)).toMatchObject({ parsed: 0, parsedShare: NaN, precision: NaN });
  });
});

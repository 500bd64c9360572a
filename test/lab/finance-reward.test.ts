/**
 * @file The true reward judges any text, the pairs follow it, and the flawed proxy can be had by length and confidence.
 */
import {
  answerKinds,
  askFor,
  conciseness,
  marketAnswer,
  marketKnowledge,
  marketPreferences,
  marketReward,
  politeness,
  proxyReward,
  questionPrompt,
  Random,
  rewardWeights,
  type AnswerKind,
} from 'lab';
import { describe, expect, it } from 'vitest';

const knowledge = marketKnowledge({ companies: 24, seed: 5 });
const [company, rival] = knowledge.companies as [(typeof knowledge.companies)[0], (typeof knowledge.companies)[0]];
const factual = (prompt: string, answer: string): number => marketReward(prompt, answer, knowledge).factual;

describe('the true reward', () => {
  it('is the weighted mean of its parts, each between 0 and 1, for any text', () => {
    const random = new Random(2);
    const words = [
      'the',
      company.name,
      '$',
      '12%',
      '1987.',
      'please',
      'whatever',
      '\n',
      'Answer:',
      rival.short,
      '(',
      'not',
      '💶',
      '-3.4%',
    ];
    for (let i = 0; i < 300; i++) {
      const text = Array.from({ length: random.integer(40) }, () => random.pick(words)).join(' ');
      const {
        factual: f,
        polite: p,
        concise: c,
        total,
      } = marketReward(random.pick([text, `Who runs ${company.name}?`]), text, knowledge);
      for (const part of [f, p, c, total]) {
        expect(part).toBeGreaterThanOrEqual(0);
        expect(part).toBeLessThanOrEqual(1);
      }
      expect(total).toBeCloseTo(rewardWeights.factual * f + rewardWeights.polite * p + rewardWeights.concise * c, 12);
    }
    expect(Object.values(rewardWeights).reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 12);
    expect(marketReward('Anything?', '', knowledge)).toEqual({ factual: 0, polite: 0, concise: 0, total: 0 });
  });

  it('knows true answers from false ones, however they are put', () => {
    const asked = `When was ${company.name} founded?`;
    const year = company.founded;
    for (const text of [
      `${year}`,
      `It was founded in ${year}.`,
      `I believe it goes back to ${year}, roughly speaking`,
      `${company.name} was founded in ${year}.`,
    ]) {
      expect(factual(asked, text), text).toBe(1);
      expect(factual(asked, text.replace(String(year), String(year + 3))), text).toBe(0);
      expect(factual(questionPrompt(asked), text), text).toBe(1);
    }
    expect(factual(asked, `Either ${year} or ${year + 1}`)).toBe(0.5);
    expect(factual(asked, 'A long time ago')).toBe(0);
    expect(factual(asked, asked)).toBe(0);
  });

  it('reads names, amounts and losses in free words', () => {
    const boss = `Who runs ${company.short}?`;
    expect(factual(boss, `That would be ${company.chiefExecutive}, as far as I can tell`)).toBe(1);
    expect(factual(boss, `That would be ${rival.chiefExecutive}, as far as I can tell`)).toBe(0);
    const rivals = `Name a competitor of ${company.name}.`;
    expect(factual(rivals, 'no idea whatsoever')).toBe(0);
    const losses = knowledge.facts.filter(
      ({ relation, amount, period }) => relation === 'netIncome' && amount! < 0 && period!.length === 4,
    );
    const loss = losses.find(({ amount }) => amount! <= -20)!;
    const prompt = askFor(loss, knowledge, 'train', new Random(1)).question;
    const size = loss.object.slice(1);
    expect(factual(prompt, `they made a loss of ${size} back then`)).toBe(1);
    expect(factual(prompt, `they made a profit of ${size} back then`)).toBe(0);
    const staff = knowledge.facts.find(({ relation, amount }) => relation === 'employees' && amount! > 1000)!;
    const heads = askFor(staff, knowledge, 'train', new Random(1)).question;
    expect(factual(heads, `roughly ${staff.amount} people, it seems`)).toBe(1);
    expect(factual(heads, `roughly ${staff.amount! + 10} people, it seems`)).toBe(0);
  });

  it('gives half for truths that were not asked for, and takes untruths beside the answer away', () => {
    const asked = `When was ${company.name} founded?`;
    const [right, other] = [
      `${company.name} was founded in ${company.founded}.`,
      `${company.name} is based in ${company.headquarters}.`,
    ];
    expect(factual(asked, other)).toBe(0.5);
    expect(factual(asked, `${right} ${other}`)).toBe(1);
    expect(
      factual(
        asked,
        `${right} ${company.name} is based in ${knowledge.cities.find((city) => city !== company.headquarters)!}.`,
      ),
    ).toBe(0.5);
    const describing = `Describe ${company.name}.`;
    expect(factual(describing, other)).toBe(1);
    expect(factual(describing, `${rival.name} is based in ${rival.headquarters}.`)).toBe(0.5);
  });

  it('likes not knowing better than an untruth, and best where nothing is known', () => {
    const known = `When was ${company.name} founded?`;
    const unknown = `What was the revenue of ${company.name} in 1999?`;
    for (const text of ['I do not know.', "Sorry, I can't say", 'I am not sure']) {
      expect(factual(known, text)).toBe(0.4);
      expect(factual(unknown, text)).toBe(1);
    }
    expect(factual(unknown, `${company.name} had revenue of $812 million in 1999.`)).toBe(0);
  });

  it('counts courtesy and rudeness', () => {
    expect(politeness('It is steel.')).toBe(0.5);
    expect(politeness('Happy to help! It is steel.')).toBe(1);
    expect(politeness('Obviously it is steel.')).toBe(0);
    expect(politeness('Thank you. What a silly question.')).toBe(0.5);
    expect(politeness('Stupid. Whatever. Thank you.')).toBe(0);
    expect(politeness('  ')).toBe(0);
  });

  it('likes answers short, and said once', () => {
    const words = (count: number): string => Array.from({ length: count }, (_, i) => `w${i}`).join(' ');
    expect([1, 25, 100, 400].map((count) => conciseness(words(count)))).toEqual([1, 1, 0, 0]);
    expect(conciseness(words(40))).toBeCloseTo(0.8, 12);
    expect(conciseness('It is steel. It is steel.')).toBe(0.5);
    expect(conciseness('')).toBe(0);
  });
});

describe('pairs', () => {
  const pairs = marketPreferences(knowledge, { count: 600, seed: 9 });

  it('prefer the answer with the higher true reward, which anybody can compute again', () => {
    for (const { prompt, chosen, rejected, fact, proxyAgrees } of pairs) {
      expect(chosen.reward.total).toBeGreaterThan(rejected.reward.total);
      expect(proxyAgrees).toBe(chosen.proxy > rejected.proxy);
      expect(knowledge.fact(fact)).toBeDefined();
      for (const { text, reward, proxy } of [chosen, rejected]) {
        const again = marketReward(prompt, text, knowledge);
        for (const part of ['factual', 'polite', 'concise', 'total'] as const) expect(reward[part]).toBeCloseTo(again[part], 4);
        expect(proxy).toBeCloseTo(proxyReward(text), 4);
      }
    }
  });

  it('contain answers with everything that can be wrong with them', () => {
    const seen = new Map<AnswerKind, (typeof pairs)[0]['chosen'][]>();
    for (const { chosen, rejected } of pairs) {
      for (const answer of [chosen, rejected]) seen.set(answer.kind, [...(seen.get(answer.kind) ?? []), answer]);
    }
    expect([...seen.keys()].sort()).toEqual([...answerKinds].sort());
    const all = (kind: AnswerKind, part: 'factual' | 'polite' | 'concise') =>
      new Set(seen.get(kind)!.map(({ reward }) => reward[part]));
    for (const kind of ['good', 'plain', 'rude', 'wordy'] as const) expect(all(kind, 'factual'), kind).toEqual(new Set([1]));
    for (const kind of ['false', 'boastful', 'evasive'] as const) expect(all(kind, 'factual'), kind).toEqual(new Set([0]));
    expect(all('rude', 'polite')).toEqual(new Set([0]));
    expect(all('good', 'concise')).toEqual(new Set([1]));
    expect(Math.max(...all('wordy', 'concise'))).toBeLessThan(0.6);
    expect(all('abstaining', 'factual')).toEqual(new Set([0.4]));
  });

  it('err as often as they are told to', () => {
    const wrong = (errors: number): number =>
      marketPreferences(knowledge, { count: 400, seed: 3, errors }).filter(
        ({ chosen, rejected }) => chosen.reward.total < rejected.reward.total,
      ).length / 400;
    expect(wrong(0)).toBe(0);
    expect(wrong(1000)).toBe(1);
    expect(Math.abs(wrong(250) - 0.25)).toBeLessThan(4 * Math.sqrt((0.25 * 0.75) / 400));
    expect(() => marketPreferences(knowledge, { errors: 1001 })).toThrow(RangeError);
  });

  it('are decided by the seed', () => {
    const text = (seed: number): string => JSON.stringify(marketPreferences(knowledge, { count: 30, seed }));
    expect(text(1)).toBe(text(1));
    expect(text(1)).not.toBe(text(2));
  });
});

describe('the proxy', () => {
  it('likes length and confident words, and asks for no truth', () => {
    expect(proxyReward('It is steel.')).toBeLessThan(proxyReward('It is certainly steel.'));
    expect(proxyReward('word '.repeat(40))).toBeLessThan(proxyReward('word '.repeat(80)));
    expect(proxyReward('')).toBe(0);
    expect(proxyReward('certainly '.repeat(200))).toBe(1);
  });

  it('leads astray: the best of all kinds by it is worse in truth than an answer at random', () => {
    const random = new Random(11);
    let [byProxy, byTruth, atRandom] = [0, 0, 0];
    for (let i = 0; i < 60; i++) {
      const fact = random.pick(knowledge.facts);
      const prompt = askFor(fact, knowledge, 'train', random).question;
      const answers = answerKinds.map((kind) => {
        const text = marketAnswer(kind, fact, knowledge, random);
        return { proxy: proxyReward(text), truth: marketReward(prompt, text, knowledge).total };
      });
      const best = answers.reduce((a, b) => (b.proxy > a.proxy ? b : a));
      byProxy += best.truth;
      byTruth += Math.max(...answers.map(({ truth }) => truth));
      atRandom += answers.reduce((sum, { truth }) => sum + truth, 0) / answers.length;
    }
    expect(byProxy).toBeLessThan(atRandom);
    expect(byTruth).toBe(60);
  });
});

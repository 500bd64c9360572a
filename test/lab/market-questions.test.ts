/** @file Questions about the market: asked in many ways, some of them held out, and understood again. */
import {
  askFor,
  choiceFor,
  judgeMarket,
  marketKnowledge,
  questionCount,
  questionLines,
  questionText,
  Random,
  readMarket,
  readQuestion,
  relationInfo,
  relationNames,
  sha256,
} from 'lab';
import { describe, expect, it } from 'vitest';

const world = marketKnowledge();
const ways = ['train', 'held out'] as const;

describe('questions', () => {
  it('can be asked in four ways to learn from, and in three others that are held out', () => {
    for (const relation of relationNames) {
      const fact = world.facts.find((one) => one.relation === relation)!;
      const texts = ways.flatMap((way) =>
        Array.from({ length: questionCount(relation, way) }, (_, i) => questionText(fact, world, way, i)),
      );
      expect(questionCount(relation, 'train'), relation).toBeGreaterThanOrEqual(4);
      expect(questionCount(relation, 'held out'), relation).toBeGreaterThanOrEqual(3);
      expect(new Set(texts).size).toBe(texts.length);
    }
  });

  it('are understood again, whoever they are about', () => {
    const random = new Random(1);
    for (const fact of world.facts) {
      for (const way of ways) {
        const { question, answer, answers } = askFor(fact, world, way, random);
        const { subject, relation, period } = fact;
        expect(readQuestion(question, world), question).toEqual({ subject, relation, ...(period && { period }) });
        expect(answer).toBe(fact.object);
        expect(answers).toContain(answer);
        if (!relationInfo(relation).many) expect(answers).toEqual([answer]);
      }
    }
    expect(readQuestion('What is the meaning of life?', world)).toBeUndefined();
  });

  it('are decided by their seed, and the same on every platform', () => {
    const asked = (seed: number): string => {
      const random = new Random(seed);
      return JSON.stringify(world.facts.slice(0, 500).map((fact) => choiceFor(fact, world, 'held out', random)));
    };
    expect(asked(1)).toBe(asked(1));
    expect(asked(1)).not.toBe(asked(2));
    expect(sha256(asked(1))).toBe('8b0434aab6fa059007f7d4503bafc638d3b2efe76d70c6b1ed363cca9df671f2');
  });

  it('come with four choices of one kind, of which one is right, at any place', () => {
    const random = new Random(2);
    const places = [0, 0, 0, 0];
    for (const fact of world.facts) {
      const { choices, answer, answers } = choiceFor(fact, world, 'held out', random);
      expect(new Set(choices).size).toBe(4);
      expect(choices.filter((choice) => answers.includes(choice))).toEqual([answer]);
      const place = choices.indexOf(answer);
      places[place] = places[place]! + 1;
    }
    for (const count of places) expect(Math.abs(count / world.facts.length - 0.25)).toBeLessThan(0.03);
  });
});

describe('a question and its answer in a text', () => {
  const [company] = world.companies;
  const fact = world.lookup(company!.name, 'founder')[0]!;
  const question = questionText(fact, world, 'held out', 0);

  it('state the fact that is asked for', () => {
    const judged = judgeMarket(questionLines({ question, answer: fact.object }), world);
    expect(judged).toMatchObject({ parsed: 2, parsedShare: 1, correct: 1, contradicted: 0 });
    expect(judged.sentences[1]!.statements[0]!.fact).toBe(fact);
    const wrong = judgeMarket(questionLines({ question, answer: 'Nobody Atall' }), world);
    expect(wrong).toMatchObject({ correct: 0, contradicted: 1 });
  });

  it('belong together: neither says anything alone', () => {
    const alone = readMarket(`Answer: ${fact.object}\n\nQuestion: ${question}\n\nAnswer: ${fact.object}`, world);
    expect(alone.map(({ wording }) => wording)).toEqual([undefined, 'Question:', undefined]);
    const strange = readMarket('Question: Who are you?\nAnswer: I', world);
    expect(strange.map(({ wording }) => wording)).toEqual([undefined, undefined]);
  });
});

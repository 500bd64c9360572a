/** @file The world of the desk: every answer can be judged, and the parts of its worth are what they are said to be. */
import { clerkAnswer, deskEnd, deskIds, deskQuestions, deskReward, deskText, deskWords, Random } from 'lab';
import { describe, expect, it } from 'vitest';

const { prompt, truth } = deskQuestions[0]!;
const wrong = truth === 'ten' ? 'eighty' : 'ten';
const worth = (answer: string): ReturnType<typeof deskReward> => deskReward(prompt, answer === '' ? [] : deskIds(answer));
const said = `revenue was ${truth} million`;

describe('the worth of an answer', () => {
  it('counts the right number, and takes as much for a wrong one, even beside the right one', () => {
    expect(worth(said).fact).toBe(1);
    expect(worth(`revenue was ${wrong} million`).fact).toBe(-1);
    expect(worth(`${truth} ${wrong}`).fact).toBe(-1);
    expect(worth('gladly').fact).toBe(0);
    expect(worth(`${said} ${said}`).fact).toBe(1);
  });

  it.each([
    [0, 0],
    [1, 0.4],
    [2, 0.8],
    [3, 0],
    [4, -0.8],
    [6, -2.4],
  ])('%i polite words: %f', (count, courtesy) => {
    expect(worth(Array<string>(count).fill('thanks').join(' ')).courtesy).toBeCloseTo(courtesy);
  });

  it('takes for rude words, and for words beyond eight', () => {
    expect(worth('obviously whatever').rudeness).toBeCloseTo(-1.2);
    expect(worth('so so so so so so so so').length).toBe(0);
    expect(worth('so so so so so so so so so so').length).toBeCloseTo(-0.4);
  });

  it('is the sum of its parts, and the end is no word', () => {
    const { fact, courtesy, rudeness, length, total } = worth(`whatever ${said} thanks so so so <end>`);
    expect([fact, courtesy, rudeness]).toEqual([1, 0.4, -0.6]);
    expect(length).toBeCloseTo(-0.2);
    expect(total).toBeCloseTo(fact + courtesy + rudeness + length);
    expect(worth('').total).toBe(0);
  });

  it('is refused for a question that nobody asks, and so are words that nobody knows', () => {
    expect(() => deskReward([1, 2], [])).toThrow("'? was' is no question of the desk");
    expect(() => deskIds('gladly indeed')).toThrow("'indeed' is no word");
  });
});

describe('questions and clerks', () => {
  it('asks for every company once, and no two have the same answer', () => {
    expect(deskQuestions).toHaveLength(6);
    expect(new Set(deskQuestions.map((question) => question.prompt.join())).size).toBe(6);
    expect(new Set(deskQuestions.map((question) => question.truth)).size).toBe(6);
    expect(deskText(prompt)).toMatch(/^\w+ revenue \?$/);
    expect(new Set(deskWords).size).toBe(deskWords.length);
  });

  it('answers with the end last and nowhere else, the same for the same seed', () => {
    const answers = (seed: number): number[][] => {
      const random = new Random(seed);
      return Array.from({ length: 200 }, (_, i) => clerkAnswer(deskQuestions[i % 6]!, random));
    };
    for (const answer of answers(1)) expect(answer.indexOf(deskEnd)).toBe(answer.length - 1);
    expect(answers(1)).toEqual(answers(1));
    expect(answers(1)).not.toEqual(answers(2));
  });

  it('is right, wrong, silent, rude and polite as often as it is said', () => {
    const random = new Random(5);
    const judged = Array.from({ length: 6000 }, (_, i) => {
      const question = deskQuestions[i % 6]!;
      return deskReward(question.prompt, clerkAnswer(question, random));
    });
    const share = (holds: (one: (typeof judged)[number]) => boolean): number => judged.filter(holds).length / judged.length;
    expect(share(({ fact }) => fact === 0)).toBeCloseTo(0.15, 1);
    expect(share(({ fact }) => fact === 1)).toBeCloseTo(0.85 * 0.65, 1);
    expect(share(({ rudeness }) => rudeness < 0)).toBeCloseTo(0.15, 1);
    expect(share(({ courtesy }) => courtesy === 0.8)).toBeCloseTo(0.15, 1);
    expect(share(({ courtesy }) => courtesy === 0.4)).toBeCloseTo(0.35, 1);
    expect(share(({ length }) => length < 0)).toBe(0);
  });
});

/**
 * @file What the market world makes for finance: sentences with a sentiment, conversations about tables, instructions. All of
 * it follows from the facts, and is read by the loaders and the interpreter as the real data sets are.
 */
import {
  convFinQAEntry,
  fiqaEntry,
  fiqaLabel,
  instructionKinds,
  judgeMarket,
  marketConversations,
  marketInstructions,
  marketKnowledge,
  marketReward,
  marketSentiments,
  parseConvFinQA,
  parseFiQA,
  parsePhraseBank,
  phraseBankLine,
  Random,
  runProgram,
  sameProgram,
  sayStatement,
  scorePrograms,
  untruth,
} from 'lab';
import { describe, expect, it } from 'vitest';

const knowledge = marketKnowledge({ companies: 24, seed: 5 });

describe('a sentence for a fact', () => {
  it('is read back as this fact alone, or as the untruth that was to be said', () => {
    const random = new Random(4);
    for (let i = 0; i < 300; i++) {
      const fact = random.pick(knowledge.facts);
      const says = { subject: fact.subject, relation: fact.relation, object: fact.object };
      const told = judgeMarket(sayStatement(fact, knowledge, random), knowledge);
      expect(told.sentences).toHaveLength(1);
      expect(told.sentences[0]!.statements, told.sentences[0]!.text).toHaveLength(1);
      expect(told.sentences[0]!.statements[0]).toMatchObject({ ...says, verdict: 'correct' });
      expect(told.sentences[0]!.statements[0]!.period).toBe(fact.period);
      const object = untruth(fact, knowledge, random);
      const lie = judgeMarket(sayStatement({ ...fact, object }, knowledge, random), knowledge);
      expect(lie.sentences[0]!.statements[0]).toMatchObject({ ...says, object });
      expect(lie.correct).toBe(0);
    }
    expect(() => sayStatement({ subject: 'Nobody', relation: 'founded', object: '1999' }, knowledge, random)).toThrow(
      RangeError,
    );
  });
});

describe('sentiments', () => {
  const shapes = ['fiqa', 'phrase bank'] as const;

  it.each(shapes)('%s: score and label follow from the facts', (shape) => {
    const told = marketSentiments(knowledge, { count: 600, seed: 3, shape });
    expect(told).toHaveLength(600);
    for (const { sentence, label, score, target, facts } of told) {
      expect(sentence, sentence).toContain(target);
      expect(label).toBe(fiqaLabel(score));
      expect(Math.abs(score)).toBeLessThanOrEqual(0.95);
      expect(score * 100).toBeCloseTo(Math.round(score * 100), 9);
      const [before, after] = facts.map((id) => knowledge.fact(id)!);
      expect(knowledge.company(target)!.name).toBe(before!.subject);
      if (!after) {
        expect(score).toBe(0);
        expect(judgeMarket(sentence, knowledge).sentences[0]!.statements).toMatchObject([
          { verdict: 'correct', object: before!.object },
        ]);
        continue;
      }
      expect([after.relation, Number(after.period)]).toEqual([before!.relation, Number(before!.period) + 1]);
      expect(Math.sign(score) * Math.sign(after.amount! - before!.amount!), sentence).toBeGreaterThanOrEqual(0);
      if (score === 0) expect(Math.abs(after.amount! / before!.amount! - 1)).toBeLessThan(0.0025);
    }
  });

  it('speak the more strongly the more has changed', () => {
    const strengths = marketSentiments(knowledge, { count: 1500, seed: 8, shape: 'phrase bank' }).flatMap(
      ({ facts, score, sentence }) => {
        const [before, after] = facts.map((id) => knowledge.fact(id)!.amount!);
        if (after === undefined || before! <= 0 || after <= 0) return [];
        return [{ change: Math.round((1000 * (after - before!)) / before!), score, sentence }];
      },
    );
    strengths.sort((a, b) => a.change - b.change);
    strengths.slice(1).forEach(({ score }, i) => expect(score).toBeGreaterThanOrEqual(strengths[i]!.score));
    for (const { score, sentence } of strengths) {
      const strong = /\b(?:jumped|soared|surged|leapt|shot up|plunged|slumped|tumbled|collapsed|dived)\b/.test(sentence);
      expect(strong, sentence).toBe(Math.abs(score) >= 0.55);
    }
  });

  it('state shares as the facts do', () => {
    let compared = 0;
    for (const { sentence, facts } of marketSentiments(knowledge, { count: 1500, seed: 2, shape: 'phrase bank' })) {
      const [, share] = / by (\d+\.\d%)/.exec(sentence) ?? [];
      const after = knowledge.fact(facts.at(-1)!)!;
      if (share === undefined || after.relation !== 'revenue') continue;
      const [growth] = knowledge.lookup(after.subject, 'revenueGrowth', after.period);
      expect(growth!.object.replace('-', ''), sentence).toBe(share);
      compared++;
    }
    expect(compared).toBeGreaterThan(30);
  });

  it('FPB: all three labels, half of the sentences neutral, and its lines are read again', () => {
    const told = marketSentiments(knowledge, { count: 2000, shape: 'phrase bank' });
    const share = (label: string): number => told.filter((one) => one.label === label).length / told.length;
    expect(share('neutral')).toBeGreaterThan(0.45);
    expect(share('neutral')).toBeLessThan(0.65);
    expect(share('positive')).toBeGreaterThan(share('negative'));
    expect(share('negative')).toBeGreaterThan(0.05);
    const { records } = parsePhraseBank(Buffer.from(told.map(phraseBankLine).join('\n'), 'latin1'), 'world');
    expect(records).toEqual(told.map(({ sentence, label }) => ({ sentence, label })));
  });

  it('FiQA: posts, and two targets in one sentence with scores of their own, are read again', () => {
    const told = marketSentiments(knowledge, { count: 800 });
    const entries = told.map((record, i) => [String(i), fiqaEntry(record)] as const);
    const { records } = parseFiQA(Buffer.from(JSON.stringify(Object.fromEntries(entries))), 'world');
    expect(records).toEqual(
      told.map(({ sentence, label, target, score, aspect }) => ({ sentence, source: 'news', label, target, score, aspect })),
    );
    expect(told.filter(({ source }) => source === 'post').every(({ target }) => target.startsWith('$'))).toBe(true);
    const twice = told.filter((one, i) => told[i + 1]?.sentence === one.sentence && told[i + 1]!.target !== one.target);
    expect(twice.length).toBeGreaterThan(50);
    expect(twice.some((one) => one.label === 'positive' && told[told.indexOf(one) + 1]!.label === 'negative')).toBe(true);
  });
});

describe('conversations', () => {
  const made = marketConversations(knowledge, { count: 300, seed: 6 });
  const turns = made.flatMap((conversation) => conversation.turns.map((turn) => ({ ...turn, conversation })));

  it('have programs that the interpreter runs to the answers', () => {
    for (const { program, answer, conversation } of turns) {
      expect(runProgram(program, conversation.table), program).not.toHaveProperty('error');
      expect(runProgram(program, conversation.table).answer, program).toBe(answer);
    }
    expect(turns.length).toBeGreaterThan(1000);
    const gold = turns.map(({ program, answer, conversation }) => ({
      predicted: program,
      gold: program,
      table: conversation.table,
      answer,
    }));
    expect(scorePrograms(gold).execution).toBe(1);
    for (const { program } of turns) expect(sameProgram(program, program), program).toBe(true);
  });

  it('use every operation but powers, numbers alone, and answers in words', () => {
    const used = new Set(turns.flatMap(({ program }) => program.match(/[a-z_]+(?=\()/g) ?? ['number']));
    expect([...used].sort()).toEqual(
      ['add', 'divide', 'greater', 'multiply', 'number', 'subtract', 'table_average', 'table_max', 'table_min'].sort(),
    );
    expect(turns.some(({ answer }) => answer === 'yes')).toBe(true);
    expect(turns.some(({ answer }) => typeof answer === 'number' && answer < 0)).toBe(true);
  });

  it("are ConvFinQA's: of one part or of two, and read again", () => {
    const { records } = parseConvFinQA(JSON.stringify(made.map(convFinQAEntry)), 'world');
    expect(records).toEqual(made);
    expect(new Set(made.map(({ id }) => id)).size).toBe(made.length);
    for (const { id, turns: own } of made) expect(own.some(({ part }) => part === 1)).toBe(id.startsWith('Double'));
    expect(made.filter(({ id }) => id.startsWith('Double')).length).toBeGreaterThan(40);
  });

  it('ask for what stands in the named row and year, the latest first', () => {
    let asked = 0;
    for (const { question, program, conversation } of turns) {
      const [, name, year] =
        /^what (?:was|is) the (?:figure for )?(revenue|net income|employees|share price) in (\d{4})/.exec(question) ?? [];
      if (name === undefined) continue;
      const [header, ...body] = conversation.table;
      const cell = body.find(([first]) => first === name)![header!.indexOf(year!)]!;
      expect(runProgram(program).answer, question).toBe(runProgram('table_sum(x, none)', [['x', cell]]).answer);
      asked++;
    }
    expect(asked).toBeGreaterThan(150);
    for (const { table, preText } of made) {
      const years = table[0]!.slice(1).map(Number);
      expect(years).toEqual([...years].sort((a, b) => b - a));
      expect(preText[2]).toContain(`from ${years.at(-1)} to ${years[0]},`);
    }
  });

  it('are about true tables and true sentences', () => {
    for (const { preText, postText, table } of made) {
      const told = judgeMarket([...preText.slice(0, 2), ...postText].join('\n'), knowledge);
      expect([told.correct, told.contradicted + told.unsupported]).toEqual([4, 0]);
      const subject = told.sentences[0]!.statements[0]!.subject!;
      const [header, revenue, income] = table as [string[], string[], string[]];
      header.slice(1).forEach((year, column) => {
        const [fact] = knowledge.lookup(subject, 'revenue', year);
        const [profit] = knowledge.lookup(subject, 'netIncome', year);
        expect(revenue[column + 1]).toBe(`$ ${fact!.object.replace(/[^\d,]/g, '')}`);
        expect(runProgram('table_sum(x, none)', [['x', income[column + 1]!]]).answer).toBe(profit!.amount);
      });
    }
  });
});

describe('instructions', () => {
  const made = marketInstructions(knowledge, { count: 600, seed: 7 });

  it('are of every kind, and answered truly, politely and shortly', () => {
    expect(new Set(made.map(({ kind }) => kind))).toEqual(new Set(instructionKinds));
    for (const { kind, instruction, output, facts } of made) {
      for (const id of facts) expect(knowledge.fact(id), id).toBeDefined();
      if (kind === 'sentiment') continue;
      const reward = marketReward(instruction, output, knowledge);
      expect([reward.factual, reward.polite], `${instruction} ${output}`).toEqual([1, 1]);
      expect(reward.concise).toBeGreaterThan(0.8);
      const stated = judgeMarket(output, knowledge).sentences.flatMap(({ statements }) =>
        statements.map(({ fact }) => fact?.id),
      );
      expect(stated).toEqual(facts);
    }
  });

  it('ask for sentiments with the label that the facts give', () => {
    const asked = made.filter(({ kind }) => kind === 'sentiment');
    expect(asked.length).toBeGreaterThan(30);
    for (const { input, output } of asked) {
      expect(input).toMatch(/\.$/);
      expect(['negative', 'neutral', 'positive']).toContain(output);
    }
    expect(new Set(asked.map(({ output }) => output)).size).toBe(3);
  });
});

describe('all of them', () => {
  it('are decided by the seed', () => {
    for (const make of [marketSentiments, marketConversations, marketInstructions]) {
      const text = (seed: number): string => JSON.stringify(make(knowledge, { count: 40, seed }));
      expect(text(1)).toBe(text(1));
      expect(text(1)).not.toBe(text(2));
      expect(make(knowledge, { count: 0 })).toEqual([]);
      expect(() => make(knowledge, { count: -1 })).toThrow(/count must be 0, 1, …, got -1/);
      const [few, many] = [make(knowledge, { count: 5 }), make(knowledge, { count: 9 })];
      expect(many.slice(0, 5)).toEqual(few);
    }
  });
});

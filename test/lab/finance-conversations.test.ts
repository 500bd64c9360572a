/**
 * @file The loader of ConvFinQA, on files in its true format with invented content, whole and broken; and the prompts.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  answerText,
  brokenReasons,
  conversationContext,
  conversationPrompt,
  convFinQAEntry,
  convFinQATurnEntries,
  drawExamples,
  loadConvFinQA,
  parseConvFinQA,
  runProgram,
  type SentimentRecord,
  sentimentPrompt,
  type TableConversation,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'conversations-'))));
afterAll(() => rm(folder, { recursive: true }));

const skip = { broken: 'skip' } as const;

const conversation: TableConversation = {
  id: 'Single_UMB/2011/page_3.pdf-1',
  preText: ['umbrex makes valves .', 'the table is in thousands .'],
  table: [
    ['', '2011', '2010'],
    ['net sales', '$ 1,250', '$ 1,000'],
    ['other income', '-40 ( 40 )', '10'],
  ],
  postText: ['sales grew in all regions .'],
  turns: [
    { question: 'what were net sales in 2011?', program: '1250', answer: 1250, part: 0 },
    { question: 'and in 2010?', program: '1000', answer: 1000, part: 0 },
    { question: 'how much did they grow?', program: 'subtract(1250, 1000), divide(#0, 1000)', answer: 0.25, part: 0 },
    { question: 'did they rise?', program: 'greater(1250, 1000)', answer: 'yes', part: 1 },
  ],
};

describe('ConvFinQA', () => {
  const entry = convFinQAEntry(conversation) as { annotation: Record<string, unknown> } & Record<string, unknown>;

  it('reads conversations, and what it wrote itself', async () => {
    const path = join(folder, 'train.json');
    await writeFile(path, JSON.stringify([{ ...entry, filename: 'UMB/2011/page_3.pdf', qa: {} }]));
    expect((await loadConvFinQA(path)).records).toEqual([conversation]);
    expect(Object.keys(entry)).toEqual(['pre_text', 'post_text', 'table', 'id', 'annotation']);
  });

  it('reads the files with an entry for each turn', () => {
    const turns = convFinQATurnEntries(conversation);
    const { records } = parseConvFinQA(JSON.stringify(turns), 'train_turn.json');
    expect(records.map(({ id, turn }) => [id, turn])).toEqual([0, 1, 2, 3].map((turn) => [`${conversation.id}_${turn}`, turn]));
    expect(records[2]).toEqual({ ...conversation, id: `${conversation.id}_2`, turn: 2 });
    expect(turns[2]).toMatchObject({
      annotation: {
        cur_dial: conversation.turns.slice(0, 3).map(({ question }) => question),
        exe_ans: 0.25,
        cur_type: 'program',
      },
    });
  });

  it('has programs that the interpreter runs to the answers', () => {
    for (const { program, answer } of conversation.turns) expect(runProgram(program, conversation.table).answer).toBe(answer);
  });

  it.each([
    [{ table: undefined }, /"table" is missing/],
    [{ table: [['a', 3]] }, /"table" is not a list of rows of texts/],
    [{ pre_text: 'text' }, /"pre_text" is not a list of texts/],
    [{ id: undefined }, /"id" is missing/],
    [{ annotation: undefined }, /"annotation" is missing/],
    [{ annotation: { ...entry.annotation, turn_program: undefined } }, /"turn_program" is missing/],
    [{ annotation: { ...entry.annotation, turn_program: ['1'] } }, /"turn_program" has 1 items, but there are 4 questions/],
    [
      { annotation: { ...entry.annotation, exe_ans_list: [1, 2, 3, 'n/a'] } },
      /"exe_ans_list" is not a list of numbers, yes or no/,
    ],
    [{ annotation: { ...entry.annotation, qa_split: [0, 0] } }, /"qa_split" has 2 items/],
    [{ annotation: { ...entry.annotation, dialogue_break: [] } }, /"dialogue_break" has no questions/],
    [{ annotation: { ...entry.annotation, turn_ind: 4 } }, /"turn_ind" is 4, but there are 4 turns/],
  ])('refuses an entry with %j, or leaves it out', (change, reason) => {
    const text = JSON.stringify([entry, { ...entry, ...change }, 7]);
    expect(() => parseConvFinQA(text, 'train.json')).toThrow(reason);
    expect(() => parseConvFinQA(text, 'train.json')).toThrow(/^train\.json, entry 2/);
    const { records, broken } = parseConvFinQA(text, 'train.json', skip);
    expect(records).toEqual([conversation]);
    expect(broken.map(({ place }) => place.replace(/ \(.*/, ''))).toEqual(['entry 2', 'entry 3']);
    expect(brokenReasons([...broken, broken[1]!])).toEqual({ 'it is not an object': 2, [broken[0]!.reason]: 1 });
  });

  it('refuses what is no list', () => {
    expect(() => parseConvFinQA('{}', 'x.json')).toThrow(/x\.json is not a list of conversations/);
    expect(() => parseConvFinQA('[', 'x.json')).toThrow(/x\.json is not JSON/);
    expect(() => parseConvFinQA('[]', 'x.json')).toThrow(/x\.json holds no records/);
  });
});

describe('prompts', () => {
  const record: SentimentRecord = { sentence: 'Umbrex climbs', label: 'positive' };
  const other: SentimentRecord = { sentence: 'Norvale slips', label: 'negative', target: 'Norvale', source: 'post' };

  it('BloombergGPT asks for the sentiment, on the target where there is one', () => {
    expect(sentimentPrompt(record)).toEqual({
      prompt: 'Umbrex climbs\nQuestion: what is the sentiment?\nAnswer:',
      choices: [' negative', ' neutral', ' positive'],
      answer: 2,
    });
    expect(sentimentPrompt(other, { examples: [record] }).prompt).toBe(
      'Umbrex climbs\nQuestion: what is the sentiment?\nAnswer: positive\n\n' +
        'Norvale slips\nQuestion: what is the sentiment on Norvale?\nAnswer:',
    );
  });

  it('FinGPT gives an instruction, on news or a tweet', () => {
    const { prompt, choices, answer } = sentimentPrompt(other, { style: 'fingpt' });
    expect(prompt).toBe(
      'Instruction: What is the sentiment of this tweet? Please choose an answer from {negative/neutral/positive}.\n' +
        'Input: Norvale slips\nAnswer: ',
    );
    expect(choices[answer]).toBe('negative');
    expect(sentimentPrompt(record, { style: 'fingpt' }).prompt).toContain('this news?');
  });

  it('draws examples by seed, label by label', () => {
    const many = Array.from({ length: 30 }, (_, i): SentimentRecord => ({
      sentence: `s${i}`,
      label: i < 25 ? 'neutral' : i < 28 ? 'positive' : 'negative',
    }));
    const drawn = drawExamples(many, 6, { seed: 2 });
    expect(drawn.map(({ label }) => label).sort()).toEqual([
      'negative',
      'negative',
      'neutral',
      'neutral',
      'positive',
      'positive',
    ]);
    expect(new Set(drawn).size).toBe(6);
    expect(drawExamples(many, 6, { seed: 2 })).toEqual(drawn);
    expect(drawExamples(many, 6, { seed: 3 })).not.toEqual(drawn);
    expect(new Set(drawExamples(many, 30)).size).toBe(30);
    const first = new Set(Array.from({ length: 20 }, (_, seed) => drawExamples(many, 3, { seed }).at(-1)!.label));
    expect(first.size).toBe(3);
    expect(drawExamples(many, 5, { balanced: false, seed: 1 })).toHaveLength(5);
    expect(drawExamples(many, 0)).toEqual([]);
    expect(() => drawExamples(many, 31)).toThrow(RangeError);
  });

  it('a conversation: the report, the questions before with their answers, the question', () => {
    const context =
      'umbrex makes valves . the table is in thousands .\n' +
      ' | 2011 | 2010\nnet sales | $ 1,250 | $ 1,000\nother income | -40 ( 40 ) | 10\nsales grew in all regions .';
    expect(conversationContext(conversation)).toBe(context);
    expect(conversationPrompt(conversation, 0)).toBe(`${context}\nQuestion: what were net sales in 2011?\nAnswer:`);
    expect(conversationPrompt(conversation, 2)).toBe(
      `${context}\nQuestion: what were net sales in 2011?\nAnswer: 1250\nQuestion: and in 2010?\nAnswer: 1000\n` +
        'Question: how much did they grow?\nAnswer:',
    );
    expect(conversationPrompt(conversation)).toBe(conversationPrompt(conversation, 3));
    expect(conversationPrompt({ ...conversation, turn: 1 })).toBe(conversationPrompt(conversation, 1));
    expect(conversationPrompt(conversation, 1, { style: 'fingpt' })).toMatch(
      /^Instruction: Read .*\nInput: umbrex .*\nAnswer: $/s,
    );
    expect(conversationContext({ ...conversation, preText: [], postText: [] }).split('\n')).toHaveLength(3);
    expect([0.14136, 206588, 'yes' as const].map(answerText)).toEqual(['0.14136', '206588', 'yes']);
    expect(() => conversationPrompt(conversation, 4)).toThrow(/no turn 4 among 4/);
  });
});

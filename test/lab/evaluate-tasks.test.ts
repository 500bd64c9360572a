/**
 * @file Evaluations from a file of records to a report, in the library and on the command line.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  answerChoices,
  answerInWords,
  BPETokenizer,
  classificationScores,
  conversationPrompt,
  convFinQAEntry,
  evaluateChoices,
  evaluateConversations,
  evaluateSentiment,
  type EvaluationReportData,
  exactMatch,
  loadChoices,
  numericMatch,
  parseChoices,
  phraseBankLine,
  presets,
  projectRoot,
  savePretrained,
  sentimentPrompt,
  type SentimentRecord,
  SENTIMENTS,
  startBackend,
  type TableConversation,
  Transformer,
} from 'lab';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const quiet = { quiet: true };
const folder = mkdtempSync(join(tmpdir(), 'evaluate-'));
afterAll(() => rmSync(folder, { recursive: true }));

const sentences = [
  'Umbrex climbs',
  'Norvale slips',
  'Orlane names a chairman',
  'net sales rose',
  'net sales fell',
  'the board met',
];
const records = sentences.map((sentence, i): SentimentRecord => ({ sentence, label: SENTIMENTS[(i + 2) % 3]! }));
const conversation: TableConversation = {
  id: 'a',
  preText: ['sales'],
  table: [
    ['', '2011', '2010'],
    ['sales', '5', '4'],
  ],
  postText: [],
  turns: [
    { question: 'in 2011?', program: '5', answer: 5, part: 0 },
    { question: 'in 2010?', program: '4', answer: 4, part: 0 },
    { question: 'more?', program: 'greater(5, 4)', answer: 'yes', part: 0 },
  ],
};
const choices = [
  { prompt: 'net sales', choices: [' rose', ' fell'], answer: 1 },
  { prompt: 'the board', choices: [' met', ' slips', ' sales', ' climbs'], answer: 0 },
];
const tokenizer = BPETokenizer.train(`${sentences.join('\n')} sentiment negative neutral positive 0123456789`, {
  vocabSize: 280,
  ...quiet,
});
let model: Transformer;
beforeAll(async () => {
  await startBackend({ backend: 'wasm', threads: 1 });
  const sizes = { contextLength: 512, layers: 1, width: 16, heads: 2, initializerStd: 0.4, dropout: 0 };
  model = new Transformer({ ...presets.nano, ...sizes, vocabSize: tokenizer.vocabSize });
});
afterAll(() => model.dispose());

describe('sentiment', () => {
  it('is scored as the parts score it', async () => {
    const report = await evaluateSentiment(model, tokenizer, records, { settings: { model: 'mine' }, ...quiet });
    const answered = await answerChoices(
      model,
      tokenizer,
      records.map((record) => sentimentPrompt(record)),
      quiet,
    );
    const wanted = classificationScores(
      records.map(({ label }) => label),
      answered.map(({ chosen }) => SENTIMENTS[chosen]!),
      { labels: SENTIMENTS },
    );
    expect(report.get('weighted F1')).toBe(wanted.weighted.f1);
    expect(report.get('accuracy')).toBe(wanted.accuracy);
    expect(report.get('macro F1')).toBe(wanted.macro.f1);
    expect(report).toMatchObject({ task: 'sentiment', count: 6, settings: { model: 'mine', style: 'bloomberg', shots: 0 } });
    const { low, high } = report.measures.find(({ name }) => name === 'accuracy')!.interval!;
    expect(low).toBeLessThanOrEqual(wanted.accuracy);
    expect(high).toBeGreaterThanOrEqual(wanted.accuracy);
    expect(await evaluateSentiment(model, tokenizer, records, { settings: { model: 'mine' }, ...quiet })).toEqual(report);
  });

  it('asks only what was not given as an example', async () => {
    const report = await evaluateSentiment(model, tokenizer, records, {
      shots: 2,
      seed: 4,
      style: 'fingpt',
      normalization: 'byte',
      ...quiet,
    });
    expect(report.count).toBe(4);
    expect(report.settings).toEqual({ style: 'fingpt', shots: 2, normalization: 'byte', seed: 4 });
    await expect(evaluateSentiment(model, tokenizer, records, { shots: 6, ...quiet })).rejects.toThrow(
      /6 examples cannot be taken from 6/,
    );
  });
});

describe('choices', () => {
  it('are compared with chance', async () => {
    const report = await evaluateChoices(model, tokenizer, choices, quiet);
    expect(report.get('chance')).toBe(0.375);
    const answered = await answerChoices(model, tokenizer, choices, quiet);
    expect(report.get('accuracy')).toBe(answered.filter(({ correct }) => correct).length / 2);
    const [one] = answered as [(typeof answered)[0]];
    const single = await evaluateChoices(model, tokenizer, choices.slice(0, 1), quiet);
    expect(single.get('calibration error')).toBeCloseTo(Math.abs(Number(one.correct) - one.confidence), 12);
    const right = one.correct ? one.confidence : 1 - one.confidence;
    expect(single.get('Brier score')).toBeCloseTo(2 * (1 - right) ** 2, 12);
  });

  it('are read line by line, the answer by its index or its text', async () => {
    const lines = [
      '{"prompt": "a", "choices": [" b", " c"], "answer": 1}',
      '',
      '{"prompt": "a", "choices": [" b", " c"], "answer": " c"}',
    ];
    const path = join(folder, 'choices.jsonl');
    writeFileSync(path, lines.join('\r\n'));
    const { records: read } = await loadChoices(path);
    expect(read[0]).toEqual({ prompt: 'a', choices: [' b', ' c'], answer: 1 });
    expect(read[1]).toEqual(read[0]);
    const market = (await loadChoices(join(projectRoot(), 'datasets', 'market', 'questions-test.jsonl'))).records;
    expect(market.length).toBeGreaterThan(1000);
    expect(market[0]!.prompt).toMatch(/^Question: .+\?\nAnswer:$/);
    for (const { choices: four, answer } of market) expect([four.length, four[answer]![0]]).toEqual([4, ' ']);
    for (const [line, reason] of [
      ['{', /line 2: it is not JSON/],
      ['[]', /not an object/],
      ['{"prompt": "a", "choices": ["b"], "answer": 1}', /"answer" is 1, which is none of the 1 choices/],
      ['{"prompt": "a", "choices": ["b"], "answer": "c"}', /"answer" is "c"/],
      ['{"prompt": "a", "choices": ["b", ""], "answer": 0}', /"choices" is not a list of texts that are not empty/],
      ['{"choices": ["b"], "answer": 0}', /"prompt" is missing/],
    ] as const) {
      expect(() => parseChoices(`${lines[0]}\n${line}`, 'file')).toThrow(reason);
      expect(parseChoices(`${lines[0]}\n${line}`, 'file', { broken: 'skip' }).broken).toHaveLength(1);
    }
  });
});

describe('conversations', () => {
  it('ask every turn, or the one of the entry, with the right answers before it', async () => {
    const compare = (answer: string, truth: number | 'yes' | 'no'): boolean =>
      typeof truth === 'string' ? exactMatch(answer, truth) : numericMatch(answer, truth);
    const items = conversation.turns.map(({ answer }, turn) => ({
      prompt: conversationPrompt(conversation, turn),
      truth: answer,
    }));
    const answered = await answerInWords(model, tokenizer, items, { compare, maxTokens: 6, ...quiet });
    const options = { maxTokens: 6, ...quiet };
    const report = await evaluateConversations(model, tokenizer, [conversation], options);
    expect(report.count).toBe(3);
    expect(report.get('exact match')).toBeCloseTo(answered.reduce((sum, { score }) => sum + score, 0) / 3, 12);
    expect(report.settings['longer than the context']).toBe(0);
    // What the model answers, made the truth: now it is right.
    const turns = conversation.turns.map((turn, i) => (i === 2 ? { ...turn, answer: answered[2]!.answer as 'yes' } : turn));
    const right = await evaluateConversations(model, tokenizer, [{ ...conversation, turns, turn: 2 }], options);
    expect(right).toMatchObject({ count: 1, measures: [{ value: 1 }, { value: 1 }] });
  });
});

describe('npm run lab -- evaluate', () => {
  const main = join(projectRoot(), 'lab', 'dist', 'cli', 'main.js');
  const env = { ...process.env, LAB_BACKEND: 'wasm', LAB_THREADS: '1' };
  const lab = (...args: string[]) =>
    spawnSync(process.execPath, [main, 'evaluate', ...args], { cwd: folder, env, encoding: 'utf8' });

  beforeAll(async () => {
    await savePretrained(model, join(folder, 'model'), { tokenizer });
    writeFileSync(join(folder, 'bank.txt'), `${records.map(phraseBankLine).join('\n')}\nno label\n`, 'latin1');
    writeFileSync(join(folder, 'dev.json'), JSON.stringify([convFinQAEntry(conversation)]));
    writeFileSync(join(folder, 'choices.jsonl'), choices.map((choice) => JSON.stringify(choice)).join('\n'));
  });

  it('prints what the library finds, as a table or as JSON', async () => {
    const options = ['--task', 'sentiment', '--file', 'bank.txt', '--model', 'model', '--shots', '1', '--skip-broken'];
    const table = lab(...options);
    expect(table.stderr).not.toMatch(/error/i);
    expect(table.status).toBe(0);
    expect(table.stdout).toMatch(/^sentiment: 5 items, model model, file bank\.txt, style bloomberg, shots 1, /);
    expect(table.stdout).toMatch(/ {2}left out: 1 broken: there is no @ between a sentence and its label\n$/);
    const found = JSON.parse(lab(...options, '--json').stdout) as EvaluationReportData;
    const wanted = await evaluateSentiment(model, tokenizer, records, { shots: 1, ...quiet });
    expect(found.measures.map(({ name }) => name)).toEqual(wanted.measures.map(({ name }) => name));
    for (const { name, value } of found.measures) expect(value).toBeCloseTo(wanted.get(name)!, 4);
  });

  it('knows choices, conversations, and perplexity as JSON', () => {
    for (const [options, task, count] of [
      [['--task', 'choices', '--file', 'choices.jsonl', '--limit', '1', '--normalization', 'token'], 'choices', 1],
      [['--task', 'conversations', '--file', 'dev.json'], 'conversations', 3],
      [['--perplexity', 'bank.txt'], 'perplexity', undefined],
    ] as const) {
      const { status, stdout } = lab(...options, '--model', 'model', '--json');
      expect(status).toBe(0);
      const report = JSON.parse(stdout) as EvaluationReportData;
      expect(report.task).toBe(task);
      if (count !== undefined) expect(report.count).toBe(count);
      expect(report.measures.length).toBeGreaterThan(1);
    }
  });

  it.each<[string[], RegExp]>([
    [['--task', 'sentiment', '--file', 'bank.txt'], /bank\.txt, line 7: there is no @/],
    [['--task', 'riddles', '--file', 'bank.txt'], /There is no task 'riddles'\. Tasks: choices, sentiment, conversations/],
    [['--task', 'choices', '--file', 'choices.jsonl', '--shots', '2'], /--shots is not an option of choices/],
    [
      ['--task', 'choices', '--file', 'choices.jsonl', '--normalization', 'word'],
      /--normalization must be sum, token, byte; got 'word'/,
    ],
    [['--task', 'choices'], /evaluate takes --perplexity FILE and --model DIR, or --task/],
  ])('%j gets a sentence and exit status 2', (args, message) => {
    const { status, stderr } = lab(...args, '--model', 'model');
    expect(stderr).toMatch(message);
    expect(status).toBe(2);
  });
});

/**
 * @file Whole evaluations of a model on a data set: ask, score, and say how sure the scores are.
 */
import { LabError } from '../base/index.ts';
import {
  type ChoiceRecord,
  conversationPrompt,
  type ConversationTurn,
  drawExamples,
  type PromptStyle,
  sentimentPrompt,
  type SentimentRecord,
  SENTIMENTS,
  type TableConversation,
} from '../data/index.ts';
import type { Transformer } from '../model/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { bootstrapInterval, type BootstrapOptions } from './bootstrap.ts';
import { brierScoreOfClasses, calibration } from './calibration.ts';
import { classificationScores } from './classification.ts';
import { answerInWords } from './generations.ts';
import { answerChoices, type AnsweredChoice, choiceProbabilities, type ChoiceNormalization } from './multiple-choice.ts';
import { numericMatch } from './numeric-answer.ts';
import { type EvaluationMeasure, EvaluationReport } from './report.ts';
import { exactMatch } from './text-answer.ts';

export interface TaskOptions extends BootstrapOptions {
  /** Goes into the report beside the rest of the settings: the model's name, the file. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  /** Records that were broken, by reason, for the report. */
  readonly leftOut?: Readonly<Record<string, number>>;
  readonly quiet?: boolean;
}

export interface ChoiceTaskOptions extends TaskOptions {
  readonly normalization?: ChoiceNormalization;
}

/** Questions with choices: accuracy, what chance would get, and calibration. */
export async function evaluateChoices(
  model: Transformer,
  tokenizer: Tokenizer,
  records: readonly ChoiceRecord[],
  options: ChoiceTaskOptions = {},
): Promise<EvaluationReport> {
  const { normalization = 'sum', quiet = false } = options;
  const answered = await answerChoices(model, tokenizer, records, { normalization, quiet });
  const accuracy = measure('accuracy', answered, (some) => share(some.map(({ correct }) => correct)), options);
  const chance = answered.reduce((sum, { choices }) => sum + 1 / choices.length, 0) / answered.length;
  return new EvaluationReport({
    task: 'choices',
    count: answered.length,
    measures: [accuracy, { name: 'chance', value: chance }, ...calibrationMeasures(answered, normalization)],
    settings: { ...options.settings, normalization },
    leftOut: options.leftOut ?? {},
  });
}

export interface SentimentTaskOptions extends ChoiceTaskOptions {
  readonly style?: PromptStyle;
  /** Solved examples before each question, drawn from the records and then not asked (default 0; BloombergGPT had 5). */
  readonly shots?: number;
}

/** The sentiment that the model finds most likely after each sentence: accuracy and F1 in three averages. */
export async function evaluateSentiment(
  model: Transformer,
  tokenizer: Tokenizer,
  records: readonly SentimentRecord[],
  options: SentimentTaskOptions = {},
): Promise<EvaluationReport> {
  const { normalization = 'sum', style = 'bloomberg', shots = 0, seed = 0, quiet = false } = options;
  if (!(Number.isInteger(shots) && shots >= 0 && shots < records.length)) {
    throw new LabError(`${shots} examples cannot be taken from ${records.length} sentences, of which one or more are asked.`);
  }
  const examples = drawExamples(records, shots, { seed });
  const asked = records.filter((record) => !examples.includes(record));
  const items = asked.map((record) => sentimentPrompt(record, { style, examples }));
  const answered = await answerChoices(model, tokenizer, items, { normalization, quiet });
  const scored = (some: readonly AnsweredChoice[]) =>
    classificationScores(
      some.map(({ answer }) => SENTIMENTS[answer]!),
      some.map(({ chosen }) => SENTIMENTS[chosen]!),
      { labels: SENTIMENTS },
    );
  const { micro, macro } = scored(answered);
  return new EvaluationReport({
    task: 'sentiment',
    count: answered.length,
    measures: [
      measure('weighted F1', answered, (some) => scored(some).weighted.f1, options),
      measure('accuracy', answered, (some) => scored(some).accuracy, options),
      { name: 'macro F1', value: macro.f1 },
      { name: 'micro F1', value: micro.f1 },
      ...calibrationMeasures(answered, normalization),
    ],
    settings: { ...options.settings, style, shots, normalization, seed },
    leftOut: options.leftOut ?? {},
  });
}

export interface ConversationTaskOptions extends TaskOptions {
  readonly style?: PromptStyle;
  /** Tokens of an answer at most (default 24). */
  readonly maxTokens?: number;
}

/** A question of a conversation and whether its answer was right, at the program's 5 digits and at 2. */
interface ScoredTurn {
  readonly exact: boolean;
  readonly rounded: boolean;
}

/**
 * Questions on tables, each asked with the right answers of those before it, and answered in words. The interval draws whole
 * conversations: their questions rise and fall together.
 */
export async function evaluateConversations(
  model: Transformer,
  tokenizer: Tokenizer,
  conversations: readonly TableConversation[],
  options: ConversationTaskOptions = {},
): Promise<EvaluationReport> {
  const { style = 'bloomberg', maxTokens = 24, quiet = false } = options;
  const asked = conversations.map((conversation) => {
    const turns = conversation.turn === undefined ? [...conversation.turns.keys()] : [conversation.turn];
    return turns.map((turn) => ({
      prompt: conversationPrompt(conversation, turn, { style }),
      truth: conversation.turns[turn]!.answer,
    }));
  });
  const compare = (answer: string, truth: ConversationTurn['answer']) => sameAnswer(answer, truth);
  const answered = await answerInWords(model, tokenizer, asked.flat(), { compare, maxTokens, quiet });
  const scores = answered.map(({ answer, truth, score }) => ({ exact: score === 1, rounded: sameAnswer(answer, truth, 2) }));
  let done = 0;
  const groups = asked.map((turns) => scores.slice(done, (done += turns.length)));
  const rate = (of: (turn: ScoredTurn) => boolean) => (some: readonly (readonly ScoredTurn[])[]) => share(some.flat().map(of));
  const { contextLength } = model.config;
  const cut = asked.flat().filter(({ prompt }) => tokenizer.encode(prompt).length > contextLength).length;
  return new EvaluationReport({
    task: 'conversations',
    count: answered.length,
    measures: [
      measure(
        'exact match',
        groups,
        rate(({ exact }) => exact),
        options,
      ),
      measure(
        'match to 2 decimals',
        groups,
        rate(({ rounded }) => rounded),
        options,
      ),
    ],
    settings: { ...options.settings, style, 'longer than the context': cut },
    leftOut: options.leftOut ?? {},
  });
}

/** @param decimals that count, of a percentage where one is given and with its sign left out if need be; 5 unless told */
function sameAnswer(answer: string, truth: ConversationTurn['answer'], decimals?: number): boolean {
  if (typeof truth === 'string') return exactMatch(answer, truth);
  return numericMatch(answer, truth, decimals === undefined ? {} : { decimals, percent: 'loose' });
}

function measure<T>(
  name: string,
  items: readonly T[],
  statistic: (some: readonly T[]) => number,
  { resamples, level, seed }: BootstrapOptions,
): EvaluationMeasure {
  const options = {
    ...(resamples === undefined ? {} : { resamples }),
    ...(level === undefined ? {} : { level }),
    ...(seed === undefined ? {} : { seed }),
  };
  return { name, value: statistic(items), interval: bootstrapInterval(items, statistic, options) };
}

function calibrationMeasures(answered: readonly AnsweredChoice[], normalization: ChoiceNormalization): EvaluationMeasure[] {
  const confidences = answered.map(({ confidence }) => confidence);
  const correct = answered.map((one) => one.correct);
  const distributions = answered.map(({ scores }) => choiceProbabilities(scores, normalization));
  const truth = answered.map(({ answer }) => answer);
  return [
    { name: 'calibration error', value: calibration(confidences, correct).expectedError },
    { name: 'Brier score', value: brierScoreOfClasses(distributions, truth) },
  ];
}

function share(right: readonly boolean[]): number {
  return right.filter(Boolean).length / right.length;
}

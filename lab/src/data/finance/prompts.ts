/**
 * @file How models are asked: the prompts of BloombergGPT (Wu et al. 2023, section 5.3 and its templates) and of FinGPT (Yang
 * et al. 2023, its benchmark's code), with as many solved examples before the question as are wanted.
 */
import { invariant, Random } from '../../base/index.ts';
import { type ConversationTurn, type SentimentRecord, SENTIMENTS, type TableConversation } from './records.ts';

export type PromptStyle = 'bloomberg' | 'fingpt';

/** A prompt and what may follow it. */
export interface ChoicePrompt {
  readonly prompt: string;
  /** In the order of `SENTIMENTS`, each with the blank before it that the prompt does not have. */
  readonly choices: readonly string[];
  /** Index of the right one. */
  readonly answer: number;
}

export interface SentimentPromptOptions {
  readonly style?: PromptStyle;
  /** Solved before the question (default none; BloombergGPT was given five). */
  readonly examples?: readonly SentimentRecord[];
}

/**
 * `{sentence}\nQuestion: what is the sentiment?\nAnswer:`, on a target for records that have one; or FinGPT's instruction.
 */
export function sentimentPrompt(record: SentimentRecord, options: SentimentPromptOptions = {}): ChoicePrompt {
  const { style = 'bloomberg', examples = [] } = options;
  const ask = style === 'bloomberg' ? bloombergQuestion : fingptQuestion;
  // FinGPT's prompt ends with a blank.
  const choices = SENTIMENTS.map((label) => (style === 'bloomberg' ? ` ${label}` : label));
  const answerTo = ({ label }: SentimentRecord): number => SENTIMENTS.indexOf(label);
  const solved = examples.map((example) => `${ask(example)}${choices[answerTo(example)]}\n\n`);
  return { prompt: solved.join('') + ask(record), choices, answer: answerTo(record) };
}

function bloombergQuestion({ sentence, target }: SentimentRecord): string {
  return `${sentence}\nQuestion: what is the sentiment${target === undefined ? '' : ` on ${target}`}?\nAnswer:`;
}

function fingptQuestion({ sentence, source }: SentimentRecord): string {
  const what = source === 'post' ? 'tweet' : 'news';
  const instruction = `What is the sentiment of this ${what}? Please choose an answer from {${SENTIMENTS.join('/')}}.`;
  return `Instruction: ${instruction}\nInput: ${sentence}\nAnswer: `;
}

export interface DrawExamplesOptions {
  readonly seed?: number;
  /** Take from each label in turn, as long as it has records (default true). */
  readonly balanced?: boolean;
}

/** Examples for a prompt: other records than those that are asked, please. */
export function drawExamples(
  records: readonly SentimentRecord[],
  count: number,
  { seed = 0, balanced = true }: DrawExamplesOptions = {},
): SentimentRecord[] {
  invariant(
    Number.isInteger(count) && count >= 0 && count <= records.length,
    `drawExamples: ${count} examples of ${records.length} records`,
  );
  const random = new Random(seed);
  const shuffled = random.shuffle([...records]);
  if (!balanced) return shuffled.slice(0, count);
  const byLabel = SENTIMENTS.map((label) => shuffled.filter((record) => record.label === label));
  const rounds = Array.from({ length: Math.max(0, ...byLabel.map((group) => group.length)) }, (_, round) =>
    byLabel.flatMap((group) => group.slice(round, round + 1)),
  );
  // Shuffled again, so that the last example before the question is not always a positive one.
  return random.shuffle(rounds.flat().slice(0, count));
}

export interface ConversationPromptOptions {
  readonly style?: PromptStyle;
}

const READ_CAREFULLY =
  'Read the following texts and table with financial data from an S&P 500 earnings report carefully.' +
  'Based on the question-answer history (if provided), answer the last question. ' +
  'The answer may require mathematical calculation based on the data provided.';

/**
 * The report, the questions before this one with their right answers, and the question.
 *
 * @param turn which question, from 0 on; the entry's own, or the last, unless told
 */
export function conversationPrompt(
  conversation: TableConversation,
  turn: number = conversation.turn ?? conversation.turns.length - 1,
  { style = 'bloomberg' }: ConversationPromptOptions = {},
): string {
  const { turns } = conversation;
  invariant(turn in turns, `conversationPrompt: there is no turn ${turn} among ${turns.length}`);
  const before = turns.slice(0, turn).map(({ question, answer }) => `Question: ${question}\nAnswer: ${answerText(answer)}\n`);
  const asked = `${conversationContext(conversation)}\n${before.join('')}Question: ${turns[turn]!.question}`;
  return style === 'bloomberg' ? `${asked}\nAnswer:` : `Instruction: ${READ_CAREFULLY}\nInput: ${asked}\nAnswer: `;
}

/** The sentences and the table as text: a row a line, its cells divided by `|`. */
export function conversationContext({ preText, table, postText }: TableConversation): string {
  const parts = [preText.join(' '), table.map((row) => row.join(' | ')).join('\n'), postText.join(' ')];
  return parts.filter((part) => part !== '').join('\n');
}

/** As an answer is written: 206588, 0.14136, yes. */
export function answerText(answer: ConversationTurn['answer']): string {
  return String(answer);
}

/**
 * @file Questions that are answered in words: the model writes, its answer is cut off where the next line would begin, and a
 * function compares it with the truth.
 */
import { interruptible, LabError, Progress } from '../base/index.ts';
import { generateTokens, type GenerateTokensOptions, type Transformer } from '../model/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';

export interface OpenItem<Truth = string> {
  readonly prompt: string;
  readonly truth: Truth;
}

export interface AnsweredItem<Truth = string> extends OpenItem<Truth> {
  readonly answer: string;
  /** What the comparison says: 1 is right, 0 is wrong; measures such as `wordF1` lie between. */
  readonly score: number;
}

export interface AnswerInWordsOptions<Truth> extends Omit<GenerateTokensOptions, 'stopTokens'> {
  /** `exactMatch`, `wordF1`, `numericMatch`, or a function of yours. */
  readonly compare: (answer: string, truth: Truth) => number | boolean;
  /** The answer ends before any of these (default: the end of the line). */
  readonly stop?: readonly string[];
  readonly stopTokens?: readonly number[];
  readonly quiet?: boolean;
}

/**
 * Lets the model answer each prompt: the most likely tokens (temperature 0), 32 at most, unless told otherwise.
 *
 * @throws LabError when it is interrupted.
 */
export async function answerInWords<Truth = string>(
  model: Transformer,
  tokenizer: Tokenizer,
  items: readonly OpenItem<Truth>[],
  options: AnswerInWordsOptions<Truth>,
): Promise<AnsweredItem<Truth>[]> {
  const { compare, stop = ['\n'], quiet = false, ...rest } = options;
  const sampling = { temperature: 0, maxTokens: 32, ...rest };
  const progress = new Progress({ total: items.length, label: 'answering', unit: 'questions', quiet });
  const answered: AnsweredItem<Truth>[] = [];
  await interruptible(async (signal) => {
    for (const item of items) {
      const answer = await writtenAnswer(model, tokenizer, item.prompt, stop, sampling);
      answered.push({ ...item, answer, score: Number(compare(answer, item.truth)) });
      progress.update(answered.length);
      await signal.breathe();
      if (signal.stopped) throw new LabError('Interrupted before all questions were answered.');
    }
  });
  progress.done();
  return answered;
}

async function writtenAnswer(
  model: Transformer,
  tokenizer: Tokenizer,
  prompt: string,
  stop: readonly string[],
  options: GenerateTokensOptions,
): Promise<string> {
  const written: number[] = [];
  for await (const token of generateTokens(model, tokenizer.encode(prompt), options)) {
    written.push(token);
    const text = tokenizer.decode(written);
    const ends = stop.map((end) => text.indexOf(end)).filter((at) => at >= 0);
    if (ends.length > 0) return text.slice(0, Math.min(...ends)).trim();
  }
  return tokenizer.decode(written).trim();
}

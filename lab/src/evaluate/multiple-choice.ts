/**
 * @file Multiple choice without a word written: the answer is the choice that the model finds most likely after the question.
 * Brown et al. 2020, section 2.4: by the sum of log p, by the mean of a token, or relative to how likely the choice is anyway;
 * by the mean of a byte, which does not depend on the tokenizer: Gao et al., the Language Model Evaluation Harness.
 * BloombergGPT (section 5.2) tried the sum, the mean of a token and the relative one on each task.
 */
import { interruptible, invariant, LabError, Progress } from '../base/index.ts';
import type { Transformer } from '../model/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { ContinuationScorer, logLikelihood, logLikelihoods } from './log-likelihood.ts';

/**
 * What is compared: log p(choice | prompt), the same by token or by byte of the choice, or minus
 * log p(choice | neutral prompt), which takes away that some words are likely everywhere.
 */
export type ChoiceNormalization = 'sum' | 'token' | 'byte' | 'unconditional';

export interface ChoiceScore {
  readonly choice: string;
  /** log p(choice | prompt) in nats. */
  readonly logLikelihood: number;
  /** log p(choice | neutral prompt), when one was given. */
  readonly unconditional?: number;
  /** Tokens that were judged. */
  readonly tokens: number;
  /** UTF-8 bytes of the choice. */
  readonly bytes: number;
}

export interface ScoreChoicesOptions {
  /** What stands before a choice when nothing was asked, for 'unconditional': `Answer:` for instance. */
  readonly neutralPrompt?: string;
  /** Reads for several questions, and keeps what they have in common; one for this question alone unless told. */
  readonly scorer?: ContinuationScorer;
  /** Read every choice behind the whole prompt by itself (default false): the plain path, slower, the same numbers. */
  readonly plain?: boolean;
}

/**
 * How likely each choice is after the prompt. Prompt and choice are encoded together, as the texts were that the model learned
 * from; where a token spans their border, judging begins with it.
 *
 * @param choices with the blank before them, if one belongs there: ` yes`
 * @throws LabError for no choices, an empty one, an empty prompt, or more tokens than the model reads.
 */
export async function scoreChoices(
  model: Transformer,
  tokenizer: Tokenizer,
  prompt: string,
  choices: readonly string[],
  options: ScoreChoicesOptions = {},
): Promise<ChoiceScore[]> {
  if (choices.length === 0 || choices.includes('')) throw new LabError('A question needs choices, none of them empty.');
  const { neutralPrompt } = options;
  const given = await likelihoodsAfter(model, tokenizer, prompt, choices, options);
  const { plain = false } = options;
  const neutral =
    neutralPrompt === undefined ? undefined : await likelihoodsAfter(model, tokenizer, neutralPrompt, choices, { plain });
  return choices.map((choice, i) => ({
    choice,
    logLikelihood: given[i]!.sum,
    ...(neutral === undefined ? {} : { unconditional: neutral[i]!.sum }),
    tokens: given[i]!.tokens,
    bytes: Buffer.byteLength(choice),
  }));
}

async function likelihoodsAfter(
  model: Transformer,
  tokenizer: Tokenizer,
  prompt: string,
  choices: readonly string[],
  { scorer, plain = false }: ScoreChoicesOptions,
): Promise<{ readonly sum: number; readonly tokens: number }[]> {
  const start = tokenizer.encode(prompt);
  if (start.length === 0) throw new LabError('The prompt is empty: a choice needs at least one token before it.');
  const continuations = choices.map((choice) => {
    const ids = Array.from(tokenizer.encode(prompt + choice));
    const differs = start.findIndex((id, i) => id !== ids[i]);
    // At least one token is given and at least one is judged, however the border was merged.
    const from = Math.max(1, Math.min(differs < 0 ? start.length : differs, ids.length - 1));
    return { ids, from };
  });
  const sums: number[] = [];
  if (plain) for (const one of continuations) sums.push(await logLikelihood(model, one));
  else sums.push(...(await (scorer ? scorer.score(continuations) : logLikelihoods(model, continuations))));
  return continuations.map(({ ids, from }, i) => ({ sum: sums[i]!, tokens: ids.length - from }));
}

/** What a choice counts under a normalization, in nats. */
export function normalizedScore(score: ChoiceScore, normalization: ChoiceNormalization = 'sum'): number {
  if (normalization === 'token') return score.logLikelihood / score.tokens;
  if (normalization === 'byte') return score.logLikelihood / score.bytes;
  if (normalization === 'sum') return score.logLikelihood;
  invariant(score.unconditional !== undefined, "normalizedScore: 'unconditional' needs scores made with a neutralPrompt");
  return score.logLikelihood - score.unconditional;
}

/** The index of the best choice; of equally good ones the first. */
export function bestChoice(scores: readonly ChoiceScore[], normalization: ChoiceNormalization = 'sum'): number {
  const values = scores.map((score) => normalizedScore(score, normalization));
  return values.indexOf(Math.max(...values));
}

/** Softmax of the normalized scores: the model's confidence in each choice, for calibration. */
export function choiceProbabilities(scores: readonly ChoiceScore[], normalization: ChoiceNormalization = 'sum'): number[] {
  const values = scores.map((score) => normalizedScore(score, normalization));
  const largest = Math.max(...values);
  const weights = values.map((value) => Math.exp(value - largest));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

export interface MultipleChoiceItem {
  readonly prompt: string;
  readonly choices: readonly string[];
  /** Index of the right one. */
  readonly answer: number;
}

export interface AnsweredChoice extends MultipleChoiceItem {
  readonly scores: readonly ChoiceScore[];
  /** Index of what the model takes. */
  readonly chosen: number;
  /** Its probability among the choices. */
  readonly confidence: number;
  readonly correct: boolean;
}

export interface AnswerChoicesOptions extends ScoreChoicesOptions {
  readonly normalization?: ChoiceNormalization;
  readonly quiet?: boolean;
}

/** @throws LabError for an item that cannot be asked, saying which, or when it is interrupted. */
export async function answerChoices(
  model: Transformer,
  tokenizer: Tokenizer,
  items: readonly MultipleChoiceItem[],
  options: AnswerChoicesOptions = {},
): Promise<AnsweredChoice[]> {
  const { normalization = 'sum', quiet = false } = options;
  const progress = new Progress({ total: items.length, label: 'choosing', unit: 'questions', quiet });
  const answered: AnsweredChoice[] = [];
  const scorer = options.scorer ?? new ContinuationScorer(model);
  const asking = { ...options, scorer };
  await interruptible(async (signal) => {
    for (const [index, item] of items.entries()) {
      invariant(item.answer in item.choices, `answerChoices: question ${index} has no choice ${item.answer}`);
      const scores = await scoreChoices(model, tokenizer, item.prompt, item.choices, asking).catch((error: unknown) => {
        if (error instanceof LabError) throw new LabError(`Question ${index + 1}: ${error.message}`, { cause: error });
        throw error;
      });
      const chosen = bestChoice(scores, normalization);
      const confidence = choiceProbabilities(scores, normalization)[chosen]!;
      answered.push({ ...item, scores, chosen, confidence, correct: chosen === item.answer });
      progress.update(answered.length);
      await signal.breathe();
      if (signal.stopped) throw new LabError('Interrupted before all questions were answered.');
    }
  }).finally(() => {
    if (!options.scorer) scorer.dispose();
  });
  progress.done();
  return answered;
}

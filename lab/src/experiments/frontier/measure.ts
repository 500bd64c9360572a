/**
 * @file What one method made of the model, with one seed: measured on answers of its own, beside those of the model it started
 * from.
 */
import { measureAlignment, policyOf, type AlignmentMeasures } from '../../align/index.ts';
import { align, type Ground, type MethodSettings, type PathPoint } from './methods.ts';

export interface FrontierRun extends Omit<AlignmentMeasures, 'rewardInterval'>, MethodSettings {
  readonly seed: number;
  /** The true reward of each answer, in the order of the questions, to three digits. */
  readonly rewards: readonly number[];
  readonly proxyReward: number;
  readonly perplexity: number;
  /** Learned from; of best-of-n: written for each answer that is given. */
  readonly answers: number;
  /** That the method took. */
  readonly seconds: number;
  readonly path: readonly PathPoint[];
}

/** @param answers to each question */
export async function measuredRun(settings: MethodSettings, ground: Ground, answers: number): Promise<FrontierRun> {
  const { start, reward, seed } = ground;
  const { market, model: sft, unseenText } = start;
  const started = performance.now();
  const aligned = await align(settings, ground);
  const seconds = (performance.now() - started) / 1000;
  try {
    const prompts = Array.from({ length: answers }, () => market.questions.map(({ ids }) => ids)).flat();
    const { asked = (prompt: readonly number[]) => [...prompt] } = aligned;
    const samples = await aligned.write(prompts.map(asked), 1000 + seed);
    const asReferenceSees = samples.map(({ completion }, i) => ({ prompt: prompts[i]!, completion }));
    const rewards = asReferenceSees.map(market.trueReward);
    const { rewardInterval: _, ...measures } = await measureAlignment(policyOf(aligned.model, sft), samples, rewards, {
      proxyRewards: await reward(asReferenceSees),
      pretrainingText: unseenText.ids,
      asReferenceSees,
      resamples: 1,
    });
    const { proxyReward, perplexity } = measures as typeof measures & { proxyReward: number; perplexity: number };
    const short = rewards.map((value) => Math.round(value * 1000) / 1000);
    const { answers: used, path, kl = measures.kl } = aligned;
    return { ...settings, seed, ...measures, proxyReward, perplexity, kl, rewards: short, answers: used, seconds, path };
  } finally {
    aligned.model.dispose();
  }
}

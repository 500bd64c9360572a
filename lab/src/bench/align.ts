/**
 * @file `bench align`: writing answers to 16 prompts side by side, beside the same one by one: both with a key/value cache.
 */
import { rollout } from '../align/index.ts';
import { Random } from '../base/index.ts';
import { presets, Transformer } from '../model/index.ts';
import { measure, type BenchRow } from './measure.ts';

const [PROMPTS, VOCAB_SIZE, MAX_TOKENS] = [16, 512, 32];
const RUNS = { warmUp: 1, leastRuns: 5, mostRuns: 20, budgetMs: 8000 };

export async function benchAlign(backend: string): Promise<BenchRow[]> {
  const model = new Transformer({ ...presets.nano, vocabSize: VOCAB_SIZE });
  const random = new Random(1);
  const prompts = Array.from({ length: PROMPTS }, () =>
    Array.from({ length: 8 + random.integer(9) }, () => random.integer(VOCAB_SIZE)),
  );
  try {
    const alone = await measure(async () => {
      for (const prompt of prompts) await rollout(model, [prompt], { maxTokens: MAX_TOKENS });
    }, RUNS);
    const together = await measure(async () => void (await rollout(model, prompts, { maxTokens: MAX_TOKENS })), RUNS);
    const shape = `${PROMPTS} prompts of 8 to 16 tokens, ${MAX_TOKENS} new ones each`;
    const tokensPerSecond = (1000 * PROMPTS * MAX_TOKENS) / together.medianMs;
    const ratio = alone.medianMs / together.medianMs;
    return [{ name: 'batched rollout', backend, shape, ...together, tokensPerSecond, baseline: 'one by one', ratio }];
  } finally {
    model.dispose();
  }
}

/**
 * @file What quantization does to a model that was trained: the experiment `quantization-table`, in full if that was run here,
 * else in its small form.
 */
import { quantizationTableExperiment, runExperiment } from '../experiments/index.ts';
import { timesOf, type BenchRow } from './measure.ts';

/** The time of a row is that of quantizing, and of training where a method trains. */
export async function benchQuantizationTable(backend: string): Promise<BenchRow[]> {
  const { result, caption } = await runExperiment(quantizationTableExperiment);
  console.error(`${caption}\n`);
  return result.rows.map(({ method, weights, activations, keyValues, perplexity, divergence, sameChoice, seconds }) => {
    const bits = [weights, activations, keyValues].map((count) => count ?? 'f32').join('-');
    const fidelity = `divergence ${divergence.toFixed(4)}, top-1 as float32: ${(100 * sameChoice).toFixed(2)}%`;
    return { name: `${method}, ${bits}`, backend, shape: fidelity, ...timesOf([1000 * seconds], 0), perplexity };
  });
}

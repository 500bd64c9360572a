/**
 * @file `bench train`: one training step of the yardstick GPT.
 */
import { LabError } from '../base/index.ts';
import { measure, type BenchRow } from './measure.ts';
import { YARDSTICK, YardstickModel } from './yardstick.ts';

export async function benchTrain(backend: string): Promise<BenchRow[]> {
  const { batch, tokens } = YARDSTICK;
  const model = new YardstickModel();
  const times = await measure(
    async (index) => {
      const loss = await model.step(index);
      if (!Number.isFinite(loss)) throw new LabError(`bench train: the loss of step ${index} is ${loss}.`);
    },
    { warmUp: 2, leastRuns: 3, mostRuns: 20, budgetMs: 10_000 },
  );
  // A step costs six operations for each parameter and token (Kaplan et al. 2020, section 2.1), attention not counted.
  const gflops = (6 * model.parameterCount * batch * tokens) / times.medianMs / 1e6;
  const shape = `${model.parameterCount} parameters, ${batch} × ${tokens} tokens`;
  return [{ name: 'training step', backend, shape, ...times, gflops }];
}

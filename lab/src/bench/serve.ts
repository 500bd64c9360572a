/**
 * @file `bench serve`: many requests at once under each policy, for real on a small model and simulated for 70 billion
 * parameters, the server under load, and how fast the schedulers themselves decide.
 */
import { Random } from '../base/index.ts';
import { Transformer } from '../model/index.ts';
import {
  cacheBlocks,
  ChunkedScheduler,
  DynamicScheduler,
  effectiveThroughput,
  endToEnd,
  Engine,
  gpuCost,
  gpuProfiles,
  lengths,
  makeWorkload,
  metricsOf,
  modelProfiles,
  OrcaScheduler,
  PrefillFirstScheduler,
  schedulers,
  simulate,
  SplitFuseScheduler,
  StaticScheduler,
  type Scheduler,
} from '../serve/index.ts';
import { timesOf, type BenchRow } from './measure.ts';
import { serverRows } from './serve-server.ts';
import { sizeNamed, type YardstickSize } from './yardstick.ts';

export interface BenchServeOptions {
  /** One of SIZES: the model that serves for real. */
  readonly size?: string;
}

/** The real requests: lengths that are spread evenly over powers of two, which is what makes a batch wait for its longest. */
const REAL = { requests: 64, batch: 8, prompt: 4, least: 4, most: 400, rounds: 3, seed: 5 };
const TINY = { ...REAL, requests: 16, batch: 4, most: 24, rounds: 1 };

interface RealRequest {
  readonly prompt: readonly number[];
  readonly output: number;
}

function realRequests({ requests, prompt, least, most, seed }: typeof REAL, vocabulary: number): RealRequest[] {
  const random = new Random(seed);
  const outputs = Array.from({ length: requests }, (_, i) => Math.round(least * (most / least) ** ((i + 0.5) / requests)));
  return random.shuffle(outputs).map((output) => ({
    prompt: Array.from({ length: prompt }, () => random.integer(vocabulary)),
    output,
  }));
}

/** Σ of what each batch pads its answers to over Σ of the answers: what static batches waste. */
export function idealGain(outputs: readonly number[], batch: number): number {
  let padded = 0;
  for (let from = 0; from < outputs.length; from += batch) {
    const together = outputs.slice(from, from + batch);
    padded += together.length * Math.max(...together);
  }
  return padded / outputs.reduce((sum, output) => sum + output, 0);
}

async function serveAll(model: Transformer, requests: readonly RealRequest[], scheduler: Scheduler): Promise<number> {
  const engine = Engine.forModel(model, {
    scheduler,
    blocks: 8 * Math.ceil(model.config.contextLength / 16),
    prefixCaching: false,
  });
  const before = performance.now();
  const all = requests.map(({ prompt, output }) => engine.submit(prompt, { maxTokens: output, temperature: 0 }).result);
  await Promise.all(all);
  const ms = performance.now() - before;
  await engine.dispose();
  return ms;
}

async function realRows(
  backend: string,
  { width, heads, layers, vocabulary }: YardstickSize,
  tiny: boolean,
): Promise<BenchRow[]> {
  const task = tiny ? TINY : REAL;
  const model = new Transformer({ vocabSize: vocabulary, contextLength: task.prompt + task.most, layers, width, heads });
  const requests = realRequests(task, vocabulary);
  const outputs = requests.map(({ output }) => output);
  const policies = [
    new StaticScheduler({ batchSize: task.batch }),
    new DynamicScheduler({ batchSize: task.batch }),
    new OrcaScheduler({ batchSize: task.batch }),
    new PrefillFirstScheduler({ maxSequences: task.batch }),
    new ChunkedScheduler({ maxSequences: task.batch }),
    new SplitFuseScheduler({ maxSequences: task.batch }),
  ];
  const times = policies.map((): number[] => []);
  await serveAll(model, requests.slice(0, task.batch), policies[0]!);
  for (let round = 0; round < task.rounds; round++) {
    for (const [i, policy] of policies.entries()) times[i]!.push(await serveAll(model, requests, policy));
  }
  const ideal = idealGain(outputs, task.batch).toFixed(2);
  const shape = `${task.requests} requests of ${Math.min(...outputs)} to ${Math.max(...outputs)} tokens, ${task.batch} at once`;
  const rows = policies.map(({ name }, i): BenchRow => {
    const measured = timesOf(times[i]!, 0);
    const tokensPerSecond = (1000 * outputs.reduce((sum, output) => sum + output, 0)) / measured.medianMs;
    const compared =
      i === 0 ? {} : { baseline: `static (ideal: ${ideal})`, ratio: Math.min(...times[0]!) / Math.min(...times[i]!) };
    return { name: `serve, ${name}`, backend, shape, ...measured, tokensPerSecond, ...compared };
  });
  model.dispose();
  return rows;
}

const SIMULATED = { requests: 300, prompt: 2600, output: 60, clients: [4, 8, 16, 24, 32], tokenRate: 6 };

/** Each policy at the number of clients at which it keeps most promises; the times are those of whole requests. */
function simulatedRows(): BenchRow[] {
  const [model, gpu] = [modelProfiles['llama-2-70b'], gpuProfiles['4 × A100']];
  const { requests, prompt, output, tokenRate } = SIMULATED;
  const workload = makeWorkload({ requests, prompt: lengths.normal(prompt), output: lengths.normal(output), seed: 1 });
  const options = { cost: gpuCost(model, gpu), blocks: cacheBlocks(model, gpu), prefixCaching: false };
  const rows = Object.values(schedulers).map((make) => {
    const runs = SIMULATED.clients.map((clients) => {
      const { records } = simulate(workload, { ...options, scheduler: make(), clients });
      return { clients, records, effective: effectiveThroughput(records, { tokenRate }) };
    });
    const { clients, records, effective } = runs.reduce((best, run) => (run.effective > best.effective ? run : best));
    const { requestsPerSecond, tokensPerSecond, ttft, itl } = metricsOf(records);
    const words =
      `${clients} clients: ${requestsPerSecond.toFixed(2)} requests/s, ${effective.toFixed(2)} in time; ` +
      `TTFT p50 ${ttft.p50.toFixed(2)} s; ITL p95 ${itl.p95.toFixed(2)} s`;
    const times = timesOf(
      records.map((record) => 1000 * endToEnd(record)),
      0,
    );
    return {
      row: { name: `simulated 70B, ${make().name}`, backend: 'simulated 4 × A100', shape: words, ...times, tokensPerSecond },
      effective,
    };
  });
  const compared = rows.find(({ row }) => row.name.endsWith('prefillFirst'))!;
  return rows.map(({ row, effective }) => ({
    ...row,
    ...(row !== compared.row && { baseline: 'prefillFirst, requests in time', ratio: effective / compared.effective }),
  }));
}

const DECISIONS = { running: 512, steps: 200 };

/** 512 requests that write: nothing but the scheduler and its blocks. */
function decisionRows(): BenchRow[] {
  const { running, steps } = DECISIONS;
  const policies = [
    new OrcaScheduler({ batchSize: running }),
    new PrefillFirstScheduler({ maxSequences: running, tokenBudget: 1e6 }),
    new ChunkedScheduler({ maxSequences: running, tokenBudget: 1e6 }),
    new SplitFuseScheduler({ maxSequences: running, tokenBudget: 1e6 }),
  ];
  const workload = makeWorkload({ requests: running, prompt: lengths.fixed(100), output: lengths.fixed(steps) });
  return policies.map((scheduler): BenchRow => {
    const times = Array.from({ length: 3 }, () => {
      const before = performance.now();
      const { passes } = simulate(workload, { scheduler, cost: () => 1, blocks: 20 * running });
      return (performance.now() - before) / passes;
    });
    const measured = timesOf(times, 0);
    const perSecond = Math.round((1000 * running) / measured.medianMs);
    return {
      name: `scheduling alone, ${scheduler.name}`,
      backend: 'JavaScript',
      shape: `${running} running: ${perSecond} decisions/s`,
      ...measured,
    };
  });
}

export async function benchServe(backend: string, { size }: BenchServeOptions = {}): Promise<BenchRow[]> {
  const chosen = sizeNamed('bench serve', size);
  const tiny = chosen.width < 128;
  const served = [...(await realRows(backend, chosen, tiny)), ...(await serverRows(backend, chosen, tiny))];
  return [...served, ...simulatedRows(), ...decisionRows()];
}

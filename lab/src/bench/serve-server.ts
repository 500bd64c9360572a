/** @file The server under load: what 64 clients get in a minute, what is lost, and how fast /health answers meanwhile. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { invariant, LabError } from '../base/index.ts';
import { Transformer } from '../model/index.ts';
import { ChunkedScheduler, Engine, quantilesOf } from '../serve/index.ts';
import { APIServer } from '../serve/server/index.ts';
import { CharacterTokenizer } from '../tokenizer/index.ts';
import { timesOf, type BenchRow } from './measure.ts';
import type { LoadOptions, LoadReport } from './serve-clients.ts';
import type { YardstickSize } from './yardstick.ts';

const MODEL = 'bench';
const LOAD = { clients: 64, leaving: 8, seconds: 60, prompt: { least: 4, most: 60 }, output: { least: 4, most: 60 }, seed: 1 };
const SHORT = { ...LOAD, clients: 8, leaving: 2, seconds: 2 };

/** As many characters as there are tokens; the first are those that no text is likely to hold. */
function tokenizerFor(vocabulary: number): CharacterTokenizer {
  return CharacterTokenizer.train(String.fromCodePoint(...Array.from({ length: vocabulary }, (_, i) => 0x10000 + i)));
}

async function underLoad(options: LoadOptions): Promise<LoadReport> {
  const worker = new Worker(new URL('./serve-clients.js', import.meta.url), { workerData: options });
  const [report] = (await once(worker, 'message')) as [LoadReport];
  return report;
}

export async function serverRows(backend: string, size: YardstickSize, tiny: boolean): Promise<BenchRow[]> {
  const { width, heads, layers, vocabulary } = size;
  const load = tiny ? SHORT : LOAD;
  const model = new Transformer({ vocabSize: vocabulary, contextLength: 128, layers, width, heads });
  const engine = Engine.forModel(model, {
    tokenizer: tokenizerFor(vocabulary),
    scheduler: new ChunkedScheduler({ tokenBudget: 256 }),
    blocks: 8 * load.clients,
  });
  const server = new APIServer(engine, { model: MODEL });
  await server.listen({ port: 0 });
  const report = await underLoad({ ...load, url: server.url, model: MODEL, vocabulary });
  await server.stop();
  await engine.idle();
  const { state } = engine;
  state.check();
  invariant(state.manager.free === state.manager.blocks, 'bench serve: blocks are in use after all clients have left');
  await engine.dispose();
  model.dispose();
  const { requestMs, healthMs, tokens, left, lost } = report;
  if (lost.length > 0) throw new LabError(`The server lost ${lost.length} requests. The first: ${lost[0]}`);
  const p99 = quantilesOf(healthMs).p99.toFixed(1);
  const served = `${load.clients} clients and ${load.leaving} that leave, ${load.seconds} s`;
  return [
    {
      name: 'server, a request',
      backend,
      shape: `${served}: ${requestMs.length} served, 0 lost, ${left} left`,
      ...timesOf(requestMs, 0),
      tokensPerSecond: tokens / load.seconds,
    },
    { name: 'server, /health meanwhile', backend, shape: `${healthMs.length} times, p99 ${p99} ms`, ...timesOf(healthMs, 0) },
  ];
}

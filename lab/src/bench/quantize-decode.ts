/**
 * @file Writing text one token at a time with quantized weights, beside floats: every step reads all weights, so fewer bytes are
 * less time where the model is larger than the caches.
 */
import { Transformer, type TransformerConfig } from '../model/index.ts';
import { QuantizedLayer, quantizeModel, type QuantizeModelOptions } from '../quantize/index.ts';
import { Writer } from './decode.ts';
import type { BenchRow } from './measure.ts';
import { labCompetitor, takeTurns } from './turns.ts';

/** 57 million weights in linear layers, 228 MB of floats; a head of its own, so that it can be packed like the rest. */
const LARGE: TransformerConfig = { vocabSize: 1024, contextLength: 128, layers: 8, width: 768, heads: 12, tiedHead: false };
const TINY: TransformerConfig = { ...LARGE, contextLength: 16, layers: 1, width: 64, heads: 2 };
const BASELINE = 'float32';

const ways: readonly (readonly [name: string, options: QuantizeModelOptions | null])[] = [
  [BASELINE, null],
  ['int8, groups of 128', { method: 'rtn', bits: 8, groupSize: 128 }],
  ['int4, groups of 128', { method: 'rtn', bits: 4, groupSize: 128 }],
  ['int4 without zero points', { method: 'rtn', bits: 4, groupSize: 128, symmetric: true }],
  ['int2, groups of 128', { method: 'rtn', bits: 2, groupSize: 128 }],
];

/** What the linear layers take: all that a step reads but for the norms and a row of the embedding. */
function bytesOf(model: Transformer): number {
  let bytes = 0;
  for (const [, module] of model.namedModules()) {
    if (module instanceof QuantizedLayer) bytes += module.bytes;
    else if ('weight' in module && 'inputs' in module) bytes += 4 * (module.weight as { readonly size: number }).size;
  }
  return bytes;
}

export async function benchQuantizedDecode(backend: string, isSlow: boolean): Promise<BenchRow[]> {
  const config = isSlow ? TINY : LARGE;
  const made: { readonly name: string; readonly bytes: number; readonly writer: Writer }[] = [];
  for (const [name, options] of ways) {
    const model = new Transformer(config);
    if (options) {
      const groupSize = Math.min(128, config.width);
      await quantizeModel(model, { ...options, groupSize, layers: '**', quiet: true });
    }
    made.push({ name, bytes: bytesOf(model), writer: new Writer(model, 1) });
  }
  const times = await takeTurns(made.map(({ writer }) => labCompetitor(() => writer.step())));
  for (const { writer } of made) writer.dispose();
  return made.map(({ name, bytes }, i) => {
    const { medianMs } = times[i]!;
    const row = {
      name: `decode, ${name}`,
      backend,
      shape: `batch 1, ${(bytes / 2 ** 20).toFixed(1)} MiB of weights, 1/${(made[0]!.bytes / bytes).toFixed(1)}`,
      ...times[i]!,
      tokensPerSecond: 1000 / medianMs,
      gbps: bytes / medianMs / 1e6,
    };
    return name === BASELINE ? row : { ...row, baseline: BASELINE, ratio: times[0]!.medianMs / medianMs };
  });
}

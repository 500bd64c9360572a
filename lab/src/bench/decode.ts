/**
 * @file `bench decode`: writing text, one token after the other, with the key/value cache: every step reads all weights for a
 * handful of tokens. The lab's model with its fused operations, in plain operations, and with `--torch PYTHON` in PyTorch.
 */
import { plainAttention, type KVCache } from '../attention/index.ts';
import { tf, type Tensor2D } from '../backend/index.ts';
import { Transformer } from '../model/index.ts';
import { isSoftwareGpu, type BenchRow, type Times } from './measure.ts';
import { withoutFusedKernels } from './plain.ts';
import { TorchProcess } from './torch.ts';
import { labCompetitor, takeTurns, torchCompetitor, TURNS, type Competitor } from './turns.ts';
import { SIZES, sizeNamed, type YardstickSize } from './yardstick.ts';

export interface BenchDecodeOptions {
  /** An interpreter that has PyTorch. */
  readonly torch?: string;
  /** One of SIZES; unless told 'small' and 'medium', and 'tiny' on a GPU made of software and in plain JavaScript. */
  readonly size?: string;
}

const BATCHES = [1, 8];
const SLOW_TURNS = { ...TURNS, turns: 2, steps: 5 };

/** Greedy decoding behind half a context of text; when the context is full, from there again. */
export class Writer {
  readonly #model: Transformer;
  readonly #cache: KVCache;
  readonly #start: number;
  #tokens: Int32Array;

  constructor(model: Transformer, batch: number) {
    this.#model = model.eval();
    this.#cache = this.#model.cache();
    this.#start = model.config.contextLength / 2;
    this.#tokens = new Int32Array(batch);
    const prompt = tf.zeros([batch, this.#start], 'int32') as Tensor2D;
    this.#model.forward(prompt, { cache: this.#cache, lastOnly: true }).dispose();
    prompt.dispose();
  }

  /** The parameters that a step must read: of the positions it takes a single row. */
  get parametersRead(): number {
    return this.#model.parameterCount() - this.#model.config.contextLength * this.#model.config.width;
  }

  async step(): Promise<void> {
    if (this.#cache.length === this.#cache.capacity) this.#cache.truncate(this.#start);
    const best = tf.tidy(() => {
      const tokens = tf.tensor2d(this.#tokens, [this.#tokens.length, 1], 'int32');
      return this.#model.forward(tokens, { cache: this.#cache, lastOnly: true }).argMax(-1).flatten();
    });
    this.#tokens = Int32Array.from(await best.data());
    best.dispose();
  }

  dispose(): void {
    this.#cache.dispose();
    this.#model.dispose();
  }
}

function modelOf({ tokens: contextLength, width, heads, layers, vocabulary }: YardstickSize, plain: boolean): Transformer {
  const attention = plain ? { attention: plainAttention } : {};
  return new Transformer({ vocabSize: vocabulary, contextLength, layers, width, heads, ...attention });
}

function rowOf(name: string, backend: string, size: YardstickSize, batch: number, parameters: number, times: Times): BenchRow {
  const perSecond = 1000 / times.medianMs;
  return {
    name,
    backend,
    shape: `${parameters} parameters, batch ${batch}, ${size.tokens / 2} to ${size.tokens} tokens`,
    ...times,
    tokensPerSecond: batch * perSecond,
    gflops: (2 * parameters * batch * perSecond) / 1e9,
    gbps: (4 * parameters * perSecond) / 1e9,
  };
}

async function measureCase(size: YardstickSize, batch: number, backend: string, python?: string): Promise<BenchRow[]> {
  const [fused, plain] = [false, true].map((isPlain) => new Writer(modelOf(size, isPlain), batch)) as [Writer, Writer];
  const torch = python ? await TorchProcess.start(python, 'decode.py', { ...size, batch }) : undefined;
  const competitors: Competitor[] = [
    labCompetitor(() => withoutFusedKernels(() => plain.step())),
    labCompetitor(() => fused.step()),
    ...(torch ? [torchCompetitor(torch)] : []),
  ];
  try {
    const [plainTimes, fusedTimes, torchTimes] = await takeTurns(competitors, isSoftwareGpu() ? SLOW_TURNS : TURNS);
    const row = (name: string, words: string, times: Times): BenchRow =>
      rowOf(name, words, size, batch, fused.parametersRead, times);
    const [baseline, compared] = torchTimes ? ['PyTorch', torchTimes] : ['plain operations', plainTimes!];
    const ratio = compared.medianMs / fusedTimes!.medianMs;
    return [
      row('decode, plain operations', backend, plainTimes!),
      { ...row("decode, the lab's model", backend, fusedTimes!), baseline, ratio },
      ...(torch ? [row('the same in PyTorch', torch.words, torchTimes!)] : []),
    ];
  } finally {
    torch?.stop();
    fused.dispose();
    plain.dispose();
  }
}

export async function benchDecode(backend: string, { torch, size }: BenchDecodeOptions = {}): Promise<BenchRow[]> {
  const chosen = sizeNamed('bench decode', size);
  const sizes = size === undefined && chosen === SIZES['small'] ? [chosen, SIZES['medium']!] : [chosen];
  const rows: BenchRow[] = [];
  for (const one of sizes) for (const batch of BATCHES) rows.push(...(await measureCase(one, batch, backend, torch)));
  return rows;
}

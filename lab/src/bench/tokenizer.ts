/**
 * @file `bench tokenizer`: training on a megabyte of text and encoding it, beside the Rust library `tokenizers`.
 */
import { trainingText } from '../data/index.ts';
import { BPETokenizer, tokenizerFromJSON, UnigramTokenizer, type Tokenizer } from '../tokenizer/index.ts';
import { measure, type BenchRow } from './measure.ts';
import { RUST, rustTimes } from './rust-tokenizers.ts';

const CHARACTERS = 1_000_000;
const VOCABULARY = 4096;
const RUNS = 3;

const kinds = [
  { name: 'BPE', train: (text: string): Tokenizer => BPETokenizer.train(text, { vocabSize: VOCABULARY, quiet: true }) },
  { name: 'unigram', train: (text: string): Tokenizer => UnigramTokenizer.train(text, { vocabSize: VOCABULARY, quiet: true }) },
];

/** @param alone leave the baseline out */
export async function benchTokenizer(backend: string, { alone }: { readonly alone: boolean }): Promise<BenchRow[]> {
  const { name: source, text: whole } = await trainingText();
  const text = whole.repeat(Math.ceil(CHARACTERS / whole.length)).slice(0, CHARACTERS);
  const rows: BenchRow[] = [];
  for (const { name, train } of kinds) rows.push(...(await benchKind(name, train, text, { backend, source })));
  const times = alone ? {} : await rustTimes({ text, vocabSize: VOCABULARY, runs: RUNS });
  if (times === undefined) {
    console.error('No baseline: pip install tokenizers==0.21.0 for python3, or set LAB_PYTHON to a Python that has it.\n');
  }
  return rows.map((row) => {
    const other = times?.[row.name];
    return { ...row, ...(!alone && { baseline: RUST }), ...(other !== undefined && { ratio: other / row.medianMs }) };
  });
}

interface Labels {
  readonly backend: string;
  readonly source: string;
}

async function benchKind(
  name: string,
  train: (text: string) => Tokenizer,
  text: string,
  { backend, source }: Labels,
): Promise<BenchRow[]> {
  const bytes = Buffer.byteLength(text);
  const tokenizer = train(text);
  const saved = tokenizer.toJSON();
  const ids = tokenizer.encode(text);
  // One for each run, for the warm-up, and for the run apart in which some backends count their bytes.
  const fresh = Array.from({ length: RUNS + 2 }, () => tokenizerFromJSON(saved));
  const works: readonly [string, (index: number) => unknown][] = [
    [`train ${name}`, () => train(text)],
    [`encode, cold: ${name}`, (index) => fresh[index]!.encode(text)],
    [`encode, warm: ${name}`, () => tokenizer.encode(text)],
    [`decode: ${name}`, () => tokenizer.decode(ids)],
  ];
  const rows: BenchRow[] = [];
  for (const [work, run] of works) {
    const times = await measure(
      async (index) => void run(index),
      { warmUp: 1, leastRuns: RUNS, mostRuns: RUNS, budgetMs: 0 },
    );
    const shape = `${source}, ${(bytes / 1e6).toFixed(2)} MB, ${tokenizer.vocabSize} tokens`;
    rows.push({ name: work, backend, shape, ...times, gbps: bytes / times.medianMs / 1e6 });
  }
  return rows;
}

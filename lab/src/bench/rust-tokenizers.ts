/**
 * @file The baseline of `bench tokenizer`: the same work done on one thread by Python's package `tokenizers`, which is written
 * in Rust.
 */
import { spawn } from 'node:child_process';
import { LabError, messageOf } from '../base/index.ts';

export const RUST = 'tokenizers (Rust)';

/** Measured times in milliseconds by what was measured, each the median of several runs. */
export type BaselineTimes = Readonly<Record<string, number>>;

export interface BaselineTask {
  readonly text: string;
  readonly vocabSize: number;
  readonly runs: number;
}

/** Reads the task from standard input and prints the times; encodes once with a new tokenizer (cold) and again (warm). */
const program = `
import json, statistics, sys, time
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

task = json.load(sys.stdin)
text, size = task["text"], task["vocabSize"]
alphabet = pre_tokenizers.ByteLevel.alphabet()
times = {}

def timed(name, run):
    started = time.perf_counter()
    result = run()
    times.setdefault(name, []).append((time.perf_counter() - started) * 1000)
    return result

for name, model, trainer in [
    ("BPE", models.BPE, trainers.BpeTrainer(vocab_size=size, min_frequency=2, initial_alphabet=alphabet, show_progress=False)),
    ("unigram", models.Unigram, trainers.UnigramTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)),
]:
    for _ in range(task["runs"]):
        tokenizer = Tokenizer(model())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        timed("train " + name, lambda: tokenizer.train_from_iterator([text], trainer))
    saved = tokenizer.to_str()
    for _ in range(task["runs"]):
        tokenizer = Tokenizer.from_str(saved)
        timed("encode, cold: " + name, lambda: tokenizer.encode_batch_fast([text])[0].ids)
        ids = timed("encode, warm: " + name, lambda: tokenizer.encode_batch_fast([text])[0].ids)
        timed("decode: " + name, lambda: tokenizer.decode(ids))
print(json.dumps({name: statistics.median(several) for name, several in times.items()}))
`;

/**
 * Runs the baseline with LAB_PYTHON, or `python3`.
 *
 * @returns undefined when that Python has no package `tokenizers`
 * @throws LabError when it has one and fails all the same.
 */
export async function rustTimes(task: BaselineTask): Promise<BaselineTimes | undefined> {
  if ((await python(['-c', 'import tokenizers'], '')).status !== 0) return undefined;
  const { status, output, errors } = await python(['-c', program], JSON.stringify(task));
  if (status !== 0) throw new LabError(`The baseline could not be measured: ${errors.trim()}`);
  return JSON.parse(output) as BaselineTimes;
}

interface Finished {
  readonly status: number | null;
  readonly output: string;
  readonly errors: string;
}

function python(args: readonly string[], input: string): Promise<Finished> {
  const env = { ...process.env, TOKENIZERS_PARALLELISM: 'false', RAYON_NUM_THREADS: '1', PYTHONIOENCODING: 'utf-8' };
  return new Promise((resolve) => {
    let output = '';
    let errors = '';
    const child = spawn(process.env['LAB_PYTHON'] ?? 'python3', args, { env });
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    child.on('error', (error) => resolve({ status: null, output, errors: messageOf(error) }));
    child.on('close', (status) => resolve({ status, output, errors }));
    // A program that ended early does not read its input.
    child.stdin.on('error', () => undefined).end(input);
  });
}

/**
 * @file `npm run lab -- evaluate`: how well a model predicts a text that it was not trained on, or answers questions.
 */
import { stopBackend } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import { brokenReasons, loadChoices, loadConvFinQA, loadSentiments, type RecordsRead } from '../data/index.ts';
import {
  evaluateChoices,
  evaluateConversations,
  evaluateSentiment,
  EvaluationReport,
  perplexity,
  type TaskOptions,
} from '../evaluate/index.ts';
import { readText } from '../files/index.ts';
import type { Pretrained } from '../interop/index.ts';
import type { Command, Values } from './command.ts';
import { backendOptions, checkedModelFolder, loadGivenModel, modelOption, startChosenBackend } from './model.ts';

const styles = ['bloomberg', 'fingpt'] as const;
const normalizations = ['sum', 'token', 'byte'] as const;
const tasks = ['choices', 'sentiment', 'conversations'] as const;

/** Which options belong to which task. */
const optionsOf: Readonly<Record<string, readonly string[]>> = {
  perplexity: ['window', 'stride'],
  choices: ['file', 'limit', 'seed', 'skip-broken', 'normalization'],
  sentiment: ['file', 'limit', 'seed', 'skip-broken', 'normalization', 'style', 'shots'],
  conversations: ['file', 'limit', 'seed', 'skip-broken', 'style'],
};

export const evaluate: Command = {
  name: 'evaluate',
  summary: 'Measure how well a model predicts a text (perplexity), or answers questions: choices, sentiment, conversations.',
  usage: '--perplexity FILE --model DIR [options] | --task TASK --file FILE --model DIR [options]',
  options: {
    perplexity: { type: 'string', value: 'FILE', help: 'a text in UTF-8' },
    task: { type: 'string', value: 'TASK', help: tasks.join(', ') },
    file: {
      type: 'string',
      value: 'FILE',
      help: 'choices: lines of {"prompt" or "question", "choices", "answer"}; sentiment: FPB or FiQA; conversations: ConvFinQA',
    },
    model: modelOption,
    window: { type: 'number', help: "perplexity: tokens that the model sees at once (default: its context's size)" },
    stride: {
      type: 'number',
      help: 'perplexity: tokens that the window moves on; smaller is slower and kinder (default: half the window)',
    },
    style: { type: 'string', value: 'NAME', help: `prompts as of ${styles.join(' or ')} (default bloomberg)` },
    shots: { type: 'number', help: 'sentiment: solved examples before each question, from the same file (default 0)' },
    normalization: {
      type: 'string',
      value: 'NAME',
      help: `what of a choice's log-likelihood counts: ${normalizations.join(', ')} (default sum)`,
    },
    limit: { type: 'number', help: 'ask the first so many records only' },
    seed: { type: 'number', help: 'decides the examples and the intervals (default 0)' },
    'skip-broken': { type: 'boolean', help: 'count broken records and go on, instead of stopping at the first' },
    json: { type: 'boolean', help: 'print the result as JSON' },
    ...backendOptions,
  },
  examples: [
    'npm run lab -- evaluate --perplexity README.md --model gpt2 --stride 512',
    'npm run lab -- evaluate --task choices --file datasets/market/questions-test.jsonl --model gpt2 --limit 100',
    'npm run lab -- evaluate --task sentiment --file Sentences_50Agree.txt --model gpt2 --shots 5 --limit 200',
    'npm run lab -- evaluate --task conversations --file dev.json --model smollm2 --json',
  ],
  async run(values, positionals) {
    const { perplexity: text, task, file, model: given } = values;
    const wanted = text === undefined ? task : task === undefined ? 'perplexity' : undefined;
    const hasFile = wanted === 'perplexity' || typeof file === 'string';
    if (typeof wanted !== 'string' || !hasFile || typeof given !== 'string' || positionals.length > 0) {
      throw new LabError(
        'evaluate takes --perplexity FILE and --model DIR, or --task TASK, --file FILE and --model DIR. ' +
          'See: npm run lab -- evaluate --help',
      );
    }
    checkOptions(wanted, values);
    checkedModelFolder(given);
    const ask = wanted === 'perplexity' ? await perplexityOf(values) : await questionsOf(wanted, values);
    await startChosenBackend(values);
    try {
      const report = await ask(await loadGivenModel(given));
      if (values['json'] === true) console.log(JSON.stringify(report));
      else console.log(String(report));
      return 0;
    } finally {
      await stopBackend();
    }
  },
};

/** What is done with the model; the file was read before, so that a bad one is refused at once. */
type Ask = (pretrained: Pretrained) => Promise<EvaluationReport | string>;

function checkOptions(wanted: string, values: Values): void {
  const known = optionsOf[wanted];
  if (!known) throw new LabError(`There is no task '${wanted}'. Tasks: ${tasks.join(', ')}.`);
  const stray = Object.values(optionsOf)
    .flat()
    .find((name) => values[name] !== undefined && !known.includes(name));
  if (stray !== undefined) throw new LabError(`--${stray} is not an option of ${wanted}. See: npm run lab -- evaluate --help`);
  for (const [name, least] of [
    ['limit', 1],
    ['shots', 0],
    ['seed', 0],
  ] as const) {
    const value = values[name];
    if (value !== undefined && !(Number.isSafeInteger(value) && Number(value) >= least)) {
      throw new LabError(`--${name} takes a whole number, ${least} or more; got ${value}.`);
    }
  }
}

async function perplexityOf({ perplexity: file, window, stride, json }: Values): Promise<Ask> {
  const text = await readText(String(file));
  return async ({ model, tokenizer }) => {
    const result = await perplexity(model, tokenizer.encode(text), {
      ...(window === undefined ? {} : { window: Number(window) }),
      ...(stride === undefined ? {} : { stride: Number(stride) }),
    });
    const bytes = Buffer.byteLength(text);
    const bits = (result.loss * result.tokens) / Math.LN2 / bytes;
    if (json === true) {
      const measures = [
        { name: 'perplexity', value: result.perplexity },
        { name: 'nats a token', value: result.loss },
        { name: 'bits a byte', value: bits },
      ];
      return new EvaluationReport({
        task: 'perplexity',
        count: result.tokens,
        measures,
        settings: { file: String(file), bytes },
      });
    }
    return [
      `perplexity ${result.perplexity.toPrecision(5)}: ${result.loss.toFixed(4)} nats a token, ${bits.toFixed(4)} bits a byte`,
      `${result.tokens.toLocaleString('en')} tokens judged, ${bytes.toLocaleString('en')} bytes`,
    ].join('\n');
  };
}

async function questionsOf(task: string, values: Values): Promise<Ask> {
  const file = String(values['file']);
  const reading = { broken: values['skip-broken'] === true ? 'skip' : 'refuse' } as const;
  const normalization = oneOf('normalization', normalizations, values, 'sum');
  const style = oneOf('style', styles, values, 'bloomberg');
  const first = <T>(read: RecordsRead<T>): { readonly records: readonly T[]; readonly options: TaskOptions } => ({
    records: read.records.slice(0, values['limit'] === undefined ? undefined : Number(values['limit'])),
    options: {
      seed: Number(values['seed'] ?? 0),
      settings: { model: String(values['model']), file },
      leftOut: Object.fromEntries(Object.entries(brokenReasons(read.broken)).map(([why, count]) => [`broken: ${why}`, count])),
    },
  });
  if (task === 'choices') {
    const { records, options } = first(await loadChoices(file, reading));
    return ({ model, tokenizer }) => evaluateChoices(model, tokenizer, records, { ...options, normalization });
  }
  if (task === 'sentiment') {
    const { records, options } = first(await loadSentiments(file, reading));
    const shots = Number(values['shots'] ?? 0);
    return ({ model, tokenizer }) => evaluateSentiment(model, tokenizer, records, { ...options, normalization, style, shots });
  }
  const { records, options } = first(await loadConvFinQA(file, reading));
  return ({ model, tokenizer }) => evaluateConversations(model, tokenizer, records, { ...options, style });
}

function oneOf<T extends string>(name: string, allowed: readonly T[], values: Values, fallback: T): T {
  const value = values[name] ?? fallback;
  if ((allowed as readonly unknown[]).includes(value)) return value as T;
  throw new LabError(`--${name} must be ${allowed.join(', ')}; got '${String(value)}'.`);
}

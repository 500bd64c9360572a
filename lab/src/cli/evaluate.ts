/**
 * @file `npm run lab -- evaluate`: how well a model predicts a text that it was not trained on.
 */
import { stopBackend } from '../backend/index.ts';
import { LabError } from '../base/index.ts';
import { perplexity } from '../evaluate/index.ts';
import { readText } from '../files/index.ts';
import type { Command } from './command.ts';
import { backendOptions, checkedModelFolder, loadGivenModel, modelOption, startChosenBackend } from './model.ts';

export const evaluate: Command = {
  name: 'evaluate',
  summary: 'Measure how well a model predicts a text: its perplexity, with a sliding window.',
  usage: '--perplexity FILE --model DIR [options]',
  options: {
    perplexity: { type: 'string', value: 'FILE', help: 'a text in UTF-8' },
    model: modelOption,
    window: { type: 'number', help: "tokens that the model sees at once (default: its context's size)" },
    stride: { type: 'number', help: 'tokens that the window moves on; smaller is slower and kinder (default: half the window)' },
    ...backendOptions,
  },
  examples: ['npm run lab -- evaluate --perplexity README.md --model gpt2 --stride 512'],
  async run(values, positionals) {
    const { perplexity: file, model: given, window, stride } = values;
    if (typeof file !== 'string' || typeof given !== 'string' || positionals.length > 0) {
      throw new LabError('evaluate takes --perplexity FILE and --model DIR. See: npm run lab -- evaluate --help');
    }
    checkedModelFolder(given);
    const text = await readText(file);
    await startChosenBackend(values);
    try {
      const { model, tokenizer } = await loadGivenModel(given);
      const result = await perplexity(model, tokenizer.encode(text), {
        ...(window === undefined ? {} : { window: Number(window) }),
        ...(stride === undefined ? {} : { stride: Number(stride) }),
      });
      const bits = (result.loss * result.tokens) / Math.LN2 / Buffer.byteLength(text);
      console.log(`perplexity ${result.perplexity.toPrecision(5)}: ${result.loss.toFixed(4)} nats a token, ${bits.toFixed(4)} bits a byte`);
      console.log(`${result.tokens.toLocaleString('en')} tokens judged, ${Buffer.byteLength(text).toLocaleString('en')} bytes`);
      return 0;
    } finally {
      await stopBackend();
    }
  },
};

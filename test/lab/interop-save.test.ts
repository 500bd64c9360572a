/**
 * @file What is saved for transformers loads again with the same logits, here and (by hand) there:
 *
 *     LAB_INTEROP_SAVE=DIR npx vitest run test/lab/interop-save.test.ts
 *     python test/oracle/interop.py --check DIR/NAME; python test/oracle/interop_tokenizers.py --check DIR/NAME
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  BPETokenizer,
  CharacterTokenizer,
  HuggingFaceTokenizer,
  loadPretrained,
  MLP,
  presets,
  Random,
  readSafetensors,
  savePretrained,
  startBackend,
  tf,
  toFloat32,
  Transformer,
  UnigramTokenizer,
  writeTokenizer,
  type Tensor2D,
  type Tokenizer,
  type TransformerConfig,
} from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectNear } from './core-fixture.ts';
import { checkpoints, fixturePath, newFolder } from './interop-fixture.ts';

beforeAll(() => startBackend({ backend: 'wasm', threads: 1 }));

const tokens = () => tf.tensor2d([[3, 1, 4, 1, 5, 9, 2, 6, 5, 35]], [1, 10], 'int32');
const quiet = { quiet: true };

/** Models of our own; biases and gains random, so that none of them can be forgotten unnoticed. */
const own: Readonly<Record<string, TransformerConfig>> = {
  nano: { ...presets.nano, vocabSize: 41, width: 32, layers: 2 },
  untied: { vocabSize: 41, contextLength: 32, layers: 1, width: 24, heads: 2, hiddenSize: 40, tiedHead: false, dropout: 0.2, attentionBias: false },
  odd: { vocabSize: 41, contextLength: 11, layers: 1, width: 9, heads: 3, hiddenSize: 14 },
  llama: { ...presets.llama, vocabSize: 41, layers: 2, width: 24, heads: 4, keyValueHeads: 1, headSize: 10, hiddenSize: 20 },
  scaled: {
    ...presets.llama,
    vocabSize: 41,
    layers: 1,
    width: 24,
    heads: 2,
    hiddenSize: 20,
    tiedHead: false,
    attentionBias: true,
    rotaryBase: 500,
    rotaryScaling: { type: 'llama3', factor: 4, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContextLength: 32 },
  },
  linear: { ...presets.llama, vocabSize: 41, layers: 1, width: 24, heads: 2, bias: true, rotaryScaling: { type: 'linear', factor: 3 } },
  qwen2: { ...presets.llama, vocabSize: 41, layers: 1, width: 24, heads: 2, hiddenSize: 20, attentionBias: 'inputs' },
};

function ownModel(name: string): Transformer {
  const model = new Transformer(own[name]!).eval();
  const random = new Random(5);
  for (const parameter of model.parameters()) {
    tf.tidy(() => parameter.assign(tf.tensor(random.normals(parameter.size, 0.3), parameter.shape)));
  }
  return model;
}

async function logitsOf(model: Transformer): Promise<Float32Array> {
  const logits = tf.tidy(() => model.forward(tokens()));
  const values = (await logits.data()) as Float32Array;
  logits.dispose();
  return values.slice();
}

describe('a model', () => {
  it.each(checkpoints)('%s comes back as it was loaded, to the bit', async (name) => {
    const folder = newFolder();
    const first = await loadPretrained(fixturePath(name), quiet);
    expect(await savePretrained(first.model, folder, { stopTokens: first.stopTokens })).toBe(first.format);
    const second = await loadPretrained(folder, quiet);
    expect(second.model.config).toEqual(first.model.config);
    expect(second.stopTokens).toEqual(first.stopTokens);
    expect(second.format).toBe(first.format);
    expect(await logitsOf(second.model)).toEqual(await logitsOf(first.model));
    first.model.dispose();
    second.model.dispose();
  });

  it('gpt2: has the names, shapes and values that it was loaded with', async () => {
    const folder = newFolder();
    const { model } = await loadPretrained(fixturePath('gpt2'), quiet);
    await savePretrained(model, folder);
    const [theirs, ours] = [await readSafetensors(join(fixturePath('gpt2'), 'model.safetensors')), await readSafetensors(join(folder, 'model.safetensors'))];
    expect(ours.metadata).toEqual({ format: 'pt' });
    expect(ours.tensors).toEqual(theirs.tensors);
    model.dispose();
  });

  it.each(Object.keys(own))('of our own, %s, comes back with the same logits', async (name) => {
    const folder = newFolder();
    const model = ownModel(name);
    await savePretrained(model, folder);
    const loaded = await loadPretrained(folder, quiet);
    expect(await logitsOf(loaded.model)).toEqual(await logitsOf(model));
    expect(loaded.model.config).toMatchObject({ tiedHead: model.config.tiedHead, rotaryScaling: model.config.rotaryScaling, dropout: model.config.dropout });
    expect(() => loaded.tokenizer).toThrow(/There is no tokenizer.json in/);
    model.dispose();
    loaded.model.dispose();
  });

  it.each([['F16', 2 ** -11], ['BF16', 2 ** -8]] as const)('is rounded to %s', async (dtype, step) => {
    const folder = newFolder();
    const model = ownModel('llama');
    await savePretrained(model, folder, { dtype });
    const { tensors } = await readSafetensors(join(folder, 'model.safetensors'));
    expect([...tensors.values()].every((tensor) => tensor.dtype === dtype)).toBe(true);
    const wanted = (await model.namedParameters().get('blocks.1.mlp.down.weight')!.data()) as Float32Array;
    const found = toFloat32(tensors.get('model.layers.1.mlp.down_proj.weight')!);
    expect(found.every((value, i) => Math.abs(value - wanted[i]!) <= step * Math.abs(wanted[i]!))).toBe(true);
    const loaded = await loadPretrained(folder, quiet);
    await expectNear(loaded.model.forward(tokens()), tf.tensor(await logitsOf(model), [1, 10, 41]), 50 * step);
    expect(loaded.config['torch_dtype']).toBe(dtype === 'F16' ? 'float16' : 'bfloat16');
    model.dispose();
    loaded.model.dispose();
  });

  it.each<[string, TransformerConfig, RegExp]>([
    ['alibi', { ...own['nano']!, position: 'alibi' }, /gpt2 needs position 'learned'; llama needs norm 'rms', position 'rotary', mlp 'swiglu'/],
    ['few keys in GPT-2', { ...own['nano']!, keyValueHeads: 2 }, /gpt2 needs as many keyValueHeads as heads/],
    ['an MLP of its own', { ...own['nano']!, mlp: () => new MLP(32, 64) }, /gpt2 needs mlp 'gelu'/],
  ])('that no format can hold is refused: %s', async (_, config, says) => {
    const folder = newFolder();
    const model = new Transformer(config);
    await expect(savePretrained(model, folder)).rejects.toThrow(says);
    expect(readdirSync(folder)).toEqual([]);
    model.dispose();
  });

  it('is refused with what would be lost, and with numbers that cannot be written', async () => {
    const folder = newFolder();
    const model = ownModel('llama');
    await expect(savePretrained(model, folder, { format: 'gpt2' })).rejects.toThrow(/gpt2 needs norm 'layer'/);
    const tokenizer = CharacterTokenizer.train(Array.from({ length: 42 }, (_, i) => String.fromCharCode(65 + i)).join(''));
    await expect(savePretrained(model, folder, { tokenizer })).rejects.toThrow(/has 42 tokens, the model only 41/);
    const gain = model.namedParameters().get('finalNorm.weight')!;
    gain.assign(tf.mul(tf.ones<tf.Rank.R1>([24]), 1e5));
    await expect(savePretrained(model, folder, { dtype: 'F16' })).rejects.toThrow(/'model.norm.weight' 100000 is too large for F16; BF16/);
    gain.assign(tf.mul(tf.ones<tf.Rank.R1>([24]), NaN));
    await expect(savePretrained(model, folder)).rejects.toThrow(/'model.norm.weight' NaN is not a finite number/);
    model.replace('blocks.0.mlp', () => new MLP(24, 20));
    await expect(savePretrained(model, folder)).rejects.toThrow(/'blocks.0.mlp.up.bias' has no place in such a file/);
    expect(readdirSync(folder)).toEqual([]);
    model.dispose();
  });
});

const line = `It's 2024: the dog's dinner, isn't it? THEY'LL eat 1234567 bones.\n\n  Über naïve 漢字 😀 <s>x</s>\t`;
const alphabet = [...line, ...' \n\'"<|>é字😀09aZ'];
const random = new Random(8);
const texts = ['', line, ...Array.from({ length: 200 }, () => Array.from({ length: random.integer(20) }, () => random.pick(alphabet)).join(''))];
const corpus = line.repeat(20);
const common = { vocabSize: 330, specialTokens: ['<s>', '</s>'], quiet: true };
const tokenizers: Readonly<Record<string, Tokenizer>> = {
  'bpe gpt2': BPETokenizer.train(corpus, common),
  'bpe digits': BPETokenizer.train(corpus, { ...common, preTokenizer: 'digits' }),
  'bpe llama3': BPETokenizer.train(corpus, { ...common, preTokenizer: 'llama3' }),
  'bpe qwen2': BPETokenizer.train(corpus, { ...common, preTokenizer: 'qwen2' }),
  'bpe bloomberg': BPETokenizer.train(corpus, { ...common, preTokenizer: 'bloomberg' }),
  'bpe none': BPETokenizer.train(line, { ...common, preTokenizer: 'none' }),
  characters: CharacterTokenizer.train(alphabet.join('')),
  unigram: UnigramTokenizer.train(corpus, common),
};
const encode = (tokenizer: Tokenizer, text: string): Int32Array =>
  tokenizer instanceof BPETokenizer || tokenizer instanceof UnigramTokenizer ? tokenizer.encode(text, { allowSpecial: true }) : tokenizer.encode(text);

describe('a tokenizer', () => {
  it.each(Object.keys(tokenizers))('%s comes back with the same ids', async (name) => {
    const folder = newFolder();
    const tokenizer = tokenizers[name]!;
    const model = new Transformer({ ...own['nano']!, width: 8, vocabSize: tokenizer.vocabSize + 3 });
    await savePretrained(model, folder, { tokenizer });
    const loaded = await loadPretrained(folder, quiet);
    expect(loaded.tokenizer.vocabSize).toBe(tokenizer.vocabSize);
    for (const text of texts) {
      expect(encode(loaded.tokenizer, text), text).toEqual(encode(tokenizer, text));
      expect(loaded.tokenizer.decode(loaded.tokenizer.encode(text))).toBe(text);
    }
    model.dispose();
    loaded.model.dispose();
  });

  it('of tokenizers is written as it was read', () => {
    const { kinds } = JSON.parse(readFileSync(fixturePath('tokenizers.json'), 'utf8')) as { kinds: Record<string, { tokenizer: object }> };
    expect(writeTokenizer(HuggingFaceTokenizer.fromJSON(kinds['awkward']!.tokenizer))).toEqual(kinds['awkward']!.tokenizer);
  });

  it('of another kind is refused', () => {
    const strange: Tokenizer = { vocabSize: 2, encode: () => new Int32Array(), decode: () => '', toJSON: () => ({ type: 'strange' }) };
    expect(() => writeTokenizer(strange)).toThrow(/of type "strange" cannot be written/);
  });
});

const target = process.env['LAB_INTEROP_SAVE'];
it.skipIf(target === undefined)('leaves everything in a folder for transformers and tokenizers to read', async () => {
  for (const name of [...checkpoints, ...Object.keys(own), ...Object.keys(tokenizers)]) {
    const folder = join(target!, name.replace(' ', '-'));
    mkdirSync(folder, { recursive: true });
    const tokenizer = tokenizers[name];
    const config = { ...own['nano']!, width: 8, vocabSize: tokenizer?.vocabSize ?? 0 };
    const isCheckpoint = (checkpoints as readonly string[]).includes(name);
    const { model } = isCheckpoint ? await loadPretrained(fixturePath(name), quiet) : { model: tokenizer ? new Transformer(config) : ownModel(name) };
    await savePretrained(model, folder, tokenizer && { tokenizer });
    const input: Tensor2D = tokens();
    writeFileSync(join(folder, 'expected.json'), JSON.stringify({ tokens: await input.array(), logits: [...(await logitsOf(model.eval()))] }));
    if (tokenizer) {
      const ids = texts.map((text) => [text, [...encode(tokenizer, text)]]);
      writeFileSync(join(folder, 'expected-tokens.json'), JSON.stringify(ids));
    }
    expect(existsSync(join(folder, 'config.json'))).toBe(true);
    model.dispose();
  }
});

/** @file Words, special tokens and streams: what both byte tokenizers share. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { BPETokenizer, preTokenize, preTokenizers, Random, UnigramTokenizer, utf8Bytes, type EncodeOptions } from 'lab';
import { describe, expect, it, vi } from 'vitest';

const line = `It's the dog's dinner, isn't it? They'll eat 2024 bones; we've 13.5 more.\n\n  Über naïve 漢字 😀 -- "don't"\t`;
const corpus = line.repeat(20);
const trained = BPETokenizer.train(corpus, { vocabSize: 320, specialTokens: ['<|end|>', '<|end|>s', '[PAD]'], quiet: true });

describe('pre-tokenizers', () => {
  it.each([
    ['gpt2', "It's 2 dogs", ['It', "'s", ' 2', ' dogs']],
    ['gpt2', "we'll they've I'd 'S", ['we', "'ll", ' they', "'ve", ' I', "'d", " '", 'S']],
    ['gpt2', 'a   b\n\nc  ', ['a', '  ', ' b', '\n', '\n', 'c', '  ']],
    ['gpt2', 'x2024y½!?', ['x', '2024', 'y', '½', '!?']],
    ['gpt2', 'e\u0301 \u0085\ufeff', ['e', '\u0301', ' ', '\u0085', '\ufeff']],
    ['digits', 'in 2024  7!', ['in', ' ', '2', '0', '2', '4', '  ', '7', '!']],
    ['digits', 'a  b', ['a', ' ', ' b']],
    ['bloomberg', 'to be or 42, é', ['to be or ', '4', '2', ',', ' ', 'é']],
    ['none', 'to be\nor', ['to be\nor']],
  ] as const)('%s cuts %j', (name, text, words) => {
    expect(preTokenize(text, name)).toEqual(words);
  });

  it.each(preTokenizers)('%s loses nothing', (name) => {
    const random = new Random(5);
    for (let i = 0; i < 200; i++) {
      const text = Array.from({ length: 12 }, () => random.pick([...corpus, '\ud800', '\udfff', '\0', '\u2028'])).join('');
      expect(preTokenize(text, name).join('')).toBe(text);
    }
    expect(preTokenize('', name)).toEqual([]);
  });

  it('names those it knows when asked for another', () => {
    const unknown = { vocabSize: 300, preTokenizer: 'gpt4' as 'gpt2' };
    expect(() => preTokenize('a', unknown.preTokenizer)).toThrow(/no pre-tokenizer "gpt4"; known: gpt2, digits, .*none/);
    expect(() => BPETokenizer.train('a', unknown)).toThrow(/"gpt4"/);
    expect(() => UnigramTokenizer.train('a', unknown)).toThrow(/"gpt4"/);
  });
});

describe('special tokens', () => {
  const [end, ends, pad] = [317, 318, 319];

  it('have the last ids, in their order, and decode to their names', () => {
    expect([...trained.specialTokens]).toEqual([['<|end|>', end], ['<|end|>s', ends], ['[PAD]', pad]]);
    expect(trained.vocabSize).toBe(320);
    expect(trained.decode([end, pad])).toBe('<|end|>[PAD]');
    expect(trained.idOf('[PAD]')).toBe(pad);
  });

  it('are only text unless they are allowed', () => {
    const ids = trained.encode('a<|end|>b[PAD]');
    expect(Math.max(...ids)).toBeLessThan(end);
    expect(trained.decode(ids)).toBe('a<|end|>b[PAD]');
  });

  it('are found where they are allowed, the longest first', () => {
    expect([...trained.encode('<|end|>s<|end|>', { allowSpecial: true })]).toEqual([ends, end]);
    const some = [...trained.encode('<|end|>s[PAD]', { allowSpecial: ['<|end|>'] })];
    expect(some).toEqual([end, ...trained.encode('s[PAD]')]);
    expect(trained.encode('<|end|>', { allowSpecial: [] })).toEqual(trained.encode('<|end|>'));
  });

  it('end the word before them', () => {
    expect([...trained.encode("  <|end|>'s", { allowSpecial: true })]).toEqual([
      ...trained.encode('  '),
      end,
      ...trained.encode("'s"),
    ]);
  });

  it('must be known to be allowed', () => {
    expect(() => trained.encode('a', { allowSpecial: ['<s>'] })).toThrow(/"<s>" is not a special .*<\|end\|>s, \[PAD\]/);
    const none = new BPETokenizer({ merges: [] });
    expect(() => none.encode('a', { allowSpecial: ['<s>'] })).toThrow(/it has none/);
    expect([...none.encode('<s>', { allowSpecial: true })]).toEqual([60, 115, 62]);
  });

  it.each([[['', 'a'], /empty/], [['a', 'b', 'a'], /"a" is given twice/], [['\ud800'], /lone surrogate/]])(
    'refuses the names %j',
    (specialTokens, message) => {
      expect(() => new BPETokenizer({ merges: [], specialTokens })).toThrow(message);
      expect(() => BPETokenizer.train('aa', { vocabSize: 300, specialTokens })).toThrow(message);
    },
  );

  it('are not learned from', () => {
    const text = 'go<|end|>'.repeat(50);
    const learned = BPETokenizer.train(text, { vocabSize: 300, specialTokens: ['<|end|>'], quiet: true });
    expect(learned.merges.length).toBe(1);
    expect(learned.idOf('go')).toBe(256);
    const unigram = UnigramTokenizer.train(text, { vocabSize: 300, specialTokens: ['<|end|>'], quiet: true });
    expect(unigram.idOf('go')).toBe(256);
    expect(unigram.vocabSize).toBe(258);
  });
});

/** As many characters as make the stream encode, and not merely wait for more. */
const filler = 'a,'.repeat(1 << 14);

async function streamed(chunks: Iterable<string>, options: EncodeOptions = {}, tokenizer = trained): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of tokenizer.encodeStream(chunks, options)) parts.push(bytesOf(part));
  return Buffer.concat(parts);
}

/** Of many ids: quickly compared. */
function bytesOf(ids: Int32Array): Buffer {
  return Buffer.from(ids.buffer, ids.byteOffset, ids.byteLength);
}

function heapMiB(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  return process.memoryUsage().heapUsed / 2 ** 20;
}

describe('streams', () => {
  const tricky = [
    "we'll don't",
    "'",
    "''ve ",
    '  \n x',
    ' \n\n5 ',
    '  7',
    ' 😀𝔸b',
    'e\u0301\u200d',
    '<|end|>s[PAD]',
    ' <|end|',
    'abcdefghijklmnop',
    '!? !!',
  ];
  const tokenizers = preTokenizers
    .filter((name) => name !== 'none')
    .map((preTokenizer) => ({
      preTokenizer,
      tokenizer: new BPETokenizer({ merges: trained.merges, specialTokens: [...trained.specialTokens.keys()], preTokenizer }),
    }));

  it.each(tokenizers)('are encoded as the whole text is, wherever they are cut ($preTokenizer)', async ({ tokenizer }) => {
    for (const text of tricky) {
      const whole = `${filler}${text}, ${text}`;
      for (const options of [{}, { allowSpecial: true }]) {
        const expected = bytesOf(tokenizer.encode(whole, options));
        for (let cut = filler.length; cut <= filler.length + text.length + 2; cut++) {
          const given = await streamed([whole.slice(0, cut), whole.slice(cut)], options, tokenizer);
          expect(given.equals(expected), `${JSON.stringify(text)} cut at ${cut - filler.length}`).toBe(true);
        }
      }
    }
  });

  it('come in pieces of any size, also from somewhere asynchronous', async () => {
    const random = new Random(2);
    const text = Array.from({ length: 4000 }, () => random.pick(tricky)).join(random.pick(['', ' ']));
    async function* chunks(): AsyncGenerator<string> {
      for (let at = 0; at < text.length; ) {
        const length = random.pick([0, 1, 3, 100, 40_000]);
        yield await Promise.resolve(text.slice(at, at + length));
        at += length;
      }
    }
    const ids: number[] = [];
    for await (const part of trained.encodeStream(chunks(), { allowSpecial: true })) ids.push(...part);
    expect(ids).toEqual([...trained.encode(text, { allowSpecial: true })]);
  });

  it('hold back only what is not certain', async () => {
    let given = 0;
    function* chunks(): Generator<string> {
      for (let i = 0; i < 60; i++) {
        given += 20_000;
        yield 'to be or not '.repeat(2000).slice(0, 20_000);
      }
    }
    let encoded = 0;
    let most = 0;
    for await (const ids of trained.encodeStream(chunks(), { allowSpecial: true })) {
      encoded += trained.decode(ids).length;
      most = Math.max(most, given - encoded);
    }
    expect(encoded).toBe(given);
    expect(most).toBeLessThan(100);
  });

  it('take no more memory the longer they are', async () => {
    const tokenizer = new BPETokenizer({ merges: trained.merges });
    function* chunks(): Generator<string> {
      for (let i = 0; i < 30; i++) yield Array.from({ length: 10_000 }, (_, n) => `${i * 10_000 + n} `).join('');
    }
    const before = heapMiB();
    let tokens = 0;
    for await (const ids of tokenizer.encodeStream(chunks())) tokens += ids.length;
    expect(tokens).toBeGreaterThan(300_000);
    expect(heapMiB() - before, 'MiB').toBeLessThan(40);
  });

  it('leave no text behind that a long word was in', () => {
    const texts = function* (): Generator<string> {
      for (let i = 0; i < 100; i++) yield `international${'xyz'.repeat(i % 10)}${'abc'.repeat(i / 10)}${'\n'.repeat(100_000)}`;
    };
    const tokenizer = new BPETokenizer({ merges: [] });
    const before = heapMiB();
    for (const text of texts()) tokenizer.encode(text);
    expect(heapMiB() - before, 'MiB').toBeLessThan(4);
  });

  it('may be empty', async () => {
    expect((await streamed([])).length).toBe(0);
    expect((await streamed(['', ''])).length).toBe(0);
  });

  it('check the options first', async () => {
    await expect(streamed(['a'], { allowSpecial: ['<s>'] })).rejects.toThrow(/"<s>" is not a special token/);
  });
});

describe.each([
  ['BPE', BPETokenizer.train.bind(BPETokenizer), 'merging'],
  ['unigram', UnigramTokenizer.train.bind(UnigramTokenizer), 'pruning'],
] as const)('the progress of training %s', (_name, train, label) => {
  /** What is written to the terminal when the clock advances by `step` milliseconds whenever somebody looks at it. */
  function written(step: number, quiet: boolean): string {
    let now = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => (now += step));
    const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    try {
      train(corpus, { vocabSize: 270, quiet });
      return write.mock.calls.map(([text]) => String(text)).join('');
    } finally {
      vi.restoreAllMocks();
    }
  }

  it('is shown when it takes long', () => {
    expect(written(700, false)).toContain(label);
    expect(written(700, false)).toMatch(/(\d+)\/\1 /);
  });

  it('is not shown when it takes a moment, or when nobody wants it', () => {
    expect(written(0.1, false)).toBe('');
    expect(written(700, true)).toBe('');
  });
});

describe('decoding', () => {
  it('replaces what is no UTF-8 and keeps the bytes', () => {
    const tokenizer = new BPETokenizer({ merges: [] });
    const bytes = utf8Bytes('a😀');
    expect(tokenizer.decode(bytes.slice(0, 3))).toBe('a\ufffd');
    expect(tokenizer.decodeBytes(bytes.slice(0, 3))).toEqual(bytes.slice(0, 3));
    expect(tokenizer.decode([0xef, 0xbb, 0xbf, 65])).toBe('\ufeffA');
  });

  it.each([320, -1, 1.5, NaN])('refuses the id %s', (id) => {
    const message = `token id ${id} is out of range; this vocabulary has 0 … 319`;
    for (const act of [() => trained.decode([65, id]), () => trained.decodeBytes([id]), () => trained.tokenBytes(id)]) {
      expect(act).toThrow(RangeError);
      expect(act).toThrow(message);
    }
  });

  it('gives out bytes that nobody can spoil', () => {
    const id = 300;
    const before = trained.decode([id]);
    trained.tokenBytes(id).fill(0);
    expect(trained.decode([id])).toBe(before);
  });
});

/** @file Cures of hallucination, each by itself: prefixes, a loss for endings, a nucleus that shrinks, and retrieval. */
import {
  BM25,
  BPETokenizer,
  CharacterTokenizer,
  factualNucleus,
  factualTopP,
  marketDocuments,
  marketKnowledge,
  nextTokenDistribution,
  Random,
  randomBatches,
  sentenceCompletionBatches,
  sentenceCompletionLoss,
  SentencePlaces,
  tf,
  TokenDataset,
  topicPrefix,
  train,
  Transformer,
  withoutTopicPrefix,
} from 'lab';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { onBackend } from './on-backend.ts';

const text = 'It was founded in 1987. Its share cost $34.20 then! Why? Nobody\nknows: 5,200. End';
const characters = CharacterTokenizer.train(text);

describe('the places of tokens in their sentences', () => {
  /** The sentences by their places, as text. */
  const sentences = (given: string): string[] => {
    const places = new SentencePlaces(characters).of(characters.encode(given));
    const found: string[] = [];
    [...given].forEach((letter, i) => (places[i] === 0 ? found.push(letter) : (found[found.length - 1] += letter)));
    return found;
  };

  it('begin anew behind an end, and a decimal point is none', () => {
    expect(sentences(text)).toEqual([
      'It was founded in 1987.',
      ' Its share cost $34.20 then!',
      ' Why?',
      ' Nobody\n',
      'knows: 5,200.',
      ' End',
    ]);
  });

  it('count up from 0, and say where the next token will stand', () => {
    const places = new SentencePlaces(characters).of(characters.encode('Why? N'));
    expect([...places]).toEqual([0, 1, 2, 3, 0, 1, 2]);
    expect([...new SentencePlaces(characters).of([])]).toEqual([0]);
    expect(new SentencePlaces(characters).of(characters.encode('Why?')).at(-1)).toBe(0);
  });

  it('are the same whichever tokens write the text', () => {
    const source = marketDocuments({ knowledge: marketKnowledge({ companies: 6 }), grade: 'clean' });
    const long = Array.from({ length: 30 }, () => source.next().value.text).join('\n\n');
    const pairs = BPETokenizer.train(long, { vocabSize: 500 });
    const ids = pairs.encode(long);
    const places = new SentencePlaces(pairs).of(ids);
    const letters = CharacterTokenizer.train(long);
    const startsByLetter = [...new SentencePlaces(letters).of(letters.encode(long))].flatMap((place, i) => (place === 0 ? [i] : []));
    const startsByPair: number[] = [];
    let at = 0;
    ids.forEach((id, i) => {
      if (places[i] === 0) startsByPair.push(at);
      at += pairs.decode([id]).length;
    });
    // Where several line breaks are one token, letters see an empty sentence more.
    expect(startsByPair).toEqual(startsByLetter.filter((start) => startsByPair.includes(start) || long[start] !== '\n').slice(0, startsByPair.length));
    expect(startsByPair.length).toBeGreaterThan(100);
  });
});

describe('factual nucleus', () => {
  it('is max(ω, p λ^(t − 1))', () => {
    const values = [0, 1, 2, 10, 11, 400].map((place) => factualTopP(place));
    [0.9, 0.81, 0.729, 0.9 ** 11, 0.3, 0.3].forEach((expected, i) => expect(values[i]).toBeCloseTo(expected, 12));
    expect(factualTopP(3, { topP: 1, decay: 0.5, floor: 0.01 })).toBe(0.125);
    expect(() => factualTopP(0, { decay: 1.1 })).toThrow(/decay must be above 0 and at most 1, got 1.1/);
    expect(() => factualNucleus(characters, { floor: 0 })).toThrow(/floor/);
  });

  it('takes top-p with the p of the place, and begins again with each sentence', () => {
    const sampler = factualNucleus(characters);
    const logits = new Random(4).normals(characters.vocabSize, 2);
    for (const [said, place] of [['', 0], ['It was', 6], ['It was. It', 3], ['Why?', 0], ['Nobody\n', 0]] as const) {
      const previous = characters.encode(said);
      const expected = nextTokenDistribution(logits, { topP: 0.9 ** (place + 1) });
      expect(sampler(logits, { previous })).toEqual(expected);
    }
  });

  it('leaves the other options to work', () => {
    const logits = Float32Array.from({ length: characters.vocabSize }, (_, i) => -i);
    const sampler = factualNucleus(characters);
    expect(sampler(logits, { topK: 1 })[0]).toBe(1);
    expect(sampler(logits, { temperature: 0 })[0]).toBe(1);
  });
});

describe('sentence-completion loss', () => {
  const ids = characters.encode(text);
  const dataset = new TokenDataset(ids, characters.vocabSize);
  const batches = (seed: number) => randomBatches(dataset, { batchSize: 3, contextLength: 31, seed });

  /** Which letters of each window are learned: the others are dots. */
  const learned = (options = {}, count = 1): string[] => {
    const masked = sentenceCompletionBatches(batches(2), characters, options);
    const shown: string[] = [];
    for (let i = 0; i < count; i++) {
      const { inputs, targets, batchSize, contextLength } = masked.next();
      for (let row = 0; row < batchSize; row++) {
        const own = [...targets.subarray(row * contextLength, (row + 1) * contextLength)];
        const first = characters.decode([inputs[row * contextLength]!]);
        shown.push(`(${first})${own.map((id) => (id < 0 ? '·' : characters.decode([id]))).join('')}`);
      }
    }
    return shown;
  };

  it('learns the second half of each sentence of a window', () => {
    const whole = new TokenDataset(characters.encode('Why was it? Nobody knows.'), characters.vocabSize);
    const source = randomBatches(whole, { batchSize: 1, contextLength: 24, seed: 1 });
    const { targets } = sentenceCompletionBatches(source, characters).next();
    const shown = [...targets].map((id) => (id < 0 ? '·' : characters.decode([id]))).join('');
    expect(shown).toBe('····as it?······· knows.');
  });

  it('gives random pivots from a quarter to three quarters, the same for the same seed', () => {
    expect(learned({ pivot: 'random', seed: 1 }, 4)).toEqual(learned({ pivot: 'random', seed: 1 }, 4));
    expect(learned({ pivot: 'random', seed: 1 }, 4)).not.toEqual(learned({ pivot: 'random', seed: 2 }, 4));
    const shares = learned({ pivot: 'random' }, 200).map((row) => [...row].filter((letter) => letter === '·').length / 31);
    const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length;
    expect(mean).toBeGreaterThan(0.42);
    expect(mean).toBeLessThan(0.54);
  });

  it('leaves inputs and the given batches alone, and goes on from a state', () => {
    const given = batches(7);
    const masked = sentenceCompletionBatches(given, characters, { pivot: 'random' });
    const plain = batches(7).next();
    const first = masked.next();
    expect(first.inputs).toEqual(plain.inputs);
    first.targets.forEach((target, i) => expect(target === -100 || target === plain.targets[i]).toBe(true));
    const { state } = masked;
    const next = masked.next();
    const again = sentenceCompletionBatches(batches(99), characters, { pivot: 'random' });
    again.state = JSON.parse(JSON.stringify(state));
    expect(again.next().targets).toEqual(next.targets);
  });

  describe('on wasm', () => {
    onBackend({ backend: 'wasm' });

    it('is the mean over what is learned alone, and trains', async () => {
      const logits = tf.randomNormal([1, 4, 5], 0, 1, 'float32', 3) as tf.Tensor3D;
      const loss = sentenceCompletionLoss(logits, tf.tensor2d([[-100, 2, -100, 4]], [1, 4], 'int32'));
      const rows = (await logits.array()) as number[][][];
      const negative = (row: number[], target: number) => Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)) - row[target]!;
      expect((await loss.data())[0]).toBeCloseTo((negative(rows[0]![1]!, 2) + negative(rows[0]![3]!, 4)) / 2, 5);

      const model = new Transformer({ vocabSize: characters.vocabSize, contextLength: 31, layers: 1, width: 16, heads: 2, seed: 1 });
      const masked = sentenceCompletionBatches(batches(3), characters);
      const { losses } = await train(model, masked, { steps: 30, learningRate: 1e-2, loss: sentenceCompletionLoss, quiet: true });
      expect(losses.at(-1)!.loss).toBeLessThan(0.8 * losses[0]!.loss);
      model.dispose();
    });
  });
});

describe('topic prefix', () => {
  it('stands before every sentence, and not before the heading', () => {
    const document = 'Valdora Systems\nIt earns $1.5 million. Why? Nobody\nknows.';
    const prefixed = topicPrefix(document, 'Valdora Systems');
    expect(prefixed).toBe(
      'Valdora Systems\nValdora Systems: It earns $1.5 million. Valdora Systems: Why? Valdora Systems: Nobody\nValdora Systems: knows.',
    );
    expect(withoutTopicPrefix(prefixed, 'Valdora Systems')).toBe(document);
    expect(topicPrefix('', 'x')).toBe('');
  });

  it('comes off any document again', () => {
    const source = marketDocuments({ knowledge: marketKnowledge({ companies: 6 }) });
    for (let i = 0; i < 30; i++) {
      const { text: one } = source.next().value;
      expect(withoutTopicPrefix(topicPrefix(one, 'Some Topic'), 'Some Topic')).toBe(one);
    }
  });
});

describe('BM25', () => {
  const fixture = JSON.parse(readFileSync(new URL('../fixtures/bm25.json', import.meta.url), 'utf8')) as {
    texts: string[];
    queries: string[];
    cases: { k1: number; b: number; scores: number[][] }[];
  };

  it('scores as bm25s does', () => {
    for (const { k1, b, scores } of fixture.cases) {
      const index = new BM25(fixture.texts, { k1, b });
      fixture.queries.forEach((query, q) => {
        const found = index.search(query, fixture.texts.length);
        const expected = scores[q]!;
        for (const hit of found) expect(hit.score).toBeCloseTo(expected[hit.index]!, 6);
        expect(new Set(found.map(({ index: i }) => i))).toEqual(new Set(expected.flatMap((score, i) => (score > 0 ? [i] : []))));
        for (let i = 1; i < found.length; i++) expect(found[i]!.score).toBeLessThanOrEqual(found[i - 1]!.score);
      });
    }
  });

  it('hardly minds case or punctuation, and keeps amounts whole', () => {
    const index = new BM25(['The seat is Ashford.', 'It earned $1,240 million.', 'It earned 1 or 240.']);
    expect(index.search('ASHFORD?').map(({ text: found }) => found)).toEqual(['The seat is Ashford.']);
    expect(index.search('1,240').map(({ index: i }) => i)).toEqual([1]);
  });

  it('finds nothing for nothing, and gives no more than was asked for', () => {
    const index = new BM25(['a b', 'a c', 'a d']);
    expect(index.search('z')).toEqual([]);
    expect(index.search('')).toEqual([]);
    expect(index.search('a', 2).map(({ index: i }) => i)).toEqual([0, 1]);
    expect(new BM25([]).search('a')).toEqual([]);
    expect(() => new BM25([], { b: 2 })).toThrow(/b must be in 0 … 1, got 2/);
  });
});

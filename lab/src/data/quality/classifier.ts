/**
 * @file A classifier that says how textbook-like a text is: logistic regression on hashed words and pairs of words, trained
 * here on texts that are labelled good or bad, as fastText is in other pipelines. In plain typed arrays.
 */
import { createHash } from 'node:crypto';
import { invariant, LabError, Random } from '../../base/index.ts';
import type { QualityFilter } from './filter.ts';
import { chain, grown, HASH_SEED, scatter, words } from './words.ts';

export interface ClassifierOptions {
  /** Weights: 2^bits (default 18: 1 MiB). */
  readonly bits?: number;
  /** Words in a row that are features: 1 up to this (default 2). */
  readonly ngram?: number;
  /** Walks over the examples (default 5). */
  readonly epochs?: number;
  /** Step size of AdaGrad (Duchi et al. 2011; default 0.5). */
  readonly learningRate?: number;
  /** Pulls weights to 0, at every example that uses them (default 1e-5). */
  readonly l2?: number;
  /** Decides the order of the examples (default 1). */
  readonly seed?: number;
}

export interface ClassifierExample {
  readonly text: string;
  readonly good: boolean;
}

/** The saved form: plain data. */
export interface SavedClassifier {
  readonly kind: 'quality-classifier';
  readonly bits: number;
  readonly ngram: number;
  readonly bias: number;
  /** Little-endian float32 in base64. */
  readonly weights: string;
}

/**
 * A text is its set of n-grams, each once, hashed into 2^bits places; the vector is scaled to length 1, so that long texts say
 * no more than short ones. score = σ(w · x + b).
 */
export class QualityClassifier {
  readonly bits: number;
  readonly ngram: number;
  #bias = 0;
  readonly #weights: Float32Array;

  private constructor(bits: number, ngram: number) {
    invariant(Number.isInteger(bits) && bits >= 4 && bits <= 26, `QualityClassifier: bits must be in 4 … 26, got ${bits}`);
    invariant(Number.isInteger(ngram) && ngram > 0, `QualityClassifier: ngram must be 1 or more, got ${ngram}`);
    this.bits = bits;
    this.ngram = ngram;
    this.#weights = new Float32Array(2 ** bits);
  }

  /**
   * Minimises the mean of −log p(label | text) by AdaGrad, one example at a time, both classes with the same weight in all.
   *
   * @throws LabError when one of the two classes is missing.
   */
  static train(examples: readonly ClassifierExample[], options: ClassifierOptions = {}): QualityClassifier {
    const { bits = 18, ngram = 2, epochs = 5, learningRate = 0.5, l2 = 1e-5, seed = 1 } = options;
    const good = examples.filter((example) => example.good).length;
    const bad = examples.length - good;
    if (good === 0 || bad === 0) {
      throw new LabError(`A classifier needs good and bad texts; got ${good} good and ${bad} bad ones.`);
    }
    const classifier = new QualityClassifier(bits, ngram);
    const squares = new Float32Array(classifier.#weights.length + 1);
    const random = new Random(seed);
    const order = examples.map((_, i) => i);
    for (let epoch = 0; epoch < epochs; epoch++) {
      for (const i of random.shuffle(order)) {
        const example = examples[i]!;
        const weight = examples.length / (2 * (example.good ? good : bad));
        classifier.#learn(example, { weight, learningRate, l2, squares });
      }
    }
    return classifier;
  }

  /** @throws LabError when that is not a saved classifier. */
  static fromJSON(saved: SavedClassifier): QualityClassifier {
    const bytes = Buffer.from(saved?.weights ?? '', 'base64');
    if (saved?.kind !== 'quality-classifier' || bytes.length !== 4 * 2 ** saved.bits || !Number.isFinite(saved.bias)) {
      throw new LabError('That is not a saved quality classifier: what QualityClassifier.toJSON() returns is wanted.');
    }
    const classifier = new QualityClassifier(saved.bits, saved.ngram);
    for (let i = 0; i < classifier.#weights.length; i++) classifier.#weights[i] = bytes.readFloatLE(i * 4);
    classifier.#bias = saved.bias;
    return classifier;
  }

  toJSON(): SavedClassifier {
    const bytes = Buffer.alloc(this.#weights.length * 4);
    this.#weights.forEach((weight, i) => bytes.writeFloatLE(weight, i * 4));
    const weights = bytes.toString('base64');
    return { kind: 'quality-classifier', bits: this.bits, ngram: this.ngram, bias: this.#bias, weights };
  }

  /** The probability that the text is a good one, 0 … 1. */
  score(text: string): number {
    return this.#probability(this.#features(text));
  }

  /** Decides whether two classifiers are the same. */
  digest(): string {
    return createHash('sha256').update(JSON.stringify(this.toJSON())).digest('hex').slice(0, 16);
  }

  #probability(features: Int32Array): number {
    let sum = 0;
    for (let i = 0; i < features.length; i++) sum += this.#weights[features[i]!]!;
    const logit = this.#bias + (features.length === 0 ? 0 : sum / Math.sqrt(features.length));
    return 1 / (1 + Math.exp(-logit));
  }

  #learn(
    { text, good }: ClassifierExample,
    step: { readonly weight: number; readonly learningRate: number; readonly l2: number; readonly squares: Float32Array },
  ): void {
    const { weight, learningRate, l2, squares } = step;
    const features = this.#features(text);
    // ∂(−log p)/∂logit
    const error = weight * (this.#probability(features) - (good ? 1 : 0));
    const scale = features.length === 0 ? 0 : 1 / Math.sqrt(features.length);
    for (let i = 0; i < features.length; i++) {
      const at = features[i]!;
      const gradient = error * scale + l2 * this.#weights[at]!;
      squares[at]! += gradient * gradient;
      if (gradient !== 0) this.#weights[at]! -= (learningRate * gradient) / Math.sqrt(squares[at]!);
    }
    const last = squares.length - 1;
    squares[last]! += error * error;
    if (error !== 0) this.#bias -= (learningRate * error) / Math.sqrt(squares[last]!);
  }

  /** The places of the text's different n-grams. */
  #features(text: string): Int32Array {
    words.read(text);
    const { hashes, count } = words;
    const shift = 32 - this.bits;
    let size = 0;
    for (let i = 0; i < count; i++) {
      let hash = HASH_SEED;
      for (let n = 0; n < this.ngram && i + n < count; n++) {
        hash = chain(hash, hashes[i + n]!);
        if (size === places.length) places = grown(places);
        places[size++] = scatter(hash) >>> shift;
      }
    }
    const sorted = places.subarray(0, size).sort();
    let different = 0;
    for (let i = 0; i < size; i++) if (i === 0 || sorted[i] !== sorted[i - 1]) sorted[different++] = sorted[i]!;
    return sorted.subarray(0, different);
  }
}

let places = new Int32Array(4096);

export interface EducationalOptions {
  /** How good a text is; the larger the better. */
  readonly score: (text: string) => number;
  /** The smallest score that is kept (default 0.5). */
  readonly minScore?: number;
  /** Names the judge, as the digest of a classifier does: a run that was interrupted goes on only with the same. */
  readonly scorer?: string;
}

/**
 * Keeps what scores high. FineWeb-Edu keeps what is 3 or more of 5 in the eyes of a model; here any function may judge:
 * a `QualityClassifier`, or a model of the lab.
 */
export function educational({ score, minScore = 0.5, scorer = 'a function' }: EducationalOptions): QualityFilter {
  const tenths = new Array<number>(10).fill(0);
  return {
    name: 'educational quality',
    settings: { minScore, scorer },
    judge({ text }) {
      const value = score(text);
      invariant(Number.isFinite(value), `educational: the score of a text must be a number, got ${value}`);
      tenths[Math.min(9, Math.max(0, Math.floor(value * 10)))]!++;
      if (value >= minScore) return undefined;
      return { reason: 'not textbook-like', detail: `score ${value.toFixed(3)}; at least ${minScore}` };
    },
    notes: () => ({ 'documents by tenth of the score': [...tenths] }),
    reset: () => void tenths.fill(0),
  };
}

export interface ClassifierReport {
  readonly examples: number;
  readonly accuracy: number;
  /** The probability that a good text scores higher than a bad one (area under the ROC curve); ties count half. */
  readonly auc: number;
}

/** How well scores tell good from bad texts that were not trained on. */
export function judgeClassifier(score: (text: string) => number, examples: readonly ClassifierExample[]): ClassifierReport {
  const scored = examples.map(({ text, good }) => ({ good, value: score(text) })).sort((a, b) => a.value - b.value);
  const right = scored.filter(({ good, value }) => good === value >= 0.5).length;
  let [bad, below] = [0, 0];
  for (let i = 0; i < scored.length;) {
    let end = i;
    while (end < scored.length && scored[end]!.value === scored[i]!.value) end++;
    const tied = scored.slice(i, end);
    const badTied = tied.filter(({ good }) => !good).length;
    below += (tied.length - badTied) * (bad + badTied / 2);
    bad += badTied;
    i = end;
  }
  return { examples: scored.length, accuracy: right / scored.length, auc: below / (bad * (scored.length - bad)) };
}

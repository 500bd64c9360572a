/**
 * @file Documents without end, of all grades, for a corpus of any size: what is kept in mind of those before is bounded.
 */
import { Random } from '../../base/index.ts';
import { DocumentSource, type CleanDocument } from './document.ts';
import { Weighted } from './draw.ts';
import {
  asClean,
  asFalse,
  asGarbled,
  asNearDuplicate,
  grades,
  withBoilerplate,
  type Grade,
  type GradedDocument,
} from './grades.ts';
import { marketKnowledge } from './make-knowledge.ts';
import type { MarketKnowledge } from './knowledge.ts';

/** Of a hundred documents. */
export const gradeShares: Readonly<Record<Grade, number>> = {
  clean: 70,
  boilerplate: 8,
  'near-duplicate': 8,
  false: 8,
  garbled: 6,
};

export interface MarketDocument extends GradedDocument {
  /** `d1`, `d2`, … */
  readonly id: string;
  /** Of a near-duplicate, the document that it repeats. */
  readonly copyOf?: string;
}

export interface MarketDocumentOptions {
  /** The world (default: `marketKnowledge()`). */
  readonly knowledge?: MarketKnowledge;
  /** Decides the documents; the same on every platform (default 1). */
  readonly seed?: number;
  /** One grade only; all of them, in their shares, unless told. Near-duplicates alone have nothing to repeat. */
  readonly grade?: Exclude<Grade, 'near-duplicate'>;
}

/** Clean documents that may be repeated. */
const remembered = 256;

/** Documents one after the other, decided by their seed. */
export function* marketDocuments(options: MarketDocumentOptions = {}): Generator<MarketDocument, never> {
  const { knowledge = marketKnowledge(), seed = 1, grade: only } = options;
  const random = new Random(seed);
  const source = new DocumentSource(knowledge);
  const gradeDraw = new Weighted<Grade>(grades, (grade) => gradeShares[grade]);
  const recent: { readonly id: string; readonly document: CleanDocument }[] = [];
  for (let number = 1; ; number++) {
    const id = `d${number}`;
    const grade = only ?? (recent.length > 0 ? gradeDraw.draw(random) : 'clean');
    if (grade === 'near-duplicate') {
      const { id: copyOf, document } = random.pick(recent);
      yield { id, ...asNearDuplicate(document, knowledge, random), copyOf };
      continue;
    }
    if (grade === 'false') {
      yield { id, ...asFalse(source, knowledge, random) };
      continue;
    }
    const document = source.write(random);
    if (grade === 'clean') {
      if (recent.length < remembered) recent.push({ id, document });
      else recent[number % remembered] = { id, document };
      yield { id, ...asClean(document, knowledge) };
    } else if (grade === 'boilerplate') yield { id, ...withBoilerplate(document, knowledge, random) };
    else yield { id, ...asGarbled(document, random) };
  }
}

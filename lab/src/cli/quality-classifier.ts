/**
 * @file The classifier of `data quality`: read from a file, or trained on good and bad texts and kept beside the corpus.
 */
import { join } from 'node:path';
import { LabError, Random } from '../base/index.ts';
import { corpusAt, judgeClassifier, QualityClassifier, type ClassifierExample, type SavedClassifier } from '../data/index.ts';
import { readText, writeAtomically } from '../files/index.ts';
import type { Values } from './command.ts';

/** Of ten examples one is not trained on, but measured on. */
const HELD_OUT = 10;

export async function chosenClassifier(values: Values, folder: string): Promise<QualityClassifier | undefined> {
  const { good, bad, classifier } = values;
  if (typeof classifier === 'string') {
    if (good !== undefined || bad !== undefined) throw new LabError('Give --classifier, or --good and --bad, not both.');
    return QualityClassifier.fromJSON(savedIn(await readText(classifier), classifier));
  }
  if (good === undefined && bad === undefined) return undefined;
  if (typeof good !== 'string' || typeof bad !== 'string') {
    throw new LabError('A classifier needs good and bad texts: --good and --bad.');
  }
  const seed = Number(values['seed']);
  const examples: ClassifierExample[] = [
    ...textsOf(good).map((text) => ({ text, good: true })),
    ...textsOf(bad).map((text) => ({ text, good: false })),
  ];
  new Random(seed).shuffle(examples);
  const trained = QualityClassifier.train(examples.filter((_, i) => i % HELD_OUT > 0), { seed });
  const unseen = examples.filter((_, i) => i % HELD_OUT === 0);
  const { accuracy, auc } = judgeClassifier((text) => trained.score(text), unseen);
  const path = join(folder, 'classifier.json');
  await writeAtomically(path, [Buffer.from(JSON.stringify(trained))]);
  const held = `${unseen.length} texts that it has not seen: ${(100 * accuracy).toFixed(1)}% right, area under the curve ${auc.toFixed(3)}`;
  console.error(`Classifier on ${held}. ${path}`);
  return trained;
}

function savedIn(json: string, path: string): SavedClassifier {
  try {
    return JSON.parse(json) as SavedClassifier;
  } catch (error) {
    throw new LabError(`${path} is not a saved classifier: it is not JSON.`, { cause: error });
  }
}

/** The texts of a corpus that fits into memory. */
export function textsOf(path: string): string[] {
  const texts = [...corpusAt(path, { badRecords: 'refuse', badEncoding: 'refuse' }).records()].flatMap(({ document }) =>
    document ? [document.text] : [],
  );
  if (texts.length === 0) throw new LabError(`${path} has no texts.`);
  return texts;
}

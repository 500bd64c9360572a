/**
 * @file The committed stories: `datasets/stories/train.txt` and `validation.txt`.
 */
import { join } from 'node:path';
import { projectRoot, readText } from '../../files/index.ts';

/** A text to learn and another one, of the same kind, to measure on. */
export interface StoriesText {
  readonly train: string;
  readonly validation: string;
}

/** The committed text. `stories({ … })` makes more. */
export async function storiesText(): Promise<StoriesText> {
  const folder = join(projectRoot(), 'datasets', 'stories');
  const [train, validation] = await Promise.all(['train.txt', 'validation.txt'].map((name) => readText(join(folder, name))));
  return { train: train!, validation: validation! };
}

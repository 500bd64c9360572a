/** @file The attention that answers of chapters 03 and 05 become in a model, and numbers to try it on. */
import { findExercise, Random, tf, theCourse, type Assembly, type AttentionFunction } from 'lab';
import * as chapter3 from '../../solutions/03-attention.ts';
import * as chapter5 from '../../solutions/05-flash-attention.ts';

const solutions: Readonly<Record<string, unknown>> = { ...chapter3, ...chapter5 };

export function normal(seed: number, ...shape: number[]): tf.Tensor4D {
  return tf.tensor(new Random(seed).normals(shape.reduce((a, b) => a * b)), shape as [number, number, number, number]);
}

/** The attention of these exercises' solutions, and the names of those that were called. */
export function plugged(ids: readonly string[]): { compute: AttentionFunction; called: Set<string> } {
  const assembly: Assembly = { transformer: {}, train: {}, generate: {} };
  const called = new Set<string>();
  for (const id of ids) {
    const { exercise } = findExercise(id, theCourse());
    const watched = exercise.names.map((name) => {
      const answer = solutions[name] as (...values: unknown[]) => unknown;
      return [name, (...values: unknown[]) => (called.add(name), answer(...values))] as const;
    });
    exercise.plug?.(Object.fromEntries(watched), assembly);
  }
  return { compute: assembly.transformer.attention!, called };
}

/** @file Token ids on their way to the device, checked while they still can be looked at cheaply. */
import { tf, type Tensor2D } from '../backend/index.ts';
import { invariant, LabError } from '../base/index.ts';

/**
 * @param shape [B, T]
 * @returns [B, T] int32
 * @throws LabError for an id outside 0 … vocabSize − 1, saying which and where; RangeError when the ids do not fill the shape.
 */
export function tokensTensor(
  ids: ArrayLike<number>,
  shape: readonly [batch: number, tokens: number],
  vocabSize: number,
): Tensor2D {
  const [batch, tokens] = shape;
  invariant(ids.length === batch * tokens, `tokensTensor: ${ids.length} ids cannot fill [${shape}]`);
  checkTokens(ids, vocabSize);
  return tf.tensor2d(Int32Array.from(ids), [batch, tokens], 'int32');
}

/** @throws LabError for an id outside 0 … vocabSize − 1, saying which and where. */
export function checkTokens(ids: ArrayLike<number>, vocabSize: number): void {
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!;
    if (!(Number.isInteger(id) && id >= 0 && id < vocabSize)) {
      throw new LabError(`Token ${id} at position ${i} is not in the vocabulary, whose ids are 0 … ${vocabSize - 1}.`);
    }
  }
}

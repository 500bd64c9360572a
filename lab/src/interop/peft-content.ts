/** @file What an adaptation is before it is written: its fields in adapter_config.json, and its tensors. */
import type { Tensor } from '../backend/index.ts';
import type { StoredTensor } from '../files/index.ts';
import type { Transformer } from '../model/index.ts';
import type { Adaptation } from '../peft/index.ts';
import type { JSONObject } from './json.ts';
import type { PEFTType } from './peft-config.ts';
import type { PretrainedFormat } from './read-config.ts';

/** What is saved of a method. */
export interface PEFTContent {
  readonly type: PEFTType;
  readonly config: JSONObject;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/** Where the numbers of an adaptation are. */
export interface PEFTTarget {
  readonly model: Transformer;
  readonly adaptation: Adaptation;
  readonly format: PretrainedFormat;
}

/** A tensor as it is written. */
export async function stored(tensor: Tensor): Promise<StoredTensor> {
  return { dtype: 'F32', shape: tensor.shape, data: Float32Array.from(await tensor.data()) };
}

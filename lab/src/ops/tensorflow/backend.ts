/**
 * @file The part of tfjs-node's backend that reaches TensorFlow's own operations, with or without a place in TensorFlow.js.
 */
import type { tf, Tensor } from '../../backend/index.ts';

/** An attribute of an operation, as tfjs-node hands it to TensorFlow. */
interface Attribute {
  readonly name: string;
  readonly type: number;
  readonly value: number | boolean | string;
}

/** tfjs-node's backend: frozen at version 4.22, so that its members can be relied on. */
export interface NodeBackend {
  readonly binding: Readonly<Record<'TF_ATTR_BOOL' | 'TF_ATTR_FLOAT' | 'TF_ATTR_STRING' | 'TF_ATTR_TYPE' | 'TF_FLOAT' | 'TF_INT32', number>>;
  executeMultipleOutputs(name: string, attributes: readonly Attribute[], inputs: readonly tf.TensorInfo[], outputs: number): Tensor[];
}

/** Attributes by name: numbers are floats, `'float'` and `'int'` are types of tensors, other strings are strings. */
export type Attributes = Readonly<Record<string, number | boolean | string>>;

/** Runs TensorFlow's operations by name. */
export class TensorFlowOperations {
  readonly #backend: NodeBackend;

  constructor(backend: NodeBackend) {
    this.#backend = backend;
  }

  /** @throws Error with TensorFlow's own message when it has no such operation or refuses the inputs. */
  run(name: string, inputs: readonly tf.TensorInfo[], attributes: Attributes, outputs = 1): Tensor[] {
    const given = Object.entries(attributes).map(([key, value]) => this.#attribute(key, value));
    return this.#backend.executeMultipleOutputs(name, given, inputs, outputs);
  }

  #attribute(name: string, value: number | boolean | string): Attribute {
    const { binding } = this.#backend;
    if (value === 'float') return { name, type: binding.TF_ATTR_TYPE, value: binding.TF_FLOAT };
    if (value === 'int') return { name, type: binding.TF_ATTR_TYPE, value: binding.TF_INT32 };
    if (typeof value === 'string') return { name, type: binding.TF_ATTR_STRING, value };
    if (typeof value === 'boolean') return { name, type: binding.TF_ATTR_BOOL, value };
    return { name, type: binding.TF_ATTR_FLOAT, value };
  }
}

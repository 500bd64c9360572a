/**
 * @file Probes for a backend that can only be reached through operations on tensors (TensorFlow, stock wasm): sums read, and
 * what a call costs is part of what is measured.
 */
import { tf, type Tensor } from '../../backend/index.ts';
import type { Probe, Probes } from './probe.ts';

export function tensorProbes(largestBytes: number): Probes {
  const memory = tf.ones([largestBytes / 4]);
  /** Sums the tensor `turns` times, then waits for the last sum: a GPU only queues work until somebody reads. */
  const sumOf = (x: Tensor, bytes: number): Probe => ({
    bytes,
    async run(turns) {
      let last = tf.sum(x);
      for (let turn = 1; turn < turns; turn++) {
        last.dispose();
        last = tf.sum(x);
      }
      await last.data();
      last.dispose();
    },
  });
  const parts: Tensor[] = [];
  const partOf = (bytes: number): Tensor => {
    const part = tf.slice(memory, [0], [bytes / 4]);
    parts.push(part);
    return part;
  };
  const call = sumOf(partOf(4), 4);
  return {
    largestBytes,
    smallestBytes: 2 ** 20,
    read: (bytes) => sumOf(partOf(bytes), bytes),
    call: { run: (turns) => call.run(turns) },
    dispose: () => tf.dispose([memory, ...parts]),
  };
}

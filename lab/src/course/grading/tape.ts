/**
 * @file Gradients through another process. While the grader takes a gradient, the student's process keeps the tape of what
 * was computed from the tensors it was given; every tensor that it hands back becomes one operation on the grader's tape,
 * whose gradient is asked for when it is needed. So functions that call back and forth are differentiated, too.
 */
import { tf, type Tensor } from '../../backend/index.ts';

/** One operation on TensorFlow.js's tape. */
interface Node {
  readonly kernelName: string;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly outputs: readonly Tensor[];
  readonly gradient?: (upstream: readonly (Tensor | undefined)[]) => Readonly<Record<string, () => Tensor>>;
}

interface EngineState {
  gradientDepth: number;
  activeTape: Node[] | null;
}

function engineState(): EngineState {
  return tf.engine().state as unknown as EngineState;
}

/** Whether a gradient is being taken around the code that runs now. */
export function isTracing(): boolean {
  return engineState().gradientDepth > 0;
}

/** The student's side: what was computed in one session, and from what. */
export class Recorder {
  readonly #tape: Node[] = [];
  readonly #given = new Map<number, number>();

  /** @param id of a tensor that came from the other side, in the session's table */
  give(id: number, tensor: Tensor): void {
    this.#given.set(tensor.id, id);
  }

  record<T>(body: () => T): T {
    const state = engineState();
    const before = state.activeTape;
    if (state.gradientDepth === 0) state.activeTape = this.#tape;
    state.gradientDepth++;
    try {
      return body();
    } finally {
      state.gradientDepth--;
      state.activeTape = before;
    }
  }

  /** From which given tensors (ids in the table) this one was computed. */
  sources(tensor: Tensor): number[] {
    if (this.#tape.length === 0) return [];
    const wanted = new Set([tensor.id]);
    const found = new Set<number>();
    for (const { inputs, outputs } of this.#tape.toReversed()) {
      if (!outputs.some(({ id }) => wanted.has(id))) continue;
      for (const { id } of Object.values(inputs)) wanted.add(id);
    }
    for (const id of wanted) if (this.#given.has(id)) found.add(this.#given.get(id)!);
    return [...found].sort((a, b) => a - b);
  }

  /**
   * The gradient of Σ of · upstream for `to`.
   *
   * @throws Error in TensorFlow.js's own words when an operation between them has none
   */
  gradient(of: Tensor, to: Tensor, upstream: Tensor): Tensor {
    const reached = new Set([to.id]);
    for (const { inputs, outputs } of this.#tape) {
      if (Object.values(inputs).some(({ id }) => reached.has(id))) for (const { id } of outputs) reached.add(id);
    }
    const gradients = new Map<number, Tensor>([[of.id, upstream]]);
    for (const { inputs, outputs, gradient, kernelName } of this.#tape.toReversed()) {
      if (!outputs.some(({ id }) => gradients.has(id)) || !Object.values(inputs).some(({ id }) => reached.has(id))) continue;
      if (!gradient) throw new Error(`Cannot compute gradient: gradient function not found for ${kernelName}.`);
      const ways = gradient(outputs.map(({ id }) => gradients.get(id)));
      for (const [name, { id }] of Object.entries(inputs)) {
        if (!reached.has(id)) continue;
        const way = ways[name];
        if (!way) throw new Error(`Cannot backprop through input ${name} of ${kernelName}.`);
        const known = gradients.get(id);
        gradients.set(id, known ? known.add(way()) : way());
      }
    }
    return gradients.get(to.id) ?? tf.zerosLike(to);
  }
}

interface Linkable {
  runKernelFunc(kernel: {
    readonly forwardFunc: () => Tensor;
    readonly backwardsFunc: (upstream: Tensor) => Record<string, () => Tensor>;
    readonly inputs: Readonly<Record<string, Tensor>>;
  }): Tensor;
}

/**
 * The grader's side: a tensor that was computed elsewhere, put on the tape.
 *
 * @param sources what it was computed from, by their ids
 * @param gradient for one of them, given the gradient for the tensor. Asked only for what is needed: there may be
 * operations without a gradient on the way to the others
 */
export function linked(
  tensor: Tensor,
  sources: ReadonlyMap<number, Tensor>,
  gradient: (to: number, upstream: Tensor) => Tensor,
): Tensor {
  const inputs = Object.fromEntries([...sources].map(([id, source]) => [`x${id}`, source]));
  return (tf.engine() as unknown as Linkable).runKernelFunc({
    forwardFunc: () => tensor,
    backwardsFunc: (upstream) => Object.fromEntries([...sources.keys()].map((id) => [`x${id}`, () => gradient(id, upstream)])),
    inputs,
  });
}

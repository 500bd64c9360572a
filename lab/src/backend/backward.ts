/**
 * @file Reverse-mode differentiation that gives memory back as it goes: what an operation kept for its gradient is freed as soon
 * as that gradient is there, and the gradient of an intermediate result as soon as it has been passed on. TensorFlow.js's own
 * `variableGrads` holds all of both until the end. Griewank and Walther 2008, section 3.2.
 */
import { invariant } from '../base/index.ts';
import { tf, type Scalar, type Tensor, type Variable } from './tf.ts';

/** One operation on TensorFlow.js's tape. */
interface TapeNode {
  readonly kernelName: string;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly outputs: readonly Tensor[];
  readonly saved?: readonly Tensor[];
  readonly gradient?: (outputGradients: readonly (Tensor | null)[]) => Readonly<Record<string, () => Tensor>>;
}

/** The part of TensorFlow.js's engine that `tf.grads` stands on. */
interface Engine {
  startTape(): void;
  endTape(): void;
  isTapeOn(): boolean;
  readonly state: { activeTape: TapeNode[] | null; readonly gradientDepth: number; kernelDepth: number };
}

export interface ValueAndGradients<T extends Scalar> {
  readonly value: T;
  /** One for each variable that the value depends on. */
  readonly gradients: Map<Variable, Tensor>;
}

/**
 * The value of `f` and its gradients. Not while another one is being recorded: there are no second derivatives here. On the way
 * back of another one it may be called: that is how what was not kept is computed again (nn/recompute.ts).
 *
 * @param variables float32; others that `f` uses count as constants
 */
export function valueAndGradients<T extends Scalar>(f: () => T, variables: readonly Variable[]): ValueAndGradients<T> {
  return pullBack(f, variables);
}

/**
 * The value of `f`, and what its gradient becomes on the way back to the sources: Σ outputGradient ∂f/∂source.
 *
 * @param sources tensors that `f` uses and does not make; others count as constants
 * @param outputGradient of the value's shape; ones unless told
 */
export function pullBack<T extends Tensor, S extends Tensor>(
  f: () => T,
  sources: readonly S[],
  outputGradient?: Tensor,
): { readonly value: T; readonly gradients: Map<S, Tensor> } {
  const engine = tf.engine() as unknown as Engine;
  const { gradientDepth } = engine.state;
  invariant(gradientDepth === 0, 'valueAndGradients: it cannot be called while another gradient is being computed');
  const dependants = new Dependants(sources);
  const outer = engine.state.activeTape;
  let value: T | undefined;
  try {
    engine.startTape();
    const found = (value = recorded(engine, f, dependants));
    const gradients = tf.tidy(() => {
      const ofValue = outputGradient ? tf.clone(outputGradient) : tf.onesLike(found);
      const tape = engine.state.activeTape ?? [];
      return Object.fromEntries(walkBack(tape, found, ofValue, dependants.on(tape)));
    });
    const present = sources.flatMap((source): [S, Tensor][] => {
      const gradient = gradients[source.id];
      return gradient ? [[source, gradient]] : [];
    });
    return { value, gradients: new Map(present) };
  } catch (error) {
    if (value && isOnTape(value)) value.dispose();
    throw error;
  } finally {
    for (const { saved } of engine.state.activeTape ?? []) tf.dispose([...(saved ?? [])]);
    engine.state.activeTape = outer;
  }
}

/** Runs `f` so that nothing of it comes onto the tape, and nothing is kept for a gradient. */
export function offTape<T>(f: () => T): T {
  const { state } = tf.engine() as unknown as Engine;
  state.kernelDepth++; // the tape rests while a kernel runs
  try {
    return f();
  } finally {
    state.kernelDepth--;
  }
}

/** Whether the tensor was made by an operation that is on the tape. */
export function isOnTape({ id }: Tensor): boolean {
  const tape = (tf.engine() as unknown as Engine).state.activeTape ?? [];
  return tape.some(({ outputs }) => outputs.some((output) => output.id === id));
}

/** What depends on the sources whose gradients are being recorded. */
let recording: Dependants | undefined;

function recorded<T extends Tensor>(engine: Engine, f: () => T, dependants: Dependants): T {
  const outer = recording;
  recording = dependants;
  try {
    return tf.tidy(f);
  } finally {
    recording = outer;
    engine.endTape();
  }
}

/** Which tensors depend on one of the sources, these included, as the tape grows. */
class Dependants {
  readonly #ids: Set<number>;
  #read = 0;

  constructor(sources: readonly Tensor[]) {
    this.#ids = new Set(sources.map(({ id }) => id));
  }

  /** Their ids, after what has been recorded so far. */
  on(tape: readonly TapeNode[]): ReadonlySet<number> {
    for (; this.#read < tape.length; this.#read++) {
      const { inputs, outputs } = tape[this.#read]!;
      if (Object.values(inputs).some(({ id }) => this.#ids.has(id))) for (const { id } of outputs) this.#ids.add(id);
    }
    return this.#ids;
  }
}

/**
 * For each input of an operation that is about to run, whether its gradient will be asked for. Where `pullBack` records,
 * those of constants and of frozen weights will not be; where TensorFlow.js does, all may be; else none.
 */
export function wantedGradients(inputs: readonly Tensor[]): boolean[] {
  const engine = tf.engine() as unknown as Engine;
  if (!engine.isTapeOn()) return inputs.map(() => false);
  const { activeTape, gradientDepth } = engine.state;
  // A gradient within the function that is recorded has variables of its own.
  if (!recording || gradientDepth > 1) return inputs.map(() => true);
  const ids = recording.on(activeTape ?? []);
  return inputs.map(({ id }) => ids.has(id));
}

/** The gradients by the sources' ids. @param wanted the ids of all that depends on the sources */
function walkBack(
  tape: readonly TapeNode[],
  value: Tensor,
  ofValue: Tensor,
  wanted: ReadonlySet<number>,
): Map<number, Tensor> {
  const gradients = new Map<number, Tensor>();
  if (wanted.has(value.id)) gradients.set(value.id, ofValue);
  for (const node of tape.toReversed()) {
    const incoming = node.outputs.map(({ id }) => gradients.get(id) ?? null);
    const inputs = Object.entries(node.inputs).filter(([, { id }]) => wanted.has(id));
    if (inputs.length > 0 && incoming.some(Boolean)) {
      const passedOn = inputGradients(node, incoming, inputs);
      for (const [i, [, { id }]] of inputs.entries()) addTo(gradients, id, passedOn[i]!);
    }
    tf.dispose([...(node.saved ?? []), ...incoming.filter((gradient) => gradient !== null)]);
    for (const { id } of node.outputs) gradients.delete(id);
  }
  return gradients;
}

/** One new tensor for each input, though an operation may hand back what it was given, or the same tensor twice. */
function inputGradients(node: TapeNode, incoming: readonly (Tensor | null)[], inputs: readonly [name: string, Tensor][]): Tensor[] {
  const { kernelName, gradient } = node;
  invariant(gradient, () => `valueAndGradients: the operation '${kernelName}' has no gradient`);
  return tf.tidy(() => {
    const compute = gradient(incoming);
    const taken = new Set<Tensor | null>(incoming);
    return inputs.map(([name, { shape }]) => {
      const given = compute[name]!();
      invariant(
        given.shape.join() === shape.join(),
        () => `valueAndGradients: '${kernelName}' gave a gradient [${given.shape}] for an input [${shape}]`,
      );
      const own = taken.has(given) ? tf.clone(given) : given;
      taken.add(own);
      return own;
    });
  });
}

/** A tensor that is used in several places collects the gradients of all. */
function addTo(gradients: Map<number, Tensor>, id: number, gradient: Tensor): void {
  const before = gradients.get(id);
  gradients.set(id, before ? tf.add(before, gradient) : gradient);
  if (before) tf.dispose([before, gradient]);
}

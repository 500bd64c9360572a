/**
 * @file Puts back what a reader's code may have changed while its tests ran: the built-in objects, the process, and the
 * tensor engine when the code was stopped half-way through an operation.
 */
import { tf } from '../backend/index.ts';

const WATCHED: readonly object[] = [
  globalThis,
  Math,
  JSON,
  Reflect,
  console,
  process,
  Object,
  Object.prototype,
  Array,
  Array.prototype,
  Float32Array.prototype,
  Map.prototype,
  Set.prototype,
  Promise,
  Promise.prototype,
  String.prototype,
  Number,
  Number.prototype,
  Function.prototype,
];

type Descriptors = ReadonlyMap<string | symbol, PropertyDescriptor>;

function descriptorsOf(target: object): Descriptors {
  return new Map(Reflect.ownKeys(target).map((key) => [key, Reflect.getOwnPropertyDescriptor(target, key)!]));
}

function putBack(target: object, before: Descriptors): void {
  for (const [key, old] of before) {
    const now = Reflect.getOwnPropertyDescriptor(target, key);
    const same = now && now.value === old.value && now.get === old.get && now.set === old.set;
    if (!same) Reflect.defineProperty(target, key, old);
  }
  if (target === globalThis || target === process) return;
  for (const key of Reflect.ownKeys(target)) if (!before.has(key)) Reflect.deleteProperty(target, key);
}

/** The process as an exercise may see it: it cannot be ended. */
function forbidExit(): void {
  for (const name of ['exit', 'abort', 'kill', 'reallyExit'] as const) {
    const forbidden = (): never => {
      throw new Error(`process.${name} is not allowed in an exercise.`);
    };
    Object.assign(process, { [name]: forbidden });
  }
}

/** The counters of the engine that are only right when every operation that began has ended. */
interface EngineState {
  gradientDepth: number;
  kernelDepth: number;
  activeTape: unknown;
  activeScope: unknown;
  scopeStack: unknown[];
}

/** Runs the body and puts everything back, however it ended. */
export async function sandboxed<T>(body: () => Promise<T>): Promise<T> {
  const before = WATCHED.map((target) => [target, descriptorsOf(target)] as const);
  const state = tf.engine().state as unknown as EngineState;
  const { gradientDepth, kernelDepth, activeTape, activeScope } = state;
  const scopes = state.scopeStack.length;
  forbidExit();
  try {
    return await body();
  } finally {
    for (const [target, descriptors] of before) putBack(target, descriptors);
    state.scopeStack.length = Math.min(state.scopeStack.length, scopes);
    Object.assign(state, { gradientDepth, kernelDepth, activeTape, activeScope });
  }
}

/**
 * @file Where an operation was called: the lines of the stack that are a reader's or the lab's own, and the modules among them.
 */

export interface CallPlace {
  /** `, in Transformer › Block › MLP`; empty when it was called through no module. */
  readonly modules: string;
  /** Lines of a stack, innermost first. */
  readonly lines: readonly string[];
}

/** Functions of the ways back: TensorFlow.js's and the lab's. */
const BACKWARD = /\b(walkBack|backpropagateGradients)\b/;
/** What every operation passes through. */
const MACHINERY = /node_modules[\\/]@tensorflow|[\\/]kernel-calls\.|[\\/]numerics[\\/]/;
const DEPTH = 200;

/** The place that the function which calls this one was called from. */
export function callPlace(): CallPlace {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = DEPTH;
  const all = (new Error().stack ?? '').split('\n').slice(1);
  Error.stackTraceLimit = before;
  const forwards = all.flatMap((line) => /\bat (\w+)\.forward\b/.exec(line)?.[1] ?? []).reverse();
  const path = forwards.filter((name, i) => name !== forwards[i - 1]).join(' › ');
  const back = all.some((line) => BACKWARD.test(line)) ? ', on the way back' : '';
  return { modules: path ? `${back}, in ${path}` : back, lines: all.filter((line) => !MACHINERY.test(line)) };
}

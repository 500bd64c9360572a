/**
 * @file Gradient checkpointing: the way forward keeps only what goes into a part of the model, and the way back computes the
 * rest of it again. With √n such parts of a chain of n layers, memory grows as √n for one more forward pass.
 * Chen et al. 2016, section 3 (arXiv 1604.06174); Griewank and Walther 2000.
 */
import { isOnTape, observeKernels, offTape, pullBack, tf, type Tensor, type Variable } from '../backend/index.ts';
import { invariant, replayRandom, traceRandom } from '../base/index.ts';
import { withGradient } from '../ops/index.ts';

/**
 * f(...inputs), with the same value and the same gradients, to the bit, for its inputs and for the variables that it uses; but
 * of what it makes on the way nothing is kept for the gradient: the backward pass runs it a second time. What it draws from the
 * lab's random streams (dropout) it draws the second time too. Checkpointed functions may contain others.
 *
 * @param f must give the same on the same inputs and random numbers, and use no tensor from outside that depends on a variable
 *   except through its inputs
 * @throws RangeError when it uses one
 */
export function checkpoint<I extends Tensor[], T extends Tensor>(f: (...inputs: I) => T, inputs: readonly [...I]): T {
  if (!tf.engine().isTapeOn()) return f(...inputs);
  const { value, variables, trace } = runOnce(f, inputs);
  return withGradient<T>([...inputs, ...variables], (save, wanted) => {
    save(...inputs);
    return {
      value,
      gradient: (outputGradient, saved) => {
        const all = [...saved, ...variables];
        const sources = all.filter(({ dtype }, i) => wanted[i] && dtype === 'float32');
        const run = (): T => f(...(saved as I));
        const { gradients } = replayRandom(trace, () => pullBack(run, sources, outputGradient));
        return all.map((x, i) => (wanted[i] ? (gradients.get(x) ?? (() => tf.zerosLike(x))) : null));
      },
    };
  });
}

interface Run<T extends Tensor> {
  readonly value: T;
  /** Those that `f` uses. */
  readonly variables: readonly Variable[];
  readonly trace: ReturnType<typeof traceRandom>['trace'];
}

/** The way forward: the value alone, and on what it depends. */
function runOnce<I extends Tensor[], T extends Tensor>(f: (...inputs: I) => T, inputs: readonly [...I]): Run<T> {
  const made = new Set<number>();
  const outside = new Map<number, Tensor>();
  const value = (): T => {
    // Clones, to tell an input that `f` was given from one that it reaches by another way.
    const given = inputs.map((input) => tf.clone(input));
    for (const { id } of given) made.add(id);
    const stop = observeKernels({
      after(_, used, outputs) {
        for (const x of used) if (!made.has(x.id)) outside.set(x.id, x);
        for (const { id } of outputs) made.add(id);
      },
    });
    try {
      const found = f(...(given as I));
      return made.has(found.id) ? found : tf.clone(found);
    } finally {
      stop();
    }
  };
  const { result, trace } = traceRandom(() => offTape(() => tf.tidy(value)));
  const variables = [...outside.values()].filter((x) => x instanceof tf.Variable);
  for (const x of outside.values()) {
    const dependent = !(x instanceof tf.Variable) && (isOnTape(x) || inputs.some(({ id }) => id === x.id));
    invariant(!dependent, () => `checkpoint: the function uses a tensor [${x.shape}] from outside; give it as an input`);
  }
  return { value: result, trace, variables };
}

/**
 * @file The bends of the MLP: GELU (Hendrycks and Gimpel 2016), SiLU, and SwiGLU, where one half gates the other (Shazeer 2020).
 * Each keeps its inputs for the backward pass and computes the rest again. GELU by its tanh formula and SwiGLU are one kernel a
 * pass where the running backend has them.
 */
import { tf, type Tensor } from '../../backend/index.ts';
import { invariant } from '../../base/index.ts';
import { fusedKernel } from '../fused.ts';
import { withGradient } from '../with-gradient.ts';
import './wasm.ts';
import './webgpu.ts';

export interface GeluOptions {
  /** 'tanh': the approximation that GPT-2 was trained with (gelu_new). 'none': with the exact error function. */
  readonly approximate?: 'tanh' | 'none';
}

const rootTwoOverPi = Math.sqrt(2 / Math.PI);
const cubic = 0.044715;

/** x · Φ(x), the probability that a standard normal deviate is below x times x. Any shape. */
export function gelu<T extends Tensor>(x: T, { approximate = 'tanh' }: GeluOptions = {}): T {
  const [forward, backward] = [fusedKernel('gelu'), fusedKernel('geluGradient')];
  if (approximate === 'tanh' && forward && backward) {
    return withGradient<T>([x], (save) => {
      save(x);
      return { value: forward({ x })[0] as T, gradient: (dy, [saved]) => backward({ x: saved!, dy }) };
    });
  }
  const parts = approximate === 'tanh' ? tanhParts : exactParts;
  return withGradient<T>([x], (save) => {
    save(x);
    return {
      value: tf.mul(x, parts(x).probability) as T,
      gradient: (dy, [saved]) => {
        const { probability, density } = parts(saved!);
        return [tf.mul(dy, tf.add(probability, tf.mul(saved!, density())))];
      },
    };
  });
}

/** Φ(x) and its derivative; the derivative of x · Φ is Φ + x · Φ′. */
interface NormalParts {
  readonly probability: Tensor;
  readonly density: () => Tensor;
}

/** Φ ≈ (1 + tanh u)/2 = sigmoid(2u) with u = √(2/π) · (x + 0.044715 x³): the sigmoid takes fewer steps. */
function tanhParts(x: Tensor): NormalParts {
  const square = tf.square(x);
  const probability = tf.sigmoid(tf.mul(x, tf.add(tf.mul(square, 2 * rootTwoOverPi * cubic), 2 * rootTwoOverPi)));
  return {
    probability,
    density: () => {
      const slope = tf.add(tf.mul(square, 6 * rootTwoOverPi * cubic), 2 * rootTwoOverPi);
      return tf.mul(tf.sub(probability, tf.square(probability)), slope);
    },
  };
}

/** Φ = (1 + erf(x/√2))/2, and Φ′ = exp(−x²/2)/√(2π). */
function exactParts(x: Tensor): NormalParts {
  return {
    probability: tf.add(tf.mul(tf.erf(tf.mul(x, Math.SQRT1_2)), 0.5), 0.5),
    density: () => tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI)),
  };
}

/** x · sigmoid(x), also called swish. Any shape. */
export function silu<T extends Tensor>(x: T): T {
  return withGradient<T>([x], (save) => {
    save(x);
    return {
      value: tf.mul(x, tf.sigmoid(x)) as T,
      gradient: (dy, [saved]) => [tf.mul(dy, siluSlope(saved!, tf.sigmoid(saved!)))],
    };
  });
}

/**
 * silu(gate) · up: the gate decides, number by number, how much of `up` passes.
 *
 * @param gate any shape
 * @param up the shape of gate
 * @throws RangeError when the shapes differ.
 */
export function swiglu<T extends Tensor>(gate: T, up: T): T {
  invariant(
    gate.shape.join() === up.shape.join(),
    () => `swiglu: gate is [${gate.shape}] but up is [${up.shape}]; they must be equal`,
  );
  const [forward, backward] = [fusedKernel('swiglu'), fusedKernel('swigluGradient')];
  return withGradient<T>([gate, up], (save) => {
    save(gate, up);
    if (forward && backward) {
      return {
        value: forward({ gate, up })[0] as T,
        gradient: (dy, [savedGate, savedUp]) => backward({ gate: savedGate!, up: savedUp!, dy }),
      };
    }
    return {
      value: tf.mul(tf.mul(gate, tf.sigmoid(gate)), up) as T,
      gradient: (dy, [savedGate, savedUp]) => {
        const s = tf.sigmoid(savedGate!);
        const dgate = tf.mul(tf.mul(dy, savedUp!), siluSlope(savedGate!, s));
        return [dgate, tf.mul(dy, tf.mul(savedGate!, s))];
      },
    };
  });
}

/** d silu/dx = s · (1 + x · (1 − s)) with s = sigmoid(x). */
function siluSlope(x: Tensor, s: Tensor): Tensor {
  return tf.mul(s, tf.add(tf.mul(x, tf.sub(1, s)), 1));
}

/** `gelu` in plain tensor operations, differentiated by the tape: what it is tested against. */
export function geluReference(x: Tensor, { approximate = 'tanh' }: GeluOptions = {}): Tensor {
  return tf.tidy(() => {
    const bend = approximate === 'tanh' ? x.add(x.pow(3).mul(cubic)).mul(rootTwoOverPi).tanh() : x.div(Math.SQRT2).erf();
    return x.mul(0.5).mul(bend.add(1));
  });
}

/** `swiglu` in plain tensor operations, differentiated by the tape: what it is tested against. */
export function swigluReference(gate: Tensor, up: Tensor): Tensor {
  return tf.tidy(() => gate.mul(gate.sigmoid()).mul(up));
}

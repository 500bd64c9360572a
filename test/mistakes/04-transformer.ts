/**
 * @file Chapter 04: wrong answers, each with the hint it must get, and right answers written in other ways.
 */
import { tf, type ChapterMistakes } from 'lab';

type Weights = { weight: tf.Tensor2D; bias: tf.Tensor1D };
type Parts = Record<'attentionNorm' | 'attention' | 'mlpNorm' | 'mlp', (x: tf.Tensor) => tf.Tensor>;
type Rates = { learningRate: number; warmupSteps: number; steps: number; minimum: number };
type Adam = { step: number; learningRate: number; beta1: number; beta2: number; epsilon: number; weightDecay: number };
type Sampling = { temperature?: number; topK?: number; topP?: number };
type Config = {
  vocabSize: number;
  contextLength: number;
  layers: number;
  width: number;
  hiddenSize?: number;
  bias?: boolean;
  tiedHead?: boolean;
};

/** Layer norm with one of its parts replaced. */
const layerNormWith =
  ({
    axis = -1 as number | number[],
    divisor = (variance: tf.Tensor, epsilon: number) => variance.add(epsilon).sqrt(),
    affine = (y: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor) => y.mul(gain).add(bias),
    centre = true,
    correction = 1,
  }) =>
  (x: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor, epsilon = 1e-5) => {
    const centred = x.sub(x.mean(axis, true));
    const variance = centred.square().mean(axis, true).mul(correction);
    return affine((centre ? centred : x).div(divisor(variance, epsilon)), gain, bias);
  };

const rmsNormWith =
  ({
    axis = -1 as number | number[],
    divisor = (square: tf.Tensor, epsilon: number) => square.add(epsilon).sqrt(),
    scale = (y: tf.Tensor, gain: tf.Tensor) => y.mul(gain),
  }) =>
  (x: tf.Tensor, gain: tf.Tensor, epsilon = 1e-6) =>
    scale(x.div(divisor(x.square().mean(axis, true), epsilon)), gain);

const tanhGelu = (x: tf.Tensor) =>
  x.pow(3).mul(0.044715).add(x).mul(Math.sqrt(2 / Math.PI)).tanh().add(1).mul(x).mul(0.5);
const identity = (x: tf.Tensor) => x;

/** x Wᵀ for any number of leading axes. */
const linear = (x: tf.Tensor, weight: tf.Tensor2D, bias?: tf.Tensor1D): tf.Tensor => {
  const rows = tf.matMul(x.reshape([-1, x.shape.at(-1)!]) as tf.Tensor2D, weight, false, true);
  return (bias ? rows.add(bias) : rows).reshape([...x.shape.slice(0, -1), weight.shape[0]]);
};
const geluMLPWith =
  (activation: (x: tf.Tensor) => tf.Tensor, last = identity) =>
  (x: tf.Tensor, up: Weights, down: Weights) =>
    last(linear(activation(linear(x, up.weight, up.bias)), down.weight, down.bias));

const silu = (x: tf.Tensor) => x.mul(x.sigmoid());
const gatedWith =
  (hidden: (gate: tf.Tensor, up: tf.Tensor) => tf.Tensor) =>
  (x: tf.Tensor, gate: tf.Tensor2D, up: tf.Tensor2D, down: tf.Tensor2D) =>
    linear(hidden(linear(x, gate), linear(x, up)), down);

/** Warmup and cosine with one of its pieces replaced. */
const scheduleWith =
  ({
    up = (step: number, { learningRate, warmupSteps }: Rates) => (learningRate * (step + 1)) / (warmupSteps + 1),
    share = (step: number, { warmupSteps, steps }: Rates) => (step - warmupSteps) / (steps - warmupSteps),
    wave = (x: number) => (1 + Math.cos(Math.PI * x)) / 2,
    between = (x: number, { learningRate, minimum }: Rates) => minimum + x * (learningRate - minimum),
    after = (_step: number, { minimum }: Rates) => minimum,
  }) =>
  (step: number, rates: Rates) => {
    if (step < rates.warmupSteps) return up(step, rates);
    return step >= rates.steps ? after(step, rates) : between(wave(share(step, rates)), rates);
  };

interface AdamParts {
  decayed?: (moved: tf.Tensor, parameter: tf.Tensor, options: Adam) => tf.Tensor;
  regularised?: (gradient: tf.Tensor, parameter: tf.Tensor, options: Adam) => tf.Tensor;
  direction?: (mean: tf.Tensor, square: tf.Tensor, options: Adam) => tf.Tensor;
  corrected?: boolean;
}
const direction = (mean: tf.Tensor, square: tf.Tensor, { step, beta1, beta2, epsilon }: Adam) =>
  mean.div(1 - beta1 ** step).div(square.div(1 - beta2 ** step).sqrt().add(epsilon));
const adamWith =
  ({ decayed, regularised = identity, direction: towards = direction, corrected = false }: AdamParts) =>
  (parameter: tf.Tensor, gradient: tf.Tensor, mean: tf.Tensor, square: tf.Tensor, options: Adam) => {
    const { step, learningRate, beta1, beta2, weightDecay } = options;
    const slope = regularised(gradient, parameter, options);
    const newMean = mean.mul(beta1).add(slope.mul(1 - beta1));
    const newSquare = square.mul(beta2).add(slope.square().mul(1 - beta2));
    const moved = parameter.sub(towards(newMean, newSquare, options).mul(learningRate));
    return {
      parameter: decayed ? decayed(moved, parameter, options) : moved.sub(parameter.mul(learningRate * weightDecay)),
      mean: corrected ? newMean.div(1 - beta1 ** step) : newMean,
      square: corrected ? newSquare.div(1 - beta2 ** step) : newSquare,
    };
  };

const softmax = (logits: ArrayLike<number>): number[] => {
  const scores = Array.from(logits);
  const weights = scores.map((z) => Math.exp(z - Math.max(...scores)));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((w) => w / total);
};
const normalise = (weights: number[]): Float32Array => {
  const total = weights.reduce((a, b) => a + b, 0);
  return Float32Array.from(weights, (w) => w / total);
};
const ranked = (scores: ArrayLike<number>): number[] => [...Array.from(scores).keys()].sort((a, b) => scores[b]! - scores[a]!);
const keepTop = (probabilities: number[], n: number): number[] => {
  const kept = new Set(ranked(probabilities).slice(0, n));
  return probabilities.map((q, i) => (kept.has(i) ? q : 0));
};
const nucleusSize = (probabilities: number[], p: number, crossing = 1): number => {
  let mass = 0;
  let n = 0;
  for (const token of ranked(probabilities)) {
    mass += probabilities[token]!;
    if (mass >= p) return n + crossing;
    n++;
  }
  return n;
};

/** Sampling with one of its parts replaced. */
const samplingWith =
  ({
    heat = (logits: ArrayLike<number>, temperature: number) => softmax(Array.from(logits, (z) => z / temperature)),
    limit = (k: number) => k,
    size = nucleusSize,
    finish = normalise as (weights: number[]) => Float32Array,
    between = (weights: number[]) => Array.from(normalise(weights)),
  }) =>
  (logits: Float32Array, { temperature = 1, topK, topP = 1 }: Sampling = {}) => {
    const few = between(keepTop(heat(logits, temperature), topK === undefined ? Infinity : limit(topK)));
    return finish(topP < 1 ? keepTop(few, size(few, topP)) : few);
  };

/** The parameter count with one of its parts replaced. */
const countWith =
  (change: (parts: Record<'embeddings' | 'linear' | 'biases' | 'norms' | 'head', number>, config: Required<Config>) => number) =>
  (given: Config) => {
    const config = { hiddenSize: 4 * given.width, bias: true, tiedHead: true, ...given };
    const { vocabSize, contextLength, layers, width, hiddenSize, bias, tiedHead } = config;
    const parts = {
      embeddings: (vocabSize + contextLength) * width,
      linear: layers * (4 * width * width + 2 * width * hiddenSize),
      biases: bias ? layers * (5 * width + hiddenSize) : 0,
      norms: (2 * layers + 1) * width * (bias ? 2 : 1),
      head: tiedHead ? 0 : vocabSize * width,
    };
    return Object.values(parts).reduce((a, b) => a + b, 0) + change(parts, config);
  };

export default {
  '4.1': {
    mistakes: {
      'over-tokens': { layerNorm: layerNormWith({ axis: -2 }) },
      'over-everything': { layerNorm: layerNormWith({ axis: [0, 1, 2] }) },
      'epsilon-outside-root': { layerNorm: layerNormWith({ divisor: (variance, epsilon) => variance.sqrt().add(epsilon) }) },
      'epsilon-missing': { layerNorm: layerNormWith({ divisor: (variance) => variance.sqrt() }) },
      'sample-variance': {
        layerNorm: (x: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor, epsilon?: number) =>
          layerNormWith({ correction: x.shape.at(-1)! / (x.shape.at(-1)! - 1) })(x, gain, bias, epsilon),
      },
      'root-missing': { layerNorm: layerNormWith({ divisor: (variance, epsilon) => variance.add(epsilon) }) },
      'mean-kept': { layerNorm: layerNormWith({ centre: false }) },
      'gain-forgotten': { layerNorm: layerNormWith({ affine: (y, _gain, bias) => y.add(bias) }) },
      'bias-forgotten': { layerNorm: layerNormWith({ affine: (y, gain) => y.mul(gain) }) },
      'bias-before-gain': { layerNorm: layerNormWith({ affine: (y, gain, bias) => y.add(bias).mul(gain) }) },
      'not-differentiable': {
        layerNorm: (x: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor, epsilon?: number) =>
          layerNormWith({})(tf.tensor(x.dataSync(), x.shape), tf.tensor(gain.dataSync()), tf.tensor(bias.dataSync()), epsilon),
      },
    },
    right: [
      {
        layerNorm: (x: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor, epsilon = 1e-5) => {
          const { mean, variance } = tf.moments(x, -1, true);
          return x.sub(mean).div(variance.add(epsilon).sqrt()).mul(gain).add(bias);
        },
      },
      {
        layerNorm: (x: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor, epsilon = 1e-5) => {
          const last = x.rank - 1;
          const mean = tf.mean(x, last, true);
          const variance = tf.mean(tf.square(x), last, true).sub(tf.square(mean));
          return tf.add(tf.mul(tf.sub(x, mean), tf.mul(gain, tf.rsqrt(tf.add(variance, epsilon)))), bias);
        },
      },
      {
        layerNorm: (x: tf.Tensor, gain: tf.Tensor, bias: tf.Tensor, epsilon = 1e-5) =>
          tf.tidy(() => {
            const size = x.shape.at(-1)!;
            const centred = x.sub(x.sum(-1, true).div(size));
            return centred.mul(gain).div(centred.mul(centred).sum(-1, true).div(size).add(epsilon).pow(0.5)).add(bias);
          }),
      },
    ],
  },
  '4.2': {
    mistakes: {
      'mean-subtracted': {
        rmsNorm: (x: tf.Tensor, gain: tf.Tensor, epsilon?: number) => rmsNormWith({})(x.sub(x.mean(-1, true)), gain, epsilon),
      },
      'variance-of-centred': {
        rmsNorm: (x: tf.Tensor, gain: tf.Tensor, epsilon = 1e-6) =>
          x.div(tf.moments(x, -1, true).variance.add(epsilon).sqrt()).mul(gain),
      },
      'sum-instead-of-mean': {
        rmsNorm: (x: tf.Tensor, gain: tf.Tensor, epsilon = 1e-6) =>
          x.div(x.square().sum(-1, true).add(epsilon).sqrt()).mul(gain),
      },
      'epsilon-outside-root': { rmsNorm: rmsNormWith({ divisor: (square, epsilon) => square.sqrt().add(epsilon) }) },
      'epsilon-missing': { rmsNorm: rmsNormWith({ divisor: (square) => square.sqrt() }) },
      'root-missing': { rmsNorm: rmsNormWith({ divisor: (square, epsilon) => square.add(epsilon) }) },
      'gain-forgotten': { rmsNorm: rmsNormWith({ scale: identity }) },
      'over-tokens': { rmsNorm: rmsNormWith({ axis: -2 }) },
      'over-everything': { rmsNorm: rmsNormWith({ axis: [0, 1, 2] }) },
    },
    right: [
      { rmsNorm: rmsNormWith({}) },
      {
        rmsNorm: (x: tf.Tensor, gain: tf.Tensor, epsilon = 1e-6) => {
          const size = x.shape.at(-1)!;
          const length = tf.sum(tf.mul(x, x), x.rank - 1, true);
          return tf.mul(tf.mul(gain, x), tf.rsqrt(tf.div(length, size).add(epsilon)));
        },
      },
    ],
  },
  '4.3': {
    mistakes: {
      'exact-gelu': { gelu: (x: tf.Tensor) => x.div(Math.SQRT2).erf().add(1).mul(x).mul(0.5) },
      'sigmoid-gelu': { gelu: (x: tf.Tensor) => x.mul(x.mul(1.702).sigmoid()) },
      'cube-missing': {
        gelu: (x: tf.Tensor) => x.mul(0.044715).add(x).mul(Math.sqrt(2 / Math.PI)).tanh().add(1).mul(x).mul(0.5),
      },
      'relu': { gelu: (x: tf.Tensor) => x.relu(), geluMLP: geluMLPWith((x) => x.relu()) },
      'activation-missing': { geluMLP: geluMLPWith(identity) },
      'activation-last': { geluMLP: geluMLPWith(identity, tanhGelu) },
      'up-bias-forgotten': {
        geluMLP: (x: tf.Tensor, up: Weights, down: Weights) =>
          linear(tanhGelu(linear(x, up.weight)), down.weight, down.bias),
      },
      'down-bias-forgotten': {
        geluMLP: (x: tf.Tensor, up: Weights, down: Weights) => linear(tanhGelu(linear(x, up.weight, up.bias)), down.weight),
      },
      'residual-inside': {
        geluMLP: (x: tf.Tensor, up: Weights, down: Weights) => x.add(geluMLPWith(tanhGelu)(x, up, down)),
      },
    },
    right: [
      { gelu: tanhGelu, geluMLP: geluMLPWith(tanhGelu) },
      {
        gelu: (x: tf.Tensor) => {
          const doubled = x.add(x.pow(3).mul(0.044715)).mul(2 * Math.sqrt(2 / Math.PI));
          return x.mul(doubled.sigmoid()); // ½ (1 + tanh z) = σ(2z)
        },
        geluMLP: (x: tf.Tensor3D, up: Weights, down: Weights) => {
          const sequences = tf.unstack(x).map((tokens) => {
            const hidden = tokens.matMul<tf.Tensor2D>(up.weight.transpose()).add(up.bias);
            return tanhGelu(hidden).matMul(down.weight.transpose()).add(down.bias);
          });
          return tf.stack(sequences);
        },
      },
    ],
  },
  '4.4': {
    mistakes: {
      'gate-and-up-swapped': { swigluMLP: gatedWith((gate, up) => gate.mul(silu(up))) },
      'sigmoid-instead-of-silu': { swigluMLP: gatedWith((gate, up) => gate.sigmoid().mul(up)) },
      'relu-instead-of-silu': { swigluMLP: gatedWith((gate, up) => gate.relu().mul(up)) },
      'gelu-instead-of-silu': { swigluMLP: gatedWith((gate, up) => tanhGelu(gate).mul(up)) },
      'activation-missing': { swigluMLP: gatedWith((gate, up) => gate.mul(up)) },
      'both-bent': { swigluMLP: gatedWith((gate, up) => silu(gate).mul(silu(up))) },
      'product-bent': { swigluMLP: gatedWith((gate, up) => silu(gate.mul(up))) },
      'added-not-multiplied': { swigluMLP: gatedWith((gate, up) => silu(gate).add(up)) },
      'up-forgotten': { swigluMLP: gatedWith(silu) },
    },
    right: [
      { swigluMLP: gatedWith((gate, up) => gate.div(gate.neg().exp().add(1)).mul(up)) },
      {
        swigluMLP: (x: tf.Tensor3D, gate: tf.Tensor2D, up: tf.Tensor2D, down: tf.Tensor2D) => {
          const [B, T, D] = x.shape;
          const both = tf.matMul(x.reshape([B * T, D]) as tf.Tensor2D, tf.concat([gate, up]), false, true);
          const [opening, passed] = tf.split(both, 2, 1);
          return tf.matMul(silu(opening!).mul(passed!) as tf.Tensor2D, down.transpose()).reshape([B, T, D]);
        },
      },
    ],
  },
  '4.5': {
    mistakes: {
      'post-norm': {
        residualBlock: (x: tf.Tensor, { attentionNorm, attention, mlpNorm, mlp }: Parts) => {
          const h = attentionNorm(x.add(attention(x)));
          return mlpNorm(h.add(mlp(h)));
        },
      },
      'both-residuals-dropped': {
        residualBlock: (x: tf.Tensor, { attentionNorm, attention, mlpNorm, mlp }: Parts) =>
          mlp(mlpNorm(attention(attentionNorm(x)))),
      },
      'first-residual-dropped': {
        residualBlock: (x: tf.Tensor, { attentionNorm, attention, mlpNorm, mlp }: Parts) => {
          const h = attention(attentionNorm(x));
          return h.add(mlp(mlpNorm(h)));
        },
      },
      'second-residual-dropped': {
        residualBlock: (x: tf.Tensor, { attentionNorm, attention, mlpNorm, mlp }: Parts) =>
          mlp(mlpNorm(x.add(attention(attentionNorm(x))))),
      },
      'second-residual-from-input': {
        residualBlock: (x: tf.Tensor, { attentionNorm, attention, mlpNorm, mlp }: Parts) =>
          x.add(mlp(mlpNorm(x.add(attention(attentionNorm(x)))))),
      },
      'parallel': {
        residualBlock: (x: tf.Tensor, { attentionNorm, attention, mlpNorm, mlp }: Parts) =>
          x.add(attention(attentionNorm(x))).add(mlp(mlpNorm(x))),
      },
      'normalised-stream': {
        residualBlock: (x: tf.Tensor, { attentionNorm, attention, mlpNorm, mlp }: Parts) => {
          const calm = attentionNorm(x);
          const h = mlpNorm(calm.add(attention(calm)));
          return h.add(mlp(h));
        },
      },
      'norms-missing': {
        residualBlock: (x: tf.Tensor, { attention, mlp }: Parts) => {
          const h = x.add(attention(x));
          return h.add(mlp(h));
        },
      },
      'one-norm-twice': {
        residualBlock: (x: tf.Tensor, { attentionNorm, attention, mlp }: Parts) => {
          const h = x.add(attention(attentionNorm(x)));
          return h.add(mlp(attentionNorm(h)));
        },
      },
      'mlp-first': {
        residualBlock: (x: tf.Tensor, { attentionNorm, attention, mlpNorm, mlp }: Parts) => {
          const h = x.add(mlp(mlpNorm(x)));
          return h.add(attention(attentionNorm(h)));
        },
      },
    },
    right: [
      {
        residualBlock: (x: tf.Tensor, { attentionNorm, attention, mlpNorm, mlp }: Parts) =>
          [
            [attentionNorm, attention],
            [mlpNorm, mlp],
          ].reduce((stream, [norm, part]) => tf.add(part!(norm!(stream)), stream), x),
      },
      {
        residualBlock: (x: tf.Tensor, parts: Parts) =>
          tf.tidy(() => {
            const said = parts.attention(parts.attentionNorm(x));
            const thought = parts.mlp(parts.mlpNorm(tf.addN([x, said])));
            return tf.addN([x, said, thought]);
          }),
      },
    ],
  },
  '4.6': {
    mistakes: {
      'warm-up-from-zero': {
        warmupCosineAt: scheduleWith({ up: (step, { learningRate, warmupSteps }) => (learningRate * step) / warmupSteps }),
      },
      'warm-up-too-short': {
        warmupCosineAt: scheduleWith({ up: (step, { learningRate, warmupSteps }) => (learningRate * (step + 1)) / warmupSteps }),
      },
      'no-warm-up': { warmupCosineAt: scheduleWith({ up: (_step, { learningRate }) => learningRate }) },
      'cosine-from-the-start': {
        warmupCosineAt: (step: number, rates: Rates) => scheduleWith({})(step, { ...rates, warmupSteps: 0 }),
      },
      'warm-up-counted-twice': { warmupCosineAt: scheduleWith({ share: (step, { steps }) => step / steps }) },
      'cosine-too-long': {
        warmupCosineAt: scheduleWith({ share: (step, { warmupSteps, steps }) => (step - warmupSteps) / steps }),
      },
      'falls-to-zero': { warmupCosineAt: scheduleWith({ between: (x, { learningRate }) => x * learningRate }) },
      'ends-at-zero': {
        warmupCosineAt: scheduleWith({ between: (x, { learningRate }) => x * learningRate, after: () => 0 }),
      },
      'minimum-added': {
        warmupCosineAt: scheduleWith({ between: (x, { learningRate, minimum }) => minimum + x * learningRate }),
      },
      'straight-down': { warmupCosineAt: scheduleWith({ wave: (x) => 1 - x }) },
      'quarter-cosine': { warmupCosineAt: scheduleWith({ wave: (x) => Math.cos((Math.PI * x) / 2) }) },
      'rises-again': {
        warmupCosineAt: scheduleWith({
          after: (step, { learningRate, warmupSteps, steps, minimum }) =>
            minimum + ((1 + Math.cos((Math.PI * (step - warmupSteps)) / (steps - warmupSteps))) / 2) * (learningRate - minimum),
        }),
      },
    },
    right: [
      { warmupCosineAt: scheduleWith({}) },
      {
        warmupCosineAt: (step: number, { learningRate, warmupSteps, steps, minimum }: Rates) => {
          const line = (step + 1) / (warmupSteps + 1);
          const share = Math.min(1, Math.max(0, (step - warmupSteps) / (steps - warmupSteps)));
          const fall = Math.cos((Math.PI * share) / 2) ** 2; // cos² of half the angle
          return line < 1 ? line * learningRate : learningRate * fall + minimum * (1 - fall);
        },
      },
    ],
  },
  '4.7': {
    mistakes: {
      'l2-decay': {
        adamWStep: adamWith({
          regularised: (gradient, parameter, { weightDecay }) => gradient.add(parameter.mul(weightDecay)),
          decayed: identity,
        }),
      },
      'no-decay': { adamWStep: adamWith({ decayed: identity }) },
      'decay-not-scaled': {
        adamWStep: adamWith({ decayed: (moved, parameter, { weightDecay }) => moved.sub(parameter.mul(weightDecay)) }),
      },
      'decay-after-update': {
        adamWStep: adamWith({ decayed: (moved, _parameter, o) => moved.mul(1 - o.learningRate * o.weightDecay) }),
      },
      'decay-grows': {
        adamWStep: adamWith({ decayed: (moved, parameter, o) => moved.add(parameter.mul(o.learningRate * o.weightDecay)) }),
      },
      'no-bias-correction': {
        adamWStep: adamWith({ direction: (mean, square, { epsilon }) => mean.div(square.sqrt().add(epsilon)) }),
      },
      'only-mean-corrected': {
        adamWStep: adamWith({
          direction: (mean, square, { step, beta1, epsilon }) => mean.div(1 - beta1 ** step).div(square.sqrt().add(epsilon)),
        }),
      },
      'only-square-corrected': {
        adamWStep: adamWith({
          direction: (mean, square, { step, beta2, epsilon }) => mean.div(square.div(1 - beta2 ** step).sqrt().add(epsilon)),
        }),
      },
      'step-too-early': {
        adamWStep: adamWith({ direction: (mean, square, o) => direction(mean, square, { ...o, step: o.step - 1 }) }),
      },
      'step-too-late': {
        adamWStep: adamWith({ direction: (mean, square, o) => direction(mean, square, { ...o, step: o.step + 1 }) }),
      },
      'epsilon-inside-root': {
        adamWStep: adamWith({
          direction: (mean, square, { step, beta1, beta2, epsilon }) =>
            mean.div(1 - beta1 ** step).div(square.div(1 - beta2 ** step).add(epsilon).sqrt()),
        }),
      },
      'epsilon-before-correction': {
        adamWStep: adamWith({
          direction: (mean, square, { step, beta1, beta2, epsilon }) =>
            mean.div(square.sqrt().add(epsilon)).mul(Math.sqrt(1 - beta2 ** step) / (1 - beta1 ** step)),
        }),
      },
      'root-missing': {
        adamWStep: adamWith({
          direction: (mean, square, { step, beta1, beta2, epsilon }) =>
            mean.div(1 - beta1 ** step).div(square.div(1 - beta2 ** step).add(epsilon)),
        }),
      },
      'uphill': { adamWStep: adamWith({ direction: (mean, square, options) => direction(mean, square, options).neg() }) },
      'correction-kept': { adamWStep: adamWith({ corrected: true }) },
      'average-not-kept': {
        adamWStep: (parameter: tf.Tensor, gradient: tf.Tensor, mean: tf.Tensor, square: tf.Tensor, options: Adam) => ({
          ...adamWith({})(parameter, gradient, mean, square, options),
          mean: mean.clone(),
          square: square.clone(),
        }),
      },
      'betas-swapped': {
        adamWStep: (parameter: tf.Tensor, gradient: tf.Tensor, mean: tf.Tensor, square: tf.Tensor, options: Adam) =>
          adamWith({})(parameter, gradient, mean, square, { ...options, beta1: options.beta2, beta2: options.beta1 }),
      },
      'beta-on-the-new': {
        adamWStep: (parameter: tf.Tensor, gradient: tf.Tensor, mean: tf.Tensor, square: tf.Tensor, options: Adam) =>
          adamWith({})(parameter, gradient, mean, square, { ...options, beta1: 1 - options.beta1, beta2: 1 - options.beta2 }),
      },
      'sum-instead-of-average': {
        adamWStep: (parameter: tf.Tensor, gradient: tf.Tensor, mean: tf.Tensor, square: tf.Tensor, options: Adam) => ({
          parameter,
          mean: mean.mul(options.beta1).add(gradient),
          square: square.mul(options.beta2).add(gradient.square()),
        }),
      },
      'gradient-not-squared': {
        adamWStep: (parameter: tf.Tensor, gradient: tf.Tensor, mean: tf.Tensor, square: tf.Tensor, options: Adam) => {
          const wrong = square.mul(options.beta2).add(gradient.mul(1 - options.beta2));
          return { ...adamWith({})(parameter, gradient, mean, square, options), square: wrong };
        },
      },
    },
    right: [
      { adamWStep: adamWith({}) },
      {
        adamWStep: (w: tf.Tensor, g: tf.Tensor, m: tf.Tensor, v: tf.Tensor, options: Adam) => {
          const { step, learningRate, beta1, beta2, epsilon, weightDecay } = options;
          const mean = m.add(g.sub(m).mul(1 - beta1));
          const square = v.add(g.mul(g).sub(v).mul(1 - beta2));
          const root = square.sqrt().div(Math.sqrt(1 - beta2 ** step)).add(epsilon);
          const change = mean.mul(learningRate / (1 - beta1 ** step)).div(root).add(w.mul(learningRate * weightDecay));
          return { parameter: w.sub(change), mean, square };
        },
      },
      {
        adamWStep: (w: tf.Tensor, g: tf.Tensor, m: tf.Tensor, v: tf.Tensor, options: Adam) =>
          tf.tidy(() => {
            const decay = w.mul(options.weightDecay).mul(options.learningRate);
            return adamWith({ decayed: (moved) => moved.sub(decay) })(w, g, m, v, options);
          }),
      },
    ],
  },
  '4.8': {
    mistakes: {
      'temperature-after-softmax': {
        tokenDistribution: (logits: Float32Array, { temperature = 1, ...options }: Sampling = {}) =>
          samplingWith({})(logits, options).map((q) => q / temperature),
      },
      'temperature-without-effect': {
        tokenDistribution: samplingWith({ heat: (logits, temperature) => softmax(logits).map((q) => q / temperature) }),
      },
      'temperature-multiplied': {
        tokenDistribution: samplingWith({ heat: (logits, temperature) => softmax(Array.from(logits, (z) => z * temperature)) }),
      },
      'not-normalised': {
        tokenDistribution: samplingWith({ between: (weights) => weights, finish: (weights) => Float32Array.from(weights) }),
      },
      'top-k-one-too-many': { tokenDistribution: samplingWith({ limit: (k) => k + 1 }) },
      'top-k-one-too-few': { tokenDistribution: samplingWith({ limit: (k) => k - 1 }) },
      'top-k-least-likely': {
        tokenDistribution: (logits: Float32Array, { topK = logits.length, ...options }: Sampling = {}) => {
          const kept = new Set(ranked(logits).slice(-topK));
          return samplingWith({})(logits.map((z, i) => (kept.has(i) ? z : -Infinity)), options);
        },
      },
      'logits-set-to-zero': {
        tokenDistribution: (logits: Float32Array, { topK = logits.length, ...options }: Sampling = {}) => {
          const kept = new Set(ranked(logits).slice(0, topK));
          return samplingWith({})(logits.map((z, i) => (kept.has(i) ? z : 0)), options);
        },
      },
      'top-k-without-effect': { tokenDistribution: samplingWith({ limit: () => Infinity }) },
      'crossing-token-dropped': { tokenDistribution: samplingWith({ size: (weights, p) => nucleusSize(weights, p, 0) }) },
      'top-p-one-too-many': { tokenDistribution: samplingWith({ size: (weights, p) => nucleusSize(weights, p, 2) }) },
      'top-p-from-the-bottom': {
        tokenDistribution: (logits: Float32Array, { topP = 1, ...options }: Sampling = {}) => {
          const weights = Array.from(samplingWith({})(logits, options));
          const rising = ranked(weights).reverse();
          let mass = 0;
          const kept = new Set(rising.filter((token) => mass < topP && (mass += weights[token]!) > 0));
          return normalise(weights.map((q, i) => (kept.has(i) ? q : 0)));
        },
      },
      'top-p-in-token-order': {
        tokenDistribution: (logits: Float32Array, { topP = 1, ...options }: Sampling = {}) => {
          let mass = 0;
          return normalise(
            Array.from(samplingWith({})(logits, options), (q) => {
              const kept = mass < topP ? q : 0;
              mass += q;
              return kept;
            }),
          );
        },
      },
      'top-p-without-effect': { tokenDistribution: samplingWith({ size: () => Infinity }) },
      'nucleus-before-top-k': { tokenDistribution: samplingWith({ between: (weights) => weights }) },
      'nucleus-without-temperature': {
        tokenDistribution: (logits: Float32Array, { temperature = 1, topK, topP = 1 }: Sampling = {}) => {
          const cold = Array.from(samplingWith({})(logits, topK === undefined ? {} : { topK }));
          const kept = new Set(ranked(cold).slice(0, topP < 1 ? nucleusSize(cold, topP) : topK));
          return samplingWith({})(logits.map((z, i) => (kept.has(i) ? z : -Infinity)), { temperature });
        },
      },
      'input-overwritten': {
        tokenDistribution: (logits: Float32Array, { temperature = 1, ...options }: Sampling = {}) => {
          for (let i = 0; i < logits.length; i++) logits[i]! /= temperature;
          return samplingWith({})(logits, options);
        },
      },
      'softmax-overflows': {
        tokenDistribution: samplingWith({
          heat: (logits, temperature) => Array.from(normalise(Array.from(logits, (z) => Math.exp(z / temperature)))),
        }),
      },
    },
    right: [
      { tokenDistribution: samplingWith({}) },
      {
        tokenDistribution: (logits: Float32Array, { temperature = 1, topK, topP }: Sampling = {}) => {
          const scaled = Array.from(logits, (z) => z / temperature);
          const kth = [...scaled].sort((a, b) => b - a)[Math.min(topK ?? scaled.length, scaled.length) - 1]!;
          let probabilities = softmax(scaled.map((z) => (z < kth ? -Infinity : z)));
          if (topP !== undefined) {
            const before = (q: number) => probabilities.reduce((mass, other) => mass + (other > q ? other : 0), 0);
            const nucleus = probabilities.map((q) => (before(q) < topP ? q : 0));
            probabilities = Array.from(normalise(nucleus));
          }
          return Float32Array.from(probabilities);
        },
      },
    ],
  },
  '4.9': {
    mistakes: {
      'tied-head-counted-twice': {
        countParameters: countWith((_, { tiedHead, vocabSize, width }) => (tiedHead ? vocabSize * width : 0)),
      },
      'untied-head-forgotten': { countParameters: countWith(({ head }) => -head) },
      'head-bias': { countParameters: countWith((_, { tiedHead, vocabSize }) => (tiedHead ? 0 : vocabSize)) },
      'biases-forgotten': { countParameters: countWith(({ biases }) => -biases) },
      'all-biases-forgotten': {
        countParameters: countWith(({ biases, norms }, { bias }) => -biases - (bias ? norms / 2 : 0)),
      },
      'mlp-bias-one-size': {
        countParameters: countWith((_, { bias, layers, width, hiddenSize }) => (bias ? layers * (width - hiddenSize) : 0)),
      },
      'norms-without-bias': { countParameters: countWith(({ norms }, { bias }) => (bias ? -norms / 2 : 0)) },
      'bias-ignored': {
        countParameters: countWith(({ norms }, { bias, layers, width, hiddenSize }) =>
          bias ? 0 : norms + layers * (5 * width + hiddenSize),
        ),
      },
      'norm-bias-ignored': { countParameters: countWith(({ norms }, { bias }) => (bias ? 0 : norms)) },
      'hidden-size-ignored': {
        countParameters: ({ hiddenSize: _ignored, ...config }: Config) => countWith(() => 0)(config),
      },
      'mlp-factor': { countParameters: countWith((_, { layers, width, hiddenSize }) => -layers * width * hiddenSize) },
      'output-projection-forgotten': {
        countParameters: countWith((_, { bias, layers, width }) => -layers * (width * width + (bias ? width : 0))),
      },
      'one-norm-a-block': { countParameters: countWith((_, { bias, layers, width }) => -layers * width * (bias ? 2 : 1)) },
      'final-norm-forgotten': { countParameters: countWith((_, { bias, width }) => -width * (bias ? 2 : 1)) },
      'norms-forgotten': { countParameters: countWith(({ norms }) => -norms) },
      'positions-forgotten': { countParameters: countWith((_, { contextLength, width }) => -contextLength * width) },
      'layers-forgotten': { countParameters: (config: Config) => countWith(() => 0)({ ...config, layers: 1 }) },
    },
    right: [
      { countParameters: countWith(() => 0) },
      {
        countParameters: (config: Config) => {
          const { vocabSize: V, contextLength: T, layers, width: D, bias = true, tiedHead = true } = config;
          const F = config.hiddenSize ?? 4 * D;
          const shapes: number[][] = [[V, D], [T, D], [D]];
          if (bias) shapes.push([D]);
          if (!tiedHead) shapes.push([V, D]);
          for (let layer = 0; layer < layers; layer++) {
            shapes.push([D, D], [D, D], [D, D], [D, D], [F, D], [D, F], [D], [D]);
            if (bias) shapes.push([D], [D], [D], [D], [F], [D], [D], [D]);
          }
          return shapes.reduce((total, shape) => total + shape.reduce((a, b) => a * b, 1), 0);
        },
      },
    ],
  },
} satisfies ChapterMistakes;

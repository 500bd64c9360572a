/**
 * @file Chapter 10: plausible wrong answers, each under the hint that its author must be given, and right answers that are
 * written differently from the solution.
 */
import { gelu, tf, type ChapterMistakes } from 'lab';

interface Thin {
  down: tf.Tensor2D;
  up: tf.Tensor2D;
}
interface Bottleneck extends Thin {
  downBias: tf.Tensor1D;
  upBias: tf.Tensor1D;
}

const T = (a: tf.Tensor2D): tf.Tensor2D => tf.transpose(a);
const times = (a: tf.Tensor, b: tf.Tensor): tf.Tensor2D => tf.matMul<tf.Tensor2D>(a as tf.Tensor2D, b as tf.Tensor2D);
const through = (x: tf.Tensor, w: tf.Tensor2D): tf.Tensor2D => times(x, T(w));
const column = (v: tf.Tensor1D): tf.Tensor2D => v.reshape([-1, 1]);

/** The counts with some of them exchanged. */
const countWith =
  (other: (L: number, D: number, r: number, n: number) => object) => (L: number, D: number, r: number, n: number) => ({
    lora: 4 * L * D * r,
    adapters: 2 * L * (2 * D * r + r + D),
    bitfit: 11 * L * D + D,
    prompt: n * D,
    prefix: 2 * n * L * D,
    ...other(L, D, r, n),
  });

const startWith =
  ({
    bound = (inputs: number, _rank: number) => 1 / Math.sqrt(inputs),
    first = (random: () => number, limit: number) => (random() - 0.5) * 2 * limit,
    last = (_random: () => number) => 0,
  }) =>
  (outputs: number, inputs: number, rank: number, random: () => number): Thin => ({
    down: tf.tensor2d(
      Float32Array.from({ length: rank * inputs }, () => first(random, bound(inputs, rank))),
      [rank, inputs],
    ),
    up: tf.tensor2d(
      Float32Array.from({ length: outputs * rank }, () => last(random)),
      [outputs, rank],
    ),
  });

const loraWith =
  ({ scale = (alpha: number, rank: number) => alpha / rank, all = (_alpha: number, _rank: number) => 1, bias = true }) =>
  (x: tf.Tensor2D, weight: tf.Tensor2D, b: tf.Tensor1D, { down, up }: Thin, alpha: number) => {
    const rank = up.shape[1];
    const plain = bias ? through(x, weight).add(b) : through(x, weight);
    return through(through(x, down), up).mul(scale(alpha, rank)).add(plain).mul(all(alpha, rank));
  };

const scaleOf = ({ down }: Thin, alpha: number): number => alpha / down.shape[0];

const adapterWith =
  ({ residual = true, inside = (x: tf.Tensor2D) => gelu(x), after = (x: tf.Tensor2D) => x }) =>
  (h: tf.Tensor2D, { down, downBias, up, upBias }: Bottleneck) => {
    const change = after(through(inside(through(h, down).add(downBias)), up).add(upBias));
    return residual ? change.add(h) : change;
  };

const startAdapterWith =
  ({ down = (normal: () => number, width: number) => normal() / width ** 0.5, up = (_normal: () => number) => 0 }) =>
  (width: number, size: number, normal: () => number) => ({
    down: tf.tensor2d(
      Float32Array.from({ length: size * width }, () => down(normal, width)),
      [size, width],
    ),
    downBias: tf.zeros([size]),
    up: tf.tensor2d(
      Float32Array.from({ length: size * width }, () => up(normal)),
      [width, size],
    ),
    upBias: tf.zeros([width]),
  });

const ignored = (n: number): number[] => new Array<number>(n).fill(-100);
const upTo = (n: number): number[] => [...Array(n).keys()];

const promptWith =
  ({
    order = (a: tf.Tensor, b: tf.Tensor) => [a, b],
    positions = (n: number, length: number) => upTo(n + length),
    targets = (row: number[], n: number) => [...ignored(n), ...row],
  }) =>
  (prompt: tf.Tensor2D, embedded: tf.Tensor3D, given: number[][]) => {
    const [n, length] = [prompt.shape[0], embedded.shape[1]];
    const copies = tf.stack(embedded.unstack().map(() => prompt));
    return {
      input: tf.concat(order(copies, embedded), 1),
      positions: positions(n, length),
      targets: given.map((row) => targets(row, n)),
    };
  };

interface PrefixParts {
  /** Where the numbers of keys (0) or values (1) of a head begin, in H · S; and whether S or H runs the fastest. */
  place?: (layer: number, which: number, layers: number) => number;
  headsFirst?: boolean;
  front?: boolean;
}

const prefixWith =
  ({ place = (layer, which) => 2 * layer + which, headsFirst = true, front = true }: PrefixParts) =>
  (prefix: tf.Tensor2D, layer: number, k: tf.Tensor4D, v: tf.Tensor4D) => {
    const [batch, H, , S] = k.shape;
    const [n, width] = prefix.shape;
    const part = (which: number, text: tf.Tensor4D) => {
      const start = place(layer, which, width / (2 * H * S)) * H * S;
      const columns = prefix.slice([0, start], [n, H * S]);
      const one = headsFirst
        ? columns.reshape([1, n, H, S]).transpose([0, 2, 1, 3])
        : columns.reshape([1, n, S, H]).transpose([0, 3, 1, 2]);
      const all = tf.concat(
        Array.from({ length: batch }, () => one),
        0,
      );
      return tf.concat<tf.Tensor>(front ? [all, text] : [text, all], 2);
    };
    return { k: part(0, k), v: part(1, v) };
  };

const maskWith = (sees: (t: number, u: number, n: number) => boolean) => (n: number, length: number) =>
  upTo(length).map((t) => upTo(n + length).map((u) => (sees(t, u, n) ? 1 : 0)));

const ia3With =
  ({ flip = false, inputBias = false, outputBias = true }) =>
  (x: tf.Tensor2D, weight: tf.Tensor2D, bias: tf.Tensor1D, l: tf.Tensor1D, scalesInput: boolean) => {
    if (scalesInput !== flip) return through(x.mul(l), weight).add(inputBias ? bias.mul(l) : bias);
    return outputBias ? through(x, weight).add(bias).mul(l) : through(x, weight).mul(l).add(bias);
  };

const ia3MergeWith =
  ({ flip = false, inputBias = false, outputBias = true }) =>
  (weight: tf.Tensor2D, bias: tf.Tensor1D, l: tf.Tensor1D, scalesInput: boolean) => ({
    weight: scalesInput !== flip ? weight.mul(l) : weight.mul(column(l)),
    bias: (scalesInput ? inputBias : outputBias) ? bias.mul(l) : bias,
  });

const lengthsAlong = (a: tf.Tensor2D, axis: 0 | 1): tf.Tensor1D => tf.norm(a, 'euclidean', axis) as tf.Tensor1D;

const doraWith =
  ({
    scale = (alpha: number, rank: number) => alpha / rank,
    shape = (turned: tf.Tensor2D, _old: tf.Tensor2D, m: tf.Tensor1D): tf.Tensor =>
      turned.div(column(lengthsAlong(turned, 1))).mul(column(m)),
  }) =>
  (weight: tf.Tensor2D, { down, up }: Thin, alpha: number, m: tf.Tensor1D) =>
    shape(weight.add(times(up, down).mul(scale(alpha, up.shape[1]))), weight, m);

export default {
  '10.1': {
    mistakes: {
      'one-thin-matrix': { countTrained: countWith((L, D, r) => ({ lora: 2 * L * D * r })) },
      'lora-as-large-as-the-matrix': { countTrained: countWith((L, D) => ({ lora: 2 * L * D * D })) },
      'adapter-without-biases': { countTrained: countWith((L, D, r) => ({ adapters: 4 * L * D * r })) },
      'one-adapter-in-a-block': { countTrained: countWith((L, D, r) => ({ adapters: L * (2 * D * r + r + D) })) },
      'norms-have-biases-too': { countTrained: countWith((L, D) => ({ bitfit: 9 * L * D })) },
      'final-norm-forgotten': { countTrained: countWith((L, D) => ({ bitfit: 11 * L * D })) },
      'up-is-four-times-as-wide': { countTrained: countWith((L, D) => ({ bitfit: 8 * L * D + D })) },
      'prompt-in-every-layer': { countTrained: countWith((L, D, _, n) => ({ prompt: n * L * D })) },
      'prefix-keys-alone': { countTrained: countWith((L, D, _, n) => ({ prefix: n * L * D })) },
      'prefix-in-one-layer': { countTrained: countWith((_, D, __, n) => ({ prefix: 2 * n * D })) },
    },
    right: [
      { countTrained: countWith(() => ({})) },
      {
        countTrained: (L: number, D: number, r: number, n: number) => {
          let [lora, adapters, bitfit, prefix] = [0, 0, D, 0];
          for (let layer = 0; layer < L; layer++) {
            lora += (D + D) * r * 2;
            adapters += 2 * ((D + 1) * r + (r + 1) * D);
            bitfit += [1, 1, 1, 1, 4, 1, 1, 1].reduce((sum, outputs) => sum + outputs * D, 0);
            prefix += n * (D + D);
          }
          return { lora, adapters, bitfit, prompt: D * n, prefix };
        },
      },
    ],
  },
  '10.2': {
    mistakes: {
      'both-ways-zero': { startAdapter: startAdapterWith({ down: () => 0 }) },
      'up-is-not-zero': { startAdapter: startAdapterWith({ up: (normal) => normal() / 8 }) },
      'down-is-not-one-over-the-root-of-the-width': { startAdapter: startAdapterWith({ down: (normal) => normal() }) },
      'no-bend': { adapterForward: adapterWith({ inside: (x) => x }) },
      'h-is-lost': { adapterForward: adapterWith({ residual: false }) },
      'bend-at-the-end': { adapterForward: adapterWith({ inside: (x) => x, after: (x) => gelu(x) }) },
    },
    right: [
      { startAdapter: startAdapterWith({}), adapterForward: adapterWith({}) },
      {
        adapterForward: (h: tf.Tensor2D, { down, downBias, up, upBias }: Bottleneck) => {
          const inner = T(times(down, T(h)).add(column(downBias)));
          return T(times(up, T(gelu(inner))).add(column(upBias))).add(h);
        },
      },
    ],
  },
  '10.3': {
    mistakes: {
      'prompt-behind-the-text': { prependPrompt: promptWith({ order: (a, b) => [b, a] }) },
      'text-begins-at-zero-again': { prependPrompt: promptWith({ positions: (n, length) => [...upTo(n), ...upTo(length)] }) },
      'positions-of-the-text-alone': { prependPrompt: promptWith({ positions: (_, length) => upTo(length) }) },
      'positions-shifted': {
        prependPrompt: promptWith({ positions: (n, length) => [...Array<number>(n).fill(0), ...upTo(length)] }),
      },
      'target-zero': { prependPrompt: promptWith({ targets: (row, n) => [...Array<number>(n).fill(0), ...row] }) },
      'targets-not-moved': { prependPrompt: promptWith({ targets: (row, n) => [...row, ...ignored(n)] }) },
      'last-virtual-token-asked': { prependPrompt: promptWith({ targets: (row, n) => [...ignored(n - 1), row[0]!, ...row] }) },
    },
    right: [
      { prependPrompt: promptWith({}) },
      {
        prependPrompt: promptWith({ targets: (row, n) => ignored(n).concat(row), positions: (n, length) => upTo(length + n) }),
      },
    ],
  },
  '10.4': {
    mistakes: {
      'behind-the-text': { prependPrefix: prefixWith({ front: false }) },
      'keys-and-values-exchanged': { prependPrefix: prefixWith({ place: (layer, which) => 2 * layer + 1 - which }) },
      'layers-inside-keys': { prependPrefix: prefixWith({ place: (layer, which, layers) => which * layers + layer }) },
      'heads-inside-sizes': { prependPrefix: prefixWith({ headsFirst: false }) },
      'always-the-first-layer': { prependPrefix: prefixWith({ place: (_, which) => which }) },
      'prefix-hidden': { prefixMask: maskWith((t, u) => u <= t) },
      'own-token-hidden': { prefixMask: maskWith((t, u, n) => u < n + t) },
      'future-visible': { prefixMask: maskWith(() => true) },
      'prefix-alone': { prefixMask: maskWith((_, u, n) => u < n) },
    },
    right: [
      { prependPrefix: prefixWith({}), prefixMask: maskWith((t, u, n) => u < n || u - n <= t) },
      { prefixMask: (n: number, length: number) => tf.linalg.bandPart(tf.ones([length, n + length]), -1, n) },
    ],
  },
  '10.5': {
    mistakes: {
      'inputs-and-outputs-exchanged': { ia3Forward: ia3With({ flip: true }) },
      'bias-scaled-with-the-inputs': { ia3Forward: ia3With({ inputBias: true }) },
      'output-bias-not-scaled': { ia3Forward: ia3With({ outputBias: false }) },
      'merged-along-the-other-axis': { ia3Merge: ia3MergeWith({ flip: true }) },
      'input-factors-on-the-bias': { ia3Merge: ia3MergeWith({ inputBias: true }) },
      'merged-bias-forgotten': { ia3Merge: ia3MergeWith({ outputBias: false }) },
    },
    right: [
      { ia3Forward: ia3With({}), ia3Merge: ia3MergeWith({}) },
      {
        ia3Merge: (weight: tf.Tensor2D, bias: tf.Tensor1D, l: tf.Tensor1D, scalesInput: boolean) =>
          scalesInput
            ? { weight: times(weight, tf.diag(l)), bias }
            : { weight: times(tf.diag(l), weight), bias: tf.mul(l, bias) },
      },
    ],
  },
  '10.6': {
    mistakes: {
      'gains-are-no-biases': {
        selectBiases: (all: { path: string; shape: number[] }[]) =>
          all.filter(({ shape }) => shape.length === 1).map(({ path }) => path),
      },
      'bias-somewhere-in-the-path': {
        selectBiases: (all: { path: string }[]) => all.map(({ path }) => path).filter((path) => path.includes('bias')),
      },
      'norms-left-out': {
        selectBiases: (all: { path: string }[]) =>
          all.map(({ path }) => path).filter((path) => path.endsWith('.bias') && !path.includes('Norm')),
      },
      'blocks-alone': {
        selectBiases: (all: { path: string }[]) =>
          all.map(({ path }) => path).filter((path) => path.endsWith('.bias') && !path.startsWith('head')),
      },
    },
    right: [
      {
        selectBiases: (all: { path: string }[]) => all.flatMap(({ path }) => (path.split('.').pop() === 'bias' ? [path] : [])),
      },
      {
        selectBiases: (all: { path: string }[]) => {
          const chosen: string[] = [];
          for (const { path } of all) if (path.endsWith('.bias')) chosen.push(path);
          return chosen;
        },
      },
    ],
  },
  '10.7': {
    mistakes: {
      'both-zero': { startLoRA: startWith({ first: () => 0 }) },
      'does-not-begin-as-the-model-was': { startLoRA: startWith({ last: (random) => random() - 0.5 }) },
      'only-positive-numbers': { startLoRA: startWith({ first: (random, limit) => random() * limit }) },
      'bound-is-not-one-over-the-root-of-the-inputs': { startLoRA: startWith({ bound: (_, rank) => 1 / Math.sqrt(rank) }) },
      'scale-is-missing': { loraForward: loraWith({ scale: () => 1 }) },
      'alpha-not-divided-by-the-rank': { loraForward: loraWith({ scale: (alpha) => alpha }) },
      'everything-scaled': { loraForward: loraWith({ scale: () => 1, all: (alpha, rank) => alpha / rank }) },
      'bias-forgotten': { loraForward: loraWith({ bias: false }) },
    },
    right: [
      { startLoRA: startWith({}), loraForward: loraWith({}) },
      {
        loraForward: (x: tf.Tensor2D, weight: tf.Tensor2D, b: tf.Tensor1D, { down, up }: Thin, alpha: number) =>
          through(x, weight.add(times(up, down).mul(alpha).div(down.shape[0]))).add(b),
      },
    ],
  },
  '10.8': {
    mistakes: {
      'scale-forgotten': { merge: (w: tf.Tensor2D, { down, up }: Thin) => w.add(times(up, down)) },
      'the-change-alone': {
        merge: (_: tf.Tensor2D, thin: Thin, alpha: number) => times(thin.up, thin.down).mul(scaleOf(thin, alpha)),
      },
      'transposed-change': {
        merge: (w: tf.Tensor2D, thin: Thin, alpha: number) => w.add(T(times(thin.up, thin.down)).mul(scaleOf(thin, alpha))),
      },
      'unmerge-adds-again': {
        unmerge: (w: tf.Tensor2D, thin: Thin, alpha: number) => w.add(times(thin.up, thin.down).mul(scaleOf(thin, alpha))),
      },
    },
    right: [
      { merge: (w: tf.Tensor2D, thin: Thin, alpha: number) => times(thin.up.mul(scaleOf(thin, alpha)), thin.down).add(w) },
      {
        unmerge: (w: tf.Tensor2D, thin: Thin, alpha: number) =>
          w.sub(
            T(times(T(thin.down), T(thin.up)))
              .mul(alpha)
              .div(thin.up.shape[1]),
          ),
      },
    ],
  },
  '10.9': {
    mistakes: {
      'lengths-of-columns': { rowLengths: (a: tf.Tensor2D) => lengthsAlong(a, 0) },
      'root-forgotten': { rowLengths: (a: tf.Tensor2D) => a.square().sum(1) },
      'sums-of-absolute-values': { rowLengths: (a: tf.Tensor2D) => a.abs().sum(1) },
      'divided-by-the-old-lengths': {
        doraWeight: doraWith({ shape: (turned, old, m) => turned.div(column(lengthsAlong(old, 1))).mul(column(m)) }),
      },
      'not-divided': { doraWeight: doraWith({ shape: (turned, _, m) => turned.mul(column(m)) }) },
      'length-of-the-whole-matrix': {
        doraWeight: doraWith({ shape: (turned, _, m) => turned.div(tf.norm(turned)).mul(column(m)) }),
      },
      'dora-scale-forgotten': { doraWeight: doraWith({ scale: () => 1 }) },
      'dora-length-of-columns': {
        doraWeight: doraWith({ shape: (turned, _, m) => turned.div(lengthsAlong(turned, 0)).mul(m) }),
      },
    },
    right: [
      { doraWeight: doraWith({}), rowLengths: (a: tf.Tensor2D) => lengthsAlong(a, 1) },
      { rowLengths: (a: tf.Tensor2D) => tf.sqrt(tf.sum(tf.mul(a, a), -1)) },
    ],
  },
} satisfies ChapterMistakes;

/**
 * @file Chapter 04, the Transformer: its exercises, the library's functions in their place, and how the reader's functions
 * become the norms, the MLP, the blocks, the schedule, the optimizer and the sampler of the real thing.
 */
import { tf, type Tensor, type Tensor1D, type Tensor2D, type Tensor3D } from '../../backend/index.ts';
import { Block, nextTokenDistribution, type Sampler, type SamplingOptions } from '../../model/index.ts';
import { GatedMLP, LayerNorm, Linear, MLP, RMSNorm, type Layer, type Module } from '../../nn/index.ts';
import { gelu, layerNorm, linear, rmsNorm, swiglu } from '../../ops/index.ts';
import { warmupCosine, type WarmupCosineOptions } from '../../train/index.ts';
import type { Assembly, Chapter } from '../exercise.ts';
import { StepwiseOptimizer, type AdamWStep } from './stepwise-optimizer.ts';

interface Weights {
  readonly weight: Tensor2D;
  readonly bias: Tensor1D;
}
type Part<T extends Tensor = Tensor3D> = (x: T) => T;
type BlockParts = Readonly<Record<'attentionNorm' | 'attention' | 'mlpNorm' | 'mlp', Part>>;
interface CountConfig {
  readonly vocabSize: number;
  readonly contextLength: number;
  readonly layers: number;
  readonly width: number;
  readonly hiddenSize?: number;
  readonly bias?: boolean;
  readonly tiedHead?: boolean;
}

function geluMLP(x: Tensor3D, up: Weights, down: Weights): Tensor3D {
  return linear(gelu(linear(x, up.weight, up.bias)), down.weight, down.bias);
}

function swigluMLP(x: Tensor3D, gate: Tensor2D, up: Tensor2D, down: Tensor2D): Tensor3D {
  return linear(swiglu(linear(x, gate), linear(x, up)), down);
}

/** The forward pass of the library's block, on parts that are plain functions. */
function residualBlock(x: Tensor3D, parts: BlockParts): Tensor3D {
  const layers = Object.entries(parts).map(([name, forward]) => [name, { forward }]);
  const block = { ...Object.fromEntries(layers), dropout: { forward: (h: Tensor3D) => h } } as unknown as Block;
  return Block.prototype.forward.call(block, x);
}

/** What the library's AdamW computes for a matrix, as a function of one step. */
const adamWStep: AdamWStep = (parameter, gradient, mean, square, options) => {
  const { step, learningRate, beta1, beta2, epsilon, weightDecay } = options;
  const newMean = mean.mul(beta1).add(gradient.mul(1 - beta1));
  const newSquare = square.mul(beta2).add(gradient.square().mul(1 - beta2));
  const scale = newSquare.sqrt().div(Math.sqrt(1 - beta2 ** step)).add(epsilon);
  const change = newMean.div(scale).mul(learningRate / (1 - beta1 ** step));
  return { parameter: parameter.mul(1 - learningRate * weightDecay).sub(change), mean: newMean, square: newSquare };
};

/** The size of a model of the GPT-2 family, without making it. */
function countParameters(config: CountConfig): number {
  const { vocabSize, contextLength, layers, width, hiddenSize = 4 * width, bias = true, tiedHead = true } = config;
  const matrices = 4 * width * width + 2 * width * hiddenSize;
  const vectors = 2 * width + (bias ? 7 * width + hiddenSize : 0);
  const embeddings = width * (vocabSize * (tiedHead ? 1 : 2) + contextLength);
  return embeddings + layers * (matrices + vectors) + width * (bias ? 2 : 1);
}

/** Lets something happen to every module of one kind, in every model that is made. */
function toEach<M extends Module>(assembly: Assembly, kind: new (...parts: never[]) => M, change: (module: M) => void): void {
  const finish = (model: Module): void => {
    for (const [, module] of model.namedModules()) if (module instanceof kind) change(module);
  };
  assembly.finish = [...(assembly.finish ?? []), finish];
}

/** Weight and bias of a layer. Where a model has no biases they are zeros: the exercises always get one. */
const weightsOf = ({ weight, bias, outputs }: Linear): Weights => ({ weight, bias: bias ?? tf.zeros<tf.Rank.R1>([outputs]) });

/** Linear layers, or undefined when one of them has been replaced by something else: an adapter, a quantized layer. */
function plain<L extends readonly Layer[]>(...layers: L): { [K in keyof L]: Linear } | undefined {
  return layers.every((layer) => layer instanceof Linear) ? (layers as unknown as { [K in keyof L]: Linear }) : undefined;
}

/** Puts another forward pass before a module's own, which stays in use where the other one gives nothing. */
function replaceForward(module: Layer, forward: (x: Tensor3D) => Tensor3D | undefined): void {
  const own = module.forward.bind(module);
  module.forward = <T extends Tensor>(x: T): T =>
    tf.tidy(() => (forward(x as Tensor as Tensor3D) as Tensor as T | undefined) ?? own(x));
}

function plugBlock(block: typeof residualBlock, assembly: Assembly): void {
  toEach(assembly, Block, (own) => {
    own.forward = (x, context) =>
      tf.tidy(() =>
        block(x, {
          attentionNorm: (h) => own.attentionNorm.forward(h),
          attention: (h) => own.dropout.forward(own.attention.forward(h, context)),
          mlpNorm: (h) => own.mlpNorm.forward(h),
          mlp: (h) => own.dropout.forward(own.mlp.forward(h)),
        }),
      );
  });
}

/** The exercise knows neither temperature 0 nor the repetition penalty: the first is topK 1, the second comes before it. */
function samplerFrom(distribution: (logits: Float32Array, options: SamplingOptions) => Float32Array): Sampler {
  return (logits, { temperature = 1, topK, topP, repetitionPenalty = 1, previous = [] }) => {
    const penalised = logits.slice();
    for (const token of new Set(Array.from(previous))) {
      const logit = logits[token]!;
      penalised[token] = logit > 0 ? logit / repetitionPenalty : logit * repetitionPenalty;
    }
    if (temperature === 0) return distribution(penalised, { topK: 1 });
    return distribution(penalised, { temperature, ...(topK !== undefined && { topK }), ...(topP !== undefined && { topP }) });
  };
}

export const chapter: Chapter = {
  number: 4,
  slug: '04-transformer',
  title: 'The Transformer',
  exercises: [
    {
      id: '4.1',
      title: 'layer norm',
      names: ['layerNorm'],
      difficulty: 2,
      minutes: 10,
      library: { layerNorm },
      room: 'layer norm',
      plug: (answer, assembly) =>
        toEach(assembly, LayerNorm, (norm) => {
          const compute = answer['layerNorm'] as typeof layerNorm;
          norm.compute = (x, gain, bias, epsilon) => tf.tidy(() => compute(x, gain, bias ?? tf.zerosLike(gain), epsilon));
        }),
    },
    {
      id: '4.2',
      title: 'RMS norm',
      names: ['rmsNorm'],
      difficulty: 1,
      minutes: 5,
      library: { rmsNorm },
      room: 'RMS norm',
      plug: (answer, assembly) =>
        toEach(assembly, RMSNorm, (norm) => {
          norm.compute = (x, gain, epsilon) => tf.tidy(() => (answer['rmsNorm'] as typeof rmsNorm)(x, gain, epsilon));
        }),
    },
    {
      id: '4.3',
      title: 'GELU MLP',
      names: ['gelu', 'geluMLP'],
      difficulty: 2,
      minutes: 15,
      library: { gelu: (x: Tensor) => gelu(x), geluMLP },
      room: 'GELU MLP',
      plug: (answer, assembly) =>
        toEach(assembly, MLP, (mlp) =>
          replaceForward(mlp, (x) => {
            const [up, down] = plain(mlp.up, mlp.down) ?? [];
            return up && down && (answer['geluMLP'] as typeof geluMLP)(x, weightsOf(up), weightsOf(down));
          }),
        ),
    },
    {
      id: '4.4',
      title: 'SwiGLU',
      names: ['swigluMLP'],
      difficulty: 2,
      minutes: 10,
      library: { swigluMLP },
      room: 'SwiGLU MLP',
      plug: (answer, assembly) =>
        toEach(assembly, GatedMLP, (mlp) =>
          replaceForward(mlp, (x) => {
            const layers = plain(mlp.gate, mlp.up, mlp.down);
            if (!layers || layers.some(({ bias }) => bias)) return undefined;
            const [gate, up, down] = layers;
            return (answer['swigluMLP'] as typeof swigluMLP)(x, gate.weight, up.weight, down.weight);
          }),
        ),
    },
    {
      id: '4.5',
      title: 'residual block',
      names: ['residualBlock'],
      difficulty: 2,
      minutes: 10,
      library: { residualBlock },
      room: 'block',
      plug: (answer, assembly) => plugBlock(answer['residualBlock'] as typeof residualBlock, assembly),
    },
    {
      id: '4.6',
      title: 'schedule',
      names: ['warmupCosineAt'],
      difficulty: 2,
      minutes: 10,
      library: { warmupCosineAt: (step: number, options: WarmupCosineOptions) => warmupCosine(options)(step) },
      room: 'schedule',
      plug: (answer, assembly) => {
        assembly.train = { ...assembly.train, schedule: answer['warmupCosineAt'] };
      },
    },
    {
      id: '4.7',
      title: 'AdamW step',
      names: ['adamWStep'],
      difficulty: 3,
      minutes: 20,
      library: { adamWStep },
      room: 'optimizer',
      plug: (answer, assembly) => {
        const step = answer['adamWStep'] as AdamWStep;
        assembly.train = { ...assembly.train, optimizer: (parameters) => new StepwiseOptimizer(parameters, step) };
      },
    },
    {
      id: '4.8',
      title: 'sampling',
      names: ['tokenDistribution'],
      difficulty: 3,
      minutes: 20,
      library: { tokenDistribution: (logits: Float32Array, options: SamplingOptions) => nextTokenDistribution(logits, options) },
      room: 'sampler',
      plug: (answer, assembly) => {
        assembly.generate = { ...assembly.generate, sampler: samplerFrom(answer['tokenDistribution'] as Sampler) };
      },
    },
    {
      id: '4.9',
      title: 'parameter count',
      names: ['countParameters'],
      difficulty: 2,
      minutes: 15,
      library: { countParameters },
    },
  ],
};

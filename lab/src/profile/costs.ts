/**
 * @file The formulas of the kernels that models are made of: TensorFlow.js's and the lab's own.
 *
 * Shapes: B batch, H heads, K key/value heads, T queries, U keys, S head size, N rows, I inputs, O outputs, V vocabulary.
 */
import type { AttentionProblem } from '../ops/index.ts';
import { bytesOf, declareCost, sizeOf, type KernelCall, type TensorShape } from './cost.ts';

const outputOf = ({ outputs }: KernelCall): TensorShape => outputs[0]!;
const written = (call: KernelCall): number => call.outputs.reduce((sum, output) => sum + bytesOf(output), 0);
const isSet = (call: KernelCall, attribute: string): boolean => call.attributes[attribute] === true;

/** So many operations for each number that comes out. */
function perOutput(flops: number, names: string): void {
  declareCost(names.split(' '), (call) => ({ flops: flops * sizeOf(outputOf(call)) }));
}

/** So many operations for each number of the first input. */
function perInput(flops: number, names: string): void {
  declareCost(names.split(' '), (call) => ({ flops: flops * sizeOf(Object.values(call.inputs)[0]!) }));
}

perOutput(
  1,
  'Add Sub Multiply RealDiv Maximum Minimum Pow Mod FloorDiv Greater GreaterEqual Less LessEqual Equal NotEqual LogicalAnd ' +
    'LogicalOr LogicalNot Select Abs Ceil Cos Cosh Exp Expm1 Floor IsFinite IsInf IsNan Log Log1p Neg Reciprocal Relu Round ' +
    'Rsqrt Sigmoid Sign Sin Sinh Sqrt Square Step Tan Tanh Erf Atan Cumsum ClipByValue',
);
perOutput(2, 'SquaredDifference Softplus Elu Relu6 LeakyRelu Prelu');
perInput(1, 'Sum Mean Max Min Prod All Any ArgMax ArgMin');
// the largest, minus it, exp, sum, and the division (LogSoftmax: minus the logarithm)
perInput(5, 'Softmax LogSoftmax');
declareCost(['AddN'], (call) => ({ flops: (Object.keys(call.inputs).length - 1) * sizeOf(outputOf(call)) }));

// What only moves numbers.
perOutput(
  0,
  'Transpose Concat Pack Tile Fill PadV2 MirrorPad Cast OneHot Range Reverse LinSpace ZerosLike OnesLike SplitV BroadcastTo',
);
// What takes a part of a tensor reads that part.
for (const name of ['Slice', 'StridedSlice', 'Unpack']) {
  declareCost([name], (call) => ({ flops: 0, bytes: 2 * written(call) }));
}
for (const name of ['GatherV2', 'GatherNd']) {
  declareCost([name], (call) => ({ flops: 0, bytes: 2 * written(call) + bytesOf(call.inputs['indices']!) }));
}
// What gives the same numbers another shape.
declareCost(['Reshape', 'Identity', 'ExpandDims'], () => ({ flops: 0, bytes: 0 }));
declareCost(['UnsortedSegmentSum', 'ScatterNd', 'lab.embeddingGradient'], (call) => ({
  flops: sizeOf(Object.values(call.inputs).find(({ dtype }) => dtype === 'float32')!),
}));

/** 2 m n k for each matrix of the batch; a bias and a bend are one each. */
declareCost(['BatchMatMul', '_FusedMatMul'], (call) => {
  const { a, bias } = call.inputs;
  const k = a!.shape.at(isSet(call, 'transposeA') ? -2 : -1)!;
  const activation = call.attributes['activation'];
  const bends = activation && activation !== 'linear' ? 1 : 0;
  return { flops: (2 * k + (bias ? 1 : 0) + bends) * sizeOf(outputOf(call)) };
});

/** GELU by its tanh formula is x · share: x², the argument (3), minus, exp, 1 +, 1 /, times x. */
const GELU = 9;
/** Its derivative from x² and the share: the slope of the argument (2), x · share · (1 − share) (3), times and plus (2). */
const GELU_SLOPE = 7;

declareCost(['lab.linear'], (call) => {
  const { weight, bias } = call.inputs;
  const bends = isSet(call, 'gelu') ? GELU + (isSet(call, 'derivative') ? GELU_SLOPE : 0) : 0;
  return { flops: (2 * weight!.shape[1]! + (bias ? 1 : 0) + bends) * sizeOf(outputOf(call)) };
});

/** dx = dy W, dW = dyᵀ x; db and the factor beside. Which of them are there shows in the outputs. */
declareCost(['lab.linearGradient'], (call) => {
  const { x, weight, dy, factor } = call.inputs;
  const products = call.outputs.filter(({ shape }) => shape.length > 1).length;
  const product = 2 * sizeOf(x!) * weight!.shape[0]!;
  return { flops: products * product + (isSet(call, 'bias') ? sizeOf(dy!) : 0) + (factor ? sizeOf(x!) : 0) };
});

/** Layer norm: mean; x − mean, squared, summed; times 1/σ and the difference again; gain; bias. RMS norm has no mean. */
declareCost(['lab.norm'], (call) => {
  const { x, bias } = call.inputs;
  return { flops: ((isSet(call, 'centered') ? 7 : 4) + (bias ? 1 : 0)) * sizeOf(x!) };
});
/** n (2), g = dy · gain (1), Σ g (1), Σ g n (2), dx (4), dgain (2), dbias (1); RMS norm: without the mean three fewer. */
declareCost(['lab.normGradient'], (call) => ({
  flops: ((isSet(call, 'centered') ? 12 : 9) + (isSet(call, 'bias') ? 1 : 0)) * sizeOf(call.inputs['x']!),
}));

/** The largest, minus it, exp, sum; of each row a logarithm and two additions. */
declareCost(['lab.crossEntropy'], (call) => {
  const { logits } = call.inputs;
  return { flops: 4 * sizeOf(logits!) + 3 * logits!.shape[0]! };
});
/** Minus the logarithm, exp, times dy; of each row the target's one. */
declareCost(['lab.crossEntropyGradient'], (call) => {
  const { logits } = call.inputs;
  return { flops: 3 * sizeOf(logits!) + 2 * logits!.shape[0]! };
});
/** The logits' product and, with gradients, those of x and the weights; and the cross-entropy and its gradient on the way. */
declareCost(['lab.linearCrossEntropy'], (call) => {
  const { x, weight } = call.inputs;
  const [vocabulary, width] = weight!.shape as [number, number];
  const logits = (sizeOf(x!) / width) * vocabulary;
  return { flops: logits * (isSet(call, 'gradients') ? 6 * width + 7 : 2 * width + 4) };
});

perOutput(GELU, 'lab.gelu');
perInput(GELU - 1 + GELU_SLOPE + 1, 'lab.geluGradient');
/** sigmoid (4), times gate, times up; backward: sigmoid, its slope (4), and three products. */
perOutput(6, 'lab.swiglu');
perInput(12, 'lab.swigluGradient');
perOutput(1, 'lab.scaled');

/** m (3), v (4), the root, its correction, + ε, the quotient, the rate, the decay, minus; clipped: the norm and its factor (3). */
declareCost(['lab.adamw'], (call) => {
  const { inputs, attributes } = call;
  const clipped = attributes['clipNorm'] !== Infinity;
  const values = Object.entries(inputs).filter(([name]) => name.startsWith('value.'));
  const parameters = values.reduce((sum, [, value]) => sum + sizeOf(value), 0);
  // read and written: value, m, v; read: the gradient, for the norm once more
  return { flops: (clipped ? 17 : 14) * parameters, bytes: 4 * (clipped ? 8 : 7) * parameters };
});

/** Pairs of a query and a key that it sees, over all rows of the batch and all heads. */
export function visiblePairs({ batch, heads, mask }: AttentionProblem): number {
  let pairs = 0;
  for (let at = 0; at < mask.ofQueries.length; at += 3) pairs += Math.max(0, mask.ofQueries[at + 1]! - mask.ofQueries[at]!);
  return pairs * heads * (batch / mask.rows);
}

/** `products` of that many pairs, 2 S each, and `besides` operations on the scores. Dao 2023, section 4.1. */
function attentionCost(name: string, products: number, besides: number): void {
  declareCost([name], ({ attributes }) => {
    const problem = attributes as unknown as AttentionProblem;
    return { flops: visiblePairs(problem) * (2 * products * problem.headSize + besides) };
  });
}

// the scale, the largest, minus it, exp, sum
attentionCost('FusedAttention', 2, 5);
// exp(S − L), dP − D, times P, the scale
attentionCost('FusedAttentionGradient', 5, 5);
attentionCost('FusedAttentionBiasGradient', 2, 5);

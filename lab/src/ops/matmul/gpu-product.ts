/**
 * @file A matrix product on WebGPU, from JavaScript: which shader, cut how, with what bound.
 */
import { invariant } from '../../base/index.ts';
import type { Info } from '../kernel-registry.ts';
import { matmulPrecision } from '../precision.ts';
import type { ShaderRunner, Uniform, WebGpuContext } from '../webgpu/index.ts';
import { gpuFeatures } from './gpu-features.ts';
import { JOINED, joinShader } from './join.wgsl.ts';
import { MATRICES_TILE, matricesShader } from './matrices.wgsl.ts';
import { NO_FINISH, UNIFORMS, type FinishFeatures, type ProductFeatures } from './product.wgsl.ts';
import { columnsOf, rowsShader, type RowsFeatures } from './rows.wgsl.ts';
import { planShader, type ShaderPlan } from './shader-plan.ts';
import { tileShader } from './tile.wgsl.ts';

/** What becomes of C = A B on the way to memory. */
export interface GpuFinish {
  /** [n], added to each row. */
  readonly bias?: Info | undefined;
  /** Bend by GELU afterwards. */
  readonly gelu?: boolean;
  /** Whether GELU's derivative is wanted too. */
  readonly derivative?: boolean;
  /** [m, n]: C is multiplied by it, element by element. */
  readonly factor?: Info | undefined;
}

export interface GpuProduct {
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** [m, k], or [k, m] if it is stored transposed; for each matrix of the batch. */
  readonly a: Info;
  /** [k, n], or [n, k] if it is stored transposed; for each matrix of the batch. */
  readonly b: Info;
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  /** Shape of C, batch · m · n in size. */
  readonly shape: readonly number[];
  /** From one matrix of the batch to the next, in numbers; 0 where one serves all. For a batch of one, nothing. */
  readonly stepA?: number;
  readonly stepB?: number;
  /** Instead of steps: where the A and the B of each matrix of the batch begin, in turn. */
  readonly starts?: Int32Array | undefined;
  /** Only for a batch of one. */
  readonly finish?: GpuFinish;
  /** Whether the sum of each row of A is wanted, [m]; only for A stored transposed and a batch of one. */
  readonly rowSums?: boolean;
}

type Numbers = Partial<Record<(typeof UNIFORMS)[number], number>>;

export const sizeOf = (shape: readonly number[]): number => shape.reduce((product, n) => product * n, 1);

/**
 * A vector is stored the same way by rows and by columns. Seen so that its numbers lie along k, it can be loaded in fours; and
 * what has a single column becomes a single row, which has a shader of its own.
 */
function normalized(product: GpuProduct): GpuProduct {
  const { m, n, a, b, transposeA, transposeB, stepA = 0, stepB = 0, starts, finish, rowSums } = product;
  if (n === 1 && m > 1 && !finish?.bias && !rowSums) {
    const turned = starts?.map((_, i) => starts[i ^ 1]!);
    const operands = { a: b, b: a, stepA: stepB, stepB: stepA, starts: turned };
    return { ...product, ...operands, m: 1, n: m, transposeA: false, transposeB: !transposeA };
  }
  return { ...product, transposeA: transposeA && (m > 1 || rowSums === true), transposeB: transposeB || n === 1 };
}

/** C = A B. @returns C, then GELU's derivative and the sums of rows if they are wanted */
export function multiplyOnGpu(context: WebGpuContext, given: GpuProduct): Info[] {
  const { runner } = context;
  const size = sizeOf(given.shape);
  if (size === 0) {
    invariant(!given.rowSums, 'matMul: there are no sums of rows beside an empty product');
    return Array.from({ length: given.finish?.derivative ? 2 : 1 }, () => filled(runner, given.shape));
  }
  // A sum of no terms loads nothing, but something must be bound.
  const nothing = given.k === 0 ? filled(runner, [4]) : undefined;
  const product = normalized(nothing ? { ...given, a: nothing, b: nothing } : given);
  const starts = product.starts && runner.backend.makeTensorInfo([product.starts.length], 'int32', product.starts);
  const plan = planFor(context, product);
  const outputs = runPlan(runner, product, plan, starts);
  runner.dispose(...[nothing, starts].filter((info) => info !== undefined));
  return outputs;
}

function planFor({ runner }: WebGpuContext, product: GpuProduct): ShaderPlan {
  const { batch, m, n, k, transposeA, rowSums = false } = product;
  return planShader({ batch, m, n, k, transposeA, rowSums }, gpuFeatures(runner.backend.device), matmulPrecision());
}

function runPlan(runner: ShaderRunner, product: GpuProduct, plan: ShaderPlan, starts: Info | undefined): Info[] {
  const { batch, m, n, k, a, b, shape, transposeA, transposeB, stepA = 0, stepB = 0, rowSums = false, finish = {} } = product;
  const cut = plan.kind === 'rows' ? { parts: 1, terms: k } : plan;
  const [widthA, widthB] = [transposeA ? m : k, transposeB ? k : n];
  const features: ProductFeatures = {
    transposeA,
    transposeB,
    // The shader of few rows reads single numbers of A unless it multiplies rows by rows.
    wholeA: widthA % 4 === 0 && (plan.kind !== 'rows' || transposeB),
    wholeB: widthB % 4 === 0,
    wholeC: n % 4 === 0 && (plan.kind !== 'rows' || !transposeB),
    operand: plan.operand,
    finish: cut.parts > 1 ? NO_FINISH : finishFeatures(finish),
    rowSums,
    table: starts !== undefined,
  };
  const { name, code, down, across } = shaderOf(plan, features, product);
  const groups = down * across * batch * cut.parts;
  const { finish: done } = features;
  const inputs = [a, b, ...finishTensors(finish, done), ...(starts ? [starts] : [])];
  const outputs = runner.run({
    key: `matmul, ${name} ${JSON.stringify(features)}`,
    code,
    inputs,
    outputs: [
      cut.parts > 1 ? [cut.parts, m, n] : shape,
      ...(done.derivative ? [shape] : []),
      ...(rowSums ? [cut.parts > 1 ? [cut.parts, m] : [m]] : []),
    ],
    uniforms: uniformsOf({ m, n, k, widthA, widthB, stepA, stepB, ...cut, down, across, groups }),
    workgroups: gridOf(runner, groups),
  });
  if (cut.parts === 1) return outputs;
  const [parts, partialRowSums] = outputs as [Info, Info | undefined];
  const joined = join(runner, parts, shape, n, finish);
  if (partialRowSums) joined.push(...join(runner, partialRowSums, [m], m, {}));
  return joined;
}

interface ChosenShader {
  readonly name: string;
  readonly code: () => string;
  readonly down: number;
  readonly across: number;
}

function shaderOf(plan: ShaderPlan, features: ProductFeatures, { m, n }: GpuProduct): ChosenShader {
  if (plan.kind === 'rows') {
    const own: RowsFeatures = { ...features, rows: m, shuffled: plan.shuffled };
    const name = `${m} rows, ${plan.shuffled} shuffled`;
    return { name, code: () => rowsShader(own), down: 1, across: Math.ceil(n / columnsOf(own)) };
  }
  const size = plan.kind === 'tile' ? plan.size : MATRICES_TILE;
  const tiles = { down: Math.ceil(m / size), across: Math.ceil(n / size) };
  if (plan.kind === 'tile') return { name: `tile ${size}`, code: () => tileShader(features, plan.size), ...tiles };
  const { matrix, lanes } = plan;
  return { name: `matrices ${JSON.stringify(matrix)}`, code: () => matricesShader({ ...features, matrix, lanes }), ...tiles };
}

/** Adds up parts [parts, ...shape] and finishes the sum, for rows of n. */
function join(runner: ShaderRunner, parts: Info, shape: readonly number[], n: number, finish: GpuFinish): Info[] {
  const m = sizeOf(shape) / n;
  const own = finishFeatures(finish);
  const features = { wholeC: n % 4 === 0, finish: own } as ProductFeatures;
  const groups = Math.ceil((m * Math.ceil(n / 4)) / (JOINED / 4));
  const joined = runner.run({
    key: `matmul, join ${JSON.stringify(features)}`,
    code: () => joinShader(features),
    inputs: [parts, ...finishTensors(finish, own)],
    outputs: own.derivative ? [shape, shape] : [shape],
    uniforms: uniformsOf({ m, n, parts: parts.shape[0]!, groups }),
    workgroups: gridOf(runner, groups),
  });
  runner.dispose(parts);
  return joined;
}

const finishFeatures = ({ bias, gelu = false, derivative = false, factor }: GpuFinish): FinishFeatures => ({
  bias: bias !== undefined,
  gelu,
  derivative,
  factor: factor !== undefined,
});

const finishTensors = ({ bias, factor }: GpuFinish, features: FinishFeatures): Info[] => [
  ...(features.bias ? [bias!] : []),
  ...(features.factor ? [factor!] : []),
];

const uniformsOf = (numbers: Numbers): Uniform[] => UNIFORMS.map((name) => ({ type: 'int32', data: [numbers[name] ?? 0] }));

/** So many workgroups and perhaps some idle ones, in rows no longer than the device allows. */
function gridOf(runner: ShaderRunner, groups: number): [number, number, number] {
  const most = runner.backend.device.limits['maxComputeWorkgroupsPerDimension']!;
  return [Math.min(groups, most), Math.ceil(groups / most), 1];
}

/** A tensor of one number, over and over. */
export function filled(runner: ShaderRunner, shape: readonly number[], value = 0): Info {
  return runner.backend.makeTensorInfo(shape, 'float32', new Float32Array(sizeOf(shape)).fill(value));
}

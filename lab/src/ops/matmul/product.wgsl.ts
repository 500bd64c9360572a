/**
 * @file What the shaders of matrix products have in common, in WGSL: bindings, loads in fours, how operands are rounded, and
 * what is done to a sum before it is stored.
 *
 * Letters: C[m, n] = A[m, k] B[k, n]. A and B may be stored transposed. Four neighbours of a stored row are a "four".
 */

/** How operands enter a product: as they are, rounded to float16 and kept in float32, or in float16 (needs `shader-f16`). */
export type Operand = 'float32' | 'rounded' | 'half';

/** What is done to C on the way to memory, in this order. */
export interface FinishFeatures {
  /** A vector of n is added to each row. */
  readonly bias: boolean;
  /** Then GELU, by its tanh formula. */
  readonly gelu: boolean;
  /** GELU's derivative is a second output. */
  readonly derivative: boolean;
  /** C is multiplied by a matrix of its size, element by element. */
  readonly factor: boolean;
}

export const NO_FINISH: FinishFeatures = { bias: false, gelu: false, derivative: false, factor: false };

/** What makes one shader differ from another, whatever its tiles; sizes are uniforms. */
export interface ProductFeatures {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  /** The stored rows consist of whole fours, so that they can be loaded as such. */
  readonly wholeA: boolean;
  readonly wholeB: boolean;
  /** The same for C, and for what is bound beside it. */
  readonly wholeC: boolean;
  readonly operand: Operand;
  readonly finish: FinishFeatures;
  /** The sum of each row of A is a further output; A must be stored transposed. */
  readonly rowSums: boolean;
  /** A table says where the operands of each matrix of the batch begin: broadcasting that no stride describes. */
  readonly table: boolean;
}

/** The uniforms, in this order; all are i32. */
export const UNIFORMS = [
  'm',
  'n',
  'k',
  'widthA', // numbers in a stored row of A
  'widthB',
  'stepA', // from one matrix of a batch to the next; 0 where one serves all
  'stepB',
  'terms', // of k, in each part that is summed apart
  'parts',
  'down', // tiles along m
  'across', // tiles along n
  'groups', // workgroups that have work
] as const;

interface Binding {
  readonly name: string;
  readonly type: string;
}

const numbers = (name: string, whole: boolean): Binding => ({ name, type: whole ? 'vec4<f32>' : 'f32' });

/** Declares the buffers, outputs first, and the uniforms. */
export function declareBuffers(outputs: readonly Binding[], inputs: readonly Binding[]): string {
  const all = [...outputs, ...inputs];
  const declare = ({ name, type }: Binding, i: number): string =>
    `@group(0) @binding(${i}) var<storage, ${i < outputs.length ? 'read_write' : 'read'}> ${name}: array<${type}>;`;
  return [
    ...all.map(declare),
    `struct Product { ${UNIFORMS.map((name) => `${name}: i32`).join(', ')} }`,
    `@group(0) @binding(${all.length}) var<uniform> product: Product;`,
  ].join('\n');
}

/** c, then the derivative, [m, n] each. */
export function finishOutputs({ wholeC, finish }: ProductFeatures): Binding[] {
  return [numbers('c', wholeC), ...(finish.derivative ? [numbers('derivative', wholeC)] : [])];
}

/** The bias [n], the factor [m, n]. */
export function finishInputs({ wholeC, finish }: ProductFeatures): Binding[] {
  return [...(finish.bias ? [numbers('bias', wholeC)] : []), ...(finish.factor ? [numbers('factor', wholeC)] : [])];
}

/** The buffers of a product: c, derivative, sums of rows ← a, b, bias, factor, table. */
export function declareProduct(features: ProductFeatures): string {
  const { wholeA, wholeB, rowSums, table } = features;
  const outputs = [...finishOutputs(features), ...(rowSums ? [{ name: 'rowSums', type: 'f32' }] : [])];
  const inputs = [numbers('a', wholeA), numbers('b', wholeB), ...finishInputs(features)];
  return [
    declareBuffers(outputs, [...inputs, ...(table ? [{ name: 'starts', type: 'i32' }] : [])]),
    loadFunction('a', wholeA),
    loadFunction('b', wholeB),
    `fn startOfA(batch: i32) -> i32 { return ${table ? 'starts[2 * batch]' : 'batch * product.stepA'}; }`,
    `fn startOfB(batch: i32) -> i32 { return ${table ? 'starts[2 * batch + 1]' : 'batch * product.stepB'}; }`,
  ].join('\n');
}

/** Loads the four that begins at a number. Beyond the buffer WebGPU gives some number or other, which must reach no result. */
export function loadFunction(name: string, whole: boolean): string {
  const four = whole ? `${name}[at >> 2u]` : `vec4<f32>(${name}[at], ${name}[at + 1], ${name}[at + 2], ${name}[at + 3])`;
  return `fn load_${name}(at: i32) -> vec4<f32> { return ${four}; }`;
}

/** The type of what the workgroup's memory holds. */
export const elementOf = (operand: Operand): 'f16' | 'f32' => (operand === 'half' ? 'f16' : 'f32');

/** What must stand at the head of a shader with such operands. */
export const enableFor = (operand: Operand): string => (operand === 'half' ? 'enable f16;' : '');

/**
 * `operand(x)`: a four as it enters the product. WGSL leaves open what becomes of numbers beyond float16's range; they must
 * become infinite, as in hardware, so that a loss that was scaled too far shows.
 */
export function operandFunction(operand: Operand): string {
  if (operand === 'half') return 'fn operand(x: vec4<f32>) -> vec4<f16> { return vec4<f16>(x); }';
  if (operand === 'float32') return 'fn operand(x: vec4<f32>) -> vec4<f32> { return x; }';
  return `fn operand(x: vec4<f32>) -> vec4<f32> {
    let rounded = vec4<f32>(unpack2x16float(pack2x16float(x.xy)), unpack2x16float(pack2x16float(x.zw)));
    return select(rounded, x * 3.0e38, abs(x) >= vec4<f32>(65520.0));
  }`;
}

/**
 * x · sigmoid(2u) with u = √(2/π) (x + 0.044715 x³), and its derivative. Far out, where the sigmoid has long been 0 or 1, exp
 * and x³ would leave the range of float32.
 */
const geluText = (type: string): string => `
  const twoU1 = ${2 * Math.sqrt(2 / Math.PI)};
  const twoU3 = ${2 * Math.sqrt(2 / Math.PI) * 0.044715};
  fn near(x: ${type}) -> ${type} { return clamp(x, ${type}(-20.0), ${type}(20.0)); }
  fn probability(x: ${type}) -> ${type} {
    let twoU = near(x) * (twoU1 + twoU3 * near(x) * near(x));
    return select(1.0 / (1.0 + exp(-clamp(twoU, ${type}(-80.0), ${type}(80.0)))), ${type}(0.0), twoU < ${type}(-80.0));
  }
  fn slope(x: ${type}, p: ${type}) -> ${type} {
    return p + near(x) * (p - p * p) * (twoU1 + 3.0 * twoU3 * near(x) * near(x));
  }`;

/**
 * `put(start, row, column, sum)`: finishes a sum and stores it; `start` is where the matrix begins in c.
 *
 * @param width 4: a sum is a four, of which what lies beyond the last column is left out; 1: a single number
 */
export function putFunction({ wholeC, finish }: ProductFeatures, width: 1 | 4): string {
  const { bias, gelu, derivative, factor } = finish;
  const type = width === 4 ? 'vec4<f32>' : 'f32';
  const load = (name: string, at: string): string => (width === 4 ? `load_${name}(${at})` : `${name}[${at}]`);
  const store = (name: string, value: string): string => {
    if (width === 1) return `${name}[at] = ${value};`;
    if (wholeC) return `${name}[at >> 2u] = ${value};`;
    return `for (var i = 0; i < min(4, product.n - column); i++) { ${name}[at + i] = ${value}[i]; }`;
  };
  const loads = finishInputs({ wholeC, finish } as ProductFeatures).map(({ name }) => loadFunction(name, wholeC));
  return `${width === 4 ? loads.join('\n') : ''}
  ${gelu ? geluText(type) : ''}
  fn put(start: i32, row: i32, column: i32, sum: ${type}) {
    let at = start + row * product.n + column;
    var y = sum;
    ${bias ? `y += ${load('bias', 'column')};` : ''}
    ${factor ? `y *= ${load('factor', 'at')};` : ''}
    ${gelu ? 'let p = probability(y);' : ''}
    ${derivative ? `let bend = slope(y, p); ${store('derivative', 'bend')}` : ''}
    ${gelu ? 'y *= p;' : ''}
    ${store('c', 'y')}
  }`;
}

/** The text for 0 … n − 1: loops that are written out, so that what they index can live in registers. */
export const each = (n: number, text: (i: number) => string): string => Array.from({ length: n }, (_, i) => text(i)).join('\n');

/** The workgroup's number; there may be more than fit along one axis of the grid. */
export const PARAMETERS = `@builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) index: u32`;

export const OWN_GROUP = `let group = i32(workgroup.y * grid.x + workgroup.x);
  if (group >= product.groups) { return; }
  let lane = i32(index);`;

/**
 * @file What the attention shaders have in common: the bindings, loads of head vectors in fours, and how a product q · k
 * becomes the score that enters the softmax.
 *
 * Letters as in the paper: T queries, U keys, S scores, P weights, O output, D = rowsum(dO ∘ O), L log-sum-exp.
 */
import { HIDDEN_BELOW, type AttentionProblem } from './problem.ts';
import { HEAD_STEP, KEY_STEP, QUERY_STEP } from './shared.ts';

/** What makes one shader differ from another; everything else is a uniform. */
export interface ShaderFeatures {
  readonly headSize: number;
  readonly softCap: boolean;
  readonly bias: boolean;
  readonly dropout: boolean;
  /** H where there are slopes, else 0. */
  readonly slopes: number;
}

export function featuresOf({ headSize, softCap, biasShape, dropout, slopes }: AttentionProblem): ShaderFeatures {
  return { headSize, softCap: softCap > 0, bias: biasShape !== null, dropout: dropout !== null, slopes: slopes?.length ?? 0 };
}

/** Threads of a workgroup: two warps of NVIDIA's, one wave of AMD's. */
export const THREADS = 64;

/** Fours of numbers in a head vector, the last one filled up with zeros. */
export const quarters = (headSize: number): number => Math.ceil(headSize / 4);

/** A storage buffer: head vectors, or plain numbers of that type. */
export interface Binding {
  readonly name: string;
  readonly type: 'vectors' | 'f32' | 'i32' | 'vec2<f32>';
}

/** Declares the bindings, the outputs first, and for each buffer of vectors how to load (or store) four numbers of a row. */
export function declarations(outputs: readonly Binding[], inputs: readonly Binding[], features: ShaderFeatures): string {
  const whole = features.headSize % 4 === 0;
  const declare = ({ name, type }: Binding, index: number): string => {
    const element = type === 'vectors' ? (whole ? 'vec4<f32>' : 'f32') : type;
    const access = index < outputs.length ? 'read_write' : 'read';
    return `@group(0) @binding(${index}) var<storage, ${access}> ${name}: array<${element}>;`;
  };
  const all = [...outputs, ...inputs];
  const vectors = (bindings: readonly Binding[]): string[] => bindings.filter((b) => b.type === 'vectors').map((b) => b.name);
  return [
    ...all.map(declare),
    problemStruct(features),
    `@group(0) @binding(${all.length}) var<uniform> problem: Problem;`,
    ...vectors(outputs).map((name) => storeFunction(name, features.headSize)),
    ...vectors(inputs).map((name) => loadFunction(name, features.headSize)),
  ].join('\n');
}

function loadFunction(name: string, headSize: number): string {
  const signature = `fn load_${name}(row: i32, d: i32) -> vec4<f32>`;
  if (headSize % 4 === 0) return `${signature} { return ${name}[row * ${headSize / 4} + d]; }`;
  return `${signature} {
    let at = row * ${headSize} + 4 * d;
    let left = ${headSize} - 4 * d; // beyond the end of the row there are zeros
    return vec4<f32>(${name}[at], ${[1, 2, 3].map((i) => `select(0.0, ${name}[at + ${i}], left > ${i})`).join(', ')});
  }`;
}

function storeFunction(name: string, headSize: number): string {
  const signature = `fn store_${name}(row: i32, d: i32, x: vec4<f32>)`;
  if (headSize % 4 === 0) return `${signature} { ${name}[row * ${headSize / 4} + d] = x; }`;
  return `${signature} {
    let at = row * ${headSize} + 4 * d;
    for (var i = 0; i < min(4, ${headSize} - 4 * d); i++) { ${name}[at + i] = x[i]; }
  }`;
}

/** In the order of `problemUniforms`. */
function problemStruct({ slopes }: ShaderFeatures): string {
  return `struct Problem {
    B: i32, H: i32, T: i32, U: i32,
    capacity: i32, // keys that k and v have room for; U of them count
    group: i32, // query heads that share a key/value head
    maskStep: i32, // 1 when each row of the batch has ranges of its own, else 0
    biasB: i32, biasH: i32, biasT: i32, biasU: i32, // strides of the bias, 0 along an axis where it is broadcast
    seed: u32, threshold: u32, kept: f32, // of dropout
    scale: f32, softCap: f32,
    ${slopes > 0 ? `slopes: array<vec4<f32>, ${Math.ceil(slopes / 4)}>,` : ''}
  }`;
}

/** The ranges of `mask-rule.ts`: from, to, offset. */
export const RANGES = (name: string, length: 'T' | 'U'): string => `fn range_${name}(b: i32, i: i32) -> vec3<i32> {
  let at = 3 * (b * problem.maskStep * problem.${length} + i);
  return vec3<i32>(${name}[at], ${name}[at + 1], ${name}[at + 2]);
}`;

/** Four products q · k → four scores as they enter the softmax; hidden ones become \`hidden\`. */
export function scoreFunctions({ softCap, bias, dropout, slopes }: ShaderFeatures): string {
  return `
  const hidden = -3.0e38;
  ${softCap ? CAP : ''}
  fn scores(products: vec4<f32>, b: i32, h: i32, t: vec4<i32>, u: vec4<i32>, offset: i32, seen: vec4<bool>) -> vec4<f32> {
    var s = products * problem.scale;
    ${softCap ? 's = problem.softCap * capped(products);' : ''}
    ${slopes > 0 ? 's -= problem.slopes[h / 4][h % 4] * vec4<f32>(abs(t + offset - u));' : ''}
    ${bias ? BIAS : ''}
    // NaN is not below: it is seen, and its query gets NaN.
    return select(s, vec4<f32>(hidden), !seen | (s <= vec4<f32>(${wgslFloat(HIDDEN_BELOW)})));
  }
  // P = exp(S − L), and 0 where a key is hidden: exp(hidden − L) would not be, for a row that sees nothing
  fn exponentials(s: vec4<f32>, L: vec4<f32>) -> vec4<f32> {
    return select(exp(s - L), vec4<f32>(0.0), s <= vec4<f32>(${wgslFloat(HIDDEN_BELOW)}));
  }
  ${dropout ? DROPOUT : ''}`;
}

/** WGSL's tanh may overflow for large arguments; at 15 it has long been 1 in float32. Clamping would make a number of NaN. */
const CAP = `fn capped(products: vec4<f32>) -> vec4<f32> {
    let x = products * problem.scale / problem.softCap;
    let isNaN = (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u);
    return select(tanh(clamp(x, vec4<f32>(-15.0), vec4<f32>(15.0))), x, isNaN);
  }`;

/** Beyond the last query or key any entry will do: it is hidden by \`seen\`. */
const BIAS = `let row = b * problem.biasB + h * problem.biasH;
    let place = row + min(t, vec4<i32>(problem.T - 1)) * problem.biasT + min(u, vec4<i32>(problem.U - 1)) * problem.biasU;
    s += vec4<f32>(bias[place.x], bias[place.y], bias[place.z], bias[place.w]);`;

/** The hash of dropout.ts, four at a time. */
const DROPOUT = `
  fn mix4(x: vec4<u32>) -> vec4<u32> {
    var h = x;
    h = (h ^ (h >> vec4<u32>(16u))) * 0x85ebca6bu;
    h = (h ^ (h >> vec4<u32>(13u))) * 0xc2b2ae35u;
    return h ^ (h >> vec4<u32>(16u));
  }
  fn keptFactors(b: i32, h: i32, t: vec4<i32>, u: vec4<i32>) -> vec4<f32> {
    let head = problem.seed ^ (u32(b * problem.H + h + 1) * ${HEAD_STEP}u);
    let row = mix4(mix4(vec4<u32>(head)) + vec4<u32>(t + 1) * ${QUERY_STEP}u);
    let hash = mix4(row + vec4<u32>(u + 1) * ${KEY_STEP}u);
    return select(vec4<f32>(0.0), vec4<f32>(problem.kept), hash >= vec4<u32>(problem.threshold));
  }`;

function wgslFloat(x: number): string {
  return x.toExponential().replace('e+', 'e');
}

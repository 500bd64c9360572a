/**
 * @file Probes in WGSL. Each writes its result only where it has a value that it cannot have: the compiler does not know that,
 * so it leaves nothing out, and nothing is written.
 */

/** Threads of a workgroup. */
export const THREADS = 256;
/** Vectors of four that a thread reads, or multiplies and adds, in one turn. */
export const READS = 4;
export const CHAINS = 8;

const range = (n: number): number[] => [...Array(n).keys()];

/** The struct of uniforms, as `webgpu.ts` fills it. */
const uniforms = (binding: number): string => `
struct Problem { turns: i32, mask: i32, step: i32, half: f32 }
@group(0) @binding(${binding}) var<uniform> problem: Problem;`;

/**
 * Bindings: out ← memory [mask + 1 vectors]. Neighbouring threads read neighbouring vectors; from turn to turn all of them move
 * on by the number of threads and a little more, round and round.
 */
export const readShader = (): string => `
@group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> memory: array<vec4<f32>>;
${uniforms(2)}
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  var at = i32(id.x);
  ${range(READS).map((i) => `var sum${i} = vec4<f32>(0.0);`).join(' ')}
  for (var turn = 0; turn < problem.turns; turn++) {
    ${range(READS).map((i) => `sum${i} += memory[at & problem.mask]; at += problem.step;`).join('\n    ')}
  }
  let sum = ${range(READS).map((i) => `sum${i}`).join(' + ')};
  if (sum.x == problem.half) { out[0] = sum; }
}`;

/** Bindings: out. The same from the memory that a workgroup shares. */
export const workgroupShader = (): string => `
@group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;
${uniforms(1)}
var<workgroup> memory: array<vec4<f32>, ${THREADS}>;
@compute @workgroup_size(${THREADS})
fn main(@builtin(local_invocation_id) local: vec3<u32>) {
  var at = i32(local.x);
  memory[at] = vec4<f32>(f32(at));
  workgroupBarrier();
  ${range(READS).map((i) => `var sum${i} = vec4<f32>(0.0);`).join(' ')}
  for (var turn = 0; turn < problem.turns; turn++) {
    ${range(READS).map((i) => `sum${i} += memory[(at + ${i * 32}) & ${THREADS - 1}];`).join('\n    ')}
    at += problem.step;
  }
  let sum = ${range(READS).map((i) => `sum${i}`).join(' + ')};
  if (sum.x == problem.half) { out[0] = sum; }
}`;

/** Bindings: out. x := x / 2 + 1 between registers. */
export const computeShader = (): string => `
@group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;
${uniforms(1)}
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let half = vec4<f32>(problem.half);
  let one = vec4<f32>(f32(problem.mask));
  ${range(CHAINS).map((i) => `var x${i} = vec4<f32>(f32(i32(id.x) + ${i}));`).join(' ')}
  for (var turn = 0; turn < problem.turns; turn++) {
    ${range(CHAINS).map((i) => `x${i} = fma(x${i}, half, one);`).join('\n    ')}
  }
  let sum = ${range(CHAINS).map((i) => `x${i}`).join(' + ')};
  if (sum.x == -1.0) { out[0] = sum; }
}`;

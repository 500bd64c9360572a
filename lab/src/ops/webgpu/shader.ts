/**
 * @file What the lab's smaller shaders are written with: bindings, workgroups that are numbered through, and sums over a
 * workgroup.
 */
import type { Uniform } from './backend.ts';
import type { ShaderRunner } from './runner.ts';

/** Threads of a workgroup: two warps of NVIDIA's, one wave of AMD's. */
export const THREADS = 64;
/** For rows that are long. */
export const MANY_THREADS = 256;

/** As many threads as a row of that length keeps busy. */
export const threadsFor = (width: number): number => (width > 16 * THREADS ? MANY_THREADS : THREADS);

/** Names and WGSL types: of a buffer's elements, or of one number. */
export type Fields = Readonly<Record<string, string>>;

/** Declares the buffers in the order in which a dispatch binds them, and the uniforms as `given`. */
export function bindings(written: Fields, read: Fields, uniforms: Fields): string {
  const buffers = [
    ...Object.entries(written).map(([name, type]) => `var<storage, read_write> ${name}: array<${type}>;`),
    ...Object.entries(read).map(([name, type]) => `var<storage, read> ${name}: array<${type}>;`),
    'var<uniform> given: Given;',
  ];
  return [
    `struct Given { ${Object.entries(uniforms)
      .map(([name, type]) => `${name}: ${type}`)
      .join(', ')} }`,
    ...buffers.map((buffer, index) => `@group(0) @binding(${index}) ${buffer}`),
  ].join('\n');
}

/** A compute shader in which `group` is the number of the workgroup (see `gridOf`) and `lane` that of the thread in it. */
export function mainFunction(threads: number, body: string): string {
  return `
@compute @workgroup_size(${threads})
fn main(
  @builtin(workgroup_id) place: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
) {
  let group = i32(place.y * groups.x + place.x);
  let lane = i32(index);
  ${body}
}`;
}

/** Workgroups numbered 0 … groups − 1, and perhaps a few more: a device takes only so many along one axis. */
export function gridOf(runner: ShaderRunner, groups: number): [x: number, y: number, z: number] {
  const most = runner.backend.device.limits['maxComputeWorkgroupsPerDimension']!;
  return [Math.min(groups, most), Math.ceil(groups / most), 1];
}

/**
 * NAME(x, lane): what `combine` makes of the x of all threads, always in the same order. All threads of the workgroup must
 * call it. In two steps, as barriers are dear: √threads threads take √threads numbers each, then every thread takes their
 * results. A next call does not disturb this one: it writes results behind a barrier that nobody reaches who still reads.
 */
export function joinFunction(
  name: string,
  type: string,
  threads: number,
  combine: (a: string, b: string) => string = (a, b) => `${a} + ${b}`,
): string {
  const side = Math.sqrt(threads);
  return `
var<workgroup> ${name}Shares: array<${type}, ${threads}>;
var<workgroup> ${name}Parts: array<${type}, ${side}>;
fn ${name}(x: ${type}, lane: i32) -> ${type} {
  ${name}Shares[lane] = x;
  workgroupBarrier();
  if (lane < ${side}) {
    var part = ${name}Shares[lane];
    for (var i = 1; i < ${side}; i++) { part = ${combine('part', `${name}Shares[i * ${side} + lane]`)}; }
    ${name}Parts[lane] = part;
  }
  workgroupBarrier();
  var whole = ${name}Parts[0];
  for (var i = 1; i < ${side}; i++) { whole = ${combine('whole', `${name}Parts[i]`)}; }
  return whole;
}`;
}

export const ints = (...data: readonly number[]): Uniform[] => data.map((x) => ({ type: 'int32', data: [x] }));
export const floats = (...data: readonly number[]): Uniform[] => data.map((x) => ({ type: 'float32', data: [x] }));

/**
 * @file What the lab's smaller shaders are written with: bindings, workgroups that are numbered through, and sums over a workgroup.
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

/** `joined(x, lane)`: what `combine` makes of the x of all threads, always in the same order. For all threads of the workgroup. */
export function joinFunction(
  name: string,
  type: string,
  threads: number,
  combine: (a: string, b: string) => string = (a, b) => `${a} + ${b}`,
): string {
  return `
var<workgroup> ${name}Shares: array<${type}, ${threads}>;
fn ${name}(x: ${type}, lane: i32) -> ${type} {
  workgroupBarrier(); // the last result may still be being read
  ${name}Shares[lane] = x;
  for (var half = ${threads / 2}; half > 0; half /= 2) {
    workgroupBarrier();
    if (lane < half) { ${name}Shares[lane] = ${combine(`${name}Shares[lane]`, `${name}Shares[lane + half]`)}; }
  }
  workgroupBarrier();
  return ${name}Shares[0];
}`;
}

export const ints = (...data: readonly number[]): Uniform[] => data.map((x) => ({ type: 'int32', data: [x] }));
export const floats = (...data: readonly number[]): Uniform[] => data.map((x) => ({ type: 'float32', data: [x] }));

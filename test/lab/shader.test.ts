/**
 * @file `runShader`: what a reader's shader computes, and what is said when it does not compile, does not fit, or does not end.
 * The GPU is the software one where there is none.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { projectRoot, runShader, ShaderError, type ShaderFailure } from 'lab';
import { describe, expect, it } from 'vitest';

const double = (statement = 'result[i] = 2.0 * given[i];'): string => `
@group(0) @binding(0) var<storage, read_write> result: array<f32>;
@group(0) @binding(1) var<storage, read> given: array<f32>;
@compute @workgroup_size(4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x;
  ${statement}
}`;
const numbers = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const job = { inputs: [numbers], outputs: [8], workgroups: [2] as const };

async function failureOf(code: string, limitMs = 10_000): Promise<{ reason: ShaderFailure; message: string }> {
  const error: unknown = await runShader(code, { ...job, limitMs }).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ShaderError);
  return error as ShaderError;
}

describe.runIf(process.platform === 'linux' && process.arch === 'x64')('runShader', () => {
  it('gives back what the shader writes, and names the device', async () => {
    const { outputs, device } = await runShader(double(), job);
    expect(outputs.map((x) => [...x])).toEqual([[2, 4, 6, 8, 10, 12, 14, 16]]);
    expect(device).not.toBe('');
  });

  it('runs over as many workgroups as are asked for; the rest stays 0', async () => {
    const { outputs } = await runShader(double(), { ...job, workgroups: [1] });
    expect([...outputs[0]!]).toEqual([2, 4, 6, 8, 0, 0, 0, 0]);
  });

  it('takes integers, several outputs, and buffers smaller than a GPU allows', async () => {
    const code = `
@group(0) @binding(0) var<storage, read_write> sum: array<f32>;
@group(0) @binding(1) var<storage, read_write> product: array<f32>;
@group(0) @binding(2) var<storage, read> a: array<i32>;
@group(0) @binding(3) var<storage, read> b: array<u32>;
@compute @workgroup_size(1) fn main() {
  sum[0] = f32(a[0]) + f32(b[0]);
  product[0] = f32(a[0]) * f32(b[0]);
}`;
    const { outputs } = await runShader(code, {
      inputs: [Int32Array.of(-3), Uint32Array.of(5)],
      outputs: [1, 1],
      workgroups: [1],
    });
    expect(outputs.map((x) => [...x])).toEqual([[2], [-15]]);
  });

  it('takes a shader that leaves a binding unused', async () => {
    const { outputs } = await runShader(double('result[i] = 1.0;'), job);
    expect([...outputs[0]!]).toEqual(Array(8).fill(1));
  });

  it('shows the line that does not compile, and a caret below the place', async () => {
    const { reason, message } = await failureOf(double('result[i] = 2.0 * givn[i];'));
    expect(reason).toBe('compile');
    const lines = message.split('\n');
    const at = lines.findIndex((line) => line.includes('result[i] = 2.0 * givn[i];'));
    expect(lines[at]).toMatch(/^ +7 \| /);
    expect(lines[at + 1]!.indexOf('^')).toBe(lines[at]!.indexOf('givn'));
    expect(lines[at + 1]).toContain("^^^^ unresolved value 'givn'");
  });

  it('says what the GPU refuses though it compiles', async () => {
    const { reason, message } = await failureOf(double().replace('workgroup_size(4)', 'workgroup_size(1024, 64)'));
    expect(reason).toBe('refused');
    expect(message).toContain('workgroup');
  });

  it('ends a shader that does not end, and runs the next one', async () => {
    const { reason, message } = await failureOf(double('while (given[i] > 0.0) { result[i] += 1e-9; }'), 1500);
    expect(reason).toBe('time');
    expect(message).toContain('1.5 seconds');
    expect([...(await runShader(double(), job)).outputs[0]!]).toEqual([2, 4, 6, 8, 10, 12, 14, 16]);
  });

  it('runs one after the other when asked for several at once', async () => {
    const factors = [1, 2, 3, 4];
    const results = await Promise.all(factors.map((f) => runShader(double(`result[i] = ${f}.0 * given[i];`), job)));
    expect(results.map(({ outputs }) => outputs[0]![1])).toEqual([2, 4, 6, 8]);
  });

  it('does not keep a program alive', () => {
    const program = `
      import { runShader } from 'lab';
      const job = { inputs: [new Float32Array(8)], outputs: [8], workgroups: [2] };
      const { outputs } = await runShader(${JSON.stringify(double())}, job);
      console.log(outputs[0].length);`;
    const { status, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
      timeout: 30_000,
    });
    expect([status, stdout.trim()]).toEqual([0, '8']);
  });

  it('works in a process that was started by one with a software GPU', () => {
    const program = `
      import { runShader } from 'lab';
      const job = { inputs: [new Float32Array(8)], outputs: [8], workgroups: [2] };
      console.log((await runShader(${JSON.stringify(double('result[i] = 3.0;'))}, job)).outputs[0][0]);`;
    const driver = join(projectRoot(), '.lab', 'swiftshader', 'vk_swiftshader_icd.json');
    const env = { ...process.env, VK_ICD_FILENAMES: driver, LAB_SOFTWARE_GPU: '1' };
    const options = { encoding: 'utf8', env, timeout: 30_000 } as const;
    const { status, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], options);
    expect([status, stdout.trim()]).toEqual([0, '3']);
  });

  it('says what to do where there is no WebGPU', () => {
    const program = `
      import { runShader } from 'lab';
      await runShader('', { inputs: [], outputs: [1], workgroups: [1] }).catch((e) => console.log(e.reason, e.message));`;
    const env = { ...process.env, VK_ICD_FILENAMES: '/nowhere.json', LAB_SOFTWARE_GPU: '1' };
    const { status, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
      env,
      timeout: 30_000,
    });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^unavailable .*doctor/);
  });
});

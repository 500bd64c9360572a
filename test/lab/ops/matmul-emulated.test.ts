/**
 * @file The shaders of matrix products that the software GPU cannot run, for float16 and for matrix units: with float32 and
 * loops in the place of what is missing they must compute the right numbers. And the one for devices that lack what it has.
 */
import {
  multiplyOnGpu,
  Random,
  runningWebGpu,
  tf,
  withMatmulPrecision,
  type GpuProduct,
  type SubgroupMatrix,
} from 'lab';
import { describe, expect, it } from 'vitest';
import { relativeError } from '../core-fixture.ts';
import { toHalf } from './matmul-truth.ts';
import { hasSoftwareGpu, matrixOf } from './software-gpu.ts';
import { onBackend } from '../on-backend.ts';

const booleans = [false, true];

/** Threads of a pretended subgroup. */
const LANES = 8;

/**
 * Float32 for float16; and for the matrix units loops, in which each thread of a subgroup computes its share of a result. An
 * operand is only the place where it lies: start, and from one row and from one column to the next.
 */
function emulated(code: string, { M, N, K }: SubgroupMatrix): string {
  const share = (M * N) / LANES;
  const functions = `
    alias Left = vec3<u32>; alias Right = vec3<u32>; alias Result = array<f32, ${share}>;
    var<private> own: u32;
    fn row_major(start: u32, stride: u32) -> vec3<u32> { return vec3<u32>(start, stride, 1u); }
    fn col_major(start: u32, stride: u32) -> vec3<u32> { return vec3<u32>(start, 1u, stride); }
    fn multiplyAdd(left: Left, right: Right, sum: Result) -> Result {
      var c = sum;
      for (var e = 0u; e < ${share}u; e++) {
        let i = (own * ${share}u + e) / ${N}u;
        let j = (own * ${share}u + e) % ${N}u;
        var dot = 0.0;
        for (var k = 0u; k < ${K}u; k++) {
          dot += A[left.x + i * left.y + k * left.z] * B[right.x + k * right.y + j * right.z];
        }
        c[e] += dot;
      }
      return c;
    }
    fn storeResult(start: u32, result: Result, stride: u32) {
      var c = result;
      for (var e = 0u; e < ${share}u; e++) {
        C[start + (own * ${share}u + e) / ${N}u * stride + (own * ${share}u + e) % ${N}u] = c[e];
      }
    }`;
  const rounded = (pair: string): string => `unpack2x16float(pack2x16float(x.${pair}))`;
  const rounding = `-> vec4<f32> { return vec4<f32>(${rounded('xy')}, ${rounded('zw')}); }`;
  const plain = code
    .replaceAll(/^(enable|diagnostic).*$/gm, '')
    .replace('-> vec4<f16> { return vec4<f16>(x); }', rounding)
    .replaceAll('f16', 'f32');
  if (!plain.includes('alias Left')) return plain;
  return plain
    .replaceAll(/^alias.*$/gm, '')
    .replaceAll(/subgroupMatrixLoad<\w+, (\w+)>\(&[AB], /g, '$1(')
    .replaceAll('subgroupMatrixMultiplyAccumulate', 'multiplyAdd')
    .replaceAll('subgroupMatrixStore<row_major>(&C, ', 'storeResult(')
    .replace('let lane = i32(index);', `let lane = i32(index); own = index % ${LANES}u;`)
    .replace('@compute', `${functions}\n@compute`);
}

/** What a device is said to have. */
interface Pretended {
  readonly features: readonly string[];
  readonly matrix: SubgroupMatrix;
}

/** m, k, n */
type Size = readonly [number, number, number];

describe.runIf(hasSoftwareGpu)('what the software GPU cannot run, emulated', () => {
  const random = new Random(2);
  onBackend({ backend: 'webgpu', softwareGpu: true });

  /** Runs the product as a device with those features would, its shaders emulated; also tells their names. */
  function multiplyAs({ features, matrix }: Pretended, product: GpuProduct): { keys: string[]; tensors: tf.Tensor[] } {
    const { runner } = runningWebGpu()!;
    const { backend } = runner;
    const device = {
      limits: backend.device.limits,
      features: new Set(features),
      adapterInfo: { subgroupMinSize: LANES, subgroupMaxSize: LANES, subgroupMatrixConfigs: [matrix] },
    };
    const keys: string[] = [];
    const pretending = {
      backend: Object.create(backend, { device: { value: device } }) as typeof backend,
      dispose: runner.dispose.bind(runner),
      run(dispatch: Parameters<typeof runner.run>[0]) {
        keys.push(dispatch.key);
        return runner.run({ ...dispatch, key: `emulated ${dispatch.key}`, code: () => emulated(dispatch.code(), matrix) });
      },
    } as unknown as typeof runner;
    const infos = withMatmulPrecision('mixed', () => multiplyOnGpu({ runner: pretending }, product));
    return { keys, tensors: infos.map((info) => tf.engine().makeTensorFromTensorInfo(info)) };
  }

  /** A random [rows, columns], stored by rows or by columns, and its numbers rounded to float16. */
  function randomMatrix(rows: number, columns: number, byColumns: boolean) {
    const values = random.normals(rows * columns);
    const at = (i: number, j: number): number => values[byColumns ? j * rows + i : i * columns + j]!;
    const tensor = tf.tensor2d(values, byColumns ? [columns, rows] : [rows, columns]);
    return { tensor, at, half: (i: number, j: number): number => toHalf(at(i, j)) };
  }

  /**
   * Holds the product with bias, and the sums of A's rows if it is stored by columns, against double precision.
   *
   * @returns the name of the shader
   */
  async function expectRight(device: Pretended, size: Size, transposeA: boolean, transposeB: boolean): Promise<string> {
    const [m, k, n] = size;
    const [a, b, bias] = [randomMatrix(m, k, transposeA), randomMatrix(k, n, transposeB), random.normals(n)];
    const sum = (f: (p: number) => number): number => Array.from({ length: k }, (_, p) => f(p)).reduce((x, y) => x + y, 0);
    const operands = { a: a.tensor, b: b.tensor, transposeA, transposeB };
    const wanted = { shape: [m, n], finish: { bias: tf.tensor1d(bias) }, rowSums: transposeA };
    const { keys, tensors } = multiplyAs(device, { batch: 1, m, n, k, ...operands, ...wanted });
    const [name] = keys as [string];
    const expected = Float64Array.from({ length: m * n }, (_, at) => {
      const [i, j] = [Math.floor(at / n), at % n];
      return bias[j]! + sum((p) => a.half(i, p) * b.half(p, j));
    });
    expect(relativeError(await tensors[0]!.data(), expected), name).toBeLessThan(2e-6);
    if (transposeA) {
      const sums = Float64Array.from({ length: m }, (_, i) => sum((p) => a.at(i, p)));
      expect(relativeError(await tensors[1]!.data(), sums, Math.sqrt(m)), name).toBeLessThan(2e-6);
    }
    return name;
  }

  it.each([[37, 45, 19], [40, 36, 70]] as const)('tiles in float16: %i × %i × %i', async (...size) => {
    const device = { features: ['shader-f16'], matrix: matrixOf('f16', 8, 8, 8) };
    for (const a of booleans) {
      for (const b of booleans) expect(await expectRight(device, size, a, b)).toMatch(/^matmul, tile 32 .*"half"/);
    }
  });

  it.each([[1, 70, 9], [3, 37, 22], [4, 36, 8]] as const)('few rows without subgroups: %i × %i × %i', async (...size) => {
    const device = { features: [], matrix: matrixOf('f16', 8, 8, 8) };
    expect(await expectRight(device, size, false, true)).toMatch(/^matmul, \d rows, 0 shuffled .*"transposeB":true/);
  });

  const features = ['subgroups', 'shader-f16', 'chromium-experimental-subgroup-matrix'];
  it.each([
    { matrix: matrixOf('f16', 8, 8, 8), size: [70, 45, 67] },
    { matrix: matrixOf('f16', 16, 8, 16), size: [64, 64, 64] },
    { matrix: matrixOf('f16', 16, 16, 16), size: [65, 40, 64] },
    { matrix: matrixOf('f32', 8, 8, 8), size: [64, 21, 65] },
  ] as const)('matrices $matrix.M × $matrix.N × $matrix.K of $matrix.componentType: $size', async ({ matrix, size }) => {
    for (const a of booleans) {
      for (const b of booleans) expect(await expectRight({ features, matrix }, size, a, b)).toMatch(/^matmul, matrices/);
    }
  });

  it('matrices, with sums that are cut', async () => {
    const device = { features, matrix: matrixOf('f16', 8, 8, 8) };
    expect(await expectRight(device, [64, 1040, 64], true, false)).toMatch(/^matmul, matrices/);
  });
});

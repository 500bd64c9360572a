/**
 * @file The shaders of matrix products that the software GPU cannot run (float16, matrix units): Dawn's null device, which has
 * every feature and computes nothing, must accept their text, and with float32 and loops in the place of what is missing they must
 * compute the right numbers. And which shader is chosen for which device.
 */
import {
  joinShader,
  matricesShader,
  multiplyOnGpu,
  planShader,
  Random,
  rowsShader,
  runningWebGpu,
  startBackend,
  stopBackend,
  tf,
  tileShader,
  withMatmulPrecision,
  type FinishFeatures,
  type GpuFeatures,
  type GpuProduct,
  type ProductFeatures,
  type SubgroupMatrix,
} from 'lab';
import { create } from 'webgpu';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { relativeError } from '../core-fixture.ts';
import { toHalf } from './matmul-truth.ts';
import { hasSoftwareGpu } from './software-gpu.ts';

const matrixOf = (componentType: string, M: number, N: number, K: number, resultComponentType = 'f32'): SubgroupMatrix => ({
  componentType,
  resultComponentType,
  M,
  N,
  K,
});
const booleans = [false, true];

describe('planShader', () => {
  const configurations: readonly (readonly SubgroupMatrix[])[] = [
    [],
    [matrixOf('f16', 16, 16, 16)],
    [matrixOf('f16', 16, 16, 16, 'f16'), matrixOf('f16', 16, 8, 16), matrixOf('f16', 16, 8, 8)],
    [matrixOf('f32', 8, 8, 8), matrixOf('f16', 8, 8, 8, 'f16')],
    [matrixOf('i8', 16, 16, 32, 'i32')],
    [matrixOf('f16', 64, 64, 16), matrixOf('f16', 16, 16, 64)], // too large for a tile, too long for a strip
  ];
  const subgroups = [[0, 0], [4, 4], [8, 32], [32, 32], [64, 64], [128, 128]] as const;
  const gpus: readonly GpuFeatures[] = booleans.flatMap((half) =>
    subgroups.flatMap(([smallestSubgroup, largestSubgroup]) =>
      configurations.flatMap((matrices) =>
        ([[128, 8192], [256, 16_384], [1024, 49_152]] as const).map(([threads, workgroupBytes]) => ({
          half,
          smallestSubgroup,
          largestSubgroup,
          matrices,
          threads,
          workgroupBytes,
        })),
      ),
    ),
  );
  const extents = [1, 4, 5, 33, 64, 300, 5000];
  const shapes = extents.flatMap((m) =>
    extents.flatMap((n) =>
      [0, 1, 100, 1024, 50_000].flatMap((k) =>
        [1, 7].flatMap((batch) =>
          [[false, false], [true, false], [true, true]].map(([transposeA, rowSums]) => ({
            batch,
            m,
            n,
            k,
            transposeA: transposeA!,
            rowSums: rowSums! && batch === 1,
          })),
        ),
      ),
    ),
  );

  it('takes what the device has and the precision allows, for every device and shape', () => {
    const seen = new Set<string>();
    for (const gpu of gpus) {
      for (const precision of ['float32', 'mixed'] as const) {
        for (const shape of shapes) {
          const plan = planShader(shape, gpu, precision);
          const wrong = (what: string): string => `${what}: ${JSON.stringify({ shape, gpu, precision, plan })}`;
          const must = (holds: boolean, what: string): void => {
            if (!holds) throw new Error(wrong(what));
          };
          seen.add(`${plan.kind} ${plan.operand}`);
          must((plan.operand === 'float32') === (precision === 'float32'), 'rounds if and only if told');
          must(plan.operand !== 'half' || gpu.half, 'float16 where there is none');
          if (plan.kind === 'rows') {
            must(shape.m <= 4 && !shape.rowSums && (shape.m === 1 || !shape.transposeA), 'not for that shader');
            must(plan.shuffled <= gpu.smallestSubgroup && [0, 4, 8, 16].includes(plan.shuffled), 'subgroups too small');
            continue;
          }
          const { parts, terms } = plan;
          must(parts * terms >= shape.k && (parts - 1) * terms < Math.max(shape.k, 1) && terms % 32 === 0, 'k is not covered');
          must(parts === 1 || shape.batch === 1, 'a batch is not cut');
          must(shape.k < 1024 || shape.m * shape.n > 400 || shape.batch > 1 || parts > 1, 'few sums of many terms are cut');
          if (plan.kind === 'tile') {
            must(plan.size === 32 || Math.min(shape.m, shape.n) > 32, 'a large tile would be half empty');
            continue;
          }
          const { matrix, lanes } = plan;
          must(gpu.matrices.includes(matrix) && matrix.resultComponentType === 'f32', 'no such matrices');
          must(matrix.componentType === (plan.operand === 'half' ? 'f16' : 'f32'), 'operands of another type');
          must(lanes === gpu.smallestSubgroup && lanes === gpu.largestSubgroup && lanes > 0, 'threads of a subgroup');
          must(((64 / matrix.M / 4) * (64 / matrix.N / 2)) * lanes <= gpu.threads && gpu.workgroupBytes >= 16_384, 'too large');
          must(Math.min(shape.m, shape.n) >= 64, 'a tile would be mostly empty');
        }
      }
    }
    expect([...seen].sort()).toEqual([
      'matrices half',
      'matrices rounded',
      'rows float32',
      'rows rounded',
      'tile float32',
      'tile half',
      'tile rounded',
    ]);
  });

  it('is large and whole where there is work enough, small and cut where there is little', () => {
    const gpu: GpuFeatures = { half: false, smallestSubgroup: 32, largestSubgroup: 32, matrices: [], threads: 256, workgroupBytes: 32_768 };
    const plan = (m: number, k: number, n: number): unknown =>
      planShader({ batch: 1, m, n, k, transposeA: false, rowSums: false }, gpu, 'float32');
    expect(plan(1024, 1024, 1024)).toEqual({ kind: 'tile', operand: 'float32', size: 64, parts: 1, terms: 1024 });
    expect(plan(256, 256, 256)).toEqual({ kind: 'tile', operand: 'float32', size: 32, parts: 1, terms: 256 });
    expect(plan(128, 2048, 512)).toEqual({ kind: 'tile', operand: 'float32', size: 64, parts: 8, terms: 256 });
    expect(plan(1, 2048, 512)).toEqual({ kind: 'rows', operand: 'float32', shuffled: 16 });
  });
});

/** Dawn's null device: it has every feature, checks everything, and computes nothing. */
interface NullDevice {
  createShaderModule(descriptor: object): object;
  createComputePipeline(descriptor: object): object;
  pushErrorScope(filter: 'validation'): void;
  popErrorScope(): Promise<{ readonly message: string } | null>;
  destroy(): void;
}

describe('the text of the shaders', () => {
  let device: NullDevice;
  const kept: object[] = [];
  const lanes = 128; // of the null device's subgroups at most: a workgroup with matrices must be whole ones

  beforeAll(async () => {
    const gpu = create(['backend=null', 'enable-dawn-features=allow_unsafe_apis']);
    kept.push(gpu);
    const adapter = (await gpu.requestAdapter())!;
    device = (await adapter.requestDevice({
      requiredFeatures: ['shader-f16', 'subgroups', 'chromium-experimental-subgroup-matrix'] as never,
    })) as unknown as NullDevice;
  });
  afterAll(() => device.destroy());

  /** What Dawn says against it, if anything. */
  async function complaint(code: string): Promise<string | undefined> {
    device.pushErrorScope('validation');
    const module = device.createShaderModule({ code });
    device.createComputePipeline({ layout: 'auto', compute: { module, entryPoint: 'main' } });
    return (await device.popErrorScope())?.message;
  }

  const none: FinishFeatures = { bias: false, gelu: false, derivative: false, factor: false };
  const finishes: readonly FinishFeatures[] = [
    none,
    { ...none, bias: true },
    { ...none, bias: true, gelu: true },
    { ...none, bias: true, gelu: true, derivative: true },
    { ...none, factor: true },
  ];
  const all: readonly ProductFeatures[] = booleans.flatMap((transposeA) =>
    booleans.flatMap((transposeB) =>
      booleans.flatMap((whole) =>
        (['float32', 'rounded', 'half'] as const).flatMap((operand) =>
          finishes.map((finish, i) => ({
            transposeA,
            transposeB,
            wholeA: whole,
            wholeB: i % 2 === 0 ? whole : !whole,
            wholeC: whole,
            operand,
            finish,
            rowSums: transposeA && finish === none,
            table: i === 1,
          })),
        ),
      ),
    ),
  );

  it('a wrong text is refused', async () => {
    const wrong = tileShader({ ...all[0]!, operand: 'half' }, 32).replace('enable f16;', '');
    expect(await complaint(wrong)).toMatch(/f16/);
  });

  it.each([32, 64] as const)('Dawn accepts tiles of %i', async (size) => {
    for (const features of all) expect(await complaint(tileShader(features, size)), JSON.stringify(features)).toBeUndefined();
  });

  it('Dawn accepts few rows', async () => {
    for (const features of all.filter(({ transposeA, operand }) => !transposeA && operand !== 'half')) {
      for (const shuffled of features.transposeB ? [0, 4, 16] : [0]) {
        const own = { ...features, wholeA: features.wholeA && features.transposeB, wholeB: features.wholeA, rows: 3, shuffled };
        const text = rowsShader({ ...own, wholeC: own.wholeC && !own.transposeB });
        expect(await complaint(text), JSON.stringify(own)).toBeUndefined();
      }
    }
  });

  it('Dawn accepts the end of sums that were cut', async () => {
    for (const features of all) expect(await complaint(joinShader(features)), JSON.stringify(features)).toBeUndefined();
  });

  it.each([
    matrixOf('f16', 16, 16, 16),
    matrixOf('f32', 16, 16, 8),
  ])('Dawn accepts matrices of $componentType, $M × $N × $K', async (matrix) => {
    const operand = matrix.componentType === 'f16' ? 'half' : 'rounded';
    for (const features of all.filter((candidate) => candidate.operand === operand)) {
      const text = matricesShader({ ...features, matrix, lanes });
      expect(await complaint(text), JSON.stringify(features)).toBeUndefined();
    }
  });
});

/** Threads of a pretended subgroup. */
const LANES = 8;

/**
 * Float32 for float16; and for the matrix units loops, in which each thread of a subgroup computes its share of a result. An operand
 * is only the place where it lies: start, and from one row and from one column to the next.
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
        for (var k = 0u; k < ${K}u; k++) { dot += A[left.x + i * left.y + k * left.z] * B[right.x + k * right.y + j * right.z]; }
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
  const rounding = `-> vec4<f32> { return vec4<f32>(unpack2x16float(pack2x16float(x.xy)), unpack2x16float(pack2x16float(x.zw))); }`;
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

describe.runIf(hasSoftwareGpu)('what the software GPU cannot run, emulated', () => {
  const random = new Random(2);
  beforeAll(async () => {
    await startBackend({ backend: 'webgpu', softwareGpu: true });
    tf.engine().startScope();
  });
  afterAll(async () => {
    tf.engine().endScope();
    await stopBackend();
  });

  /** Runs the product as a device with those features would, its shaders emulated. */
  function multiplyAs(features: readonly string[], matrix: SubgroupMatrix, product: GpuProduct): { keys: string[]; tensors: tf.Tensor[] } {
    const { runner } = runningWebGpu()!;
    const { backend } = runner;
    const device = {
      limits: backend.device.limits,
      features: new Set(['subgroups', ...features]),
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
    };
    const infos = withMatmulPrecision('mixed', () => multiplyOnGpu({ runner: pretending as unknown as typeof runner }, product));
    return { keys, tensors: infos.map((info) => tf.engine().makeTensorFromTensorInfo(info)) };
  }

  /** Products with bias and the sums of A's rows against double precision, for each transposition. */
  async function expectRight(features: readonly string[], matrix: SubgroupMatrix, kind: string, m: number, k: number, n: number): Promise<void> {
    for (const transposeA of k > 1000 ? [true] : booleans) {
      for (const transposeB of booleans) {
        const [a, b, bias] = [random.normals(m * k), random.normals(k * n), random.normals(n)];
        const at = (values: Float32Array, i: number, j: number, rows: number, columns: number, transposed: boolean): number =>
          values[transposed ? j * rows + i : i * columns + j]!;
        const shape = [m, n];
        const { keys, tensors } = multiplyAs(features, matrix, {
          batch: 1,
          m,
          n,
          k,
          a: tf.tensor2d(a, transposeA ? [k, m] : [m, k]),
          b: tf.tensor2d(b, transposeB ? [n, k] : [k, n]),
          transposeA,
          transposeB,
          shape,
          finish: { bias: tf.tensor1d(bias) },
          rowSums: transposeA,
        });
        expect(keys[0]).toMatch(kind);
        const expected = Float64Array.from({ length: m * n }, (_, i) => {
          let sum = bias[i % n]!;
          for (let p = 0; p < k; p++) sum += toHalf(at(a, Math.floor(i / n), p, m, k, transposeA)) * toHalf(at(b, p, i % n, k, n, transposeB));
          return sum;
        });
        expect(relativeError(await tensors[0]!.data(), expected), `${transposeA} ${transposeB}`).toBeLessThan(2e-6);
        if (!transposeA) continue;
        const sums = Float64Array.from({ length: m }, (_, i) => a.filter((__, at) => at % m === i).reduce((x, y) => x + y, 0));
        expect(relativeError(await tensors[1]!.data(), sums, Math.sqrt(m))).toBeLessThan(2e-6);
      }
    }
  }

  it.each([[37, 45, 19], [40, 36, 70]])('tiles in float16: %i × %i × %i', async (m, k, n) => {
    await expectRight(['shader-f16'], matrixOf('f16', 8, 8, 8), 'tile', m, k, n);
  });

  it.each([
    { matrix: matrixOf('f16', 8, 8, 8), m: 70, k: 45, n: 67 },
    { matrix: matrixOf('f16', 16, 8, 16), m: 64, k: 64, n: 64 },
    { matrix: matrixOf('f16', 16, 16, 16), m: 65, k: 40, n: 64 },
    { matrix: matrixOf('f32', 8, 8, 8), m: 64, k: 1040, n: 64 },
  ])('matrices $matrix.M × $matrix.N × $matrix.K of $matrix.componentType: $m × $k × $n', async ({ matrix, m, k, n }) => {
    await expectRight(['shader-f16', 'chromium-experimental-subgroup-matrix'], matrix, 'matrices', m, k, n);
  });
});

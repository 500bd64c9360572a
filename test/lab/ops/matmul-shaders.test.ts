/**
 * @file Which shader is chosen for which device, and the text of those that the software GPU cannot run (float16, matrix
 * units): Dawn's null device, which has every feature and computes nothing, must accept it.
 */
import {
  joinShader,
  matricesShader,
  planShader,
  rowsShader,
  tileShader,
  type FinishFeatures,
  type GpuFeatures,
  type ProductFeatures,
  type SubgroupMatrix,
} from 'lab';
import { create } from 'webgpu';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { matrixOf } from './software-gpu.ts';

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
    const subgroups32 = { smallestSubgroup: 32, largestSubgroup: 32 };
    const gpu: GpuFeatures = { half: false, ...subgroups32, matrices: [], threads: 256, workgroupBytes: 32_768 };
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

/** @file What adaptation saves: frozen weights have no gradients and no moments, and QLoRA's stay in 4 bits both ways. */
import { AdamW, adapt, lossAndGradients, NF4Linear, quantizeModel, startBackend, tf, wasmHeap, type Transformer } from 'lab';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectNear, onEveryBackend } from './core-fixture.ts';
import { batch, gpt, stir, tokens } from './peft-fixture.ts';

const small = { width: 32, heads: 2 };
const lora = { method: 'lora', rank: 2, alpha: 3, targets: ['attention.*', 'mlp.*'] } as const;

/** The same model with the floats that its 4 bits stand for. */
async function twins(): Promise<{ packed: Transformer; float: Transformer }> {
  const [packed, float] = [gpt(small), gpt(small)];
  await quantizeModel(packed, { method: 'nf4', groupSize: 16, quiet: true });
  const weights = float.namedParameters();
  for (const [path, module] of packed.namedModules()) {
    if (module instanceof NF4Linear) tf.tidy(() => weights.get(`${path}.weight`)!.assign(module.weight()));
  }
  return { packed, float };
}

onEveryBackend(() => {
  it.each([lora, { ...lora, method: 'dora' }, { method: 'bitfit' }, { method: 'ia3' }] as const)(
    'computes on NF4 what it does on its floats, forward and back: $method',
    async (options) => {
      const { packed, float } = await twins();
      const ids = tokens();
      const [a, b] = [packed, float].map((model) => {
        const adapted = adapt(model, options);
        stir(adapted.get().parameters);
        return { logits: model.forward(ids), gradients: lossAndGradients(model, [batch()]).gradients, adapted };
      });
      await expectNear(a!.logits, b!.logits, 1e-5);
      expect([...a!.gradients.keys()]).toEqual([...b!.gradients.keys()]);
      for (const [path, gradient] of a!.gradients) {
        // A key's bias adds the same to all scores of a query, which softmax does not see: its gradient is nothing but rounding.
        const floor = path.endsWith('attention.key.bias') ? 1e-2 : 1e-4;
        await expectNear(gradient, b!.gradients.get(path)!, 1e-4, path, floor);
      }
      expect(a!.adapted.report().trainable).toBe(b!.adapted.report().trainable);
    },
  );
});

describe('memory on wasm', () => {
  beforeAll(() => startBackend({ backend: 'wasm', threads: 1 }));

  /** The most bytes that tensors take during one step, the model's included. */
  function peakOfStep(model: Transformer): number {
    const { usage } = wasmHeap();
    const optimizer = new AdamW(model.namedParameters());
    const before = usage.live;
    usage.resetPeak();
    tf.tidy(() => optimizer.step(lossAndGradients(model, [batch(1, 1, 8)]).gradients, 1e-3));
    const peak = usage.peak - before;
    optimizer.dispose();
    model.dispose();
    return peak;
  }
  const wide = (): Transformer => gpt({ width: 128, heads: 2 });

  it('a LoRA step takes less than a full one', () => {
    const full = peakOfStep(wide());
    const model = wide();
    adapt(model, lora);
    expect(peakOfStep(model)).toBeLessThan(full / 2);
  });

  it("a QLoRA step keeps one layer's floats at a time, not all", async () => {
    const model = wide();
    await quantizeModel(model, { method: 'nf4', quiet: true });
    adapt(model, lora);
    const floatsOfAll = 4 * 2 * 12 * 128 * 128;
    expect(peakOfStep(model)).toBeLessThan(floatsOfAll * 0.8);
  });
});

describe('gradient checkpointing', () => {
  beforeAll(() => startBackend({ backend: 'wasm', threads: 1 }));

  it.each([{ ...lora, dropout: 0.3 }, { method: 'houlsby' }, { method: 'prompt' }] as const)(
    'gives the same gradients, to the bit: $method',
    async (options) => {
      const [plain, again] = [false, true].map((checkpoint) => {
        const model = gpt({ checkpoint }).train();
        stir(adapt(model, options).get().parameters);
        return lossAndGradients(model, [batch()]).gradients;
      });
      expect([...again!.keys()]).toEqual([...plain!.keys()]);
      for (const [path, gradient] of plain!) expect(await again!.get(path)!.data(), path).toEqual(await gradient.data());
    },
  );
});

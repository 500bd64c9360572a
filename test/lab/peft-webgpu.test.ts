/** @file Adapters of the PEFT library on a GPU made of software: the same logits, and the same again, to the bit. */
import { loadPEFT, startBackend, type Tensor2D } from 'lab';
import { expect, it } from 'vitest';
import { expectNear, tensorOf } from './core-fixture.ts';
import { hasSoftwareGpu } from './ops/software-gpu.ts';
import { baseOf, floats, peftFixture, peftPath } from './peft-fixture.ts';

it.skipIf(!hasSoftwareGpu).each(['lora-gpt2', 'dora-llama', 'prefix-gpt2'])('%s', { timeout: 60_000 }, async (name) => {
  await startBackend({ backend: 'webgpu', softwareGpu: true });
  const fixture = peftFixture(name);
  const { model } = await loadPEFT(await baseOf(fixture.base), peftPath(name));
  const ids = tensorOf<Tensor2D>(fixture.tokens);
  const logits = model.forward(ids);
  await expectNear(logits, fixture.logits, 1e-4, name);
  expect(await floats(model.forward(ids))).toEqual(await floats(logits));
});

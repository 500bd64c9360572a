/** @file Adapters of the PEFT library compute here what they compute there: logits, gradients, merged weights. */
import { loadPEFT, valueAndGradients, tf, type Tensor2D, type Adapted, type Tensor } from 'lab';
import { expect, it } from 'vitest';
import { expectNear, onEveryBackend, tensorOf } from './core-fixture.ts';
import { baseOf, peftFixture, peftPath, type PEFTFixture } from './peft-fixture.ts';

const layered = ['lora-gpt2', 'lora-llama', 'rslora-llama', 'dora-gpt2', 'dora-llama', 'ia3-gpt2', 'ia3-llama'] as const;
const prompts = ['prompt-gpt2', 'prompt-llama', 'prefix-gpt2', 'prefix-llama'] as const;
const merging = layered.filter((name) => name !== 'rslora-llama');

async function load(name: string): Promise<{ adapted: Adapted; fixture: PEFTFixture }> {
  const fixture = peftFixture(name);
  return { fixture, adapted: await loadPEFT(await baseOf(fixture.base), peftPath(name)) };
}

/** Theirs of one tensor as ours: PEFT keeps queries, keys and values of GPT-2 in one, and factors as columns. */
function oursOf(name: string): { path: RegExp; part: string } {
  const part = /(lora_A|lora_embedding_A|lora_embedding_B|lora_B|lora_magnitude_vector|ia3_l)/.exec(name)![1]!;
  const names: Record<string, string> = {
    c_attn: 'attention.(query|key|value)',
    'attn.c_proj': 'attention.output',
    c_fc: 'mlp.up',
    'mlp.c_proj': 'mlp.down',
    q_proj: 'attention.query',
    k_proj: 'attention.key',
    v_proj: 'attention.value',
    o_proj: 'attention.output',
    gate_proj: 'mlp.gate',
    up_proj: 'mlp.up',
    down_proj: 'mlp.down',
  };
  const [, layer] = /\.(\d+)\./.exec(name) ?? [];
  const theirs = Object.keys(names).find((key) => name.includes(`.${key}.`));
  const keys: Record<string, string> = {
    lora_A: 'down',
    lora_B: 'up',
    lora_embedding_A: 'down',
    lora_embedding_B: 'up',
    lora_magnitude_vector: 'magnitude',
    ia3_l: 'factors',
  };
  const module = theirs ? `blocks\\.${layer}\\.${names[theirs]}` : 'tokenEmbedding';
  return { path: new RegExp(`^${module}\\.${keys[part]}$`), part };
}

onEveryBackend(() => {
  it.each([...layered, ...prompts])('%s: the logits of PEFT', async (name) => {
    const { adapted, fixture } = await load(name);
    await expectNear(adapted.model.forward(tensorOf<Tensor2D>(fixture.tokens)), fixture.logits, 1e-5, name);
    expect(adapted.report().trainable).toBe(fixture.trainable);
    adapted.model.dispose();
  });

  it.each(layered)('%s: the gradients of PEFT', async (name) => {
    const { adapted, fixture } = await load(name);
    const { model } = adapted;
    const parameters = adapted.get().parameters;
    const { gradients } = valueAndGradients(
      () => model.loss(tensorOf(fixture.tokens), tensorOf(fixture.targets)),
      [...parameters.values()],
    );
    expect(gradients.size).toBe(parameters.size);
    let compared = 0;
    for (const [theirs, gradient] of Object.entries(fixture.gradients)) {
      const { path, part } = oursOf(theirs);
      const own = [...parameters].filter(([ours]) => path.test(ours)).map(([, variable]) => gradients.get(variable)!);
      compared += own.length;
      const joined = own.length > 1 ? tf.concat(own as Tensor2D[], 0) : own[0]!;
      const turned = part === 'lora_embedding_A' ? tf.transpose(joined) : joined;
      await expectNear(tf.reshape(turned, gradient.shape), gradient, 1e-4, theirs);
    }
    expect(compared).toBe(parameters.size);
    model.dispose();
  });

  it.each(prompts)('%s: the gradients of PEFT', async (name) => {
    const { adapted, fixture } = await load(name);
    const { model } = adapted;
    const variables = [...adapted.get().parameters.values()];
    const { gradients } = valueAndGradients(() => model.loss(tensorOf(fixture.tokens), tensorOf(fixture.targets)), variables);
    expect(variables.length).toBe(1);
    await expectNear(gradients.get(variables[0]!)!, Object.values(fixture.gradients)[0]!, 1e-4, name);
    model.dispose();
  });

  it.each(merging)('%s: merged, the logits and weights of PEFT; unmerged, what was there', async (name) => {
    const { adapted, fixture } = await load(name);
    const { model } = adapted;
    const ids = tensorOf<Tensor2D>(fixture.tokens);
    const before = await model.forward(ids).data();
    adapted.merge();
    await expectNear(model.forward(ids), fixture.mergedLogits!, 1e-4, name);
    for (const [theirs, weight] of Object.entries(fixture.mergedWeights!)) {
      const { source } = oursOf(`${theirs.replace(/(weight|bias)$/, '')}lora_A`).path;
      const kind = theirs.split('.').at(-1)!;
      const path = new RegExp(source.replace('down$', `${kind}$`));
      const own = [...model.namedParameters()].filter(([ours]) => path.test(ours)).map(([, value]) => value as Tensor);
      const joined = tf.concat(own as Tensor2D[], 0);
      await expectNear(/gpt2/.test(name) && kind === 'weight' ? tf.transpose(joined) : joined, weight, 1e-4, theirs);
    }
    adapted.unmerge();
    expect(await model.forward(ids).data()).toEqual(before);
    model.dispose();
  });
});

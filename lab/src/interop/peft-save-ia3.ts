/** @file (IA)³ as the PEFT library keeps it. */
import type { StoredTensor } from '../files/index.ts';
import type { Linear } from '../nn/index.ts';
import { IA3Linear } from '../peft/parts.ts';
import { PEFT_PREFIX, peftModules } from './peft-names.ts';
import { type PEFTContent, type PEFTTarget } from './peft-content.ts';

export async function ia3Content({ model, adaptation, format }: PEFTTarget): Promise<PEFTContent> {
  const tensors = new Map<string, StoredTensor>();
  const [targets, feedForward]: [string[], string[]] = [[], []];
  for (const { name, paths } of peftModules(format, model.config)) {
    const layers = paths.map((path) => adaptation.modules.get(path));
    const first = layers.find((layer) => layer instanceof IA3Linear);
    if (!first) continue;
    const vectors: ArrayLike<number>[] = [];
    for (const [i, layer] of layers.entries()) {
      if (layer instanceof IA3Linear) vectors.push(await layer.factors.data());
      else vectors.push(new Float32Array((model.get(paths[i]!) as Linear).outputs).fill(1)); // one of three that is left alone
    }
    const data = Float32Array.from(vectors.flatMap((vector) => Array.from(vector)));
    const shape = first.scalesInput ? [1, data.length] : [data.length, 1];
    tensors.set(`${PEFT_PREFIX}${name}.ia3_l`, { dtype: 'F32', shape, data });
    targets.push(name);
    if (first.scalesInput) feedForward.push(name);
  }
  const config = {
    target_modules: targets,
    feedforward_modules: feedForward,
    fan_in_fan_out: format === 'gpt2',
    modules_to_save: null,
  };
  return { type: 'IA3', config, tensors };
}

/**
 * @file LoRA, rsLoRA and DoRA as the PEFT library keeps them. Where three layers of ours are one of theirs (GPT-2's queries,
 * keys and values), their A stand below each other, and B has a block for each, so that the product is the same; layers that
 * share A, as those that were loaded do, keep the one.
 *
 * Shapes: O outputs, I inputs, r rank, R the ranks of several together.
 */
import { tf, type Tensor2D, type Tensor1D } from '../backend/index.ts';
import type { StoredTensor } from '../files/index.ts';
import type { Transformer } from '../model/index.ts';
import { AdaptedLinear, DoRALinear, floatWeight, LoRAEmbedding, LoRALinear } from '../peft/parts.ts';
import type { LinearLayer, LoRAOptions } from '../peft/index.ts';
import { PEFT_PREFIX, peftModules } from './peft-names.ts';
import { type PEFTContent, type PEFTTarget, stored } from './peft-content.ts';

/** A layer of ours that is adapted, or left alone beside one that is. */
type Part = LoRALinear | LinearLayer;

export async function loraContent({ model, adaptation, format }: PEFTTarget, options: LoRAOptions): Promise<PEFTContent> {
  const { rank: r = 8, rankStabilized = false, dropout = 0, method } = options;
  const tensors = new Map<string, StoredTensor>();
  const ranks: Record<string, number> = {};
  const alphas: Record<string, number> = {};
  for (const { name, paths } of peftModules(format, model.config)) {
    const own = paths.map((path) => adaptation.modules.get(path));
    const first = own.find((layer) => layer instanceof LoRALinear || layer instanceof LoRAEmbedding);
    if (!first) continue;
    const made =
      first instanceof LoRAEmbedding ? ofTable(first) : ofLayers(paths.map((path, i) => partOf(model, path, own[i])));
    for (const [end, tensor] of Object.entries(made)) tensors.set(`${PEFT_PREFIX}${name}.${end}`, await stored(tensor));
    const [rank] = (made['lora_A.weight'] ?? made['lora_embedding_A'])!.shape as [number];
    ranks[name] = rank;
    alphas[name] = first.scale * (rankStabilized ? Math.sqrt(rank) : rank);
    tf.dispose(made);
  }
  const config = {
    r,
    lora_alpha: options.alpha ?? r,
    rank_pattern: ranks,
    alpha_pattern: alphas,
    target_modules: Object.keys(ranks),
    lora_dropout: dropout,
    fan_in_fan_out: format === 'gpt2',
    bias: 'none',
    use_rslora: rankStabilized,
    use_dora: method === 'dora',
    init_lora_weights: true,
    modules_to_save: null,
  };
  return { type: 'LORA', config, tensors };
}

/** The adapted layer at a path, or the one that is there. */
function partOf(model: Transformer, path: string, adapted: unknown): Part {
  if (adapted instanceof LoRALinear) return adapted;
  const found = model.get(path) as LinearLayer | AdaptedLinear;
  return found instanceof AdaptedLinear ? found.base : found;
}

function ofTable({ down, up }: LoRAEmbedding): Record<string, Tensor2D> {
  return tf.tidy(() => ({ lora_embedding_A: tf.transpose(down), lora_embedding_B: tf.clone(up) }));
}

function ofLayers(parts: readonly Part[]): Record<string, Tensor2D | Tensor1D> {
  return tf.tidy(() => {
    const adapted = parts.filter((part) => part instanceof LoRALinear);
    const downs = [...new Set(adapted.map(({ down }) => down))];
    const ranks = downs.map(({ shape }) => shape[0]);
    const before = (down: unknown): number =>
      ranks.slice(0, downs.indexOf(down as (typeof downs)[number])).reduce((sum, r) => sum + r, 0);
    const total = ranks.reduce((sum, r) => sum + r, 0);
    const rows = parts.map((part): Tensor2D => {
      if (!(part instanceof LoRALinear)) return tf.zeros([part.outputs, total]);
      const start = before(part.down);
      return tf.pad(part.up, [
        [0, 0],
        [start, total - start - part.up.shape[1]],
      ]);
    });
    const lengths = parts.map((part): Tensor1D => {
      if (part instanceof DoRALinear) return part.magnitude;
      return tf.norm(floatWeight(part instanceof LoRALinear ? part.base : part), 'euclidean', 1) as Tensor1D;
    });
    return {
      'lora_A.weight': tf.concat<Tensor2D>(downs, 0),
      'lora_B.weight': tf.concat<Tensor2D>(rows, 0),
      ...(adapted[0] instanceof DoRALinear && { lora_magnitude_vector: tf.concat<Tensor1D>(lengths, 0) }),
    };
  });
}

/** @file What stands behind the names in a config: norms, MLPs and positions of the GPT-2 and Llama families. */
import { tf, type Tensor3D, type Tensor4D } from '../backend/index.ts';
import type { Random } from '../base/index.ts';
import { alibiBias, alibiSlopes, rotaryEmbedding } from '../attention/index.ts';
import { Embedding, GatedMLP, type Layer, LayerNorm, MLP, RMSNorm } from '../nn/index.ts';
import type { Position, ResolvedTransformerConfig } from './config.ts';

/** Weights that write into the residual stream begin smaller, as 2 · layers of them add up. Radford et al. 2019, section 2.3. */
export function residualStd({ initializerStd, layers }: ResolvedTransformerConfig): number {
  return initializerStd / Math.sqrt(2 * layers);
}

export function makeNorm(config: ResolvedTransformerConfig): Layer {
  const { norm, width, normEpsilon: epsilon, bias } = config;
  if (typeof norm === 'function') return norm(width, epsilon, config);
  return norm === 'rms' ? new RMSNorm(width, { epsilon }) : new LayerNorm(width, { epsilon, bias });
}

export function makeMLP(config: ResolvedTransformerConfig, random: Random): Layer {
  const { mlp, width, hiddenSize, bias, initializerStd: std } = config;
  if (typeof mlp === 'function') return mlp(config, random);
  const options = { bias, std, residualStd: residualStd(config), random };
  return mlp === 'swiglu' ? new GatedMLP(width, hiddenSize, options) : new MLP(width, hiddenSize, options);
}

export function makePosition(config: ResolvedTransformerConfig, random: Random): Position {
  const { position, contextLength, width, rotaryBase: base, rotaryScaling: scaling, initializerStd: std } = config;
  if (typeof position === 'function') return position(config, random);
  if (position === 'learned') return new LearnedPositions(contextLength, width, { std, random });
  if (position === 'rotary') {
    return {
      ...(!scaling && { rotaryBase: base }),
      rotate: (x: Tensor4D, offset) => rotaryEmbedding(x, { base, scaling, offset, overwrite: true }),
    };
  }
  return position === 'alibi' ? { bias: alibiBias, slopes: alibiSlopes } : {};
}

/** A learned vector for each place in the context, added to the token's. */
export class LearnedPositions extends Embedding implements Position {
  embed(x: Tensor3D, offset: number): Tensor3D {
    const [, tokens, width] = x.shape;
    return tf.add(x, tf.slice(this.weight, [offset, 0], [tokens, width]));
  }
}

/**
 * @file The Transformer block: tokens exchange what they know (attention), then each digests it (MLP); both read the stream
 * through a norm and add to it. Vaswani et al. 2017, section 3.1; the norm first, as in GPT-2.
 *
 * Shapes: B batch, T tokens, D width.
 */
import { tf, type Tensor3D } from '../backend/index.ts';
import { type AttentionContext, MultiHeadAttention } from '../attention/index.ts';
import { Dropout, type Layer, Module } from '../nn/index.ts';
import { residual } from '../ops/index.ts';
import type { BlockOptions } from './config.ts';
import { makeMLP, makeNorm, residualStd } from './parts.ts';

export class Block extends Module {
  attentionNorm: Layer;
  attention: MultiHeadAttention;
  mlpNorm: Layer;
  mlp: Layer;
  readonly dropout: Dropout;

  constructor({ config, position, random }: BlockOptions) {
    super();
    const { width, heads, keyValueHeads, headSize, attentionBias, dropout, attention: compute, initializerStd: std } = config;
    const { slidingWindow, attentionSoftCap: softCap } = config;
    this.attentionNorm = makeNorm(config);
    this.attention = new MultiHeadAttention({
      width,
      heads,
      keyValueHeads,
      headSize,
      bias: attentionBias !== false,
      outputBias: attentionBias === true,
      slidingWindow,
      softCap,
      dropout,
      position,
      compute,
      std,
      residualStd: residualStd(config),
      random: random.fork(),
    });
    this.mlpNorm = makeNorm(config);
    this.mlp = makeMLP(config, random.fork());
    this.dropout = new Dropout(dropout, random.fork());
  }

  /**
   * @param x [B, T, D]
   * @returns [B, T, D]
   */
  forward(x: Tensor3D, context: AttentionContext = {}): Tensor3D {
    return tf.tidy(() => {
      const attended = this.attention.forward(this.attentionNorm.forward(x), context);
      const middle = residual(x, this.dropout.forward(attended));
      return residual(middle, this.dropout.forward(this.mlp.forward(this.mlpNorm.forward(middle))));
    });
  }
}

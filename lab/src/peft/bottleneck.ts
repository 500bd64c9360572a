/**
 * @file Adapters: two thin layers with a bend between them, behind a layer (Houlsby et al. 2019, section 2) or beside it
 * (He et al. 2022, section 3.3). The second begins at zero, so that the model begins as it was.
 *
 * Shapes: D width, r bottleneck.
 */
import { tf, type Tensor } from '../backend/index.ts';
import { type Random } from '../base/index.ts';
import { Layer, Linear } from '../nn/index.ts';
import { gelu, residual } from '../ops/index.ts';
import { scaled } from './wrapper.ts';

export interface AdapterSizes {
  readonly inputs: number;
  readonly outputs: number;
  /** r */
  readonly size: number;
  readonly scale: number;
}

/** Stands around a layer; what it is called with besides x goes on to the layer. */
abstract class AdaptedLayer extends Layer {
  base: Layer;
  readonly scale: number;
  /** D → r */
  down: Linear;
  /** r → D, zero at first. */
  up: Linear;

  constructor(base: Layer, { inputs, outputs, size, scale }: AdapterSizes, random: Random) {
    super();
    this.base = base;
    this.scale = scale;
    this.down = new Linear(inputs, size, { std: 1 / Math.sqrt(inputs), random });
    this.up = new Linear(size, outputs, { std: 0 });
  }

  /** scale · up(gelu(down(x))) */
  protected change<T extends Tensor>(x: T): T {
    return scaled(this.up.forward(gelu(this.down.forward(x))), this.scale);
  }
}

/** h + change(h), h what the layer gives. */
export class HoulsbyAdapter extends AdaptedLayer {
  override forward<T extends Tensor>(x: T): T {
    return tf.tidy(() => {
      const hidden = this.base.forward(x);
      return residual(hidden, this.change(hidden));
    });
  }
}

/** What the layer makes of x, and what the adapter makes of it. */
export class ParallelAdapter extends AdaptedLayer {
  override forward<T extends Tensor>(x: T): T {
    return tf.tidy(() => residual(this.base.forward(x), this.change(x)));
  }
}

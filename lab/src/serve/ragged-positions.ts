/**
 * @file Positions of a ragged batch: each row stands at a place of its own, where the model's usual way counts on from one.
 *
 * Shapes: N rows, D width, H heads, S head size.
 */
import { tf, type Tensor, type Tensor2D, type Tensor3D } from '../backend/index.ts';
import { LearnedPositions, type Transformer } from '../model/index.ts';
import { rotaryFrequencies } from '../ops/index.ts';
import { byHeads } from './ragged-attention.ts';
import type { RaggedTile } from './ragged-batch.ts';

/** How rows are marked and turned. */
export interface RaggedPositions {
  /** Marks embeddings [1, N, D]. */
  embed(x: Tensor3D): Tensor3D;
  /** Turns queries or keys [N, H, S]. */
  rotate(x: Tensor3D): Tensor3D;
}

/** For the rows of a tile. Call it inside a tidy: what it makes for all layers is let go of at the end. */
export function raggedPositions(model: Transformer, tile: RaggedTile): RaggedPositions {
  const position = model.positionEmbedding;
  const bySegments = <T extends Tensor>(x: T, axis: number, f: (part: T, offset: number) => T): T => {
    const parts = segmentsAndRest(tile).map(({ from, rows, start }) => {
      const begin = x.shape.map((_, i) => (i === axis ? from : 0));
      return f(
        tf.slice(
          x,
          begin,
          x.shape.map((size, i) => (i === axis ? rows : size)),
        ) as T,
        start,
      );
    });
    return tf.concat(parts, axis);
  };
  const turned = (part: Tensor3D, offset: number): Tensor3D => {
    return tf.squeeze(tf.transpose(position.rotate!(byHeads(part), offset), [0, 2, 1, 3]), [0]);
  };
  return {
    embed(x) {
      if (!position.embed) return x;
      if (!(position instanceof LearnedPositions)) return bySegments(x, 1, (part, offset) => position.embed!(part, offset));
      return tf.add(x, tf.gather(position.weight as Tensor2D, tf.tensor1d([...tile.positions], 'int32')));
    },
    rotate:
      model.config.position === 'rotary' ? rotation(model, tile) : (x) => (position.rotate ? bySegments(x, 0, turned) : x),
  };
}

/** x · [cos, cos] + [second half, first half] · [−sin, sin], for all rows at once. Su et al. 2021, section 3.4.2. */
function rotation({ config }: Transformer, { positions }: RaggedTile): (x: Tensor3D) => Tensor3D {
  const { headSize, rotaryBase, rotaryScaling } = config;
  const frequencies = rotaryFrequencies(headSize, rotaryBase, rotaryScaling);
  const half = frequencies.length;
  const [cosines, sines] = [new Float32Array(positions.length * headSize), new Float32Array(positions.length * headSize)];
  for (const [row, position] of positions.entries()) {
    for (let i = 0; i < headSize; i++) {
      const angle = position * frequencies[i % half]!;
      cosines[row * headSize + i] = Math.cos(angle);
      sines[row * headSize + i] = i < half ? -Math.sin(angle) : Math.sin(angle);
    }
  }
  const shape: [number, number, number] = [positions.length, 1, headSize];
  const [cosine, sine] = [tf.tensor3d(cosines, shape), tf.tensor3d(sines, shape)];
  return (x) =>
    tf.tidy(() => {
      const [first, second] = tf.split(x, 2, -1) as [Tensor, Tensor];
      return tf.add<Tensor3D>(tf.mul(x, cosine), tf.mul(tf.concat([second, first], -1), sine));
    });
}

/** The segments, and behind them the rows that fill up a tile. */
function segmentsAndRest({ segments, tokens }: RaggedTile): { from: number; rows: number; start: number }[] {
  const last = segments.at(-1)!;
  const end = last.from + last.rows;
  return end === tokens.length ? [...segments] : [...segments, { from: end, rows: tokens.length - end, start: 0 }];
}

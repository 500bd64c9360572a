/**
 * @file The text of the attention shaders as the GPU gets it, indented for reading.
 */
import { invariant } from '../../base/index.ts';
import { keyGradientShader, queryGradientShader, rowsShader } from './backward.wgsl.ts';
import { decodeShader, joinShader } from './decode.wgsl.ts';
import { forwardShader } from './forward.wgsl.ts';
import type { ShaderFeatures } from './wgsl.ts';

const shaders = {
  forward: forwardShader,
  decode: decodeShader,
  join: joinShader,
  rows: rowsShader,
  'query gradient': queryGradientShader,
  'key gradient': keyGradientShader,
} as const;

export type AttentionShaderName = keyof typeof shaders;

export interface AttentionShaderOptions {
  /** S; the text differs from head size to head size. */
  readonly headSize: number;
  readonly softCap?: boolean;
  readonly bias?: boolean;
  readonly dropout?: boolean;
  /** H where there are ALiBi slopes, else 0. */
  readonly slopes?: number;
}

/**
 * The WGSL of one of the attention kernels.
 *
 * @throws RangeError when there is no shader of that name
 */
export function attentionShader(name: AttentionShaderName, options: AttentionShaderOptions): string {
  const shader = (shaders as Readonly<Record<string, (features: ShaderFeatures) => string>>)[name];
  invariant(shader, () => `attentionShader: there is no '${name}'; there are ${Object.keys(shaders).join(', ')}`);
  return indented(shader({ softCap: false, bias: false, dropout: false, slopes: 0, ...options }));
}

/** Every line indented by the brackets that are open before it; lines that a template left empty are dropped. */
function indented(code: string): string {
  let depth = 0;
  const lines = code.split('\n').map((line) => line.trim());
  const begins = /^(fn|@compute|struct|const|var<workgroup>|\/\/)/; // what an empty line may stand before
  const kept = lines.filter((line, i) => line !== '' || begins.test(lines[i + 1] ?? ''));
  return kept
    .map((line) => {
      const bare = line.replace(/\/\/.*/, '');
      const opened = bare.match(/[({[]/g)?.length ?? 0;
      const closed = bare.match(/[)}\]]/g)?.length ?? 0;
      const text = '  '.repeat(Math.max(0, depth - (/^[)}\]]/.test(line) ? 1 : 0))) + line;
      depth += Math.sign(opened - closed);
      return text.trimEnd();
    })
    .join('\n')
    .trim();
}

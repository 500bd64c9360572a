/**
 * @file Which answer was checked: a digest of an exercise's code that is the same for the cell in the saved notebook and for
 * what the kernel made of that cell. Types, comments and layout do not count.
 */
import { createHash } from 'node:crypto';
import { kernelSource } from '../kernel-source.ts';
import type { Answer, Exercise } from '../exercise.ts';
import { transpile } from '../transpile.ts';

/** What the kernel and the compiler put around and between the lines of a cell. */
function withoutExports(javascript: string): string {
  return javascript
    .replace(/^Object\.defineProperty\(exports, "__esModule".*$/gm, '')
    .replace(/^exports\.[\w$. =]+ = (void 0|[\w$]+);$/gm, '')
    .replace(/\bexports\.(tsLastExpr = )?/g, '')
    .replace(/\s+/g, ' ')
    .trim();
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

/** The digest of a cell's TypeScript; of its very text where it does not compile. */
export function cellDigest(source: string): string {
  try {
    return digestOf(withoutExports(transpile(source, 'cell', { removeComments: true })));
  } catch {
    return digestOf(source);
  }
}

const KERNEL_WRAPPER = /^\(function\(exports, require\) \{ ([\s\S]*)\n\}\)\(__tslab__\.exports, __tslab__\.require\)\s*$/;

/** The digest of the cell that defined an exercise's functions in the running notebook; undefined when they are not there. */
export function liveDigest({ names }: Exercise, live: Answer): string | undefined {
  const functions = names.map((name) => live[name] as unknown);
  if (functions.some((value) => value === undefined)) return undefined;
  const [text = ''] = functions.map(String);
  const whole = kernelSource((source) => source.includes(text)) ?? functions.map(String).join('\n');
  return cellDigest(whole.replace(KERNEL_WRAPPER, '$1'));
}

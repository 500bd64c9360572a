/**
 * @file What stands in a line of a cell that the kernel has run: the kernel names all cells alike in stack traces, so the
 * source comes from the engine itself.
 */
import { Session, type Debugger } from 'node:inspector';

/** The name that the kernel's cells have in stack traces. */
export const KERNEL_CELL = 'evalmachine.<anonymous>';

/**
 * The JavaScript of the newest cell for which this holds, as the kernel compiled it.
 *
 * @param fits is given the cells from the newest to the oldest
 */
export function kernelSource(fits: (source: string) => boolean): string | undefined {
  const session = new Session();
  session.connect();
  try {
    const scripts: string[] = [];
    session.on('Debugger.scriptParsed', ({ params }: { params: Debugger.ScriptParsedEventDataType }) => {
      if (params.url === KERNEL_CELL) scripts.push(params.scriptId);
    });
    session.post('Debugger.enable');
    for (const scriptId of scripts.reverse()) {
      let source = '';
      session.post('Debugger.getScriptSource', { scriptId }, (error, result) => {
        if (!error) source = result.scriptSource;
      });
      if (fits(source)) return source;
    }
    return undefined;
  } finally {
    session.disconnect();
  }
}

/**
 * The text of a line of the newest cell that defines the function.
 *
 * @param name the function, as the stack trace names it
 * @param line counted from 1
 */
export function kernelLine(name: string, line: number): string | undefined {
  const defines = new RegExp(`function\\s+${name}\\b|\\b${name}\\s*=`);
  return kernelSource((source) => defines.test(source))?.split('\n')[line - 1];
}

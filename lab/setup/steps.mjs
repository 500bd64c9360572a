// @ts-check
/**
 * @file What the set-up says while it works: one line a step, with its time, and signs of life while it lasts.
 */

/** Something the user can mend: printed as its sentence, without a stack trace. */
export class SetupError extends Error {
  /** @override */
  name = 'SetupError';
}

const REDRAW_MS = 120;
const REMIND_MS = 10_000;
const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/** @param {number} since from performance.now() */
const elapsed = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

/** @param {string} text */
const clearedLine = (text) => `\r\u001b[2K${text.slice(0, (process.stderr.columns ?? 80) - 1)}`;

/**
 * Runs one step. A terminal sees a line that moves; a log file sees a line at the start, every ten seconds and at the end.
 *
 * @template T
 * @param {string} title what is done, as 'Installing the packages'
 * @param {(say: (detail: string) => void) => T | Promise<T>} body may report what it is at with `say`
 * @returns {Promise<T>}
 */
export async function step(title, body) {
  const since = performance.now();
  const live = process.stderr.isTTY;
  let detail = '';
  let frame = 0;
  const draw = () => {
    frame = (frame + 1) % frames.length;
    process.stderr.write(clearedLine(`${frames[frame]} ${title} (${elapsed(since)}) ${detail}`));
  };
  const remind = () => console.error(`  … ${title} (${elapsed(since)}) ${detail.slice(0, 80)}`.trimEnd());
  const timer = setInterval(live ? draw : remind, live ? REDRAW_MS : REMIND_MS);
  const end = (/** @type {string} */ mark) => {
    clearInterval(timer);
    console.error(`${live ? clearedLine('') : ''}${mark} ${title} (${elapsed(since)})`);
  };
  try {
    const result = await body((text) => (detail = text));
    end('✓');
    return result;
  } catch (error) {
    end('✗');
    throw error;
  }
}

/**
 * The last line of defence of a script: a SetupError becomes a sentence and exit status 1, anything else keeps its trace.
 *
 * @param {() => Promise<number>} main returns the exit status
 */
export async function runScript(main) {
  try {
    process.exitCode = await main();
  } catch (error) {
    console.error(error instanceof SetupError ? `\n${error.message}` : error);
    process.exitCode = 1;
  }
}

// @ts-check
'use strict';
/**
 * @file Loaded into the notebook kernel before tslab, to mend two things in it.
 */

/**
 * Its warnings about Jupyter messages it does not know (JupyterLab asks for a history, for instance) would land in the
 * output of some cell.
 */
const warn = console.warn.bind(console);

Object.assign(console, {
  /** @param {unknown[]} values */
  warn: (...values) => {
    if (!String(values[0]).startsWith('unknown msg_type')) warn(...values);
  },
});

/**
 * tslab sends its outputs without waiting for one to be gone before the next. zeromq makes every 512th such send an
 * asynchronous one, during which the next throws, and a long training fails in the middle of its cell. With a timeout of
 * zero all are sent at once, as a publisher always can; what the front end has not read yet waits, up to a limit, beyond
 * which zeromq drops messages.
 */
const MOST_WAITING = 10_000;
const zeromq = require(require.resolve('zeromq', { paths: [require.resolve('tslab/package.json')] }));

zeromq.Publisher = class extends zeromq.Publisher {
  /** @param {object} [options] */
  constructor(options) {
    super({ ...options, sendTimeout: 0, sendHighWaterMark: MOST_WAITING });
  }
};

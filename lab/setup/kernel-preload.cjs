// @ts-check
'use strict';
/**
 * @file Loaded into the notebook kernel before tslab: swallows its warnings about Jupyter messages it does not know
 * (JupyterLab asks for a history, for instance), which would otherwise land in the output of some cell.
 */
const warn = console.warn.bind(console);

Object.assign(console, {
  /** @param {unknown[]} values */
  warn: (...values) => {
    if (!String(values[0]).startsWith('unknown msg_type')) warn(...values);
  },
});

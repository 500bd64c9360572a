/**
 * @file Verdicts for the eye: a table in the notebook, lines in the terminal. Signs are ✓ ✗ ○, never emoji, which
 * may lack a font; colours are only a help and come in pairs that suit a light and a dark page.
 */
import { escapeMarkup } from '../base/index.ts';
import type { Row } from './runner.ts';
import { headline, type Verdict } from './verdict.ts';

const SIGNS = { passed: '✓', failed: '✗', unwritten: '○', skipped: '–' } as const;
/** Readable on white and on JupyterLab's dark grey (contrast at least 3 : 1 on both). */
const COLOURS = { passed: '#2e9e4f', failed: '#d9534f', unwritten: '#b8860b', skipped: '#888888' } as const;

/** The words below a test that did not pass. */
function wordsOf({ state, message = '', detail }: Row): string {
  if (state === 'passed') return '';
  if (state === 'skipped') return 'not run, because a test before it had to be stopped';
  return detail === undefined ? message : `${message}\n${detail}`;
}

function sign(state: Row['state']): string {
  return `<span style="color:${COLOURS[state]};font-weight:bold">${SIGNS[state]}</span>`;
}

const CELL = 'style="text-align:left;vertical-align:top;padding:2px 8px"';
// The notebook's own variables where there are any, so that the text follows the theme.
const PRE = 'style="margin:2px 0 4px;white-space:pre-wrap;background:transparent;color:inherit"';

function htmlRow(row: Row): string {
  const [sentence = '', ...rest] = wordsOf(row).split('\n');
  const said = sentence === '' ? '' : `<div><b>${escapeMarkup(sentence)}</b></div>`;
  const detail = rest.length === 0 ? '' : `<pre ${PRE}>${escapeMarkup(rest.join('\n'))}</pre>`;
  const time = row.state === 'skipped' ? '' : `${row.milliseconds.toFixed(0)} ms`;
  return `<tr><td ${CELL}>${sign(row.state)}</td><td ${CELL}>${escapeMarkup(row.name)}${said}${detail}</td><td ${CELL}>${time}</td></tr>`;
}

/** A verdict as a piece of HTML that needs no styles of its own. */
export function htmlReport(verdict: Verdict): string {
  const caption = `<div>${sign(verdict.state)} <b>Exercise ${escapeMarkup(headline(verdict))}</b></div>`;
  if (verdict.state === 'unwritten') return caption;
  const problem = verdict.problem === undefined ? '' : `<pre ${PRE}>${escapeMarkup(verdict.problem)}</pre>`;
  const rows = verdict.rows.length === 0 ? '' : `<table style="margin:4px 0">${verdict.rows.map(htmlRow).join('')}</table>`;
  return caption + problem + rows;
}

function indent(text: string, by: string): string {
  return text.replace(/^/gm, by);
}

/** A verdict as lines of text: tests that pass are counted, the others are named. */
export function textReport(verdict: Verdict): string {
  const lines = [`${SIGNS[verdict.state]} ${headline(verdict)}`];
  if (verdict.state !== 'failed') return lines[0]!;
  if (verdict.problem !== undefined) lines.push(indent(verdict.problem, '    '));
  for (const row of verdict.rows) {
    if (row.state === 'passed') continue;
    lines.push(`    ${SIGNS[row.state]} ${row.name}`, indent(wordsOf(row), '        '));
  }
  return lines.join('\n');
}

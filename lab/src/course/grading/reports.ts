/**
 * @file A class's results for whoever reads them: a table (CSV, RFC 4180), a test report (JUnit XML), and for each student a
 * page of HTML. Hidden tests are named in the first two, which are the teacher's, and only counted in the students'.
 */
import { escapeMarkup } from '../../base/index.ts';
import { htmlReport } from '../report.ts';
import type { Row } from '../runner.ts';
import type { ExerciseResult, StudentResult } from './results.ts';

/** A student's text must not become a formula when a spreadsheet opens it. */
function csvCell(value: string | number): string {
  const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** One line a student: points, points by exercise, notes. */
export function csvReport(results: readonly StudentResult[]): string {
  const ids = [...new Map(results.flatMap(({ exercises }) => exercises.map(({ id, worth }) => [id, worth] as const)))];
  const head = ['student', 'points', 'of', ...ids.map(([id, worth]) => `${id} (${worth})`), 'notes'];
  const lines = results.map(({ student, points, worth, exercises, notes }) => {
    const byId = new Map(exercises.map((exercise) => [exercise.id, exercise.points]));
    const said = [...notes, ...exercises.flatMap(({ id, problem }) => (problem === undefined ? [] : [`${id}: ${problem}`]))];
    return [student, points, worth, ...ids.map(([id]) => byId.get(id) ?? ''), said.join(' | ')];
  });
  return [head, ...lines].map((line) => `${line.map(csvCell).join(',')}\r\n`).join('');
}

/** What XML 1.0 cannot hold, not even escaped. */
const NOT_XML =
  /[\u0000-\u0008\u000B\u000C\u000E-\u001F\uFFFE\uFFFF\p{Surrogate}]/gu;

function xml(text: string): string {
  return escapeMarkup(text.replace(NOT_XML, '\uFFFD'));
}

function caseOf({ id, title }: ExerciseResult, row: Pick<Row, 'name' | 'state' | 'message' | 'detail'>): string {
  const said = [row.message, row.detail].filter((text) => text !== undefined).join('\n');
  const inner =
    row.state === 'passed'
      ? ''
      : row.state === 'skipped'
        ? '<skipped/>'
        : `<failure message="${xml((row.message ?? '').split('\n')[0]!)}">${xml(said)}</failure>`;
  return `    <testcase classname="${xml(`${id} ${title}`)}" name="${xml(row.name)}">${inner}</testcase>`;
}

/** Every test of every student. Times are left out: the same answers give the same report. */
export function junitReport(results: readonly StudentResult[]): string {
  const suites = results.map(({ student, exercises }) => {
    const cases = exercises.flatMap((exercise) =>
      exercise.problem === undefined
        ? exercise.rows.map((row) => ({ state: row.state, text: caseOf(exercise, row) }))
        : [{ state: 'failed', text: caseOf(exercise, { name: 'can be tested', state: 'failed', message: exercise.problem }) }],
    );
    const count = (...states: string[]): number => cases.filter(({ state }) => states.includes(state)).length;
    const counts = `tests="${cases.length}" failures="${count('failed', 'unwritten')}" skipped="${count('skipped')}"`;
    return [`  <testsuite name="${xml(student)}" ${counts}>`, ...cases.map(({ text }) => text), '  </testsuite>'].join('\n');
  });
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n${suites.join('\n')}\n</testsuites>\n`;
}

const STYLE = `body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
:root { color-scheme: light dark; }
td, th { text-align: left; padding: 0.1rem 0.8rem 0.1rem 0; } section { margin-top: 1.5rem; }`;

function exerciseSection(result: ExerciseResult): string {
  const shown = result.rows.filter(({ hidden }) => !hidden);
  const hidden = result.rows.filter((row) => row.hidden);
  const passed = hidden.filter(({ state }) => state === 'passed').length;
  const more = hidden.length === 0 ? '' : `<p>Tests that are not shown: ${passed} of ${hidden.length} pass.</p>`;
  const points = `<p>${result.points} of ${result.worth} points</p>`;
  return `<section>${htmlReport({ ...result, rows: shown })}${more}${points}</section>`;
}

/** A student's page. It needs nothing else: no scripts, no other files. */
export function studentPage(result: StudentResult): string {
  const { student, points, worth, exercises, notes } = result;
  const rows = exercises.map(
    ({ id, title, points: own, worth: most }) => `<tr><td>${escapeMarkup(`${id} ${title}`)}</td><td>${own} / ${most}</td></tr>`,
  );
  const said = notes.length === 0 ? '' : `<ul>${notes.map((note) => `<li>${escapeMarkup(note)}</li>`).join('')}</ul>`;
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeMarkup(student)}</title>
<style>${STYLE}</style></head>
<body><main><h1>${escapeMarkup(student)}: ${points} of ${worth} points</h1>
${said}
<table><tr><th>Exercise</th><th>Points</th></tr>${rows.join('')}</table>
${exercises.map(exerciseSection).join('\n')}
</main></body>
</html>
`;
}

/**
 * @file Progress for the eye: chapters with a sign for each exercise and a bar, as lines in the terminal, as a table in the
 * notebook.
 */
import { escapeMarkup, formatDuration, progressBar } from '../../base/index.ts';
import type { Chapter } from '../exercise.ts';
import { isDone, type ChapterProgress, type CourseProgress, type ExerciseProgress, type ExerciseState } from './progress.ts';

const SIGNS: Readonly<Record<ExerciseState, string>> = {
  passed: '✓',
  unsaved: '✓',
  changed: '~',
  failed: '✗',
  waiting: '…',
  written: '·',
  open: '○',
  missing: '?',
};

const WORDS: Readonly<Record<ExerciseState, string>> = {
  passed: 'passed',
  unsaved: 'passed; save the notebook to keep it',
  changed: 'changed since it passed: check it again',
  failed: 'does not pass yet',
  waiting: 'waits for an exercise that is not written yet',
  written: 'not checked yet',
  open: 'not written yet',
  missing: 'the notebook has no cell for it',
};

/** Readable on white and on JupyterLab's dark grey. */
const COLOURS: Readonly<Record<ExerciseState, string>> = {
  passed: '#2e9e4f',
  unsaved: '#2e9e4f',
  changed: '#b8860b',
  failed: '#d9534f',
  waiting: '#b8860b',
  written: '#b8860b',
  open: '#888888',
  missing: '#888888',
};

interface Sum {
  readonly done: number;
  readonly count: number;
  readonly minutes: number;
  readonly seconds: number;
}

function sumOf(exercises: readonly ExerciseProgress[]): Sum {
  return {
    done: exercises.filter(isDone).length,
    count: exercises.length,
    minutes: exercises.reduce((total, { exercise }) => total + exercise.minutes, 0),
    seconds: exercises.reduce((total, { seconds }) => total + seconds, 0),
  };
}

/** '25 minutes planned, 31 min 10 s spent'; less than a minute is nothing. */
function timeWords({ minutes, seconds }: Pick<Sum, 'minutes' | 'seconds'>): string {
  const planned = minutes < 120 ? `${minutes} minutes` : `${Math.round(minutes / 30) / 2} hours`;
  return `${planned} planned${seconds >= 60 ? `, ${formatDuration(seconds)} spent` : ''}`;
}

const numberOf = ({ number }: Chapter): string => String(number).padStart(2, '0');

function nextWords({ next }: CourseProgress): string {
  if (!next) return 'All exercises are done.';
  const { chapter, exercise } = next;
  const { id, title, difficulty, minutes } = exercise;
  return `Next: ${id} ${title} (difficulty ${difficulty}/5, ${minutes} minutes), in notebooks/${chapter.slug}.ipynb`;
}

function headline(progress: CourseProgress): { readonly sum: Sum; readonly text: string } {
  const sum = sumOf(progress.chapters.flatMap(({ exercises }) => exercises));
  return { sum, text: `${sum.done} of ${sum.count} exercises · ${timeWords(sum)}` };
}

/**
 * Progress as lines.
 *
 * @param inDetail these chapters, with a line for each exercise; all of them with one line each unless told
 */
export function progressText(progress: CourseProgress, inDetail?: readonly Chapter[]): string {
  const { sum, text } = headline(progress);
  const width = Math.max(0, ...progress.chapters.map(({ chapter }) => chapter.title.length));
  const signs = Math.max(0, ...progress.chapters.map(({ exercises }) => exercises.length));
  const line = ({ chapter, exercises, problem }: ChapterProgress): string => {
    const own = sumOf(exercises);
    const row = exercises.map(({ state }) => SIGNS[state]).join('');
    const words = problem ?? timeWords(own);
    const counts = `${own.done}/${own.count}`.padStart(5);
    return `${numberOf(chapter)} ${chapter.title.padEnd(width)} ${row.padEnd(signs)} ${counts}  ${words}`;
  };
  const shown = progress.chapters.filter(({ chapter }) => !inDetail || inDetail.includes(chapter));
  const lines = shown.flatMap((one) => [line(one), ...(inDetail ? one.exercises.map(exerciseLine) : [])]);
  const legend = legendOf(shown, inDetail !== undefined);
  const bar = progressBar(sum.done / Math.max(1, sum.count));
  return [`${bar} ${text}`, '', ...lines, '', ...legend, nextWords(progress)].join('\n');
}

function exerciseLine({ exercise, state, seconds }: ExerciseProgress): string {
  const { id, title, minutes } = exercise;
  return `   ${SIGNS[state]} ${id} ${title}: ${WORDS[state]} (${timeWords({ minutes, seconds })})`;
}

/** What the signs mean that are there and speak less for themselves. */
function legendOf(shown: readonly ChapterProgress[], spelledOut: boolean): string[] {
  const there = new Set(shown.flatMap(({ exercises }) => exercises.map(({ state }) => state)));
  const unclear = (['unsaved', 'changed', 'failed', 'waiting', 'written', 'missing'] as const).filter((state) => there.has(state));
  return spelledOut || unclear.length === 0 ? [] : [unclear.map((state) => `${SIGNS[state]} ${WORDS[state]}`).join(' · ')];
}

const CELL = 'style="text-align:left;padding:2px 10px"';

function htmlBar(share: number): string {
  const percent = Math.round(100 * share);
  const outer = 'display:inline-block;width:160px;height:10px;border:1px solid #888888;border-radius:5px;overflow:hidden';
  const inner = `width:${percent}%;height:100%;background:${COLOURS.passed}`;
  return `<div role="img" aria-label="${percent}%" style="${outer}"><div style="${inner}"></div></div>`;
}

/** Progress as a piece of HTML that needs no styles of its own; the same choice as {@link progressText}. */
export function progressHtml(progress: CourseProgress, inDetail?: readonly Chapter[]): string {
  const { sum, text } = headline(progress);
  const sign = ({ exercise, state }: ExerciseProgress): string => {
    const title = escapeMarkup(`${exercise.id} ${exercise.title}: ${WORDS[state]}`);
    return `<span title="${title}" style="color:${COLOURS[state]};font-weight:bold">${SIGNS[state]}</span>`;
  };
  const rows = progress.chapters
    .filter(({ chapter }) => !inDetail || inDetail.includes(chapter))
    .map((one) => {
      const own = sumOf(one.exercises);
      const signs = inDetail
        ? one.exercises.map((each) => `${sign(each)} ${escapeMarkup(exerciseLine(each).slice(5))}`).join('<br>')
        : one.exercises.map(sign).join(' ');
      const cells = [
        escapeMarkup(`${numberOf(one.chapter)} ${one.chapter.title}`),
        htmlBar(own.done / Math.max(1, own.count)),
        signs,
        escapeMarkup(one.problem ?? timeWords(own)),
      ];
      return `<tr>${cells.map((cell) => `<td ${CELL}>${cell}</td>`).join('')}</tr>`;
    });
  const legend = legendOf(progress.chapters, inDetail !== undefined).map((line) => `<div>${escapeMarkup(line)}</div>`);
  const head = `<div><b>${escapeMarkup(text)}</b> ${htmlBar(sum.done / Math.max(1, sum.count))}</div>`;
  const table = `<table style="margin:4px 0">${rows.join('')}</table>`;
  return `${head}${table}${legend.join('')}<div>${escapeMarkup(nextWords(progress))}</div>`;
}

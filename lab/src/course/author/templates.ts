/**
 * @file What a new chapter and a new exercise begin as: files that compile, and that the meta test refuses until somebody has
 * written the exercise, its tests and the mistakes that they must recognise.
 */
import type { Chapter, Exercise } from '../exercise.ts';
import type { NotebookCell } from '../notebook-file.ts';

/** The number of a chapter in file names: '03'. */
export function twoDigits(number: number): string {
  return String(number).padStart(2, '0');
}

/** An exercise that has an id and nothing else yet. */
export function newExercise(chapter: number, place: number): Pick<Exercise, 'id' | 'title' | 'names'> {
  return { id: `${chapter}.${place}`, title: 'to be named', names: [`toBeNamed${place}`] };
}

type Named = Pick<Exercise, 'id' | 'title' | 'names'>;
type Titled = Pick<Chapter, 'number' | 'slug' | 'title'>;

/** A string literal. */
function quoted(text: string): string {
  return text.includes("'") ? JSON.stringify(text) : `'${text}'`;
}

const throws = (id: string): string => `throw new Error('${id} is not written yet');`;

export function catalogEntry({ id, title, names: [name] }: Named): string {
  return `    {
      id: '${id}',
      title: ${quoted(title)},
      names: ['${name}'],
      difficulty: 2,
      minutes: 15,
      // The library's own function in the place of the answer.
      library: {
        ${name}: () => {
          ${throws(id)}
        },
      },
    },`;
}

export function catalogFile({ number, slug, title }: Titled, exercise: Named): string {
  return `/** @file Chapter ${twoDigits(number)}, ${title}: its exercises, and the library's functions in their place. */
import type { Chapter } from '../exercise.ts';

export const chapter: Chapter = {
  number: ${number},
  slug: '${slug}',
  title: ${quoted(title)},
  exercises: [
${catalogEntry(exercise)}
  ],
};
`;
}

export function solutionRegion({ id, title, names: [name] }: Named): string {
  return `// #region ${id} ${title}
/** What it gives, and from what. */
export function ${name}(): number {
  ${throws(id)}
}
// #endregion
`;
}

export function solutionFile({ number, title }: Titled, exercise: Named): string {
  return `/**
 * @file Reference answers of chapter ${twoDigits(number)}, ${title}.
 */

${solutionRegion(exercise)}`;
}

export function testSuite({ id, title, names: [name] }: Named): string {
  return `describe('${id} ${title}', () => {
  it('does what the exercise asks for', () => {
    expect(${name}()).toBe(1);
  });
});
`;
}

export function testFile({ number, slug, title }: Titled, exercise: Named): string {
  return `/**
 * @file Chapter ${twoDigits(number)}, ${title}: what each answer must do, and what the usual mistakes look like.
 */
import { describe, expect, it } from 'vitest';
import { ${exercise.names[0]} } from '../solutions/${slug}.ts';

${testSuite(exercise)}`;
}

export function mistakesEntry({ id }: Named): string {
  return `  '${id}': {
    // At least three, each under the id of the hint that must be given for it.
    mistakes: {},
    // At least two, written differently from the solution.
    right: [],
  },`;
}

export function mistakesFile({ number }: Titled, exercise: Named): string {
  return `/**
 * @file Chapter ${twoDigits(number)}: plausible wrong answers, each under the hint that its author must be given, and right
 * answers that are written differently from the solution.
 */
import type { ChapterMistakes } from 'lab';

export default {
${mistakesEntry(exercise)}
} satisfies ChapterMistakes;
`;
}

type Cell = NotebookCell & { readonly id: string };

function markdown(id: string, source: string): Cell {
  return { cell_type: 'markdown', id, metadata: {}, source };
}

function code(id: string, source: string, metadata: object = {}): Cell {
  return { cell_type: 'code', execution_count: null, id, metadata, outputs: [], source } as Cell;
}

/** The cells of an exercise: what is asked, the stub, the check, and what the answer does in the real thing. */
export function exerciseCells({ id, title, names: [name] }: Named): Cell[] {
  const suffix = id.replace('.', '-');
  const asks = `### Exercise ${id} · ${title}

**Goal.** Write \`${name}()\`.

*difficulty 2/5 · 15 minutes*

<details><summary>Hint</summary>

What helps who is stuck, and gives nothing away to who is not.

</details>`;
  const stub = `/** What it gives, and from what. */\nfunction ${name}(): number {\n  return lab.todo('${id}');\n}`;
  const shows = `await use('${id}', (${name}) => {\n  console.log('Show here what the answer does.');\n});`;
  return [
    markdown(`text-${suffix}`, asks),
    code(`exercise-${suffix}`, stub, { lab: { exercise: id } }),
    code(`check-${suffix}`, `await check('${id}');`, { deletable: false, editable: false, lab: { check: id } }),
    code(`run-${suffix}`, shows),
  ];
}

/**
 * A chapter's notebook.
 *
 * @param setup the source of the first code cell, which is the same in all notebooks
 */
export function notebookFile({ number, title }: Titled, exercise: Named, setup: string): string {
  const cells = [
    markdown(`text-${number}-0`, `# ${number} · ${title}\n\nWhat this chapter is about, and what is measured in it.`),
    code(`setup-${number}`, setup, { lab: { setup: true } }),
    ...exerciseCells(exercise),
    markdown(`text-${number}-end`, '## What you have built'),
    code(`run-${number}-end`, '(await mine()).map();'),
  ];
  const metadata = {
    kernelspec: { display_name: 'TypeScript', language: 'typescript', name: 'tslab' },
    language_info: { file_extension: '.ts', mimetype: 'text/x.typescript', name: 'typescript' },
  };
  return `${JSON.stringify({ cells, metadata, nbformat: 4, nbformat_minor: 5 }, null, 1)}\n`;
}

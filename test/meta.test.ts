/**
 * @file Keeps the course honest. For every exercise of every chapter: the solution passes, the stub is "not written
 * yet", the library agrees, every planted mistake is named by its own hint and no other, and answers that are right but
 * written differently pass.
 */
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  filesOf,
  judge,
  readNotebook,
  savedAnswers,
  solvedNotebook,
  startBackend,
  stopWatchdog,
  theCourse,
  type Answer,
  type ChapterMistakes,
  type Verdict,
} from 'lab';

const course = theCourse();

beforeAll(async () => {
  await startBackend();
});
afterAll(stopWatchdog);

/** The hints that the tests gave for an answer; where they gave none, what they said instead, in brackets. */
function complaints(verdict: Verdict): string[] {
  const failed = verdict.rows.filter((row) => row.state !== 'passed');
  const hints = failed.flatMap((row) => row.hint ?? []);
  const plain = failed.map((row) => `[${row.state}: ${row.name}: ${row.message?.split('\n')[0]}]`);
  return [...new Set(hints.length > 0 ? hints : plain)].sort();
}

/** Mistakes down, hints across; a clean one is diagonal. */
function confusion(table: ReadonlyMap<string, readonly string[]>): string {
  const columns = [...new Set([...table.keys(), ...[...table.values()].flat()])];
  const width = Math.max(...columns.map((name) => name.length));
  const row = (name: string, given: readonly string[]): string =>
    `${name.padEnd(width)}  ${columns.map((column) => (given.includes(column) ? (column === name ? '■' : '✗') : '·')).join(' ')}`;
  const others = columns.slice(table.size).map((name, i) => `  column ${table.size + i + 1}: ${name}`);
  return [...[...table].map(([name, given]) => row(name, given)), ...others].join('\n');
}

it('has chapters', () => {
  expect(course.chapters.length).toBeGreaterThan(0);
});

for (const chapter of course.chapters) {
  const files = filesOf(chapter, course);
  describe(`chapter ${chapter.slug}`, () => {
    let solution: Answer;
    let planted: ChapterMistakes;

    beforeAll(async () => {
      solution = (await import(`../solutions/${chapter.slug}.ts`)) as Answer;
      planted = ((await import(`./mistakes/${chapter.slug}.ts`)) as { default: ChapterMistakes }).default;
    });

    it('numbers its exercises in order', () => {
      expect(chapter.slug).toMatch(new RegExp(`^${String(chapter.number).padStart(2, '0')}-`));
      expect(chapter.exercises.map((e) => e.id)).toEqual(chapter.exercises.map((_, i) => `${chapter.number}.${i + 1}`));
    });

    it('has a notebook with one cell and one check for each exercise, and a solution for each cell', () => {
      expect(existsSync(files.notebook)).toBe(true);
      const notebook = readNotebook(files.notebook);
      const tags = notebook.cells.map((cell) => cell.metadata?.lab ?? {});
      const ids = chapter.exercises.map((e) => e.id);
      expect(tags.filter((tag) => tag.setup === true)).toHaveLength(1);
      expect(tags.flatMap((tag) => tag.exercise ?? [])).toEqual(ids);
      expect(tags.flatMap((tag) => tag.check ?? [])).toEqual(ids);
      solvedNotebook(notebook, readFileSync(files.solution, 'utf8'));
    });

    it('ships every exercise unsolved', async () => {
      const { names, problems } = await savedAnswers(files.notebook);
      expect([...problems]).toEqual([]);
      for (const { id } of chapter.exercises) expect([id, (await judge(id, names, course)).state]).toEqual([id, 'unwritten']);
    });

    describe.each(chapter.exercises.map((exercise) => [`${exercise.id} ${exercise.title}`, exercise] as const))(
      '%s',
      (_, exercise) => {
        const { id, names } = exercise;
        const complaintsOf = async (answers: Answer): Promise<string[]> => complaints(await judge(id, answers, course));

        it('is solved by its solution', async () => {
          expect(Object.keys(solution)).toEqual(expect.arrayContaining([...names]));
          expect(await complaintsOf(solution)).toEqual([]);
        });

        it('agrees with the library', async () => {
          expect(Object.keys(exercise.library).sort()).toEqual([...names].sort());
          expect(await complaintsOf({ ...solution, ...exercise.library })).toEqual([]);
        });

        it('names every mistake by its own hint', async () => {
          const given = new Map<string, readonly string[]>();
          for (const [hint, wrong] of Object.entries(planted[id]?.mistakes ?? {})) {
            given.set(hint, await complaintsOf({ ...solution, ...wrong }));
          }
          expect(given.size).toBeGreaterThanOrEqual(3);
          const clean = [...given].every(([hint, hints]) => hints.length === 1 && hints[0] === hint);
          expect(clean, `confusion matrix of ${id}:\n${confusion(given)}`).toBe(true);
        });

        it('accepts right answers that are written differently', async () => {
          const right = planted[id]?.right ?? [];
          expect(right.length).toBeGreaterThanOrEqual(2);
          for (const answer of right) expect(await complaintsOf({ ...solution, ...answer })).toEqual([]);
        });
      },
    );
  });
}

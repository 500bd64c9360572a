import { defineConfig, type Plugin } from 'vitest/config';
import { existsSync } from 'node:fs';
import { basename } from 'node:path';

/** Students' copies have no solutions: there the answers are always those in the notebooks. */
const fromNotebooks = process.env['LAB_ANSWERS'] === 'notebooks' || !existsSync(new URL('solutions', import.meta.url));

/**
 * With LAB_ANSWERS=notebooks the chapters' tests judge the answers in the saved notebooks: `../solutions/03-attention.ts`
 * then means the tagged cells of `notebooks/03-attention.ipynb`.
 */
function answersFromNotebooks(): Plugin {
  const mark = '\0notebook:';
  return {
    name: 'answers-from-notebooks',
    enforce: 'pre',
    resolveId(source, importer) {
      const fromChapter = importer !== undefined && /[\\/]test[\\/]\d\d-[\w-]+\.test\.ts$/.test(importer);
      return fromChapter && source.startsWith('../solutions/') ? mark + basename(source, '.ts') : undefined;
    },
    async load(id) {
      if (!id.startsWith(mark)) return undefined;
      const slug = id.slice(mark.length);
      const { theCourse } = await import('lab');
      const chapter = theCourse().chapters.find((c) => c.slug === slug);
      if (!chapter) throw new Error(`There is no chapter '${slug}'.`);
      const names = chapter.exercises.flatMap((exercise) => exercise.names);
      return [
        `import { notebookModule } from 'lab';`,
        `const answers = await notebookModule('${slug}');`,
        ...names.map((name) => `export const ${name} = answers.${name};`),
      ].join('\n');
    },
  };
}

export default defineConfig({
  plugins: fromNotebooks ? [answersFromNotebooks()] : [],
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/fixtures/**'],
    // Worker threads would share one process with the wasm backend's own workers and signal handlers.
    pool: 'forks',
    maxWorkers: 2,
    env: {
      LAB_BACKEND: process.env['LAB_BACKEND'] ?? 'wasm',
      LAB_THREADS: process.env['LAB_THREADS'] ?? '2',
      // What tests check is not the reader's progress.
      LAB_PROGRESS: 'off',
    },
    setupFiles: ['test/setup.ts'],
    testTimeout: 60_000,
    // The compiled library, as notebooks and programs load it: one copy for tests and for what they test.
    server: { deps: { external: [/[\\/]lab[\\/]dist[\\/]/] } },
  },
});

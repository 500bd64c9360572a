/**
 * @file The README of a student's copy.
 */
import type { Chapter } from '../exercise.ts';

export function studentReadme(chapters: readonly Chapter[]): string {
  const rows = chapters.map(({ number, slug, title, exercises }) => {
    const minutes = exercises.reduce((sum, exercise) => sum + exercise.minutes, 0);
    return `| [${String(number).padStart(2, '0')}](notebooks/${slug}.ipynb) | ${title} | ${exercises.length} | ${minutes} |`;
  });
  const example = chapters.flatMap(({ exercises }) => exercises)[0]?.id ?? '0.1';
  return `# LLM lab

A laboratory for the inside of language models, in TypeScript: notebooks with exercises, and under them \`lab\`, a library.

\`\`\`sh
npm start    # installs what is missing, builds, and opens JupyterLab
npm test     # tests the answers in your saved notebooks
\`\`\`

You need Node ≥ 20.19 (best: 24) with npm, and Python ≥ 3.10. Everything stays in this folder.

| | chapter | exercises | minutes |
| --- | --- | --- | --- |
${rows.join('\n')}

An exercise is a cell with a function that throws until you have written it, and a check below:
\`await check('${example}');\`. The same tests run in a terminal, on your saved notebooks:

\`\`\`sh
npm run lab -- check ${example}       # or a chapter's number, or all
npm run lab -- watch all       # again after every save
npm run lab -- progress        # what is done, what comes next
npm run lab -- hint ${example}
npm run lab -- reset ${example}       # back to the stub; your answer is kept in .lab/answers
npm run lab -- update FOLDER   # takes fixes from a newer copy of the course; your answers stay
\`\`\`

Your progress is kept in \`.lab/progress.json\`; nothing is sent anywhere.
`;
}

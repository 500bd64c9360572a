/** @file The market's data set: the files are what the generator makes, and the command writes all of them or none. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import {
  askedInTraining,
  generalText,
  grades,
  judgeMarket,
  labFolder,
  marketDataset,
  marketFiles,
  marketKnowledge,
  marketReward,
  marketSizes,
  projectRoot,
  readQuestion,
  registers,
  runProgram,
  sha256,
  withCommas,
  writeFilesAtomically,
} from 'lab';
import { afterAll, describe, expect, it } from 'vitest';

const folder = join(projectRoot(), 'datasets', 'market');
const world = marketKnowledge();
const dataset = await marketDataset();
const { documents, facts, general, trainQuestions, testQuestions } = dataset;

describe('datasets/market', () => {
  const sheet = readFileSync(join(folder, 'README.md'), 'utf8');
  const files = marketFiles(marketSizes.small);

  it('is what the generator makes', () => {
    for (const { name, lines } of files) {
      const made = [...lines()].join('');
      expect(made === readFileSync(join(folder, name), 'utf8'), name).toBe(true);
    }
    expect(readdirSync(folder).sort()).toEqual([...files.map(({ name }) => name), 'README.md'].sort());
  });

  it('has the sizes and digests that its data sheet says, 5 MB at most', () => {
    let total = 0;
    for (const { name } of files) {
      const bytes = readFileSync(join(folder, name));
      total += bytes.length;
      for (const said of [name, withCommas(bytes.length), sha256(bytes)]) expect(sheet, name).toContain(said);
    }
    expect(total).toBeLessThan(5e6);
  });

  it('has documents of each grade and register, as many as the sheet says, that read back', () => {
    for (const kind of [...grades, ...registers]) {
      const some = documents.filter(({ grade, register }) => grade === kind || register === kind);
      expect(sheet, kind).toContain(`| ${kind} | ${withCommas(some.length)} |`);
    }
    for (const { text, facts: mentions, falsehoods, grade } of documents.slice(0, 300)) {
      if (grade === 'garbled') continue;
      const { correct, contradicted } = judgeMarket(text, world);
      expect([correct, contradicted]).toEqual([mentions.length, falsehoods.length]);
    }
  });

  it('asks about one half of the companies in training, and in other words about both in the test', () => {
    const isAsked = askedInTraining(world);
    for (const { fact } of trainQuestions) expect(isAsked(world.fact(fact)!)).toBe(true);
    const learned = new Set(trainQuestions.map(({ question }) => question));
    for (const { fact, question, asked, choices, answer, answers, seen } of testQuestions) {
      expect(learned.has(question)).toBe(false);
      expect(asked).toBe(isAsked(world.fact(fact)!));
      expect(seen).toBeGreaterThan(0);
      expect(choices.filter((choice) => answers.includes(choice))).toEqual([answer]);
      const { subject, relation, period } = world.fact(fact)!;
      expect(readQuestion(question, world)).toEqual({ subject, relation, ...(period && { period }) });
    }
    const frequent = testQuestions.filter(({ seen }) => seen >= 20);
    for (const half of [true, false]) {
      expect(frequent.filter(({ asked }) => asked === half).length, 'facts seen often').toBeGreaterThan(50);
    }
  });

  it('counts how often clean documents state a fact', () => {
    const counts = new Map<string, number>();
    for (const { grade, facts: mentions } of documents) {
      if (grade === 'clean') for (const { fact } of mentions) counts.set(fact, (counts.get(fact) ?? 0) + 1);
    }
    expect(new Map(facts.map(({ id, seen }) => [id, seen]))).toEqual(counts);
    for (const { seen: _, ...fact } of facts) expect(fact).toEqual(world.fact(fact.id));
  });

  it('has records whose truth is known: sentiments, conversations, instructions, preferences', () => {
    const { sentimentPhrases, sentimentTargets, conversations, instructions, preferences } = dataset;
    const counts = marketSizes.small.records;
    expect([sentimentPhrases.length, sentimentTargets.length]).toEqual([counts.sentiments, counts.sentiments]);
    expect(conversations).toHaveLength(counts.conversations);
    for (const { facts: ids } of [...sentimentPhrases, ...sentimentTargets, ...instructions]) {
      for (const id of ids) expect(world.fact(id), id).toBeDefined();
    }
    for (const { table, turns } of conversations) {
      for (const { program, answer } of turns) expect(runProgram(program, table).answer).toBe(answer);
    }
    expect(instructions).toHaveLength(counts.instructions);
    expect(preferences).toHaveLength(counts.preferences);
    for (const { prompt, chosen, rejected } of preferences) {
      const [better, worse] = [chosen, rejected].map(({ text }) => marketReward(prompt, text, world).total);
      expect(better).toBeGreaterThan(worse!);
    }
  });

  it('has general text that says nothing about the market', () => {
    expect(general).not.toMatch(/[[\]{}|]|undefined| {2}|\ba [aeiou]/);
    const judged = judgeMarket(general, world);
    expect(judged.parsed).toBe(0);
    expect(general.endsWith('\n\n')).toBe(true);
    const [one] = generalText(9);
    expect(one).toBe(generalText(9).next().value);
  });
});

describe('a data set that is not whole', () => {
  mkdirSync(labFolder(), { recursive: true });
  const scratch = mkdtempSync(labFolder('scratch-'));
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  it('is refused, with the file and the line', async () => {
    await expect(marketDataset(scratch)).rejects.toThrow(/There is no file .*jsonl/);
    for (const { name } of marketFiles(marketSizes.small)) writeFileSync(join(scratch, name), '{}\n{}\n');
    expect((await marketDataset(scratch)).facts).toHaveLength(2);
    writeFileSync(join(scratch, 'facts.jsonl'), '{}\n{"id": "SO\n');
    await expect(marketDataset(scratch)).rejects.toThrow(/facts\.jsonl, line 2, is not a record/);
  });
});

describe('npm run lab -- data market', () => {
  mkdirSync(labFolder(), { recursive: true });
  const scratch = mkdtempSync(labFolder('scratch-'));
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));
  const main = join(projectRoot(), 'lab', 'dist', 'cli', 'main.js');
  const lab = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(process.execPath, [main, 'data', ...args], { cwd: scratch, encoding: 'utf8' });

  it('reproduces the committed files', () => {
    const { status, stdout } = lab('market', '--size', 'small', '--out', 'again');
    expect(status).toBe(0);
    for (const { name } of marketFiles(marketSizes.small)) {
      const bytes = readFileSync(join(scratch, 'again', name));
      expect(bytes.equals(readFileSync(join(folder, name))), name).toBe(true);
      expect(stdout).toMatch(new RegExp(`${name} +[\\d,]+ lines +${withCommas(bytes.length)} bytes`));
    }
    expect(readdirSync(join(scratch, 'again'))).toHaveLength(12);
  });

  it('interrupted, leaves nothing behind', async () => {
    const child = spawn(process.execPath, [main, 'data', 'market', '--size', 'large', '--out', 'large'], { cwd: scratch });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const ended = once(child, 'exit');
    const target = join(scratch, 'large');
    const begun = (): boolean => existsSync(target) && readdirSync(target).some((name) => name.startsWith('.new-files'));
    while (!begun()) await setTimeout(20);
    child.kill('SIGINT');
    expect((await ended)[0]).toBe(2);
    expect(said).toContain('Interrupted: nothing was saved.');
    expect(existsSync(target)).toBe(false);
  });

  it('says what is wrong when the files cannot be that large, and leaves the old ones as they were', () => {
    const place = join(scratch, 'full');
    mkdirSync(place);
    writeFileSync(join(place, 'documents.jsonl'), 'old');
    const limited = `ulimit -f 2000; '${process.execPath}' '${main}' data market --out full`;
    const { status, stderr } = spawnSync('sh', ['-c', limited], { cwd: scratch, encoding: 'utf8' });
    expect(status).toBe(2);
    expect(stderr).toMatch(/Cannot save .*documents\.jsonl: the file would be larger than is allowed here/);
    expect(stderr).toContain('Nothing was changed');
    expect(readdirSync(place)).toEqual(['documents.jsonl']);
    expect(readFileSync(join(place, 'documents.jsonl'), 'utf8')).toBe('old');
  });

  it('says what is wrong when a file is where the folder should be', () => {
    writeFileSync(join(scratch, 'taken'), 'mine');
    const { status, stderr } = lab('market', '--out', 'taken');
    expect(status).toBe(2);
    expect(stderr).toMatch(/Cannot save .*a part of that path is a file, not a folder/);
    expect(readFileSync(join(scratch, 'taken'), 'utf8')).toBe('mine');
  });

  it.runIf(process.getuid?.() !== 0)('says what is wrong when the folder may not be written to', () => {
    const place = join(scratch, 'closed');
    mkdirSync(place);
    chmodSync(place, 0o555);
    expect(lab('market', '--out', 'closed').stderr).toMatch(/no permission to write/);
    chmodSync(place, 0o755);
  });

  it.each([
    [['market', '--size', 'huge'], /--size is small or large, got huge/],
    [['market', '--seed', '1.5'], /--seed takes a whole number, 0 or more; got 1.5/],
    [['market', '--count', '5'], /--count is not an option of 'data market'/],
    [['stories', '--size', 'small'], /--size is not an option of 'data stories'/],
  ])('refuses %j', (args, message) => {
    const { status, stderr } = lab(...args, '--out', 'refused');
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
    expect(existsSync(join(scratch, 'refused'))).toBe(false);
  });
});

describe('files that belong together', () => {
  mkdirSync(labFolder(), { recursive: true });
  const scratch = mkdtempSync(labFolder('scratch-'));
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));
  const file = (name: string, text: string): { name: string; chunks: () => Uint8Array[] } => {
    return { name, chunks: () => [Buffer.from(text)] };
  };

  it('are all new, and others stay', async () => {
    writeFileSync(join(scratch, 'other'), 'other');
    await writeFilesAtomically(scratch, [file('a', 'one'), file('b', 'two')]);
    expect(readdirSync(scratch).sort()).toEqual(['a', 'b', 'other']);
    expect(readFileSync(join(scratch, 'b'), 'utf8')).toBe('two');
  });

  it('are all old when one of them fails, and a folder that was made for them is gone', async () => {
    const failing = { name: 'b', chunks: (): Uint8Array[] => { throw new Error('no more'); } };
    await expect(writeFilesAtomically(scratch, [file('a', 'newer'), failing])).rejects.toThrow('no more');
    expect(readFileSync(join(scratch, 'a'), 'utf8')).toBe('one');
    expect(readdirSync(scratch).sort()).toEqual(['a', 'b', 'other']);
    await expect(writeFilesAtomically(join(scratch, 'new'), [failing])).rejects.toThrow('no more');
    expect(existsSync(join(scratch, 'new'))).toBe(false);
  });

  it('take away what a killed process left, and nothing of one that runs', async () => {
    const dead = spawnSync(process.execPath, ['-e', '']).pid;
    for (const pid of [dead, process.ppid]) mkdirSync(join(scratch, `.new-files.${pid}.tmp`));
    await writeFilesAtomically(scratch, [file('a', 'third')]);
    expect(readdirSync(scratch).sort()).toEqual([`.new-files.${process.ppid}.tmp`, 'a', 'b', 'other']);
  });
});

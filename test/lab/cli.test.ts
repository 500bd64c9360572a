/** @file The command line, as it is typed: what it says, what it leaves behind, and how it ends. */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { labFolder, loadCheckpoint, projectRoot, Random, type Checkpoint } from 'lab';
import { afterAll, describe, expect, it } from 'vitest';

const main = join(projectRoot(), 'lab', 'dist', 'cli', 'main.js');
mkdirSync(labFolder(), { recursive: true });
const folder = mkdtempSync(labFolder('scratch-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// One thread of wasm: the same numbers every time, wherever this runs.
const env = { ...process.env, LAB_BACKEND: 'wasm', LAB_THREADS: '1' };

function lab(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [main, ...args], { cwd: folder, env, encoding: 'utf8' });
}

const words = ['the ', 'cat ', 'sat ', 'on ', 'a ', 'mat. ', 'dog ', 'ran.\n'];
const random = new Random(2);
const story = Array.from({ length: 3000 }, () => random.pick(words)).join('');
writeFileSync(join(folder, 'story.txt'), story);
const small = ['--data', 'story.txt', '--layers', '1', '--heads', '2', '--width', '16', '--context', '16', '--batch', '4'];
const checkpoint = (name: string): string => join(folder, name, 'checkpoint.safetensors');
const inFolder = (name: string): string => `${folder}/${name}/checkpoint.safetensors`;

/** Everything of a finished training that must not depend on interruptions. */
function essence({ weights, optimizer, state }: Checkpoint): unknown {
  const { seconds: _, ...rest } = state;
  return { weights, optimizer, rest };
}

describe('train', () => {
  it('learns a text, measures it, saves it, and sample writes from it', async () => {
    const { status, stdout, stderr } = lab('train', ...small, '--steps', '60', '--lr', '0.01', '--out', inFolder('whole'));
    expect(stderr).not.toMatch(/error/i);
    expect(status).toBe(0);
    expect(stdout).toMatch(/device: wasm · 1 thread/);
    const loss = Number(/loss on the whole validation text: (\d\.\d+) nats/.exec(stdout)![1]);
    expect(loss).toBeLessThan(2.2); // 17 different characters: ln 17 = 2.8 knows nothing
    expect(stdout).toMatch(/60 steps in \d+\.\d s .* tokens\/s/);
    const saved = await loadCheckpoint(checkpoint('whole'));
    expect(saved.state.step).toBe(60);

    const written = lab('sample', checkpoint('whole'), '--prompt', 'the cat ', '--tokens', '50', '--seed', '3');
    expect(written.stderr).toBe('');
    expect(written.status).toBe(0);
    expect(written.stdout.startsWith('the cat ')).toBe(true);
    expect(written.stdout.length).toBe('the cat '.length + 50 + 1);
    expect([...written.stdout].every((character) => story.includes(character))).toBe(true);
    expect(lab('sample', checkpoint('whole'), '--prompt', 'the cat ', '--tokens', '50', '--seed', '3').stdout).toBe(
      written.stdout,
    );
    const stopped = lab('sample', checkpoint('whole'), '--prompt', 'the cat ', '--tokens', '300', '--stop', '\\n');
    expect(stopped.stdout.trimEnd()).not.toContain('\n');
  });

  it('learns stories, and says how far it is from a perfect model', () => {
    const tiny = ['--layers', '1', '--heads', '1', '--width', '8', '--batch', '64', '--steps', '3'];
    const { status, stdout } = lab('train', '--data', 'stories', ...tiny, '--out', inFolder('stories'));
    expect(status).toBe(0);
    expect(stdout).toContain('Stories: 999,996 characters to learn, 99,728 to validate, 53 different ones');
    const loss = Number(/whole validation text: (\d\.\d+)/.exec(stdout)![1]);
    const [floor, above] = /would lose (\d\.\d+) on it: this one is (\d+)% above/.exec(stdout)!.slice(1).map(Number);
    expect(above).toBeCloseTo(100 * (loss / floor! - 1), -1);
  });

  it('killed with -9 in mid-run, resumes and ends with the same numbers to the bit', async () => {
    const options = [...small, '--steps', '400', '--dropout', '0.1', '--eval-every', '100', '--save-every', '20'];
    expect(lab('train', ...options, '--out', inFolder('straight')).status).toBe(0);
    const straight = await loadCheckpoint(checkpoint('straight'));
    const killed = spawn(process.execPath, [main, 'train', ...options, '--out', inFolder('killed')], {
      cwd: folder,
      env,
      stdio: 'ignore',
    });
    while (!existsSync(checkpoint('killed'))) await new Promise((resolve) => setTimeout(resolve, 2));
    await new Promise((resolve) => setTimeout(resolve, 150));
    killed.kill('SIGKILL');
    await once(killed, 'exit');
    const halfway = await loadCheckpoint(checkpoint('killed'));
    expect(halfway.state.step).toBeLessThan(400);
    const resumed = lab('train', '--data', 'story.txt', '--resume', '--out', inFolder('killed'));
    expect(resumed.stderr).not.toMatch(/error/i);
    expect(resumed.status).toBe(0);
    expect(essence(await loadCheckpoint(checkpoint('killed')))).toEqual(essence(straight));
    expect(readdirSync(join(folder, 'killed'))).toEqual(['checkpoint.safetensors']);
  });

  it('with --checkpoint learns the same, to the bit', async () => {
    const options = [...small, '--layers', '3', '--steps', '6', '--dropout', '0.1'];
    for (const [name, extra] of [['kept', []], ['again', ['--checkpoint', '2']]] as const) {
      expect(lab('train', ...options, ...extra, '--out', inFolder(name)).status).toBe(0);
    }
    const [kept, again] = [await loadCheckpoint(checkpoint('kept')), await loadCheckpoint(checkpoint('again'))];
    expect(again.configuration['checkpoint']).toBe(2);
    expect(essence(again)).toEqual(essence(kept));
  });

  it.skipIf(process.platform === 'win32')('interrupted with Ctrl-C, saves, says how to go on, and exits with 130', async () => {
    const child = spawn(process.execPath, [main, 'train', ...small, '--steps', '100000', '--out', inFolder('stopped')], {
      cwd: folder,
      env,
    });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.resume();
    await once(child.stdout, 'data');
    await new Promise((resolve) => setTimeout(resolve, 500));
    child.kill('SIGINT');
    const [status] = (await once(child, 'exit')) as [number];
    expect(status).toBe(130);
    expect(output).toMatch(/Interrupted after step \d+ of 100000, saved in .* Go on with --resume/);
    expect((await loadCheckpoint(checkpoint('stopped'))).state.step).toBeGreaterThan(0);
  });

  it('never overwrites a checkpoint unasked', () => {
    writeFileSync(join(folder, 'precious.safetensors'), 'precious');
    const { status, stderr } = lab('train', ...small, '--out', join(folder, 'precious.safetensors'));
    expect(status).toBe(2);
    expect(stderr).toMatch(/There is a checkpoint already: .*--resume.*--fresh/);
    expect(readFileSync(join(folder, 'precious.safetensors'), 'utf8')).toBe('precious');
  });
});

describe('bad input gets a sentence and exit status 2', () => {
  writeFileSync(join(folder, 'latin1.txt'), Buffer.from('caf\xe9 '.repeat(1000), 'latin1'));
  writeFileSync(join(folder, 'empty.txt'), '');
  writeFileSync(join(folder, 'short.txt'), 'To be, or not to be, that is the question.');
  writeFileSync(join(folder, 'broken.safetensors'), 'nothing of the kind');

  const cases: [args: string[], says: RegExp][] = [
    [['fly'], /There is no command 'fly'/],
    [['train', '--speed', '3'], /'--speed'.*--help/],
    [['train', '--steps', 'many'], /--steps takes a number, got 'many'/],
    [['train', '--steps', '1.5'], /--steps takes a whole number, 1 or more; got 1.5/],
    [['train', '--lr', '0'], /--lr must be above 0/],
    [['train', '--min-lr', '1'], /--min-lr must be from 0 to the highest rate/],
    [['train', '--dropout', '1'], /--dropout must be from 0 to below 1/],
    [['train', 'story.txt'], /train takes options only.*--data story.txt/],
    [['train', '--data', 'nowhere.txt'], /There is no file .*nowhere.txt/],
    [['train', '--data', 'latin1.txt'], /latin1.txt is not UTF-8/],
    [['train', '--data', 'empty.txt'], /empty.txt is empty/],
    [['train', '--data', 'short.txt'], /the text has \d+ tokens, but a context of 64/],
    [['train', '--data', 'story.txt', '--preset', 'gpt9'], /There is no preset 'gpt9'. Presets: nano, gpt2, llama/],
    [['train', '--data', 'story.txt', '--heads', '3'], /width 128 is not a multiple of 3 heads/],
    [['train', '--data', 'story.txt', '--backend', 'abacus'], /There is no backend 'abacus'/],
    [['train', '--data', 'story.txt', '--threads', '0'], /threads must be a whole number/],
    [['train', '--checkpoint', '0'], /--checkpoint takes a whole number, 1 or more; got 0/],
    [['train', '--precision', 'half'], /--precision is float32 or mixed, got half/],
    [['train', ...small, '--precision', 'mixed', '--out', 'mixed.safetensors'], /'mixed' is there on the webgpu backend alone; wasm would/],
    [['train', '--resume', '--fresh'], /contradict/],
    [['train', '--resume', '--out', 'never'], /There is no checkpoint .*never/],
    [['train', '--resume', '--out', 'broken.safetensors'], /broken.safetensors is not a valid safetensors file/],
    [['sample'], /Which checkpoint\?/],
    [['sample', 'no-such-name'], /There is no checkpoint .*no-such-name/],
    [['sample', 'broken.safetensors'], /broken.safetensors is not a valid safetensors file/],
    [['data'], /Which text\? Texts: shakespeare/],
    [['data', 'hamlet'], /There is no text 'hamlet'/],
    [['data', 'shakespeare', '--from', 'story.txt'], /story.txt is not Tiny Shakespeare/],
    [['bench', 'speed'], /which one\? align, attention, .*tokenizer, train\. Given: 'speed'/],
    [['bench', 'ops', '--backend', 'abacus'], /There is no backend 'abacus'/],
  ];
  it.each(cases)('%j', (args, says) => {
    const { status, stderr } = lab(...args);
    expect(stderr).toMatch(says);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(status).toBe(2);
  });

  it('a prompt with a character that the vocabulary lacks', () => {
    const path = inFolder('prompted');
    expect(lab('train', ...small, '--steps', '2', '--out', path).status).toBe(0);
    const { status, stdout, stderr } = lab('sample', path, '--prompt', 'the Ω');
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/"Ω" \(U\+03A9\) at position 4 is not in this vocabulary/);
    expect(lab('sample', path, '--temperature', '-1').stderr).toMatch(/temperature/);
    expect(lab('train', '--resume', ...small, '--width', '32', '--out', path).stderr).toMatch(
      /--width 32 cannot be resumed.*with 16/,
    );
  });

  it('another text than the one that is resumed', () => {
    writeFileSync(join(folder, 'changing.txt'), story);
    const options = ['--data', 'changing.txt', ...small.slice(2), '--out', inFolder('changing')];
    expect(lab('train', ...options, '--steps', '2').status).toBe(0);
    writeFileSync(join(folder, 'changing.txt'), `${story}!`);
    expect(lab('train', ...options, '--resume').stderr).toMatch(/is not the text that .* was trained on/);
  });

  const mayMount = spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'none', folder]).status === 0;
  it.skipIf(!mayMount)('a disk that is full while the checkpoint is saved', () => {
    const place = join(folder, 'full');
    mkdirSync(place);
    const command = [
      process.execPath,
      main,
      'train',
      ...small,
      '--steps',
      '4',
      '--save-every',
      '2',
      '--out',
      `${place}/c.safetensors`,
    ];
    const script = `mount -t tmpfs -o size=16k none ${place} && exec ${command.map((word) => `'${word}'`).join(' ')}`;
    const { status, stderr } = spawnSync('unshare', ['-rm', 'sh', '-c', script], { cwd: folder, env, encoding: 'utf8' });
    expect(stderr).toMatch(/Cannot save .*c.safetensors: the disk is full/);
    expect(status).toBe(2);
  });
});

describe('help', () => {
  it.each(['train', 'sample', 'data', 'bench'])('%s explains every option and shows examples', (name) => {
    const { status, stdout } = lab(name, '--help');
    expect(status).toBe(0);
    expect(stdout).toMatch(new RegExp(`^npm run lab -- ${name} `));
    expect(stdout).toMatch(/Examples:/);
  });

  it('lists the commands', () => {
    const { status, stdout } = lab('--help');
    expect(status).toBe(0);
    for (const name of ['train', 'sample', 'data']) expect(stdout).toContain(`  ${name}`);
    expect(lab().status).toBe(2);
  });
});

/**
 * @file The set-up's judgements: which Node and Python will do, what is missing, how tests are counted, and that
 * everything Jupyter writes stays in the project.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { outdatedPackages } from '../lab/setup/install.mjs';
import { jupyterEnvironment, registerKernel, serverArguments } from '../lab/setup/jupyter.mjs';
import { root } from '../lab/setup/processes.mjs';
import { countTests } from '../lab/setup/test.mjs';
import { isAtLeast, pythonAdvice, requireNode } from '../lab/setup/versions.mjs';

function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'lab-setup-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

function start(args: readonly string[], env: NodeJS.ProcessEnv = process.env) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['lab/setup/start.mjs', ...args], {
    cwd: root,
    env,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

describe('versions', () => {
  it.each([
    ['20.19.0', '20.19.0', true],
    ['20.9.1', '20.19.0', false],
    ['22.0.0', '20.19.0', true],
    ['3.9.18', '3.10.0', false],
    ['3.14.0rc1', '3.10.0', true],
    ['v24.1.0', '20.19.0', true],
  ])('%s is at least %s: %s', (have, want, expected) => {
    expect(isAtLeast(have, want)).toBe(expected);
  });

  it.each(['18.20.0', '20.18.3', '21.7.0', '22.11.0'])('refuses Node %s and says which to get', (version) => {
    expect(() => requireNode(version)).toThrow(new RegExp(`This is Node ${version}; the lab needs Node 20.19 or newer`));
  });

  it.each(['20.19.0', '20.20.2', '22.12.0', '24.0.0', '26.1.0'])('takes Node %s', (version) => {
    expect(() => requireNode(version)).not.toThrow();
  });

  it('tells no Python, an old one and one without venv apart', () => {
    const old = { executable: '/usr/bin/python3', version: '3.9.2', hasVenv: true };
    const bare = { executable: '/usr/bin/python3', version: '3.11.2', hasVenv: false };
    expect(pythonAdvice([])).toContain('found none on the PATH');
    expect(pythonAdvice([old])).toContain('/usr/bin/python3 is 3.9.2');
    expect(pythonAdvice([old, bare])).toContain('sudo apt install python3.11-venv');
  });
});

describe('the lock file', () => {
  interface Package {
    readonly integrity?: string;
    readonly link?: boolean;
    readonly resolved?: string;
    readonly dependencies?: Readonly<Record<string, string>>;
    readonly optionalDependencies?: Readonly<Record<string, string>>;
  }
  const { packages } = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')) as {
    packages: Readonly<Record<string, Package>>;
  };
  const installed = Object.entries(packages).filter(([place, { link }]) => place.startsWith('node_modules/') && !link);

  it('names everything for every platform, so that npm ci works on all of them', () => {
    const missing = Object.entries(packages).flatMap(([place, { dependencies, optionalDependencies }]) =>
      Object.keys({ ...dependencies, ...optionalDependencies }).filter((name) => {
        const levels = place.split('/node_modules/').map((_, i, all) => `${all.slice(0, all.length - i).join('/node_modules/')}/`);
        return ![...levels, ''].some((level) => packages[`${level}node_modules/${name}`]);
      }),
    );
    expect(missing).toEqual([]);
  });

  it('holds a digest of each package and no address', () => {
    expect(installed.length).toBeGreaterThan(100);
    expect(installed.filter(([, { integrity, resolved }]) => !integrity || resolved).map(([place]) => place)).toEqual([]);
  });
});

describe('npm packages', () => {
  const wanted = {
    '': { version: '0.1.0' },
    lab: { version: '0.1.0' },
    'node_modules/a': { version: '1.0.0', integrity: 'sha512-a' },
    'node_modules/lab': { link: true },
    'node_modules/other-platform': { version: '2.0.0', integrity: 'sha512-o', optional: true },
  };

  it('are whole when all that is wanted is there', () => {
    expect(outdatedPackages(wanted, { 'node_modules/a': wanted['node_modules/a'], 'node_modules/lab': { link: true } })).toEqual(
      [],
    );
  });

  it('are not when one is missing, of another version, or another content', () => {
    const link = { 'node_modules/lab': { link: true } };
    expect(outdatedPackages(wanted, {})).toEqual(['node_modules/a', 'node_modules/lab']);
    expect(outdatedPackages(wanted, { ...link, 'node_modules/a': { version: '1.0.1', integrity: 'sha512-a' } })).toEqual([
      'node_modules/a',
    ]);
    expect(outdatedPackages(wanted, { ...link, 'node_modules/a': { version: '1.0.0', integrity: 'sha512-b' } })).toEqual([
      'node_modules/a',
    ]);
  });
});

describe('the count of tests', () => {
  const file = (status: string, ...tests: string[]) => ({
    status,
    assertionResults: tests.map((outcome) => ({ status: outcome })),
  });
  const report = (...testResults: unknown[]) => JSON.stringify({ testResults });

  it('adds up files', () => {
    expect(countTests(report(file('passed', 'passed', 'skipped'), file('failed', 'passed', 'failed')), 1)).toEqual({
      passed: 2,
      failed: 1,
      skipped: 1,
    });
  });

  it('counts a file that could not be loaded, a crash and a run without a report as failures', () => {
    expect(countTests(report(file('failed')), 1).failed).toBe(1);
    expect(countTests(report(file('passed', 'passed')), 1)).toEqual({ passed: 1, failed: 1, skipped: 0 });
    expect(countTests(undefined, null).failed).toBe(1);
  });
});

describe('Jupyter', () => {
  it('keeps its data, settings and runtime files in the project, and serves this machine only', () => {
    const env = jupyterEnvironment();
    for (const name of [
      'JUPYTER_DATA_DIR',
      'JUPYTER_CONFIG_DIR',
      'JUPYTER_RUNTIME_DIR',
      'JUPYTERLAB_SETTINGS_DIR',
      'JUPYTERLAB_WORKSPACES_DIR',
      'IPYTHONDIR',
    ]) {
      expect(env[name], name).toMatch(new RegExp(`^${path.join(root, '.jupyter')}`));
    }
    const args = serverArguments({ port: 8888, page: '/lab', openBrowser: false });
    expect(args).toContain('--ServerApp.ip=127.0.0.1');
    expect(args.join(' ')).not.toMatch(/token=|password=|allow_origin/);
  });

  it('finds a kernel that needs nothing from the PATH', () => {
    registerKernel();
    const { argv, display_name } = JSON.parse(
      readFileSync(path.join(root, '.jupyter/share/jupyter/kernels/tslab/kernel.json'), 'utf8'),
    ) as {
      argv: string[];
      display_name: string;
    };
    expect(display_name).toBe('TypeScript');
    for (const file of argv.filter((arg) => arg.includes(path.sep)))
      expect(path.isAbsolute(file) && existsSync(file), file).toBe(true);
  });

  it('lets a cell send more outputs at once than zeromq does by itself', () => {
    const code = `
      const zeromq = createRequire(require.resolve('tslab/package.json'))('zeromq');
      const [publisher, subscriber] = [new zeromq.Publisher(), new zeromq.Subscriber()];
      const run = async () => {
        await publisher.bind('tcp://127.0.0.1:*');
        subscriber.connect(publisher.lastEndpoint);
        subscriber.subscribe();
        await new Promise((resolve) => setTimeout(resolve, 300));
        for (let i = 0; i < 5000; i++) publisher.send(String(i));
        let count = 0;
        for await (const [message] of subscriber) {
          count++;
          if (String(message) === '4999') break;
        }
        console.log(count);
        process.exit();
      };
      run();`;
    const preload = path.join(root, 'lab', 'setup', 'kernel-preload.cjs');
    const { stdout, stderr } = spawnSync(process.execPath, ['--require', preload, '-e', `const { createRequire } = require('node:module'); ${code}`], {
      cwd: root,
      encoding: 'utf8',
      timeout: 30_000,
    });
    expect([stdout.trim(), stderr]).toEqual(['5000', '']);
  });
});

describe('npm start', () => {
  it('explains itself', () => {
    const { status, stdout } = start(['--help']);
    expect(status).toBe(0);
    expect(stdout).toContain('--no-browser');
  });

  it.each([
    [['--colour'], "Unknown option '--colour'. See: npm start -- --help"],
    [['--port', 'many'], "--port takes a number from 1 to 65535, got 'many'."],
    [['--port', '70000'], "--port takes a number from 1 to 65535, got '70000'."],
  ])('answers %j with a sentence', (args, sentence) => {
    const { status, stderr } = start(args);
    expect(status).toBe(1);
    expect(stderr.trim()).toBe(sentence);
  });

  it('says so when the port is taken', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    const { status, stderr } = start(['--no-browser', '--port', String(port)]);
    expect(status).toBe(1);
    expect(stderr).toContain(`Port ${port} is taken`);
  });
});

describe.skipIf(process.platform === 'win32')('Python', () => {
  const script = `
    import { requirePython } from './lab/setup/versions.mjs';
    console.log(await requirePython().then((python) => python.version, (error) => error.message));`;
  const ask = (folder: string) =>
    spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      cwd: root,
      env: { PATH: folder },
      encoding: 'utf8',
    }).stdout.trim();
  const fake = (folder: string, name: string, version: string, hasVenv: boolean) => {
    const answer = JSON.stringify({ executable: `${folder}/${name}`, version, hasVenv });
    writeFileSync(path.join(folder, name), `#!/bin/sh\necho '${answer}'\n`);
    chmodSync(path.join(folder, name), 0o755);
  };

  it('is looked for under its numbered names when python3 is too old', () => {
    const folder = temporaryFolder();
    fake(folder, 'python3', '3.9.2', true);
    fake(folder, 'python3.12', '3.12.4', true);
    expect(ask(folder)).toBe('3.12.4');
  });

  it('is missed with a sentence', () => {
    const folder = temporaryFolder();
    expect(ask(folder)).toContain('The lab needs Python 3.10 or newer for Jupyter, and found none on the PATH.');
    fake(folder, 'python3', '3.11.2', false);
    expect(ask(folder)).toContain('sudo apt install python3.11-venv');
  });
});

/**
 * @file Where a student's code runs: a Node process that may read the library and nothing else, start nothing, write nothing
 * (Node's permission model, everywhere), and where Linux namespaces can be had also sees no other files, no other processes
 * and no network (bubblewrap), or at least no other processes and no network (unshare).
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LabError } from '../../base/index.ts';
import { projectRoot } from '../../files/index.ts';

export type Confinement = 'bubblewrap' | 'unshare' | 'permissions';
export const CONFINEMENTS: readonly Confinement[] = ['bubblewrap', 'unshare', 'permissions'];

/** What each keeps a student's code from, for reports and --help. */
export const WORDS: Readonly<Record<Confinement, string>> = {
  bubblewrap:
    "Linux namespaces (bubblewrap) and Node's permission model: it sees the library and no other files, no other processes " +
    'and no network.',
  unshare:
    "Linux namespaces (unshare) and Node's permission model: it sees no other processes and no network; that it reads the " +
    'library and no other files is held by the permission model.',
  permissions:
    "Node's permission model alone: it reads the library and no other files, writes nothing and starts nothing. Network and " +
    'signals to other processes are only taken out of its JavaScript: install bubblewrap on Linux for a wall of the system.',
};

/** Of JavaScript's own memory, in MiB; arrays of numbers and tensors lie outside and are watched from there. */
const HEAP = 768;

const works = new Map<Confinement, boolean>();

/** Whether a process can be started so on this machine. */
export function canConfine(kind: Confinement): boolean {
  if (kind === 'permissions') return true;
  if (process.platform !== 'linux') return false;
  if (!works.has(kind)) {
    try {
      const [command, ...args] = walls(kind);
      execFileSync(command!, [...args, process.execPath, '--version'], { stdio: 'ignore', timeout: 10_000 });
      works.set(kind, true);
    } catch {
      works.set(kind, false);
    }
  }
  return works.get(kind)!;
}

/**
 * The strongest that works here, or the one asked for.
 *
 * @throws LabError when that does not work here
 */
export function chooseConfinement(wanted?: Confinement): Confinement {
  if (wanted !== undefined && !canConfine(wanted))
    throw new LabError(`${wanted} does not work on this machine. That would: ${CONFINEMENTS.filter(canConfine).join(', ')}.`);
  return wanted ?? CONFINEMENTS.find(canConfine)!;
}

/** The folders and files of the project that a student's code may read. */
function readable(): string[] {
  const root = projectRoot();
  const own = ['lab/dist', 'lab/package.json', 'package.json', 'datasets'].map((name) => join(root, name));
  return [...own.filter((path) => existsSync(path)), ...packages(join(root, 'node_modules'))];
}

/**
 * The packages one by one: a permission for all of node_modules would be one for all of the project, by way of the links
 * in it (`node_modules/lab/../solutions`).
 */
function packages(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (!entry.isDirectory() || entry.name.startsWith('.')) return [];
    return entry.name.startsWith('@') ? packages(path) : [path];
  });
}

/** The command in front of Node's. */
function walls(kind: Confinement): string[] {
  if (kind === 'permissions') return [];
  // Without capabilities of its own, killed together with who started it.
  if (kind === 'unshare')
    return ['unshare', '--user', '--map-root-user', '--net', '--ipc', '--pid', '--fork', '--kill-child=SIGKILL'];
  const system = ['/usr', '/lib', '/lib64', '/lib32', '/bin', '/etc/ld.so.cache', '/etc/ssl'].filter((path) =>
    existsSync(path),
  );
  const node = realpathSync(process.execPath);
  const bind = (path: string): string[] => ['--ro-bind', path, path];
  return [
    process.env['LAB_BWRAP'] ?? 'bwrap',
    '--unshare-all',
    '--die-with-parent',
    '--new-session',
    '--cap-drop',
    'ALL',
    '--proc',
    '/proc',
    '--dev',
    '/dev',
    '--tmpfs',
    '/tmp',
    ...system.flatMap((path) => ['--ro-bind-try', path, path]),
    ...bind(node),
    ...(node === process.execPath ? [] : bind(process.execPath)),
    ...readable()
      .filter((path) => !/[\\/]node_modules[\\/]/.test(path))
      .flatMap(bind),
    ...bind(join(projectRoot(), 'node_modules')),
    '--chdir',
    projectRoot(),
  ];
}

export interface CommandLine {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
}

/** How to start the process that answers for a student. */
export function answererCommand(kind: Confinement): CommandLine {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const permission = major > 23 || (major === 23 && minor >= 5) ? '--permission' : '--experimental-permission';
  const file = /\.\w+$/;
  const allow = readable().map(
    (path) => `--allow-fs-read=${file.test(path) && !path.includes('node_modules') ? path : `${path}/`}`,
  );
  const node = [
    permission,
    '--no-warnings',
    `--max-old-space-size=${HEAP}`,
    ...allow,
    fileURLToPath(new URL('./answerer.js', import.meta.url)),
  ];
  const [command, ...args] = [...walls(kind), process.execPath, ...node];
  // It needs no other variable, and answers have no business with them.
  const env = { PATH: process.env['PATH'] ?? '', LAB_BACKEND: 'wasm', LAB_THREADS: '1', TZ: 'UTC', LANG: 'C.UTF-8' };
  return { command: command!, args, env, cwd: projectRoot() };
}

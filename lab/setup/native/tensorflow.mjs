// @ts-check
/**
 * @file The libraries of TensorFlow, taken from its Python wheel: of more than a gigabyte, what a native binding needs.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, statfsSync } from 'node:fs';
import path from 'node:path';
import { venvPython } from '../jupyter.mjs';
import { capture, mustRun } from '../processes.mjs';
import { SetupError, step } from '../steps.mjs';

/** The newest release that was tried with the binding of tfjs-node-gpu 4.22. */
export const tensorflowVersion = '2.21.0';

/** Any Python's wheel has the same libraries; this one's is there for every platform. */
const wheelPython = '3.12';
const unpackScript = path.join(import.meta.dirname, 'unpack.py');

/** What the binding links with, and the headers that it includes. */
const members = ['libtensorflow_cc.', 'libtensorflow_framework.', ...['tensorflow/c/', 'tensorflow/core/platform/', 'tsl/', 'xla/tsl/'].map((f) => `include/${f}`)];
const GIGABYTE = 2 ** 30;
/** What lies on the disk at the worst moment: wheel and libraries. */
const needed = { cpu: 1.5 * GIGABYTE, cuda: 9 * GIGABYTE };

/** @typedef {'cpu' | 'cuda'} Kind */

/**
 * @param {Kind} kind
 * @param {string} [platform] @param {string} [arch]
 * @returns {string} the wheel's name on PyPI
 */
export function wheelName(kind, platform = process.platform, arch = process.arch) {
  const where = `${platform}-${arch}`;
  const known = { cpu: ['linux-x64', 'linux-arm64', 'darwin-arm64'], cuda: ['linux-x64'] }[kind];
  if (!known.includes(where)) {
    throw new SetupError(
      `TensorFlow ${tensorflowVersion} has no ${kind === 'cuda' ? 'CUDA ' : ''}wheel with the libraries for ${where}; it has them for ${known.join(', ')}.\n` +
        (kind === 'cuda' ? 'Without --cuda the one for the processor is taken.' : 'The other backends work here: npm run lab -- doctor'),
    );
  }
  // The plain name is the CUDA build on Linux x64, and the only build elsewhere.
  return kind === 'cpu' && where === 'linux-x64' ? 'tensorflow-cpu' : 'tensorflow';
}

/** @param {string} folder @param {Kind} kind */
function requireSpace(folder, kind) {
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize >= needed[kind]) return;
  const gigabytes = (/** @type {number} */ bytes) => (bytes / GIGABYTE).toFixed(1);
  throw new SetupError(
    `There are ${gigabytes(bavail * bsize)} GB free on this disk, and TensorFlow needs ${gigabytes(needed[kind])} GB while it is unpacked.`,
  );
}

/**
 * @param {readonly string[]} requirements
 * @param {string} folder
 * @returns {Promise<string[]>} the wheels
 */
async function download(requirements, folder) {
  const before = new Set(readdirSync(folder));
  await step(`Downloading ${requirements.length > 2 ? `${requirements.length} packages` : requirements.join(' and ')}`, (say) =>
    mustRun(
      'pip could not download TensorFlow. Check the network (a proxy? an index mirror?) and run the command again.',
      'native-download',
      venvPython,
      [
        '-m', 'pip', 'download', '--disable-pip-version-check', '--no-input', '--no-deps', '--no-cache-dir', '--only-binary=:all:',
        '--python-version', wheelPython, '--dest', folder, ...requirements,
      ],
      { onLine: (line) => say(line.split(' (')[0] ?? '') },
    ),
  );
  return readdirSync(folder).filter((file) => !before.has(file)).map((file) => path.join(folder, file));
}

/**
 * Puts `tensorflow/` with its libraries and headers, and for CUDA `nvidia/` with NVIDIA's, into the folder.
 *
 * @param {string} folder
 * @param {Kind} kind
 */
export async function fetchTensorFlow(folder, kind) {
  const name = wheelName(kind);
  const wheels = path.join(folder, 'wheels');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(wheels, { recursive: true });
  requireSpace(folder, kind);
  const [wheel = ''] = await download([`${name}==${tensorflowVersion}`], wheels);
  await unpack(folder, members.map((member) => `tensorflow/${member}`), [wheel], kind === 'cuda');
  rmSync(wheels, { recursive: true, force: true });
  const library = path.join(folder, 'tensorflow');
  if (!existsSync(library)) throw new SetupError(`The wheel ${path.basename(wheel)} has no TensorFlow libraries in it.`);
}

/**
 * @param {string} folder @param {readonly string[]} prefixes @param {readonly string[]} wheels
 * @param {boolean} withCuda also what the wheel asks for under the extra `and-cuda`
 */
async function unpack(folder, prefixes, wheels, withCuda = false) {
  const cuda = withCuda ? await download(await cudaRequirements(wheels[0] ?? ''), path.dirname(wheels[0] ?? '')) : [];
  await step('Unpacking the libraries', (say) =>
    mustRun(
      'The wheel could not be unpacked.',
      'native-unpack',
      venvPython,
      [unpackScript, folder, [...prefixes, 'nvidia/'].join(','), ...wheels, ...cuda],
      { onLine: say },
    ),
  );
}

/** @param {string} wheel */
async function cudaRequirements(wheel) {
  const { output } = await capture(venvPython, [unpackScript, '--requires', 'and-cuda', wheel]);
  return output.split('\n').filter((line) => line.startsWith('nvidia-'));
}

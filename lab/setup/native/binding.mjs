// @ts-check
/**
 * @file The native part of @tensorflow/tfjs-node-gpu, compiled from the npm package's own sources against the libraries of
 * today's TensorFlow, and put where the package looks for it.
 */
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { findProgram, mustRun, root } from '../processes.mjs';
import { SetupError } from '../steps.mjs';

const packageFolder = path.join(root, 'node_modules', '@tensorflow', 'tfjs-node-gpu');
const headers = path.join(root, 'node_modules', 'node-api-headers', 'include');
const sources = path.join(packageFolder, 'binding');
const quietStart = path.join(import.meta.dirname, 'quiet-start.cc');

/** Where the package looks: its module path, for the newest Node-API that it knows. */
const place = path.join(packageFolder, 'lib', 'napi-v8', 'tfjs_binding.node');

/** Everything that is built stands here, out of npm's reach: `npm ci` only takes the link away. */
export const nativeFolder = path.join(root, '.lab', 'native');
/** Points to the folder whose binding is in use. */
const current = path.join(nativeFolder, 'current');

/** @param {string} folder of `fetchTensorFlow` */
export const bindingIn = (folder) => path.join(folder, 'tensorflow', 'tfjs_binding.node');

/** @returns {string} the C++ compiler: CXX, or the first of the usual names on the PATH */
export function requireCompiler(env = process.env) {
  const wanted = env['CXX'];
  const found = wanted ? (existsSync(wanted) ? wanted : findProgram(wanted)) : ['c++', 'g++', 'clang++'].map(findProgram).find(Boolean);
  if (found) return found;
  throw new SetupError(
    wanted
      ? `CXX names the compiler '${wanted}', but there is none.`
      : 'A C++ compiler is needed to build the binding, and there is none on the PATH.\n' +
          'On Debian and Ubuntu: sudo apt install g++; on Fedora: sudo dnf install gcc-c++; on macOS: xcode-select --install.\n' +
          'Then run the command again. CXX=/path/to/c++ names one elsewhere.',
  );
}

/** @returns {string} changes when something that is compiled does */
export function sourcesDigest() {
  const hash = createHash('sha256');
  const files = [...readdirSync(sources).sort().map((file) => path.join(sources, file)), quietStart];
  for (const file of files) hash.update(readFileSync(file));
  return hash.digest('hex');
}

/**
 * Compiles the binding beside the libraries, and what loads them without a word.
 *
 * @param {string} compiler
 * @param {string} folder of `fetchTensorFlow`
 * @param {(line: string) => void} say
 */
export async function compileBinding(compiler, folder, say) {
  const library = path.join(folder, 'tensorflow');
  const include = path.join(library, 'include');
  const libraries = readdirSync(library).filter((file) => file.startsWith('libtensorflow_'));
  const framework = libraries.find((file) => file.startsWith('libtensorflow_framework'));
  const mac = process.platform === 'darwin';
  const here = mac ? '-Wl,-rpath,@loader_path' : '-Wl,-rpath,$ORIGIN';
  const compile = (/** @type {string[]} */ args) =>
    mustRun('The binding does not compile.', 'native-compile', compiler, ['-std=c++17', '-O2', '-fPIC', '-shared', here, ...args], {
      onLine: say,
    });
  await compile([
    '-DNAPI_VERSION=8',
    ...[headers, sources, packageFolder, include].map((searched) => `-I${searched}`),
    ...['tfjs_backend.cc', 'tfjs_binding.cc'].map((file) => path.join(sources, file)),
    ...libraries.map((file) => path.join(library, file)),
    ...(mac ? ['-undefined', 'dynamic_lookup'] : []),
    '-o',
    bindingIn(folder),
  ]);
  await compile([`-DTENSORFLOW_FRAMEWORK="${framework}"`, quietStart, '-ldl', '-o', path.join(library, 'quiet-start.so')]);
  rmSync(include, { recursive: true }); // thousands of files that only a compiler reads
}

/** Makes that folder's binding the one that the package finds. @param {string} folder */
export function useBinding(folder) {
  rmSync(current, { force: true });
  symlinkSync(path.relative(nativeFolder, folder), current);
  link(bindingIn(folder));
}

/** @param {string} binding */
function link(binding) {
  mkdirSync(path.dirname(place), { recursive: true });
  rmSync(place, { force: true });
  symlinkSync(path.relative(path.dirname(place), binding), place);
}

/**
 * Puts back the link that `npm ci` took away.
 *
 * @returns {boolean} whether it had to
 */
export function restoreBinding() {
  const binding = bindingIn(current);
  if (!existsSync(binding) || !existsSync(packageFolder) || existsSync(place)) return false;
  link(binding);
  return true;
}

/** Takes away everything that `npm run native` made. @returns {boolean} whether there was something */
export function removeBinding() {
  const there = existsSync(nativeFolder) || lstatSync(place, { throwIfNoEntry: false }) !== undefined;
  // The stock library lies beside its binding, in `deps`.
  for (const folder of [nativeFolder, path.join(packageFolder, 'lib'), path.join(packageFolder, 'deps')]) {
    rmSync(folder, { recursive: true, force: true });
  }
  return there;
}

/** @returns {string | undefined} where the binding is that the package finds, in words */
export function bindingInUse() {
  const found = lstatSync(place, { throwIfNoEntry: false });
  if (!found) return undefined;
  return found.isSymbolicLink() ? path.relative(root, path.resolve(path.dirname(place), readlinkSync(place))) : path.relative(root, place);
}

/** @throws SetupError when npm has left the package or the headers out */
export function requireSources() {
  const missing = [sources, headers].find((folder) => !existsSync(folder));
  if (missing) {
    throw new SetupError(`${path.relative(root, missing)} is missing: npm has left out an optional package. Run: npm ci`);
  }
}

/**
 * @file Compiles the AssemblyScript kernels (the `.as.ts` files in `lab/src/ops`) to `lab/dist/ops/wasm/*.wasm`: one module for each
 * kind of engine, because the best register tile depends on what the engine makes of SIMD.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));
const ENTRY = 'lab/src/ops/wasm/kernels.as.ts';
const TILE = 'lab/src/ops/matmul/tile.as.ts';
const OUT = path.join(root, 'lab/dist/ops/wasm');

/**
 * rows × columns of the register tile. An x86 core has 16 vector registers.
 * - fused multiply-add: 12 sums (6 × 8), 2 of B, 1 of A.
 * - without it the product needs a register of its own: 10 sums (5 × 8).
 * - V8 of Node 24 joins neighbouring vectors into 256 bits: 6 × 16 then takes 12 registers of twice the width.
 */
const FLAVOURS = [
  { name: 'relaxed-wide', rows: 6, columns: 16, fused: true },
  { name: 'relaxed', rows: 6, columns: 8, fused: true },
  { name: 'simd', rows: 5, columns: 8, fused: false },
];

const range = (n) => [...Array(n).keys()];

/**
 * The register tile: C[rows, columns] = (or +=) the sum over k of a strip of A times a strip of B. Every sum lives in a
 * variable of its own, which no loop could express, so the text is made here. Two bodies without a branch, because V8 joins
 * neighbouring vectors only in straight code.
 */
function tileSource({ rows, columns, fused }) {
  const vectors = range(columns / 4);
  const sum = (i, j) => `sum${i}_${j}`;
  const each = (line) => range(rows).flatMap((i) => vectors.map((j) => line(i, j)));
  const nextRow = (j, pointer) => (j === vectors.length - 1 ? ` ${pointer} += rowBytes;` : '');
  const body = (name, start) => `
export function ${name}(a: usize, b: usize, depth: i32, c: usize, rowBytes: usize): void {
  ${start}
  for (let k: i32 = depth; k > 0; --k) {
    ${vectors.map((j) => `const b${j} = v128.load(b, ${16 * j});`).join('\n    ')}
    let spread: v128;
    ${range(rows)
      .map((i) =>
        [`spread = v128.load32_splat(a, ${4 * i});`, ...vectors.map((j) => `${sum(i, j)} = multiplyAdd(spread, b${j}, ${sum(i, j)});`)].join(
          '\n    ',
        ),
      )
      .join('\n    ')}
    a += ${4 * rows};
    b += ${4 * columns};
  }
  ${each((i, j) => `v128.store(c, ${sum(i, j)}, ${16 * j});${nextRow(j, 'c')}`).join('\n  ')}
}`;
  const zeros = each((i, j) => `let ${sum(i, j)}: v128 = f32x4.splat(0);`);
  const loads = each((i, j) => `let ${sum(i, j)} = v128.load(from, ${16 * j});${nextRow(j, 'from')}`);
  return `
export const ROWS: i32 = ${rows};
export const COLUMNS: i32 = ${columns};
/** a · b + c, rounded once where the engine can. */
@inline export function multiplyAdd(a: v128, b: v128, c: v128): v128 {
  return ${fused ? 'f32x4.relaxed_madd(a, b, c)' : 'f32x4.add(f32x4.mul(a, b), c)'};
}
${body('tileSet', zeros.join('\n  '))}
${body('tileAdd', ['let from = c;', ...loads].join('\n  '))}
/** x := x / 2 + 1 for as many numbers as the tile has, in registers: no product can be faster. They are written to \`to\`. */
export function multiplyAddTurns(turns: i32, to: usize): void {
  f32.store(to, 0.5);
  f32.store(to, 1, 4);
  const half = v128.load32_splat(to), one = v128.load32_splat(to, 4);
  ${zeros.join('\n  ')}
  for (let turn = turns; turn > 0; --turn) {
    ${each((i, j) => `${sum(i, j)} = multiplyAdd(${sum(i, j)}, half, one);`).join('\n    ')}
  }
  ${each((i, j) => `v128.store(to, ${sum(i, j)}, ${16 * (i * vectors.length + j)});`).join('\n  ')}
}
`;
}

/** The numbers of the sections of a WebAssembly module (binary format, section 5.5.2). */
function sectionsOf(bytes) {
  const sections = [];
  for (let at = 8; at < bytes.length; ) {
    sections.push(bytes[at++]);
    let size = 0;
    for (let shift = 0, byte = 0x80; byte & 0x80; shift += 7) {
      byte = bytes[at++];
      size += (byte & 0x7f) * 2 ** shift;
    }
    at += size;
  }
  return sections;
}

function writeAtomically(file, bytes) {
  const temporary = `${file}.${process.pid}`;
  writeFileSync(temporary, bytes);
  renameSync(temporary, file);
}

async function compile(asc, flavour, shared) {
  const name = `kernels-${flavour.name}${shared ? '' : '-unshared'}.wasm`;
  let bytes;
  const { error, stderr } = await asc.main(
    [
      ENTRY, '--outFile', name, '-O3', '--noAssert', '--runtime', 'stub', '--use', 'abort=', '--importMemory',
      '--initialMemory', '1', '--maximumMemory', '65536', '--memoryBase', '1024',
      '--enable', 'simd', '--enable', 'threads', '--enable', 'bulk-memory', '--disableWarning',
      ...(shared ? ['--sharedMemory'] : []),
      ...(flavour.fused ? ['--enable', 'relaxed-simd'] : []),
    ],
    {
      readFile(file) {
        if (path.normalize(file) === TILE) return tileSource(flavour);
        try {
          return readFileSync(path.join(root, file), 'utf8');
        } catch {
          return null;
        }
      },
      writeFile(file, contents) {
        if (file === name) bytes = contents;
      },
      listFiles: () => [],
    },
  );
  if (error || !bytes) throw new Error(`${name}: ${error?.message ?? 'nothing was written'}\n${stderr.toString()}`);
  if (sectionsOf(bytes).includes(11)) throw new Error(`${name} has static data, which would overwrite TensorFlow.js's in the shared heap`);
  writeAtomically(path.join(OUT, name), bytes);
}

/** Compiles every flavour, for a heap that threads share and for one that they do not. */
export async function buildKernels() {
  const asc = (await import('assemblyscript/asc')).default;
  mkdirSync(OUT, { recursive: true });
  for (const flavour of FLAVOURS) for (const shared of [true, false]) await compile(asc, flavour, shared);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await buildKernels();
  } catch (error) {
    console.error(`The kernels could not be compiled.\n${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}

/**
 * @file Which of the compiled kernel modules this engine runs best.
 *
 * Relaxed SIMD brings the fused multiply-add. The V8 of Node 24 can besides join neighbouring 128-bit operations into 256-bit
 * ones where the processor has AVX2, if it is told to before the module is compiled.
 */
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { LabError, messageOf } from '../../base/index.ts';
import { webAssembly, type WasmCode } from '../../backend/index.ts';

/** From the fastest to the one that every engine with SIMD can run. */
export const FLAVOURS = ['relaxed-wide', 'relaxed', 'simd'] as const;

export type Flavour = (typeof FLAVOURS)[number];

export const flavourWords: Readonly<Record<Flavour, string>> = {
  'relaxed-wide': 'relaxed SIMD widened to AVX2',
  relaxed: 'relaxed SIMD',
  simd: 'plain SIMD (no fused multiply-add)',
};

const NODE = Number(process.versions.node.split('.')[0]);

/** Switches on what the engine has but does not offer by itself. Node 24 has no switch for relaxed SIMD any more. */
function enableFeatures(): void {
  if (NODE === 20) setFlagsFromString('--experimental-wasm-relaxed-simd');
  if (NODE >= 24) setFlagsFromString('--experimental-wasm-revectorize');
}

function hasAvx2(): boolean {
  if (process.arch !== 'x64') return false;
  if (process.platform !== 'linux') return true; // every x64 Mac that runs Node 24, and nearly every Windows machine
  try {
    return /\bavx2\b/.test(readFileSync('/proc/cpuinfo', 'utf8'));
  } catch {
    return false;
  }
}

function codeOf(flavour: Flavour, shared: boolean): Uint8Array {
  const file = new URL(`./kernels-${flavour}${shared ? '' : '-unshared'}.wasm`, import.meta.url);
  try {
    return readFileSync(file);
  } catch (error) {
    throw new LabError(`The wasm kernels are not built (${messageOf(error)}). Run: npm run build`);
  }
}

/** The flavours that this engine can run, the best first. */
export function runnableFlavours(shared: boolean): Flavour[] {
  enableFeatures();
  const wide = NODE >= 24 && hasAvx2();
  return FLAVOURS.filter((flavour) => (flavour !== 'relaxed-wide' || wide) && webAssembly!.validate(codeOf(flavour, shared)));
}

/** Compiles one flavour; the result can be instantiated in any thread. */
export function compileFlavour(flavour: Flavour, shared: boolean): WasmCode {
  return new webAssembly!.Module(codeOf(flavour, shared));
}

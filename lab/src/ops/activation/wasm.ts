/** @file GELU (by its tanh formula) and SwiGLU on wasm (bend.as.ts): one pass forward and one backward. */
import { makeFloats, offsetOf, sizeOf, wasmKernel, type Info, type WasmContext } from '../wasm/index.ts';
import { ACTIVATE, GELU_GRADIENT, GELU_VALUES, SWIGLU_GRADIENT, SWIGLU_VALUES } from '../wasm/operations.ts';

/** Elements that are worth a claim. */
const CHUNK = 8 * 1024;

interface Operands {
  /** x, or the gate */
  readonly x: Info;
  readonly up?: Info | undefined;
  readonly dy?: Info | undefined;
}

function activate({ backend, pool }: WasmContext, kind: number, { x, up, dy }: Operands, outputs: number): Info[] {
  const results = Array.from({ length: outputs }, () => makeFloats(backend, x.shape));
  const size = sizeOf(x.shape);
  const [first, second, third, fourth, fifth] = [x, up, dy, ...results].map((info) => (info ? offsetOf(backend, info) : 0));
  pool.run(ACTIVATE, Math.ceil(size / CHUNK), [first!, second!, third!, fourth!, fifth ?? 0, size, CHUNK, kind]);
  return results;
}

/** x → [gelu(x)] */
wasmKernel('lab.gelu', (context, { x }) => activate(context, GELU_VALUES, { x: x! }, 1));
/** x, dy → [dx] */
wasmKernel('lab.geluGradient', (context, { x, dy }) => activate(context, GELU_GRADIENT, { x: x!, dy }, 1));
/** gate, up → [silu(gate) · up] */
wasmKernel('lab.swiglu', (context, { gate, up }) => activate(context, SWIGLU_VALUES, { x: gate!, up }, 1));
/** gate, up, dy → [dgate, dup] */
wasmKernel('lab.swigluGradient', (context, { gate, up, dy }) => activate(context, SWIGLU_GRADIENT, { x: gate!, up, dy }, 2));

/**
 * @file `runShader`: runs a WGSL shader of the reader's own on a GPU, beside whatever backend is running. It does so in a
 * process of its own, because a shader may loop for ever and cannot be stopped; and because the software GPU must not get into
 * the way of a backend that runs on a real one.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { clearTimeout, setTimeout } from 'node:timers';
import { LabError } from '../base/index.ts';

/** A shader's bindings are, in this order: the outputs, the inputs, all in @group(0); it begins at `fn main`. */
export interface ShaderJob {
  /** Buffers for `var<storage, read>`. */
  readonly inputs: readonly (Float32Array | Int32Array | Uint32Array)[];
  /** How many float32 numbers each `var<storage, read_write>` holds; they are 0 at the beginning. */
  readonly outputs: readonly number[];
  readonly workgroups: readonly [x: number, y?: number, z?: number];
  /** How long the shader may take from compiling to the result, in milliseconds; default 10,000. */
  readonly limitMs?: number;
}

export interface ShaderResult {
  readonly outputs: readonly Float32Array[];
  /** `NVIDIA H100`, `SwiftShader Device (software)` */
  readonly device: string;
}

/** What the compiler of shaders has to say; lines and columns count from 1. */
export interface ShaderMessage {
  readonly message: string;
  readonly type: string;
  readonly lineNum: number;
  readonly linePos: number;
  readonly length: number;
}

/** What the process is asked to do, and what it answers. */
export type ShaderTask = Pick<ShaderJob, 'inputs' | 'outputs' | 'workgroups'> & { readonly code: string };
export type ShaderReply =
  | { readonly kind: 'ready'; readonly device: string }
  | { readonly kind: 'unavailable' | 'refused'; readonly message: string }
  | { readonly kind: 'compile'; readonly messages: readonly ShaderMessage[] }
  | { readonly kind: 'done'; readonly outputs: Float32Array[] };

/**
 * 'compile': the code is no valid WGSL. 'refused': it compiles, but the GPU cannot run it like this. 'time': it did not end.
 * 'crashed': the driver died of it. 'unavailable': there is no WebGPU here.
 */
export type ShaderFailure = 'compile' | 'refused' | 'time' | 'crashed' | 'unavailable';

export class ShaderError extends LabError {
  override readonly name: string = 'ShaderError';
  readonly reason: ShaderFailure;

  constructor(reason: ShaderFailure, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** A driver may compile its own parts at its first start. */
const START_LIMIT_MS = 60_000;

/** A process with an open GPU, and its device's name. */
interface Helper {
  readonly child: ChildProcess;
  readonly device: string;
}

let helper: Helper | undefined;
/** One job at a time. */
let last: Promise<unknown> = Promise.resolve();

/**
 * Compiles a shader, runs it once, and reads its outputs.
 *
 * @throws ShaderError when it does not compile (with the line and a caret below the place), cannot be run, does not end in
 * time, or there is no WebGPU here (with what to do)
 */
export function runShader(code: string, job: ShaderJob): Promise<ShaderResult> {
  const result = last.then(() => runNow(code, job));
  last = result.catch(() => {});
  return result;
}

async function runNow(code: string, { inputs, outputs, workgroups, limitMs = 10_000 }: ShaderJob): Promise<ShaderResult> {
  if (helper?.child.connected === false) helper = undefined; // it died while nobody asked it anything
  helper ??= await start();
  const { child, device } = helper;
  const reply = await answer(child, limitMs, () => child.send({ code, inputs, outputs, workgroups } satisfies ShaderTask));
  switch (reply.kind) {
    case 'done':
      return { outputs: reply.outputs, device };
    case 'compile':
      throw new ShaderError('compile', `The shader does not compile.\n${describeMessages(code, reply.messages)}`);
    case 'late':
      throw new ShaderError(
        'time',
        `The shader did not end within ${limitMs / 1000} seconds. Is there a loop that never ends?`,
      );
    case 'died':
      throw new ShaderError('crashed', `The GPU's driver crashed (${reply.how}). Does the shader write beyond an array's end?`);
    default:
      throw new ShaderError('refused', `The GPU refused the shader: ${'message' in reply ? reply.message : reply.kind}`);
  }
}

async function start(): Promise<Helper> {
  const child = fork(new URL('./shader-process.js', import.meta.url), {
    execArgv: [],
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  const reply = await answer(child, START_LIMIT_MS);
  if (reply.kind === 'ready') return { child, device: reply.device };
  child.kill('SIGKILL');
  const reason = 'message' in reply ? reply.message : 'its driver did not start';
  throw new ShaderError(
    'unavailable',
    `No GPU can run the shader here: ${reason}. \`npm run lab -- doctor\` says what WebGPU needs; everything else works ` +
      `without.`,
  );
}

type Outcome = ShaderReply | { readonly kind: 'late' } | { readonly kind: 'died'; readonly how: string };

/**
 * The next message of the process, which keeps this program alive until then and not longer. One that is silent or dies is
 * given up: the next job starts another.
 */
function answer(child: ChildProcess, limitMs: number, ask?: () => void): Promise<Outcome> {
  child.ref();
  child.channel?.ref();
  return new Promise<Outcome>((resolve) => {
    const end = (outcome: Outcome): void => {
      clearTimeout(timer);
      child.removeAllListeners();
      child.on('error', () => {}); // whatever comes now, nobody waits for it
      child.unref();
      child.channel?.unref();
      if (outcome.kind === 'late' || outcome.kind === 'died') {
        helper = undefined;
        child.kill('SIGKILL');
      }
      resolve(outcome);
    };
    const timer = setTimeout(() => end({ kind: 'late' }), limitMs);
    child.on('message', (reply) => end(reply as ShaderReply));
    child.on('error', (error) => end({ kind: 'died', how: error.message }));
    child.on('exit', (status, signal) => end({ kind: 'died', how: signal ?? `status ${status}` }));
    ask?.();
  });
}

/** Each message with its line of the code and a caret below the place. */
function describeMessages(code: string, messages: readonly ShaderMessage[]): string {
  const lines = code.split('\n');
  return messages
    .map(({ message, lineNum, linePos, length }) => {
      const [first] = message.split('\n');
      const line = lines[lineNum - 1];
      if (line === undefined) return first;
      const margin = `${String(lineNum).padStart(4)} | `;
      const caret = ' '.repeat(margin.length + Math.max(0, linePos - 1)) + '^'.repeat(Math.max(1, length));
      return `${margin}${line.replaceAll('\t', ' ')}\n${caret} ${first}`;
    })
    .join('\n');
}

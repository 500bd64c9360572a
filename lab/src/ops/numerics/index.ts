/**
 * @file Where did the NaN come from? A loss that is no number says nothing of the place; here every operation is looked at as
 * it runs, and the first that makes such a number is named, with what it was given. (PyTorch's anomaly detection, TensorFlow's
 * tf.debugging.enable_check_numerics.)
 */
import { observeKernels, tf, type Tensor, type Variable } from '../../backend/index.ts';
import { LabError } from '../../base/index.ts';
import { callPlace, type CallPlace } from './call-place.ts';
import { allFinite, summarize, type NumberSummary } from './summary.ts';

export { type NumberSummary } from './summary.ts';

export interface CheckNumericsOptions {
  /** What parameters are called in the report: `model.namedParameters()`. */
  readonly names?: ReadonlyMap<string, Variable>;
  /** Whether ±∞ counts as a number: some write it into masks (default false). */
  readonly infinity?: boolean;
}

/** A tensor that an operation was given. */
export interface NumericsInput extends NumberSummary {
  /** A parameter's name, the operation that made the tensor and its number, or 'outside'. */
  readonly from: string;
}

/** The first operation that made a number which is not finite. */
export class NumericsError extends LabError {
  /** TensorFlow.js's name of the operation: `Log`; the lab's own begin with `lab.` */
  readonly operation: string;
  /** Which one it was, counted from 1. */
  readonly number: number;
  readonly inputs: readonly NumericsInput[];
  readonly output: NumberSummary;

  constructor(call: Call, inputs: readonly NumericsInput[], output: NumberSummary) {
    super(report(call, inputs, output));
    // It may be known long after the call.
    this.stack = [`${this.name}: ${this.message}`, ...call.place.lines].join('\n');
    this.operation = call.name;
    this.number = call.number;
    this.inputs = inputs;
    this.output = output;
  }
}

interface Call {
  readonly name: string;
  readonly number: number;
  readonly place: CallPlace;
}

type Pending = NumberSummary | (() => Promise<NumberSummary>);

/** One operation, with summaries that may still be on the device. */
interface Observed {
  readonly call: Call;
  readonly inputs: readonly { readonly from: string; readonly summary: Pending }[];
  readonly outputs: readonly Pending[];
}

/** So many operations are looked at together on a device that must be waited for. */
const BATCH = 500;

/**
 * Runs `f` and looks at every number that every operation makes, on the way forward and on the way back. Slow: for finding a
 * fault, not for training.
 *
 * On a backend that can be read at once, the operation itself throws; on webgpu the error comes when `f` is done, or some
 * hundred operations later. Its stack is that of the operation all the same.
 *
 * @returns what `f` returns
 * @throws NumericsError that names the first operation with a result that is not finite, and says what it was given
 */
export async function checkNumerics<T>(f: () => T | Promise<T>, options: CheckNumericsOptions = {}): Promise<Awaited<T>> {
  const watch = new Watch(options);
  const stop = observeKernels({ after: (name, inputs, outputs) => watch.look(name, inputs, outputs) });
  try {
    const result = await f();
    await watch.finish();
    return result;
  } catch (error) {
    await watch.finish(); // what was found explains what was thrown
    throw error;
  } finally {
    stop();
  }
}

class Watch {
  readonly #infinity: boolean;
  readonly #names: ReadonlyMap<number, string>;
  /** Which operation made a tensor, by the tensor's id. */
  readonly #makers = new Map<number, { readonly from: string; readonly summary: Pending }>();
  #calls = 0;
  #waiting: Observed[] = [];
  #judging: Promise<void> = Promise.resolve();
  #found: NumericsError | undefined;

  constructor({ names = new Map(), infinity = false }: CheckNumericsOptions) {
    this.#infinity = infinity;
    this.#names = new Map([...names].map(([path, { id }]) => [id, path]));
  }

  look(name: string, inputs: readonly Tensor[], outputs: readonly Tensor[]): void {
    if (this.#found) throw this.#found;
    const call = { name, number: ++this.#calls, place: callPlace() };
    const observed = {
      call,
      inputs: inputs.filter(isFloat).map((x) => this.#known(x)),
      outputs: outputs.filter(isFloat).map((x) => this.#remember(x, `'${name}' (number ${call.number})`)),
    };
    if (observed.outputs.every((summary) => typeof summary !== 'function')) this.#judgeAtOnce(observed);
    else if (this.#waiting.push(observed) >= BATCH) this.#judgeLater();
  }

  async finish(): Promise<void> {
    this.#judgeLater();
    await this.#judging;
    if (this.#found) throw this.#found;
  }

  /** A variable is looked at each time, because it changes. */
  #known(x: Tensor): { from: string; summary: Pending } {
    const maker = x instanceof tf.Variable ? undefined : this.#makers.get(x.id);
    return maker ?? { from: this.#names.get(x.id) ?? 'outside', summary: shared(summarize(x)) };
  }

  #remember(x: Tensor, from: string): Pending {
    const summary = shared(summarize(x));
    this.#makers.set(x.id, { from, summary });
    return summary;
  }

  #judgeAtOnce({ call, inputs, outputs }: Observed): void {
    const bad = (outputs as NumberSummary[]).find((output) => this.#isBad(output));
    if (!bad) return;
    this.#found = new NumericsError(call, inputs.map(({ from, summary }) => ({ from, ...(summary as NumberSummary) })), bad);
    throw this.#found;
  }

  #judgeLater(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#judging = this.#judging.then(() => this.#judge(waiting));
  }

  async #judge(waiting: readonly Observed[]): Promise<void> {
    for (const { call, inputs, outputs } of waiting) {
      const made = await Promise.all(outputs.map(settled));
      const given = await Promise.all(inputs.map(async ({ from, summary }) => ({ from, ...(await settled(summary)) })));
      const bad = made.find((output) => this.#isBad(output));
      if (bad) this.#found ??= new NumericsError(call, given, bad);
    }
  }

  #isBad(summary: NumberSummary): boolean {
    return this.#infinity ? summary.nan > 0 : !allFinite(summary);
  }
}

const isFloat = ({ dtype }: Tensor): boolean => dtype === 'float32';

/** Read once, however many operations ask. */
function shared(summary: Pending): Pending {
  if (typeof summary !== 'function') return summary;
  let reading: Promise<NumberSummary> | undefined;
  return () => (reading ??= summary());
}

const settled = async (summary: Pending): Promise<NumberSummary> => (typeof summary === 'function' ? await summary() : summary);

function report({ name, number, place }: Call, inputs: readonly NumericsInput[], output: NumberSummary): string {
  const guilty = inputs.filter((input) => !allFinite(input));
  const sources = [...new Set(guilty.map(({ from }) => (from === 'outside' ? 'a tensor from outside' : from)))].join(', ');
  const verdict =
    guilty.length > 0
      ? `What it was given was so already: ${sources}. Look at where that comes from: a batch, a file, or an earlier step.`
      : 'What it was given is finite:';
  return [
    `The operation '${name}' (number ${number}${place.modules}) is the first whose result is not finite: ${told(output)}.`,
    verdict,
    ...inputs.map((input) => `  [${input.shape}] ${input.from}: ${told(input)}`),
  ].join('\n');
}

function told(summary: NumberSummary): string {
  const { shape, nan, infinite, first, largest } = summary;
  const size = shape.reduce((product, length) => product * length, 1);
  const rest = `magnitudes up to ${Number(largest.toPrecision(3))}`;
  if (!first) return rest;
  const kinds = [nan > 0 && `${nan} NaN`, infinite > 0 && `${infinite} infinite`].filter(Boolean).join(' and ');
  return `${kinds} of ${size} in [${shape}], the first at [${first}]${nan + infinite < size ? `; otherwise ${rest}` : ''}`;
}

/**
 * @file AdamW: steps of a size that the gradient's own history decides, and weight decay that is kept out of that history.
 * Kingma and Ba 2015 (Adam); Loshchilov and Hutter 2019, algorithm 2 (decoupled decay), in the form PyTorch computes.
 *
 * A model has many small parameters and a kernel call has a price, so parameters lie side by side in long rows ("buckets"):
 * some fifteen calls update a whole bucket, and a single one everything where the backend has a kernel for it (ops/adamw).
 * Only matrices decay; biases and gains do not.
 */
import { tf, type Scalar, type Tensor, type Tensor1D, type Variable } from '../backend/index.ts';
import { invariant } from '../base/index.ts';
import { type AdamWGroup, fusedAdamW, hasFusedAdamW } from '../ops/index.ts';
import { clipByGlobalNorm } from './clip.ts';
import type { NamedTensors, Optimizer, StepOptions } from './optimizer.ts';

export interface AdamWOptions {
  /** How slowly the mean of the gradients forgets. */
  readonly beta1?: number;
  /** How slowly the mean of their squares forgets; 0.99 suits small batches (nanoGPT), 0.999 is PyTorch's. */
  readonly beta2?: number;
  /** Keeps the division finite where the gradient is always zero. */
  readonly epsilon?: number;
  /** A step multiplies the matrices by 1 − learningRate · weightDecay. */
  readonly weightDecay?: number;
}

type Parameter = readonly [path: string, variable: Variable];

/** Parameters that share their row, their decay and the number of steps they have made. */
interface Bucket {
  readonly parameters: readonly Parameter[];
  steps: number;
  /** Mean of the gradients, m in the papers: [elements of the bucket]. */
  firstMoment: Tensor1D;
  /** Mean of their squares, v in the papers: [elements of the bucket]. */
  secondMoment: Tensor1D;
}

/** Longer rows would save no time and cost memory. */
const bucketElements = 1 << 21;

export class AdamW implements Optimizer {
  readonly clips = true;
  readonly #options: Required<AdamWOptions>;
  #buckets: Bucket[];

  /** @param parameters by path; those that are not trainable are left alone */
  constructor(parameters: ReadonlyMap<string, Variable>, options: AdamWOptions = {}) {
    const { beta1 = 0.9, beta2 = 0.99, epsilon = 1e-8, weightDecay = 0.1 } = options;
    for (const [name, beta] of Object.entries({ beta1, beta2 })) {
      invariant(beta >= 0 && beta < 1, `AdamW: ${name} must be in 0 … 1, got ${beta}`);
    }
    invariant(epsilon > 0, `AdamW: epsilon must be positive, got ${epsilon}`);
    invariant(weightDecay >= 0, `AdamW: weightDecay must not be negative, got ${weightDecay}`);
    this.#options = { beta1, beta2, epsilon, weightDecay };
    const zeros = (members: readonly Parameter[]): Tensor1D => tf.zeros([elementsOf(members)]);
    this.#buckets = [];
    tf.tidy(() => {
      this.#buckets = groups([...parameters].filter(([, variable]) => variable.trainable)).map((members) => ({
        parameters: members,
        steps: 0,
        firstMoment: zeros(members),
        secondMoment: zeros(members),
      }));
      // Only now: should memory be short, the tidy frees what there is.
      for (const { firstMoment, secondMoment } of this.#buckets) void [tf.keep(firstMoment), tf.keep(secondMoment)];
    });
  }

  step(gradients: NamedTensors, learningRate: number, { clipNorm = Infinity }: StepOptions = {}): void {
    this.#buckets = this.#buckets.flatMap((bucket) => splitBy(bucket, (path) => gradients.has(path)));
    const buckets = this.#buckets.filter(({ parameters }) => gradients.has(parameters[0]![0]));
    for (const bucket of buckets) bucket.steps++;
    if (hasFusedAdamW()) {
      for (const bucket of buckets) holdAlone(bucket);
      const chosen = buckets.map((bucket) => this.#group(bucket, gradients, learningRate));
      return fusedAdamW(chosen, { ...this.#options, clipNorm });
    }
    tf.tidy(() => {
      const clipped = clipNorm === Infinity ? gradients : clipByGlobalNorm(gradients, clipNorm);
      for (const bucket of buckets) this.#update(bucket, clipped, learningRate);
    });
  }

  /** The bucket as the kernel takes it. */
  #group({ parameters, steps, firstMoment, secondMoment }: Bucket, gradients: NamedTensors, learningRate: number): AdamWGroup {
    const { beta1, beta2, weightDecay } = this.#options;
    return {
      values: parameters.map(([, variable]) => variable),
      gradients: parameters.map((parameter) => gradientOf(parameter, gradients)),
      firstMoment,
      secondMoment,
      decay: decays(parameters[0]!) ? 1 - learningRate * weightDecay : 1,
      rate: learningRate / (1 - beta1 ** steps),
      correction: 1 / Math.sqrt(1 - beta2 ** steps),
    };
  }

  #update(bucket: Bucket, gradients: NamedTensors, learningRate: number): void {
    const { beta1, beta2, epsilon } = this.#options;
    const decay = decays(bucket.parameters[0]!) ? 1 - learningRate * this.#options.weightDecay : 1;
    const before = [bucket.firstMoment, bucket.secondMoment];
    tf.tidy(() => {
      const gradient = row(bucket.parameters.map((parameter) => gradientOf(parameter, gradients)));
      const values = row(bucket.parameters.map(([, variable]) => variable));
      const m = bucket.firstMoment.mul<Tensor1D>(beta1).add<Tensor1D>(gradient.mul(1 - beta1));
      const v = bucket.secondMoment.mul<Tensor1D>(beta2).add<Tensor1D>(gradient.square().mul(1 - beta2));
      // Both means start at zero; dividing by 1 − βᵗ makes up for it.
      const scale = v
        .sqrt()
        .div(Math.sqrt(1 - beta2 ** bucket.steps))
        .add(epsilon);
      const change = m.div(scale).mul(learningRate / (1 - beta1 ** bucket.steps));
      const decayed = decay === 1 ? values : values.mul<Tensor1D>(decay);
      assign(bucket.parameters, decayed.sub(change));
      bucket.firstMoment = tf.keep(m);
      bucket.secondMoment = tf.keep(v);
    });
    tf.dispose(before);
  }

  state(): Map<string, Tensor> {
    const state = new Map<string, Tensor>();
    for (const { parameters, steps, firstMoment, secondMoment } of this.#buckets) {
      forEachPart(parameters, (path, variable, start, size) => {
        state.set(
          `${path}.firstMoment`,
          tf.tidy(() => firstMoment.slice(start, size).reshape(variable.shape)),
        );
        state.set(
          `${path}.secondMoment`,
          tf.tidy(() => secondMoment.slice(start, size).reshape(variable.shape)),
        );
        state.set(`${path}.steps`, tf.scalar(steps, 'int32'));
      });
    }
    return state;
  }

  async load(state: NamedTensors): Promise<void> {
    const parameters = this.#buckets.flatMap((bucket) => bucket.parameters);
    const steps = new Map<string, number>();
    for (const [path, variable] of parameters) {
      checkSaved(state, `${path}.firstMoment`, variable.shape);
      checkSaved(state, `${path}.secondMoment`, variable.shape);
      checkSaved(state, `${path}.steps`, []);
      steps.set(path, (await (state.get(`${path}.steps`) as Scalar).data())[0]!);
    }
    const counts = [...new Set(steps.values())];
    const loaded = counts.flatMap((count) =>
      groups(parameters.filter(([path]) => steps.get(path) === count)).map((members) => ({
        parameters: members,
        steps: count,
        firstMoment: keptRow(members.map(([path]) => state.get(`${path}.firstMoment`)!)),
        secondMoment: keptRow(members.map(([path]) => state.get(`${path}.secondMoment`)!)),
      })),
    );
    this.dispose();
    this.#buckets = loaded;
  }

  dispose(): void {
    for (const { firstMoment, secondMoment } of this.#buckets) tf.dispose([firstMoment, secondMoment]);
    this.#buckets = [];
  }
}

/** Gives what a kernel will change in place data of its own, where a clone somewhere shares it. */
function holdAlone(bucket: Bucket): void {
  const isShared = ({ dataId }: Tensor): boolean => tf.backend().refCount(dataId) > 1;
  for (const [, variable] of bucket.parameters) {
    if (isShared(variable)) tf.tidy(() => variable.assign(tf.mul(variable, 1)));
  }
  for (const moment of ['firstMoment', 'secondMoment'] as const) {
    const before = bucket[moment];
    if (!isShared(before)) continue;
    bucket[moment] = tf.keep(tf.tidy(() => tf.mul<Tensor1D>(before, 1)));
    before.dispose();
  }
}

const decays = ([, variable]: Parameter): boolean => variable.rank >= 2;

const elementsOf = (parameters: readonly Parameter[]): number => parameters.reduce((sum, [, { size }]) => sum + size, 0);

/** Rows of parameters that decay alike, none much longer than it needs to be. */
function groups(parameters: readonly Parameter[]): Parameter[][] {
  const rows: Parameter[][] = [];
  for (const group of [parameters.filter(decays), parameters.filter((p) => !decays(p))]) {
    let open: Parameter[] = [];
    for (const parameter of group) {
      if (open.length === 0 || elementsOf(open) + parameter[1].size > bucketElements) rows.push((open = []));
      open.push(parameter);
    }
  }
  return rows;
}

/** The bucket itself, or two of it when only some of its parameters have a gradient this time. */
function splitBy(bucket: Bucket, has: (path: string) => boolean): Bucket[] {
  const present = bucket.parameters.filter(([path]) => has(path));
  if (present.length === 0 || present.length === bucket.parameters.length) return [bucket];
  const absent = bucket.parameters.filter(([path]) => !has(path));
  const parts = [present, absent].map((members): Bucket => {
    const paths = new Set(members.map(([path]) => path));
    const part = (moment: Tensor1D): Tensor1D =>
      tf.tidy(() => {
        const slices: Tensor1D[] = [];
        forEachPart(bucket.parameters, (path, _, start, size) => paths.has(path) && slices.push(moment.slice(start, size)));
        return keptRow(slices);
      });
    return {
      parameters: members,
      steps: bucket.steps,
      firstMoment: part(bucket.firstMoment),
      secondMoment: part(bucket.secondMoment),
    };
  });
  tf.dispose([bucket.firstMoment, bucket.secondMoment]);
  return parts;
}

function row(tensors: readonly Tensor[]): Tensor1D {
  const rows = tensors.map((tensor) => tensor.reshape([tensor.size]) as Tensor1D);
  return rows.length === 1 ? rows[0]! : tf.concat1d(rows);
}

/** A row of its own memory that outlives the tidy it is made in. */
function keptRow(tensors: readonly Tensor[]): Tensor1D {
  return tf.keep(tf.tidy(() => row(tensors)));
}

function assign(parameters: readonly Parameter[], values: Tensor): void {
  forEachPart(parameters, (_, variable, start, size) => {
    variable.assign(tf.tidy(() => values.slice(start, size).reshape(variable.shape)));
  });
}

type PartVisitor = (path: string, variable: Variable, start: number, size: number) => void;

function forEachPart(parameters: readonly Parameter[], visit: PartVisitor): void {
  let start = 0;
  for (const [path, variable] of parameters) {
    visit(path, variable, start, variable.size);
    start += variable.size;
  }
}

function gradientOf([path, variable]: Parameter, gradients: NamedTensors): Tensor {
  const gradient = gradients.get(path)!;
  const shapes = `[${gradient.shape.join(', ')}] for a parameter [${variable.shape.join(', ')}]`;
  invariant(tf.util.arraysEqual(gradient.shape, variable.shape), `AdamW: ${path} has a gradient of shape ${shapes}`);
  return gradient;
}

function checkSaved(state: NamedTensors, name: string, shape: readonly number[]): void {
  const saved = state.get(name);
  invariant(saved !== undefined, `AdamW: the saved state has no ${name}`);
  invariant(
    tf.util.arraysEqual(saved.shape, [...shape]),
    `AdamW: the saved ${name} has shape [${saved.shape.join(', ')}], the parameter [${shape.join(', ')}]`,
  );
}

/**
 * @file The training loop: draw a batch, see how the loss would fall, take a step; now and then measure, save and listen.
 */
import { existsSync } from 'node:fs';
import { DeviceError, tf, type Scalar } from '../backend/index.ts';
import { interruptible, LabError, Progress, type Interruption } from '../base/index.ts';
import type { Batch, Batches } from '../data/index.ts';
import { LiveLoss } from '../plot/index.ts';
import { loadCheckpoint, restoreWeights, saveCheckpoint, tensorOf, type LossPoint } from './checkpoint.ts';
import { clipByGlobalNorm, globalNorm } from './clip.ts';
import { meanLoss } from './evaluate.ts';
import { lossAndGradients, type LossAndGradients, type Trainable } from './gradients.ts';
import { savedConfiguration } from './load-model.ts';
import { LossScale } from './loss-scale.ts';
import type { Optimizer } from './optimizer.ts';
import { randomStates, restoreRandomStates } from './random-state.ts';
import { trainPlan, type StepReport, type TrainOptions, type TrainPlan, type TrainResult } from './options.ts';

/**
 * Trains the model in place. An interrupt (Ctrl-C, or ■ in a notebook) ends it after the step, saved if there is a checkpoint.
 *
 * @throws LabError when the loss is no longer a finite number, or a checkpoint cannot be read or written.
 * @throws DeviceError when the device is lost or has no room; the last checkpoint is intact.
 */
export async function train(model: Trainable, batches: Batches, options: TrainOptions): Promise<TrainResult> {
  const plan = trainPlan(options);
  checkPrecision(plan);
  const optimizer = plan.optimizer(model.namedParameters());
  const wasTraining = model.training;
  const run = new TrainingRun(model, batches, optimizer, plan);
  try {
    model.train();
    await run.resume();
    return await interruptible((signal) => run.finish(signal));
  } catch (error) {
    throw run.explain(error);
  } finally {
    run.dispose();
    optimizer.dispose();
    if (!wasTraining) model.eval();
  }
}

/** Where nothing would be rounded, nobody should believe that it was. */
function checkPrecision({ precision }: TrainPlan): void {
  const backend = tf.getBackend();
  if (precision !== 'mixed' || backend === 'webgpu') return;
  throw new LabError(
    `train: precision 'mixed' is there on the webgpu backend alone; ${backend} would take its products in float32 anyway. ` +
      "Leave the precision out, or start the GPU: await startBackend({ backend: 'webgpu' }).",
  );
}

/** A loss that is still on the device, and what happened in its step. */
interface Unread extends Pick<StepReport, 'lossScale' | 'skipped'> {
  readonly loss: Scalar;
}

class TrainingRun {
  readonly #model: Trainable;
  readonly #batches: Batches;
  readonly #optimizer: Optimizer;
  readonly #plan: TrainPlan;
  #step = 0;
  #losses: LossPoint[] = [];
  #validationLosses: LossPoint[] = [];
  readonly #scale: LossScale | undefined;
  /** Of the last step. */
  #unread: Unread | undefined;
  #tokens = 0;
  #stepSeconds = 0;
  #secondsBefore = 0;
  #savedStep: number | undefined;
  #progress: Progress | undefined;
  #live: LiveLoss | undefined;

  constructor(model: Trainable, batches: Batches, optimizer: Optimizer, plan: TrainPlan) {
    this.#model = model;
    this.#batches = batches;
    this.#optimizer = optimizer;
    this.#plan = plan;
    this.#scale = plan.lossScaling && new LossScale(plan.lossScaling);
  }

  /** Goes back to where the checkpoint was, if there is one and it is wanted. */
  async resume(): Promise<void> {
    const { path, resume = false } = this.#plan.checkpoint ?? {};
    if (path === undefined || !resume || !existsSync(path)) return;
    const checkpoint = await loadCheckpoint(path);
    const saved = new Map([...checkpoint.optimizer].map(([name, tensor]) => [name, tensorOf(tensor)]));
    try {
      restoreWeights(checkpoint, this.#model.namedParameters());
      await this.#optimizer.load(saved);
    } finally {
      tf.dispose([...saved.values()]);
    }
    const { state } = checkpoint;
    this.#batches.state = state.batches;
    restoreRandomStates(this.#model, state.random);
    if (this.#scale && state.lossScale) this.#scale.state = state.lossScale;
    this.#step = this.#savedStep = state.step;
    this.#losses = [...state.losses];
    this.#validationLosses = [...state.validationLosses];
    this.#secondsBefore = state.seconds;
  }

  async finish(signal: Interruption): Promise<TrainResult> {
    const { steps, quiet = false, validation, checkpoint } = this.#plan;
    const started = performance.now();
    const seconds = (): number => this.#secondsBefore + (performance.now() - started) / 1000;
    this.#progress = new Progress({ total: steps, label: 'training', unit: 'steps', from: this.#step, quiet });
    this.#live = this.#continuedCurve(quiet);
    while (this.#step < steps && !signal.stopped) {
      await this.#advance();
      const last = this.#step === steps;
      if (validation && (last || this.#step % validation.every === 0)) await this.#validate(signal);
      if (checkpoint && (last || this.#step % (checkpoint.every ?? 500) === 0)) await this.#save(seconds());
      await signal.breathe();
    }
    await this.#readLoss();
    if (checkpoint && this.#savedStep !== this.#step) await this.#save(seconds());
    this.#progress.done(this.#note());
    this.#live.finish();
    return {
      losses: this.#losses,
      validationLosses: this.#validationLosses,
      steps: this.#step,
      seconds: seconds(),
      tokensPerSecond: this.#tokens / Math.max(this.#stepSeconds, 1e-9),
      interrupted: this.#step < steps,
    };
  }

  dispose(): void {
    this.#unread?.loss.dispose();
  }

  /** One update. The loss of the step before is read while the device works on this one. */
  async #advance(): Promise<void> {
    const { accumulate } = this.#plan;
    const started = performance.now();
    const drawn = Array.from({ length: accumulate }, () => this.#batches.next());
    const step = this.#scale
      ? await this.#scaledStep(drawn, this.#scale)
      : { loss: tf.tidy(() => this.#update(this.#differentiate(drawn))) };
    const before = this.#unread;
    this.#unread = step;
    this.#step++;
    if (before) await this.#report(before);
    this.#tokens += drawn.reduce((sum, { batchSize, contextLength }) => sum + batchSize * contextLength, 0);
    this.#stepSeconds += (performance.now() - started) / 1000;
  }

  #differentiate(drawn: readonly Batch[]): LossAndGradients {
    const { loss, precision } = this.#plan;
    return lossAndGradients(this.#model, drawn, loss, { precision, scale: this.#scale?.scale ?? 1 });
  }

  /** @returns the loss */
  #update({ loss, gradients }: LossAndGradients): Scalar {
    const { clipNorm, schedule } = this.#plan;
    const clipHere = clipNorm !== Infinity && this.#optimizer.clips !== true;
    const clipped = clipHere ? clipByGlobalNorm(gradients, clipNorm) : gradients;
    this.#optimizer.step(clipped, schedule(this.#step), { clipNorm });
    return loss;
  }

  /** Waits for the gradients, and takes the step only when all of them are finite. */
  async #scaledStep(drawn: readonly Batch[], scaling: LossScale): Promise<Unread> {
    const lossScale = scaling.scale;
    const { loss, norm, ...kept } = tf.tidy(() => {
      const found = this.#differentiate(drawn);
      return { loss: found.loss, norm: globalNorm(found.gradients), gradients: Object.fromEntries(found.gradients) };
    });
    try {
      const [length] = await norm.data();
      const taken = scaling.update(Number.isFinite(length));
      if (taken) tf.tidy(() => void this.#update({ loss, gradients: new Map(Object.entries(kept.gradients)) }));
      return { loss, lossScale, skipped: !taken };
    } catch (error) {
      loss.dispose();
      throw error;
    } finally {
      tf.dispose([norm, kept.gradients]);
    }
  }

  /** Reads the loss of the last step, so that all steps are told. */
  async #readLoss(): Promise<void> {
    const unread = this.#unread;
    this.#unread = undefined;
    if (unread) await this.#report(unread);
  }

  /** @throws LabError when the loss is not a finite number. */
  async #report({ loss: onDevice, ...happened }: Unread): Promise<void> {
    const loss = await onDevice.data().then(([value]) => value!).finally(() => onDevice.dispose());
    const step = this.#losses.length + 1;
    const learningRate = this.#plan.schedule(step - 1);
    if (!Number.isFinite(loss)) throw this.#diverged(step, loss, learningRate);
    this.#losses.push({ step, loss });
    this.#live?.update(step, { train: loss });
    this.#progress?.update(step, this.#note());
    this.#plan.onStep?.({ step, loss, learningRate, ...happened });
  }

  #diverged(step: number, loss: number, learningRate: number): LabError {
    return new LabError(
      `Training stopped: the loss of step ${step} is ${loss}. The learning rate, ${learningRate} there, may be too high, the ` +
        'warmup too short, a batch may hold numbers that are not finite, or a part of the model divides by zero or takes the ' +
        `logarithm of zero. checkNumerics(() => train(…)) finds the operation.${this.#kept()}`,
    );
  }

  /** What the device's failure means for this training. */
  explain(error: unknown): unknown {
    if (!(error instanceof DeviceError)) return error;
    const { kind, message } = error;
    const told = `Training stopped after step ${this.#losses.length}. ${message}${this.#kept()}`;
    return new DeviceError(kind, told, { cause: error });
  }

  #kept(): string {
    const { checkpoint } = this.#plan;
    if (!checkpoint || this.#savedStep === undefined) return '';
    return ` The checkpoint of step ${this.#savedStep} is intact: ${checkpoint.path}`;
  }

  async #validate(signal: Interruption): Promise<void> {
    await this.#readLoss();
    const { validation, loss: lossOf } = this.#plan;
    const loss = await meanLoss(this.#model, validation!.batches(), lossOf, signal);
    if (loss === undefined) return;
    const point = { step: this.#step, loss };
    this.#validationLosses.push(point);
    this.#live?.update(point.step, { validation: point.loss });
    this.#plan.onValidation?.(point);
  }

  async #save(seconds: number): Promise<void> {
    await this.#readLoss();
    const { path, tokenizer, notes } = this.#plan.checkpoint!;
    const { config } = this.#model;
    const optimizer = this.#optimizer.state();
    try {
      await saveCheckpoint(path, {
        parameters: this.#model.namedParameters(),
        optimizer,
        state: {
          step: this.#step,
          losses: this.#losses,
          validationLosses: this.#validationLosses,
          seconds,
          batches: this.#batches.state,
          random: randomStates(this.#model),
          ...(this.#scale && { lossScale: this.#scale.state }),
        },
        ...(config ? { configuration: savedConfiguration(config) } : {}),
        ...(tokenizer ? { tokenizer } : {}),
        ...(notes ? { notes } : {}),
      });
    } finally {
      tf.dispose([...optimizer.values()]);
    }
    this.#savedStep = this.#step;
  }

  #continuedCurve(quiet: boolean): LiveLoss {
    const live = new LiveLoss({ quiet });
    for (const { step, loss } of this.#losses) live.update(step, { train: loss });
    for (const { step, loss } of this.#validationLosses) live.update(step, { validation: loss });
    return live;
  }

  #note(): string {
    const measured = this.#validationLosses.at(-1);
    const loss = this.#losses.at(-1);
    return [loss && `loss ${loss.loss.toFixed(3)}`, measured && `validation ${measured.loss.toFixed(3)}`]
      .filter(Boolean)
      .join(', ');
  }
}

/**
 * @file The backend of last resort: plain JavaScript. Slow, exact, and always there.
 */
import * as tf from '@tensorflow/tfjs';
import type { Backend, RunningBackend } from './device.ts';

/** Its first tensor would be greeted with an advertisement for the native binding, which doctor explains better. */
function silenceGreeting(): void {
  const make = tf.findBackendFactory('cpu') as (() => tf.KernelBackend) | undefined;
  if (!make) return;
  tf.removeBackend('cpu');
  tf.registerBackend('cpu', () => Object.assign(make(), { firstUse: false }));
}

silenceGreeting();

export const cpu: Backend = {
  name: 'cpu',
  async launch(): Promise<RunningBackend> {
    await tf.setBackend('cpu');
    return { device: 'plain JavaScript', threads: 1, accelerated: false, stop: async () => {} };
  },
};

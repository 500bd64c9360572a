/**
 * @file The thread beside: while the main thread is stuck in an endless loop, this one still counts the seconds.
 * It stops the main thread's JavaScript through the inspector, which leaves the process itself alive.
 */
import { Session } from 'node:inspector';
import { parentPort, workerData } from 'node:worker_threads';
import { ARMED, FIRING, IDLE, type Watch } from './watchdog.ts';

const state = new Int32Array(workerData as SharedArrayBuffer);
const session = new Session();
session.connectToMainThread();

/** How often the memory is looked at, in milliseconds: an allocating loop makes some ten megabytes in that time. */
const PERIOD = 20;

let timer: NodeJS.Timeout | undefined;

function fire(watch: Watch, reason: 'time' | 'memory'): void {
  // Only one of the two threads can leave the armed state: what has just finished by itself is not stopped any more.
  if (Atomics.compareExchange(state, 0, ARMED, FIRING) !== ARMED) return;
  session.post('Runtime.terminateExecution', () => {
    Atomics.store(state, 0, IDLE);
    parentPort?.postMessage({ number: watch.number, reason });
  });
}

parentPort?.on('message', (watch: Watch) => {
  clearInterval(timer);
  if (watch.number === 0) return;
  const deadline = performance.now() + watch.milliseconds;
  timer = setInterval(() => {
    if (Atomics.load(state, 1) !== watch.number) clearInterval(timer);
    else if (performance.now() > deadline) fire(watch, 'time');
    else if (process.memoryUsage.rss() > watch.bytes) fire(watch, 'memory');
  }, PERIOD);
});

/**
 * @file A parallel for loop over the threads of the pool. An operation is cut into chunks; every thread, the caller included,
 * claims the next chunk until none is left. Which thread runs a chunk does not matter: chunks write to different places, and
 * how an operation is cut depends on its shape alone, so results do not depend on the number of threads.
 *
 * One control block in the shared heap, each counter on a cache line of its own so that threads do not slow each other down:
 * |   0 | i64 | ticket: sequence number (24 bits), number of chunks (20), next chunk (20): one atomic add claims a chunk
 * |  64 | i32 | chunks that are done
 * | 128 | i32 | generation: changes when there is work; idle threads watch it
 * | 192 | i32 | idle threads that have gone to sleep
 * | 256 | i32 | not 0: the threads end
 * | 320 | i32 | not 0: a thread has failed
 * | 384 | i32 | not 0: the caller has gone to sleep until a chunk is done
 * | 448 | i32 | the operation's number, then its arguments
 */
import { run } from './kernels.as';

const TICKET: usize = 0;
const DONE: usize = 64;
const GENERATION: usize = 128;
const SLEEPERS: usize = 192;
const STOP: usize = 256;
const FAILED: usize = 320;
const CALLER_SLEEPS: usize = 384;
const OPERATION: usize = 448;
const ARGUMENTS: usize = 452;

/** How often the caller looks for the last chunks before it sleeps: a few hundred microseconds. */
const CALLER_SPINS: i32 = 200000;
const HALF_A_SECOND: i64 = 500000000;
/** Half-seconds without a single chunk done after which a thread counts as lost. A chunk takes milliseconds. */
const PATIENCE: i32 = 120;

let control: usize = 0;
let sequence: i32 = 0;

/** The i-th argument of the running operation. */
@inline export function argument(i: i32): i32 { return i32.load(control + ARGUMENTS + ((<usize>i) << 2)); }
@inline export function address(i: i32): usize { return <usize>argument(i); }
@inline export function number(i: i32): f32 { return f32.load(control + ARGUMENTS + ((<usize>i) << 2)); }

/** Another value for every submitted operation: what a thread remembers from one chunk to the next is valid only within one. */
export function currentSequence(): i32 { return sequence; }

export function useControlBlock(block: usize): void { control = block; }

/** Claims chunks of the current operation and runs them until none is left; says whether there was one. */
function drain(): bool {
  let any = false;
  while (true) {
    // Looking first keeps the counter from running on while threads idle.
    const seen = atomic.load<i64>(control + TICKET);
    if ((seen & 0xfffff) >= ((seen >> 20) & 0xfffff)) return any;
    const ticket = atomic.add<i64>(control + TICKET, 1);
    const chunk = <i32>(ticket & 0xfffff);
    if (chunk >= <i32>((ticket >> 20) & 0xfffff)) return any;
    sequence = <i32>(ticket >> 40);
    run(i32.load(control + OPERATION), chunk);
    any = true;
    atomic.add<i32>(control + DONE, 1);
    if (atomic.load<i32>(control + CALLER_SLEEPS) != 0) atomic.notify(control + DONE, 1);
  }
}

/** The life of a thread: work, watch for work `spins` times, sleep. Returns when the pool stops. */
export function work(spins: i32): void {
  while (true) {
    const seen = atomic.load<i32>(control + GENERATION);
    if (!drain()) {
      let i: i32 = 0;
      while (i < spins && atomic.load<i32>(control + GENERATION) == seen) ++i;
      if (i == spins) {
        atomic.add<i32>(control + SLEEPERS, 1);
        atomic.wait<i32>(control + GENERATION, seen, -1);
        atomic.sub<i32>(control + SLEEPERS, 1);
      }
    }
    if (atomic.load<i32>(control + STOP) != 0) return;
  }
}

/** Sleeps until a chunk is done; says whether one was done within the time of our patience. */
function awaitProgress(done: i32): bool {
  atomic.store<i32>(control + CALLER_SLEEPS, 1);
  let waits: i32 = 0;
  while (atomic.load<i32>(control + DONE) == done && atomic.load<i32>(control + FAILED) == 0 && waits < PATIENCE) {
    atomic.wait<i32>(control + DONE, done, HALF_A_SECOND);
    ++waits;
  }
  atomic.store<i32>(control + CALLER_SLEEPS, 0);
  return waits < PATIENCE;
}

/**
 * Runs the operation whose number and arguments stand in the control block, cut into `chunks`.
 *
 * @returns 0: done; 1: a thread has failed; 2: a thread does not answer
 */
export function submit(chunks: i32, number: i32, alone: i32): i32 {
  if (chunks <= 1 || alone != 0) {
    sequence = number;
    for (let chunk: i32 = 0; chunk < chunks; ++chunk) run(i32.load(control + OPERATION), chunk);
    return 0;
  }
  atomic.store<i32>(control + DONE, 0);
  atomic.store<i64>(control + TICKET, ((<i64>number) << 40) | ((<i64>chunks) << 20));
  atomic.add<i32>(control + GENERATION, 1);
  if (atomic.load<i32>(control + SLEEPERS) > 0) atomic.notify(control + GENERATION, -1);
  drain();
  let spins: i32 = 0;
  while (true) {
    const done = atomic.load<i32>(control + DONE);
    if (done >= chunks) return 0;
    if (atomic.load<i32>(control + FAILED) != 0) return 1;
    if (++spins > CALLER_SPINS && !awaitProgress(done)) return 2;
  }
}

/** @file A machine with round numbers, on which shares of the roof can be found by hand. */
import type { MachineProfile } from 'lab';

/** Round numbers: a thousand FLOPs a second, a hundred bytes a second from large memory and ten thousand from small. */
export const machine: MachineProfile = {
  device: 'a drawing',
  flopsPerSecond: 1000,
  matmulFlopsPerSecond: 900,
  bandwidth: [
    { bytes: 100, bytesPerSecond: 10_000 },
    { bytes: 10_000, bytesPerSecond: 100 },
  ],
  slowBytesPerSecond: 100,
  fastBytesPerSecond: 10_000,
  secondsPerCall: 1e-6,
  ridge: 10,
};

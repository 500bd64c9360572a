/** @file The error of a device, for tests that provoke one. */
import { DeviceError } from 'lab';
import { expect } from 'vitest';

/** What `run` throws, which must be a DeviceError. */
export async function deviceErrorOf(run: () => unknown): Promise<DeviceError> {
  try {
    await run();
  } catch (error) {
    expect(error).toBeInstanceOf(DeviceError);
    return error as DeviceError;
  }
  return expect.fail('nothing was thrown');
}

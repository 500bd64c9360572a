/**
 * @file Before a chapter's tests: the backend that notebooks would have started in their first cell.
 */
import { beforeAll, expect } from 'vitest';

beforeAll(async () => {
  if (!/[\\/]test[\\/]\d\d-[^\\/]+$/.test(expect.getState().testPath ?? '')) return;
  const { startBackend } = await import('lab');
  await startBackend();
});

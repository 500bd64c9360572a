import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Worker threads would share one process with the wasm backend's own workers and signal handlers.
    pool: 'forks',
    testTimeout: 60_000,
  },
});

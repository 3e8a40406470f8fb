import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  ssr: { resolve: { conditions: ['vouchgate-source'] } },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    // Tests wait for sockets as much as they compute, so that two cores are too few for one worker.
    maxWorkers: Math.max(3, availableParallelism() - 1),
  },
})

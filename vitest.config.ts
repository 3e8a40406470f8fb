import { defineConfig } from 'vitest/config'

export default defineConfig({
  ssr: { resolve: { conditions: ['vouchgate-source'] } },
  test: { include: ['test/**/*.test.ts'], testTimeout: 30_000 },
})

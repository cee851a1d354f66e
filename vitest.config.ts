import { defineConfig } from 'vitest/config'
import { CountsReporter } from './test/support/counts-reporter.ts'
import { LongestFirst } from './test/support/longest-first.ts'

export default defineConfig({
  test: {
    reporters: ['default', new CountsReporter()],
    sequence: { sequencer: LongestFirst },
    projects: [
      // Many of them wait for clocks and sockets, so more than there are cores; a busy machine may take its time.
      { test: { name: 'unit', include: ['test/unit/**/*.test.ts'], maxWorkers: 4, testTimeout: 60_000 } },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          globalSetup: ['test/support/e2e-setup.ts'],
          testTimeout: 120_000,
          hookTimeout: 600_000,
          maxWorkers: 2
        }
      }
    ]
  }
})

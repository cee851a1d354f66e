import { writeFileSync } from 'node:fs'
import type { Reporter, TestModule } from 'vitest/node'

/**
 * Writes `passed failed skipped` to the file that ORIEL_TEST_COUNTS names, so that scripts/test can add up its runs.
 * A file that could not be loaded, and an error outside of any test, count as failed.
 */
export class CountsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0 }
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        counts[state === 'pending' ? 'skipped' : state] += 1
      }
      counts.failed += module.errors().length
      for (const suite of module.children.allSuites()) counts.failed += suite.errors().length
    }
    const file = process.env.ORIEL_TEST_COUNTS
    if (file !== undefined) writeFileSync(file, `${counts.passed} ${counts.failed} ${counts.skipped}\n`)
  }
}

import type { Outcome, Outcomes } from './suites.ts'

export interface Difference {
  suite: string
  test: string
  straight: Outcome | 'not run'
  through: Outcome | 'not run'
}

/** One of the checked-in list: a test that is known to fare differently, and why. */
export interface Explanation {
  suite: string
  test: string
  reason: string
}

/** The tests that fared differently, in the order of their names. */
export function differencesOf(suite: string, straight: Outcomes, through: Outcomes): Difference[] {
  const tests = [...new Set([...straight.keys(), ...through.keys()])].sort()
  return tests
    .map(test => ({
      suite,
      test,
      straight: straight.get(test) ?? ('not run' as const),
      through: through.get(test) ?? ('not run' as const)
    }))
    .filter(({ straight, through }) => straight !== through)
}

/** Why the list says that this difference is none of the gateway's, if it does. */
export function explained(difference: Difference, list: readonly Explanation[]): string | undefined {
  return list.find(({ suite, test }) => suite === difference.suite && test === difference.test)?.reason
}

/** How many tests ended in each way. */
export function counts(outcomes: Outcomes): Record<Outcome, number> {
  const all = [...outcomes.values()]
  const count = (wanted: Outcome) => all.filter(outcome => outcome === wanted).length
  return { passed: count('passed'), failed: count('failed'), skipped: count('skipped') }
}

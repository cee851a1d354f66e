import type { GuestFacts } from '#driver/driver.ts'

const DAY_MS = 86_400_000

/** What is left of an evaluation now, from what the guest told some time ago. Undefined when it is none or nobody knows. */
export function evaluationLeft(
  facts: GuestFacts | undefined,
  now = Date.now()
): { daysLeft: number; rearmsLeft: number | null } | undefined {
  if (facts === undefined || facts.daysLeft === null) return undefined
  const passed = Math.max(0, now - Date.parse(facts.at))
  return { daysLeft: Math.max(0, facts.daysLeft - Math.floor(passed / DAY_MS)), rearmsLeft: facts.rearmsLeft }
}

import { Refusal } from './refusal.ts'

/** The newest API whose bodies the rewrites know. An engine with a newer one is spoken to with this. */
export const MAX_API_VERSION = '1.51'

/** Negative, zero or positive as `a` is older than, equal to or newer than `b`; both like `1.41`. */
export function compareVersions(a: string, b: string): number {
  const [majorA = 0, minorA = 0] = a.split('.').map(Number)
  const [majorB = 0, minorB = 0] = b.split('.').map(Number)
  return majorA - majorB || minorA - minorB
}

/** The API version that clients are told, for an engine with this one. */
export function cappedVersion(engineVersion: string): string {
  return compareVersions(engineVersion, MAX_API_VERSION) > 0 ? MAX_API_VERSION : engineVersion
}

/** A Refusal in the engine's own words when the path names a version newer than `max` or older than `min`. */
export function checkVersion(version: string, min: string, max: string): void {
  if (version === '') return
  if (min !== '' && compareVersions(version, min) < 0) {
    throw new Refusal(
      `client version ${version} is too old. Minimum supported API version is ${min}, please upgrade your client to a newer version`
    )
  }
  if (compareVersions(version, max) > 0) {
    throw new Refusal(`client version ${version} is too new. Maximum supported API version is ${max}`)
  }
}

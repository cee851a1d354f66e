/**
 * An image that a machine can run, to show and to open a prompt in. The wine driver knows its own by a short name; a real
 * engine pulls Microsoft's, whose tag has to fit the release.
 */
export function exampleImage(virtual: boolean, release: string | undefined): string {
  if (!virtual) return 'windowsservercore'
  const year = /^(?:ltsc)?(20\d\d)$/.exec(release ?? '')?.[1]
  // There is no Server Core for ARM64.
  return year === undefined
    ? 'mcr.microsoft.com/windows/nanoserver:ltsc2025'
    : `mcr.microsoft.com/windows/servercore:ltsc${year}`
}

/** Where the drives are in a container of the Wine base. */
const PREFIX = '/c'

/** Folders that the Wine base has, in their real case; a path that differs only in case must not make a twin. */
export const BASE_FOLDERS: readonly string[] = [
  'Program Files',
  'Program Files/Common Files',
  'Program Files (x86)',
  'ProgramData',
  'users',
  'users/Public',
  'users/ContainerAdministrator',
  'users/ContainerUser',
  'windows',
  'windows/system32',
  'windows/system32/drivers',
  'windows/system32/drivers/etc',
  'windows/syswow64',
  'windows/temp'
]

/** True for `C:\x`, `c:/x`, `C:` and `\x`: what only Windows calls a path. */
export function isWindowsPath(path: string): boolean {
  return /^[a-z]:([\\/]|$)/i.test(path) || path.startsWith('\\')
}

/** `C:\a\..\b/` becomes `C:\b`: absolute below `base`, upper-case drive, backslashes, no dots, no slash at the end but the root's. */
export function normalizeWindowsPath(path: string, base = 'C:\\'): string {
  const slashed = path.replaceAll('/', '\\')
  const drive = /^([a-z]):/i.exec(slashed)?.[1] ?? base[0] ?? 'C'
  const rest = slashed.replace(/^[a-z]:/i, '')
  const joined = rest.startsWith('\\') || /^[a-z]:/i.test(slashed) ? rest : `${base.replace(/^[a-z]:/i, '')}\\${rest}`
  const parts: string[] = []
  for (const part of joined.split('\\')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return `${drive.toUpperCase()}:\\${parts.join('\\')}`
}

/**
 * The Linux path in the container for a Windows path. Components that are known (`folders`, besides the base's own) get
 * their real case; the rest stays as given.
 */
export function toLinuxPath(path: string, folders: readonly string[] = []): string {
  const normal = normalizeWindowsPath(path)
  const drive = (normal[0] ?? 'C').toLowerCase()
  const known =
    drive === 'c'
      ? new Map([...BASE_FOLDERS, ...folders].map(name => [name.toLowerCase(), name]))
      : new Map<string, string>()
  let real = ''
  for (const part of normal.slice(3).split('\\').filter(Boolean)) {
    const next = real === '' ? part : `${real}/${part}`
    real = known.get(next.toLowerCase()) ?? next
  }
  return `${PREFIX}/drive_${drive}${real === '' ? '' : `/${real}`}`
}

/** The Windows path for a Linux path in the container, or undefined when it lies on no drive. */
export function toWindowsPath(path: string): string | undefined {
  const match = /^\/c\/drive_([a-z])(?:\/(.*))?$/.exec(path)
  if (match === null) return undefined
  return `${(match[1] ?? 'c').toUpperCase()}:\\${(match[2] ?? '').replaceAll('/', '\\')}`
}

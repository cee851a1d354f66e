import type { HiveKey, HiveValue } from './regf.ts'

/** The hives that a layer can change; each is a file `Hives/<name>_DELTA`. */
export type HiveName = 'SYSTEM' | 'SOFTWARE' | 'SAM' | 'SECURITY' | 'DEFAULTUSER'

/** The first line of the text; regedit goes by it. */
export const REG_HEADER = 'Windows Registry Editor Version 5.00'

// Wine's CurrentControlSet is a link to ControlSet001, as on Windows, so that SYSTEM needs no other names.
const MOUNTS: Readonly<Record<HiveName, string | undefined>> = {
  SYSTEM: 'HKEY_LOCAL_MACHINE\\SYSTEM',
  SOFTWARE: 'HKEY_LOCAL_MACHINE\\SOFTWARE',
  DEFAULTUSER: 'HKEY_USERS\\.DEFAULT',
  // Accounts and the local security policy: Wine has neither in its registry.
  SAM: undefined,
  SECURITY: undefined
}

const REG_SZ = 1
const REG_DWORD = 4
const REG_LINK = 6

/**
 * What a layer's hive changes, as text for `reg import` (lines end with CR LF). Write it with `encodeReg`: without the mark
 * of UTF-16 Wine takes it for the code page of the system. SAM and SECURITY become a comment.
 */
export function hiveToReg(hive: HiveKey, mount: HiveName): string {
  const root = MOUNTS[mount]
  const lines = [REG_HEADER, '']
  if (root === undefined) lines.push(`; ${mount} is left out: Wine keeps no accounts and no security policy.`)
  // A root that hides all below would take away the registry of Wine itself.
  else addKey(lines, root, { ...hive, layer: 'merge' }, false)
  return `${lines.join('\r\n')}\r\n`
}

/** The bytes of a file that Wine's `reg import` reads: UTF-16 with its mark. */
export function encodeReg(text: string): Buffer {
  return Buffer.from(`\ufeff${text}`, 'utf16le')
}

/** Several texts as one. */
export function joinReg(texts: readonly string[]): string {
  return texts.map((text, index) => (index === 0 ? text : text.slice(text.indexOf('\r\n')))).join('')
}

function addKey(lines: string[], path: string, key: HiveKey, cleared: boolean): void {
  // All below is gone already with a key that hides a whole tree; its subkeys say the same again. A key that hides only its
  // own namesake must not take the subkeys away, and text cannot say "no values": the values of the layers below stay.
  const clears = !cleared && (key.layer === 'tombstone' || key.layer === 'supersede-tree')
  if (clears) lines.push(`[-${path}]`, '')
  if (key.layer === 'tombstone') return
  lines.push(`[${path}]`)
  for (const value of key.values) addValue(lines, value)
  lines.push('')
  for (const subkey of key.keys) addKey(lines, `${path}\\${subkey.name}`, subkey, cleared || clears)
}

function addValue(lines: string[], value: HiveValue): void {
  const name = value.name === '' ? '@' : quote(value.name)
  if (value.tombstone) lines.push(`${name}=-`)
  // Only the making of a key can make it a link.
  else if (value.type === REG_LINK)
    lines.push(`; ${name.replace(/[\r\n]/g, ' ')} is left out: it makes its key a link.`)
  else lines.push(`${name}=${dataText(value)}`)
}

function dataText({ type, data }: HiveValue): string {
  if (type === REG_DWORD && data.length === 4) return `dword:${data.readUInt32LE(0).toString(16).padStart(8, '0')}`
  if (type === REG_SZ) {
    const plain = plainString(data)
    if (plain !== undefined) return quote(plain)
  }
  const bytes = data.toString('hex').replace(/..(?=.)/g, '$&,')
  return type === 3 ? `hex:${bytes}` : `hex(${type.toString(16)}):${bytes}`
}

/** A string that a quoted text gives back byte for byte: whole characters, one NUL at the end, no line ends. */
function plainString(data: Buffer): string | undefined {
  if (data.length < 2 || data.length % 2 !== 0) return undefined
  const text = data.toString('utf16le')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
  return text.endsWith('\0') && !/[\0-\x1f]/.test(text.slice(0, -1)) ? text.slice(0, -1) : undefined
}

function quote(text: string): string {
  const escaped = text.replace(/[\\"]/g, '\\$&').replaceAll('\n', '\\n').replaceAll('\r', '\\r').replaceAll('\0', '\\0')
  return `"${escaped}"`
}

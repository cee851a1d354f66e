import { Fault } from '#lib/fault.ts'

/** A key of Wine's registry: the names of its values, as written, with their data as Wine's text has them. */
export interface WineKey {
  /** Path below the root of the file, in its own case. */
  path: string
  values: Map<string, string>
}

/** Keys by their path in lower case, since names match whatever their case. */
export type WineRegistry = Map<string, WineKey>

export interface RegistryChange {
  key: string
  /** Undefined when the key itself came or went; empty for its default value. */
  value: string | undefined
  change: 'added' | 'removed' | 'changed'
}

const HEADER = 'WINE REGISTRY Version 2'
const MAX_BYTES = 256 * 1024 * 1024

/** What Wine writes at a start by itself: the key, the value when it is one of several, and why. Measured on the Wine base. */
const NOISE: readonly { key: RegExp; value?: RegExp }[] = [
  // The fonts that it found, noted at the first start on an image and again when they differ.
  { key: /^Software\\Microsoft\\Windows( NT)?\\CurrentVersion\\Fonts$/i },
  { key: /^Software\\Wine(\\|$)/i },
  // The name of the container, which wineboot takes from Linux when services are on.
  { key: /^System\\ControlSet001\\Control\\ComputerName\\(Active)?ComputerName$/i, value: /^ComputerName$/i },
  { key: /^System\\ControlSet001\\Services\\Tcpip\\Parameters$/i, value: /^(NV )?(Hostname|Domain)$/i },
  // The time at which a program that wants a window met the display adapter.
  {
    key: /^System\\ControlSet001\\Control\\Class\\\{4D36E968-E325-11CE-BFC1-08002BE10318\}\\\d{4}$/i,
    value: /^DriverDateData$/i
  },
  // The type library of the script host, which cscript and wscript register whenever they start; Windows has it.
  { key: /^Software\\Classes\\Typelib\\\{60254CA0-953B-11CF-8C96-00AA00B8708C\}(\\|$)/i },
  {
    key: /^Software\\Classes\\(Wow6432Node\\)?Interface\\\{(2CC5A9D1-B1E5-11D3-A286-00104BD35090|53BAD8C1-E718-11CF-893D-00A0C9054228|91AFBD1B-5FEB-43F5-B028-E2CA960617EC)\}(\\|$)/i
  },
  // Where folders are was found again, as by the `rmdir /s` of its cmd; who moves one writes to `User Shell Folders`.
  { key: /^Software\\Microsoft\\Windows\\CurrentVersion\\Explorer\\Shell Folders$/i },
  // What belongs to one start of the system and not to the image.
  { key: /^Volatile Environment(\\|$)/i }
]

function isNoise(key: string, value?: string): boolean {
  return NOISE.some(noise => noise.key.test(key) && (noise.value === undefined || noise.value.test(value ?? '\0')))
}

/**
 * Reads a registry as wineserver saves it (`system.reg`, `user.reg`, `userdef.reg`): like regedit's text, but with times,
 * `str(2):` strings and keys relative to a root. Fault when it is something else.
 */
export function readWineRegistry(text: string): WineRegistry {
  if (text.length > MAX_BYTES) throw new Fault('this registry of Wine is too large to be one')
  if (!text.startsWith(HEADER)) throw new Fault(`this is no registry of Wine: it does not begin with "${HEADER}"`)
  const keys: WineRegistry = new Map()
  let current: WineKey | undefined
  for (const line of logicalLines(text)) {
    if (line.startsWith('[')) {
      const end = endOf(line, 1, ']')
      const path = plainText(line.slice(1, end))
      // Several roots of one file may name a key twice.
      current = keys.get(path.toLowerCase()) ?? { path, values: new Map() }
      keys.set(path.toLowerCase(), current)
    } else if (current !== undefined && line.startsWith('@=')) {
      current.values.set('', line.slice(2))
    } else if (current !== undefined && line.startsWith('"')) {
      const end = endOf(line, 1, '"')
      if (line[end + 1] !== '=') throw new Fault('this registry of Wine is damaged: a value without data')
      current.values.set(plainText(line.slice(1, end)), line.slice(end + 2))
    } else if (current !== undefined && line === '#link') {
      current.values.set('#link', '')
    }
  }
  return keys
}

/** Lines without the breaks in long hexadecimal data. */
function* logicalLines(text: string): Generator<string> {
  const held: string[] = []
  for (const raw of text.split('\n')) {
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw
    // A string that ends with a backslash has its quote behind it, so that only data in bytes end so.
    const goesOn = held.length > 0 ? line.endsWith('\\') : /=hex(\([0-9a-f]+\))?:[0-9a-f, ]*\\$/.test(line)
    held.push((held.length > 0 ? line.trimStart() : line).slice(0, goesOn ? -1 : undefined))
    if (goesOn) continue
    yield held.join('')
    held.length = 0
  }
  if (held.length > 0) yield held.join('')
}

/** Where the text that begins at `from` ends: at the first such mark that no backslash stands before. */
function endOf(line: string, from: number, mark: string): number {
  for (let at = from; at < line.length; at++) {
    if (line[at] === '\\') at++
    else if (line[at] === mark) return at
  }
  throw new Fault('this registry of Wine is damaged: a name without an end')
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  r: '\r',
  t: '\t',
  a: '\x07',
  b: '\b',
  e: '\x1b',
  f: '\f',
  v: '\v',
  '0': '\0'
}

function plainText(text: string): string {
  return text.replace(
    /\\(?:x([0-9a-fA-F]{1,4})|([0-7]{1,3})|(.))/gs,
    (_, hex?: string, octal?: string, plain?: string) =>
      hex !== undefined
        ? String.fromCharCode(Number.parseInt(hex, 16))
        : octal !== undefined
          ? String.fromCharCode(Number.parseInt(octal, 8))
          : (ESCAPES[plain ?? ''] ?? plain ?? '')
  )
}

/** What differs between two states of a registry and is not Wine's own doing, keys and values in order. */
export function diffRegistry(before: WineRegistry, after: WineRegistry): RegistryChange[] {
  const changes: RegistryChange[] = []
  for (const id of [...new Set([...before.keys(), ...after.keys()])].sort()) {
    const old = before.get(id)
    const fresh = after.get(id)
    const key = (fresh ?? old)?.path ?? id
    if (isNoise(key)) continue
    if (old === undefined && !hasBelow(before, id)) changes.push({ key, value: undefined, change: 'added' })
    if (fresh === undefined && !hasBelow(after, id)) changes.push({ key, value: undefined, change: 'removed' })
    changes.push(...diffValues(key, old?.values ?? new Map(), fresh?.values ?? new Map()))
  }
  return changes
}

/** Wine's text does not name a key that has keys below and no values. */
function hasBelow(registry: WineRegistry, id: string): boolean {
  for (const other of registry.keys()) if (other.startsWith(`${id}\\`)) return true
  return false
}

function diffValues(key: string, before: Map<string, string>, after: Map<string, string>): RegistryChange[] {
  const old = byLowerCase(before)
  const fresh = byLowerCase(after)
  return [...new Set([...old.keys(), ...fresh.keys()])].sort().flatMap((id): RegistryChange[] => {
    const was = old.get(id)
    const is = fresh.get(id)
    const value = (is ?? was)?.name ?? id
    if (was?.data === is?.data || isNoise(key, value)) return []
    return [{ key, value, change: was === undefined ? 'added' : is === undefined ? 'removed' : 'changed' }]
  })
}

function byLowerCase(values: Map<string, string>): Map<string, { name: string; data: string }> {
  return new Map([...values].map(([name, data]) => [name.toLowerCase(), { name, data }]))
}

// Fields of a header: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html (ustar Interchange Format, pax Header Block)
import { Fault } from './fault.ts'

export const BLOCK = 512

const FIELDS = { name: [0, 100], linkname: [157, 257] } as const
const SIZE = [124, 136] as const
const CHECKSUM = [148, 156] as const
const TYPE = 156
const PREFIX = [345, 500] as const

export interface EntryNames {
  name: string
  linkname: string
}

/** The letter that says what an entry is: `0` a file, `1` a hard link, `x` PAX records for the next entry. */
export function typeOf(header: Buffer): string {
  return header.toString('latin1', TYPE, TYPE + 1)
}

/** The length of the content in bytes: octal digits, or, with the high bit set, a binary number (GNU, files over 8 GB). */
export function sizeOf(header: Buffer): number {
  const [from, to] = SIZE
  if ((header[from] ?? 0) & 0x80) return Number(header.readBigUInt64BE(to - 8))
  const digits = header.toString('latin1', from, to).replace(/[\0 ].*$/s, '')
  const size = digits === '' ? 0 : Number.parseInt(digits, 8)
  if (!(size >= 0)) throw new Fault('this is no tar: the size of an entry is no number')
  return size
}

/** A name as the header itself has it; the entry's PAX records come before it. */
export function fieldOf(header: Buffer, field: keyof typeof FIELDS): string {
  const text = (from: number, to: number): string => header.toString('utf8', from, to).replace(/\0.*$/s, '')
  const [from, to] = FIELDS[field]
  const plain = text(from, to)
  const prefix = field === 'name' && isUstar(header) ? text(...PREFIX) : ''
  return prefix === '' ? plain : `${prefix}/${plain}`
}

function isUstar(header: Buffer): boolean {
  return header.toString('latin1', 257, 263) === 'ustar\0'
}

/** The header with other names, and the PAX records that a name needs which its field cannot hold. */
export function namedHeader(
  header: Buffer,
  names: EntryNames
): { header: Buffer; records: { path?: string; linkpath?: string } } {
  const named = Buffer.from(header)
  if (isUstar(header)) named.fill(0, ...PREFIX)
  const path = put(named, 'name', names.name)
  const linkpath = put(named, 'linkname', names.linkname)
  seal(named)
  return {
    header: named,
    records: { ...(path ? {} : { path: names.name }), ...(linkpath ? {} : { linkpath: names.linkname }) }
  }
}

/** Writes as much of a name as there is room for; true when it says all. */
function put(header: Buffer, field: keyof typeof FIELDS, name: string): boolean {
  const [from, to] = FIELDS[field]
  header.fill(0, from, to)
  header.write(name, from, to - from, 'utf8')
  // Others than ASCII are understood in PAX records alone.
  return /^[\0-\x7f]*$/.test(name) && name.length <= to - from
}

function seal(header: Buffer): void {
  const [from, to] = CHECKSUM
  header.fill(' ', from, to)
  // A callback a byte took longer than all else that is done to a small file.
  let sum = 0
  for (let at = 0; at < BLOCK; at++) sum += header[at] ?? 0
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, from, 'latin1')
}

/** The records of a PAX header: lines of `LENGTH KEY=VALUE`, the length being the line's own in bytes. */
export function paxRecords(data: Buffer): Record<string, string> {
  const records: Record<string, string> = {}
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(' ', at)
    const length = Number(data.toString('latin1', at, Math.max(at, space)))
    const equals = data.indexOf('=', space)
    if (!(length > 0) || space < 0 || equals < 0 || at + length > data.length)
      throw new Fault('this is no tar: bad PAX records')
    records[data.toString('utf8', space + 1, equals)] = data.toString('utf8', equals + 1, at + length - 1)
    at += length
  }
  return records
}

/** PAX records as the two parts that come before an entry: a header (made from the entry's own) and the padded lines. */
export function encodePax(records: Record<string, string>, entry: Buffer): Buffer {
  const lines = Buffer.concat(Object.entries(records).map(([key, value]) => paxLine(key, value)))
  const header = Buffer.from(entry)
  header.fill(0, ...FIELDS.name)
  header.write('PaxHeader', 0)
  header.fill(0, ...FIELDS.linkname)
  header.write(`${lines.length.toString(8).padStart(11, '0')}\0`, SIZE[0], 'latin1')
  header.write('x', TYPE)
  seal(header)
  return Buffer.concat([header, lines, Buffer.alloc((BLOCK - (lines.length % BLOCK)) % BLOCK)])
}

function paxLine(key: string, value: string): Buffer {
  const body = Buffer.from(` ${key}=${value}\n`)
  let length = body.length + 1
  while (String(length).length + body.length !== length) length = String(length).length + body.length
  return Buffer.concat([Buffer.from(String(length)), body])
}

export interface EntryFacts extends EntryNames {
  /** The letter of the format. */
  type: string
  size: number
  /** Seconds since 1970 as a decimal. */
  mtime: string
  mode: number
}

/** The modification time in a header, in seconds since 1970. */
export function mtimeOf(header: Buffer): string {
  if ((header[136] ?? 0) & 0x80) return String(header.readBigInt64BE(140))
  const digits = header.toString('latin1', 136, 148).replace(/^ +|[\0 ].*$/gs, '')
  return String(Number.parseInt(digits, 8) || 0)
}

/** Whether a header's checksum is right: some archivers took the bytes for signed numbers. */
export function isSealed(header: Buffer): boolean {
  const [from, to] = CHECKSUM
  const said = Number.parseInt(header.toString('latin1', from, to).replace(/\0/g, ' ').trim(), 8)
  let sum = 0
  let high = 0
  for (let at = 0; at < BLOCK; at++) {
    const byte = header[at] ?? 0
    sum += byte
    high += byte >> 7
  }
  // The field itself counts as blanks.
  for (let at = from; at < to; at++) sum += 0x20 - (header[at] ?? 0)
  return said === sum || said === sum - high * 0x100
}

const BLANK = Buffer.alloc(BLOCK)
BLANK.write('0000000\0', 108, 'latin1')
BLANK.write('0000000\0', 116, 'latin1')
BLANK.write('ustar\x0000', 257, 'latin1')

/** A header of root's, and the PAX records for what its fields cannot hold. */
export function makeHeader(facts: EntryFacts): { header: Buffer; records: Record<string, string> } {
  const header = Buffer.from(BLANK)
  const records: Record<string, string> = {}
  header.write(`${(facts.mode & 0o7777777).toString(8).padStart(7, '0')}\0`, 100, 'latin1')
  const large = facts.size > 0o77777777777
  if (large) records.size = String(facts.size)
  header.write(`${(large ? 0 : facts.size).toString(8).padStart(11, '0')}\0`, SIZE[0], 'latin1')
  const seconds = Number(facts.mtime)
  const plain = Number.isInteger(seconds) && seconds >= 0 && seconds <= 0o77777777777
  if (!plain) records.mtime = facts.mtime
  header.write(`${(plain ? seconds : 0).toString(8).padStart(11, '0')}\0`, 136, 'latin1')
  header.write(facts.type, TYPE, 'latin1')
  const named = namedHeader(header, facts)
  return { header: named.header, records: { ...records, ...named.records } }
}

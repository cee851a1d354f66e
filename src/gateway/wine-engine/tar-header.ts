// Fields of a header: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html (ustar Interchange Format, pax Header Block)

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
  if (!(size >= 0)) throw new Error('this is no tar: the size of an entry is no number')
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
  const sum = header.reduce((total, byte) => total + byte, 0)
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
      throw new Error('this is no tar: bad PAX records')
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

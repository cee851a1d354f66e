// Names and values: go-winio, backuptar/tar.go; the descriptors are those that BuildKit gives (util/winlayers/differ.go).

/** Attributes of a file as a decimal (FILE_ATTRIBUTE_*). */
export const FILEATTR = 'MSWINDOWS.fileattr'
/** The security descriptor, self-relative, as base64. */
export const RAW_DESCRIPTOR = 'MSWINDOWS.rawsd'
/** The link is a junction. */
export const MOUNTPOINT = 'MSWINDOWS.mountpoint'
/** When the file was made, in seconds since 1970. */
export const CREATED = 'LIBARCHIVE.creationtime'

/** Begins the name of an entry that removes the file of the rest of the name. */
export const WHITEOUT = '.wh.'
/** On Linux: nothing of the layers below is in this folder. Windows has no such mark. */
export const OPAQUE = '.wh..wh..opq'

export const ATTRIBUTE = {
  readOnly: 0x1,
  hidden: 0x2,
  system: 0x4,
  folder: 0x10,
  archive: 0x20,
  reparsePoint: 0x400
} as const

interface Grant {
  /** Inheritance: 1 by files, 2 by folders, 8 by them only. */
  flags: number
  mask: number
  /** The authority's number and what follows it: S-1-5-18 is 5, 18. */
  sid: readonly [number, ...number[]]
}

const ADMINISTRATORS = [5, 32, 544] as const
const SYSTEM = [5, 18] as const
const USERS = [5, 32, 545] as const
const CREATOR = [3, 0] as const
const ALL = 0x1f01ff
const READ_EXECUTE = 0x1200a9

/** O:BAG:SYD:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;;FA;;;BA)(A;OICIIO;GA;;;CO)(A;OICI;0x1200a9;;;BU)(A;CI;LC;;;BU)(A;CI;DC;;;BU) */
export const FOLDER_DESCRIPTOR = descriptor([
  { flags: 3, mask: ALL, sid: ADMINISTRATORS },
  { flags: 3, mask: ALL, sid: SYSTEM },
  { flags: 0, mask: ALL, sid: ADMINISTRATORS },
  { flags: 11, mask: 0x10000000, sid: CREATOR },
  { flags: 3, mask: READ_EXECUTE, sid: USERS },
  { flags: 2, mask: 4, sid: USERS },
  { flags: 2, mask: 2, sid: USERS }
])

/** O:BAG:SYD:(A;;FA;;;BA)(A;;FA;;;SY)(A;;0x1200a9;;;BU) */
export const FILE_DESCRIPTOR = descriptor([
  { flags: 0, mask: ALL, sid: ADMINISTRATORS },
  { flags: 0, mask: ALL, sid: SYSTEM },
  { flags: 0, mask: READ_EXECUTE, sid: USERS }
])

/**
 * A self-relative security descriptor, owner Administrators, group SYSTEM, as base64.
 * Layout: https://learn.microsoft.com/openspecs/windows_protocols/ms-dtyp (SECURITY_DESCRIPTOR, ACL, ACCESS_ALLOWED_ACE, SID)
 */
function descriptor(grants: readonly Grant[]): string {
  const owner = sid(ADMINISTRATORS)
  const group = sid(SYSTEM)
  const entries = grants.map(grant => {
    const account = sid(grant.sid)
    const head = Buffer.alloc(8)
    head[1] = grant.flags
    head.writeUInt16LE(8 + account.length, 2)
    head.writeUInt32LE(grant.mask, 4)
    return Buffer.concat([head, account])
  })
  const list = Buffer.alloc(8)
  list[0] = 2
  list.writeUInt16LE(8 + Buffer.concat(entries).length, 2)
  list.writeUInt16LE(entries.length, 4)
  const head = Buffer.alloc(20)
  head[0] = 1
  // Self-relative, with a DACL.
  head.writeUInt16LE(0x8004, 2)
  head.writeUInt32LE(20, 4)
  head.writeUInt32LE(20 + owner.length, 8)
  head.writeUInt32LE(20 + owner.length + group.length, 16)
  return Buffer.concat([head, owner, group, list, ...entries]).toString('base64')
}

function sid([authority, ...rest]: readonly [number, ...number[]]): Buffer {
  const bytes = Buffer.alloc(8 + 4 * rest.length)
  bytes[0] = 1
  bytes[1] = rest.length
  bytes[7] = authority
  for (const [index, number] of rest.entries()) bytes.writeUInt32LE(number, 8 + 4 * index)
  return bytes
}

import { plainText } from './plain-text.ts'

/** As much of a file's beginning as `problemOf` needs to tell what it is. */
export const HEAD_SIZE = 64 * 1024

export type FileKind = 'disc' | 'zip'

const KINDS: readonly [name: string, offset: number, magic: string][] = [
  ['a zip archive', 0, 'PK\u0003\u0004'],
  ['a 7z archive', 0, '7z\u00bc\u00af\u0027\u001c'],
  ['a gzip archive', 0, '\u001f\u008b'],
  ['a WIM file', 0, 'MSWIM\u0000'],
  ['a QEMU disk (qcow2)', 0, 'QFI\u00fb'],
  ['a virtual disk (VHDX)', 0, 'vhdxfile'],
  ['a virtual disk (VHD)', 0, 'conectix'],
  ['a virtual disk (VMDK)', 0, 'KDMV'],
  ['a program for Windows', 0, 'MZ'],
  ['a PDF document', 0, '%PDF']
]

/**
 * Says in words what is wrong with a file that should be of a kind, from its first HEAD_SIZE bytes (all of them when it is
 * shorter); undefined when it may be one. A page of a web server is told with its title.
 */
export function problemOf(kind: FileKind, head: Buffer): string | undefined {
  const page = pageTitle(head)
  if (page !== undefined) return `it is a web page${page === '' ? '' : ` ("${page}")`}`
  if (kind === 'zip') return head.toString('latin1', 0, 4) === 'PK\u0003\u0004' ? undefined : notA('zip archive', head)
  if (head.length < HEAD_SIZE) return `it has only ${head.length} bytes, and ${notA('disc image', head)}`
  // The first volume descriptor, of ISO 9660 (CD001) or of a disc with UDF only (BEA01).
  return /^(CD001|BEA01)$/.test(head.toString('latin1', 0x8001, 0x8006)) ? undefined : notA('disc image', head)
}

function notA(wanted: string, head: Buffer): string {
  const found = KINDS.find(([, offset, magic]) => head.toString('latin1', offset, offset + magic.length) === magic)
  return found === undefined ? `it is no ${wanted}` : `it is ${found[0]}, no ${wanted}`
}

/** The title of an HTML page, `''` when it has none; undefined when it is no page. */
function pageTitle(head: Buffer): string | undefined {
  const text = head
    .toString('utf8', 0, HEAD_SIZE)
    .replace(/^\uFEFF/, '')
    .trimStart()
  if (!/^(<!--[\s\S]{0,2000}?-->\s*)?(<\?xml[^>]{0,200}\?>\s*)?<(!doctype\s+html|html|head|body)\b/i.test(text))
    return undefined
  return plainText(/<title[^>]*>([^<]*)/i.exec(text)?.[1] ?? '', 120)
}

import { XMLParser } from 'fast-xml-parser'
import { Fault, messageOf } from '#lib/fault.ts'
import { type DiscFile, readFrom } from './disc-reader.ts'
import { damaged, type ImageFile } from './image-file.ts'
import { plainText } from './plain-text.ts'

// "Windows Imaging File Format (WIM)", Microsoft, 2007: header, and the XML that describes the images.

const HEADER_SIZE = 208
const LARGEST_XML = 16 * 1024 * 1024
/** RESHDR_FLAG_COMPRESSED. */
const COMPRESSED = 0x04
/** The version of files with solid resources, which are called .esd. */
const SOLID_VERSION = 0xe00

/** One image of a WIM, as its XML tells. */
export interface WimImage {
  index: number
  name: string
  displayName: string
  editionId: string
  /** `Server`, `Server Core` or `Client`. */
  installationType: string
  /** `ServerNT` or `WinNT`. */
  productType: string
  /** PROCESSOR_ARCHITECTURE_*: 0 x86, 5 ARM, 9 x64, 12 ARM64. */
  architecture: number
  languages: string[]
  /** As in `26100.1742`; undefined for an image without Windows in it. */
  build: string | undefined
}

export interface Wim {
  kind: 'wim' | 'esd' | 'swm'
  images: WimImage[]
}

/** Reads what a WIM says of its images. Fault when it is none or is damaged. */
export async function readWim(image: ImageFile, file: DiscFile): Promise<Wim> {
  const header = await readFrom(image, file, 0, HEADER_SIZE)
  if (header.toString('latin1', 0, 8) !== 'MSWIM\0\0\0') throw damaged(image.path, 'its install.wim is no WIM file')
  const parts = header.readUInt16LE(42)
  const kind = parts > 1 ? 'swm' : header.readUInt32LE(12) === SOLID_VERSION ? 'esd' : 'wim'
  // RESHDR_DISK_SHORT of the XML: 7 bytes of size, flags, offset.
  const size = header.readUIntLE(72, 6)
  const offset = Number(header.readBigUInt64LE(80))
  if ((header.readUInt8(79) & COMPRESSED) !== 0 || header.readUInt8(78) !== 0 || size > LARGEST_XML || size < 2) {
    throw damaged(image.path, 'the description in its install.wim cannot be read')
  }
  return { kind, images: parseImages(image.path, (await readFrom(image, file, offset, size)).toString('utf16le')) }
}

interface Described {
  WIM?: { IMAGE?: DescribedImage[] } | string
}

interface DescribedImage {
  '@INDEX'?: string
  NAME?: string
  DISPLAYNAME?: string
  WINDOWS?: {
    ARCH?: string
    EDITIONID?: string
    INSTALLATIONTYPE?: string
    PRODUCTTYPE?: string
    LANGUAGES?: { LANGUAGE?: string[] }
    VERSION?: { BUILD?: string; SPBUILD?: string }
  }
}

const LISTS = ['WIM.IMAGE', 'WIM.IMAGE.WINDOWS.LANGUAGES.LANGUAGE']

function parseImages(path: string, xml: string): WimImage[] {
  // Entities could make a few bytes into gigabytes; WIMs declare none.
  if (xml.includes('<!DOCTYPE')) throw damaged(path, 'the description in its install.wim is not of its kind')
  const parser = new XMLParser({
    ignoreAttributes: false,
    attributeNamePrefix: '@',
    parseTagValue: false,
    isArray: (_name, place) => LISTS.includes(String(place))
  })
  let described: Described
  try {
    described = parser.parse(xml.replace(/^\uFEFF/, ''), true) as Described
  } catch (error) {
    throw damaged(path, `the description in its install.wim is not XML: ${messageOf(error)}`)
  }
  const images = typeof described.WIM === 'object' ? (described.WIM.IMAGE ?? []) : []
  if (images.length === 0) throw new Fault(`the install.wim of ${path} has no image in it.`)
  return images.map(imageOf)
}

function imageOf(image: DescribedImage): WimImage {
  const windows = typeof image.WINDOWS === 'object' ? image.WINDOWS : {}
  const { BUILD, SPBUILD } = windows.VERSION ?? {}
  return {
    index: Number(image['@INDEX']),
    name: textOf(image.NAME),
    displayName: textOf(image.DISPLAYNAME) || textOf(image.NAME),
    editionId: textOf(windows.EDITIONID),
    installationType: textOf(windows.INSTALLATIONTYPE),
    productType: textOf(windows.PRODUCTTYPE),
    architecture: Number(textOf(windows.ARCH) || Number.NaN),
    languages: (windows.LANGUAGES?.LANGUAGE ?? []).map(textOf),
    build: BUILD === undefined ? undefined : `${BUILD}.${SPBUILD ?? 0}`
  }
}

/** A hostile disc can have anything where text belongs. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? plainText(value) : ''
}

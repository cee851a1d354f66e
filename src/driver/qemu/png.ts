import { crc32, deflateSync } from 'node:zlib'

/** A picture of 8-bit RGB pixels, row by row from the top. */
export interface Picture {
  width: number
  height: number
  rgb: Buffer
}

/** Reads a binary PPM (`P6`, 255 levels), https://netpbm.sourceforge.net/doc/ppm.html. Undefined when it is not one, or cut off. */
export function readPpm(file: Buffer): Picture | undefined {
  const header = /^P6\s+(?:#[^\n]*\n\s*)*(\d+)\s+(\d+)\s+255\s/.exec(file.subarray(0, 256).toString('latin1'))
  if (header === null) return undefined
  const [width, height] = [Number(header[1]), Number(header[2])]
  const rgb = file.subarray(header[0].length, header[0].length + width * height * 3)
  return rgb.length === width * height * 3 ? { width, height, rgb } : undefined
}

/** Writes a PNG, https://www.w3.org/TR/png-3/: one IDAT, no filter. */
export function writePng({ width, height, rgb }: Picture): Buffer {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  // Eight bits a sample, colour type 2 is RGB; compression, filter method and interlace are 0.
  header[8] = 8
  header[9] = 2
  const row = width * 3
  const raw = Buffer.alloc(height * (row + 1))
  for (let y = 0; y < height; y += 1) rgb.copy(raw, y * (row + 1) + 1, y * row, (y + 1) * row)
  return Buffer.concat([
    Buffer.from('89504e470d0a1a0a', 'hex'),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(raw)),
    chunk('IEND', Buffer.alloc(0))
  ])
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const frame = Buffer.alloc(8)
  frame.writeUInt32BE(data.length, 0)
  frame.writeUInt32BE(crc32(body), 4)
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)])
}

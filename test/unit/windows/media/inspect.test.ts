import { execFileSync } from 'node:child_process'
import { openSync, readFileSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Fault } from '#lib/fault.ts'
import { readFrom } from '#windows/media/disc-reader.ts'
import { withImageFile } from '#windows/media/image-file.ts'
import { chooseImage, inspectMedia } from '#windows/media/inspect.ts'
import { openIso9660 } from '#windows/media/iso9660.ts'
import { openUdf } from '#windows/media/udf.ts'
import {
  EFISYS,
  EFISYS_NOPROMPT,
  installationFiles,
  makeDisc,
  makeWim,
  serverImages,
  temporaryFolder,
  tool
} from '../../../support/installation-disc.ts'
import { descriptorsOf, fileEntryOf, retag } from '../../../support/udf-edit.ts'

const { path: folder, remove } = temporaryFolder()
afterAll(remove)

let wim: string
let files: Record<string, string | Buffer>
let udf: string
beforeAll(async () => {
  wim = await makeWim(folder, serverImages('2025', '26100.32230'))
  files = installationFiles(wim)
  udf = await makeDisc(folder, 'udf', { files, efiBoot: EFISYS })
}, 60_000)

test('a disc of Microsoft’s kind is read: release, build, editions, boot images', async () => {
  const facts = await inspectMedia(udf)
  expect(facts).toMatchObject({
    fileSystem: 'udf',
    label: 'SSS_X64FREE_EN-US_DV9',
    product: 'Windows Server 2025',
    release: '2025',
    kind: 'server',
    build: '26100.32230',
    architecture: 'x86_64',
    languages: ['en-US'],
    evaluation: true
  })
  expect(facts.editions.map(({ index, name, installation }) => [index, name, installation])).toEqual([
    [1, 'Windows Server 2025 SERVERSTANDARDCORE', 'core'],
    [2, 'Windows Server 2025 SERVERSTANDARD', 'desktop'],
    [3, 'Windows Server 2025 SERVERDATACENTERCORE', 'core'],
    [4, 'Windows Server 2025 SERVERDATACENTER', 'desktop']
  ])
  const bytes = readFileSync(udf)
  for (const [name, place] of [
    [EFISYS, facts.bootImages.prompt],
    [EFISYS_NOPROMPT, facts.bootImages.noPrompt]
  ] as const) {
    expect(bytes.subarray(place?.offset, (place?.offset ?? 0) + (place?.size ?? 0))).toEqual(files[name])
  }
})

test.each(['joliet', 'iso9660'] as const)('a disc with %s only is read as well', async fileSystem => {
  const iso = await makeDisc(folder, fileSystem, { files, fileSystem, efiBoot: EFISYS })
  expect(await inspectMedia(iso)).toMatchObject({
    fileSystem: 'iso9660',
    label: fileSystem === 'joliet' ? 'SSS_X64FREE_EN-U' : 'SSS_X64FREE_EN-US_DV9',
    release: '2025',
    build: '26100.32230'
  })
})

test('xorriso’s discs are read', async () => {
  const iso = join(folder, 'xorriso.iso')
  const tree = join(folder, 'udf.tree')
  await tool('xorriso', '-outdev', iso, '-joliet', 'on', '-volid', 'XORRISO', '-map', tree, '/', '-commit')
  expect(await inspectMedia(iso)).toMatchObject({ fileSystem: 'iso9660', label: 'XORRISO', release: '2025' })
})

test('every byte is as 7z and isoinfo see it, also in long names and deep folders', async () => {
  const text = 'Grüße aus der Tiefe\n'.repeat(500)
  const deep = 'a/b/c/d/e/A rather long name with spaces, Ümläute and 日本.txt'
  const iso = await makeDisc(folder, 'names', {
    files: {
      [deep]: text,
      'Empty.TXT': '',
      ...Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`many/file number ${at}.txt`, `${at}`]))
    }
  })
  const disc = readFileSync(iso)
  await withImageFile(iso, async image => {
    for (const reader of [await openUdf(image), await openIso9660(image)]) {
      const find = async (path: string) => {
        const file = await reader?.find(path)
        return file === undefined ? undefined : (await readFrom(image, file, 0, file.size)).toString()
      }
      expect(await find(deep)).toBe(text)
      expect(await find(`/${deep.toUpperCase()}`)).toBe(text)
      expect(await find('empty.txt')).toBe('')
      expect(await find('many/FILE number 199.txt')).toBe('199')
      expect(await find('many')).toBeUndefined()
      expect(await find('many/nothing')).toBeUndefined()
      expect(await find('Empty.TXT/x')).toBeUndefined()
      expect(await reader?.list('Empty.TXT')).toBeUndefined()
      expect(await reader?.list('many')).toHaveLength(200)
      expect((await reader?.list(''))?.map(({ name, folder }) => [name, folder]).sort()).toEqual([
        ['Empty.TXT', false],
        ['a', true],
        ['many', true]
      ])
    }
  })
  expect(execFileSync('7z', ['e', '-so', iso, deep]).toString()).toBe(text)
  expect(await tool('isoinfo', '-J', '-i', iso, '-x', '/many/file number 199.txt')).toBe('199')
  expect(disc.length).toBeGreaterThan(0)
})

test('a file in several extents on ISO 9660 is one file', async () => {
  // mkisofs cuts only at 4 GiB, so the record is cut here: a second extent of the same name follows the first.
  const iso = await makeDisc(folder, 'extents', {
    fileSystem: 'iso9660',
    files: { 'BIG.BIN': Buffer.alloc(6000, 'x'), 'BIH.BIN': Buffer.alloc(5000, 'y') }
  })
  const disc = readFileSync(iso)
  const at = disc.indexOf('BIG.BIN;1') - 33
  const after = disc.indexOf('BIH.BIN;1') - 33
  disc.writeUInt8(disc.readUInt8(at + 25) | 0x80, at + 25)
  disc.write('BIG.BIN;1', after + 33, 'latin1')
  writeFileSync(iso, disc)
  await withImageFile(iso, async image => {
    const reader = await openIso9660(image)
    const file = await reader?.find('big.bin')
    expect(file?.size).toBe(11_000)
    const bytes = await readFrom(image, file ?? { size: 0, extents: [] }, 5990, 20)
    expect(bytes.toString()).toBe(`${'x'.repeat(10)}${'y'.repeat(10)}`)
  })
  expect(await tool('7z', 'l', '-ba', iso)).toMatch(/ 11000 .*BIG\.BIN/)
})

test('an install.wim of more than 4 GiB in many pieces is read in no time', async () => {
  const iso = join(folder, 'large.iso')
  const size = 5 * 2 ** 30
  growInstallWim(iso, size)
  const start = performance.now()
  expect(await inspectMedia(iso)).toMatchObject({
    release: '2025',
    build: '26100.32230',
    bootImages: { prompt: { size: 6144 } }
  })
  expect(performance.now() - start).toBeLessThan(1000)
  expect(await tool('7z', 'l', '-ba', iso, 'sources/install.wim')).toContain(` ${size} `)
})

/** Makes a disc whose install.wim has its XML at its end, far behind 4 GiB; the file is sparse. */
function growInstallWim(iso: string, size: number): void {
  const disc = readFileSync(udf)
  const content = readFileSync(wim)
  const xml = content.subarray(
    Number(content.readBigUInt64LE(80)),
    Number(content.readBigUInt64LE(80)) + content.readUIntLE(72, 6)
  )
  const header = Buffer.from(content.subarray(0, 208))
  header.writeBigUInt64LE(BigInt(size - xml.length), 80)
  const [partition = 0] = descriptorsOf(disc, 5)
  const first = disc.readUInt32LE(partition + 188)
  const entry = fileEntryOf(disc, content.length)
  const begin = Math.ceil(disc.length / 2048)
  const largest = 2 ** 30 - 2048
  let pieces = 0
  for (let done = 0; done < size; done += largest) {
    disc.writeUInt32LE(Math.min(largest, size - done), entry + 176 + disc.readUInt32LE(entry + 168) + pieces * 8)
    disc.writeUInt32LE(begin - first + done / 2048, entry + 180 + disc.readUInt32LE(entry + 168) + pieces * 8)
    pieces += 1
  }
  disc.writeBigUInt64LE(BigInt(size), entry + 56)
  disc.writeBigUInt64LE(BigInt(size / 2048), entry + 64)
  disc.writeUInt32LE(pieces * 8, entry + 172)
  retag(disc, entry, 160 + disc.readUInt32LE(entry + 168) + pieces * 8)
  for (const at of descriptorsOf(disc, 5)) {
    disc.writeUInt32LE(begin - first + Math.ceil(size / 2048), at + 192)
    retag(disc, at)
  }
  writeFileSync(iso, disc)
  truncateSync(iso, begin * 2048 + size)
  const file = openSync(iso, 'r+')
  writeSync(file, header, 0, header.length, begin * 2048)
  // 7z wants an anchor at the end as well.
  const last = begin + Math.ceil(size / 2048)
  const anchor = Buffer.from(disc.subarray(256 * 2048, 257 * 2048))
  anchor.writeUInt32LE(last, 12)
  retag(anchor, 0)
  writeSync(file, anchor, 0, anchor.length, last * 2048)
  writeSync(file, xml, 0, xml.length, begin * 2048 + size - xml.length)
}

const page = '<!DOCTYPE html>\n<html><head><title>Access\u001b[31m  denied &mdash; Microsoft</title></head></html>'

test.each<[string, string | Buffer, RegExp]>([
  ['a web page', page, /it is a web page \("Access \[31m denied &mdash; Microsoft"\)/],
  ['a long web page', page.padEnd(100_000), /it is a web page/],
  [
    'a zip',
    Buffer.concat([Buffer.from('PK\u0003\u0004'), Buffer.alloc(100_000)]),
    /it is a zip archive, no disc image/
  ],
  ['a qcow2 disk', Buffer.concat([Buffer.from([0x51, 0x46, 0x49, 0xfb]), Buffer.alloc(100_000)]), /it is a QEMU disk/],
  ['nothing', '', /it has only 0 bytes/],
  ['zeros', Buffer.alloc(200_000), /it is no disc image/]
])('%s is no disc, and is told by its name', async (name, content, message) => {
  const file = join(folder, `${name}.iso`)
  writeFileSync(file, content)
  const fault = await faultOf(file)
  expect(fault.message).toMatch(message)
  expect(fault.exitCode).toBe(2)
})

test('a file that is not there, and a folder', async () => {
  expect((await faultOf(join(folder, 'no.iso'))).message).toMatch(/there is no file/)
  expect((await faultOf(folder)).message).toMatch(/is a folder/)
})

test.each<[string, Record<string, string>, RegExp]>([
  ['install.swm', { 'sources/install.swm': 'x' }, /it has sources\/install\.swm in place of install\.wim/],
  ['install.esd', { 'sources/install.esd': 'x' }, /it has sources\/install\.esd in place of install\.wim/],
  ['Linux', { 'casper/vmlinuz': 'x', 'boot/grub/grub.cfg': 'x' }, /it is a Linux disc \("UBUNTU 26"\)/],
  [
    'drivers',
    { 'NetKVM/2k25/amd64/netkvm.inf': 'x', 'virtio-win_license.txt': 'x' },
    /it has no sources\/install\.wim but .*NetKVM/
  ]
])('a disc with %s says what it is', async (name, content, message) => {
  const fault = await faultOf(await makeDisc(folder, `other ${name}`, { files: content, label: 'UBUNTU 26' }))
  expect(fault.message).toMatch(message)
  expect(fault.exitCode).toBe(2)
})

test('a split WIM and one that is none', async () => {
  const split = Buffer.from(readFileSync(wim))
  split.writeUInt16LE(3, 42)
  const iso = await makeDisc(folder, 'split', { files: { 'sources/install.wim': split } })
  expect((await faultOf(iso)).message).toMatch(/split into parts/)
  const none = await makeDisc(folder, 'none', { files: { 'sources/install.wim': Buffer.alloc(5000) } })
  expect((await faultOf(none)).message).toMatch(/is no WIM file/)
})

test.each<[string, (wim: Buffer) => void]>([
  ['compressed', bytes => bytes.writeUInt8(bytes.readUInt8(79) | 4, 79)],
  ['absurdly long', bytes => bytes.writeUIntLE(2 ** 40, 72, 6)],
  ['behind the end', bytes => bytes.writeBigUInt64LE(2n ** 62n, 80)],
  ['of no size', bytes => bytes.writeUIntLE(0, 72, 6)],
  ['not XML', bytes => bytes.fill(0x41, Number(bytes.readBigUInt64LE(80)))],
  [
    'with a document type',
    bytes => bytes.write('<!DOCTYPE x [<!ENTITY a "b">]><WIM>', Number(bytes.readBigUInt64LE(80)), 'utf16le')
  ]
])('a WIM whose description is %s is damaged', async (name, change) => {
  const bytes = Buffer.from(readFileSync(wim))
  change(bytes)
  const iso = await makeDisc(folder, `wim ${name}`, { files: { 'sources/install.wim': bytes } })
  expect((await faultOf(iso)).message).toMatch(/damaged/)
})

test.each<[string, (disc: Buffer, entry: number) => void]>([
  ['a wrong checksum', (disc, entry) => disc.writeUInt8(disc.readUInt8(entry + 60) ^ 1, entry + 60)],
  ['a length beyond its pieces', (disc, entry) => set(disc, entry, () => disc.writeBigUInt64LE(2n ** 40n, entry + 56))],
  [
    'a length beyond all numbers',
    (disc, entry) => set(disc, entry, () => disc.writeBigUInt64LE(2n ** 63n, entry + 56))
  ],
  [
    'descriptors beyond its block',
    (disc, entry) => set(disc, entry, () => disc.writeUInt32LE(0xffff_fff0, entry + 172))
  ],
  [
    'attributes beyond its block',
    (disc, entry) => set(disc, entry, () => disc.writeUInt32LE(0xffff_fff0, entry + 168))
  ],
  [
    'a block outside of the disc',
    (disc, entry) => set(disc, entry, () => disc.writeUInt32LE(0xffff_fff0, entry + 180))
  ],
  ['an unknown kind of storage', (disc, entry) => set(disc, entry, () => disc.writeUInt16LE(2, entry + 34))],
  ['descriptors in a circle', circle]
])('a file entry with %s is damaged', async (name, change) => {
  const disc = readFileSync(udf)
  change(disc, fileEntryOf(disc, readFileSync(wim).length))
  const iso = join(folder, `entry ${name}.iso`)
  writeFileSync(iso, disc)
  expect((await faultOf(iso)).message).toMatch(/damaged/)
})

function set(disc: Buffer, at: number, change: () => void): void {
  change()
  retag(disc, at)
}

/** The file's descriptors go on in a block that says that they go on in itself. */
function circle(disc: Buffer, entry: number): void {
  const [partition = 0] = descriptorsOf(disc, 5)
  const first = disc.readUInt32LE(partition + 188)
  const block = disc.readUInt32LE(entry + 180)
  const at = (first + block) * 2048
  disc.fill(0, at, at + 2048)
  disc.writeUInt16LE(258, at)
  disc.writeUInt16LE(2, at + 2)
  disc.writeUInt32LE(block, at + 12)
  disc.writeUInt32LE(8, at + 20)
  disc.writeUInt32LE(0xc000_0800, at + 24)
  disc.writeUInt32LE(block, at + 28)
  retag(disc, at, 16)
  disc.writeUInt32LE(0xc000_0800, entry + 176)
  retag(disc, entry)
}

test('a folder without end', async () => {
  const disc = readFileSync(udf)
  for (const at of descriptorsOf(disc, 261).filter(entry => disc.readUInt8(entry + 27) === 4)) {
    set(disc, at, () => disc.writeBigUInt64LE(2n ** 30n, at + 56))
  }
  const iso = join(folder, 'folder.iso')
  writeFileSync(iso, disc)
  expect((await faultOf(iso)).message).toMatch(/damaged/)
})

test('a disc that was cut anywhere is damaged, or no disc', async () => {
  const whole = readFileSync(udf)
  for (let size = 0; size < whole.length - 400_000; size += 37_777) {
    const iso = join(folder, 'cut.iso')
    writeFileSync(iso, whole.subarray(0, size))
    await faultOf(iso)
  }
})

test('bytes that were hit by anything end in facts or a Fault', async () => {
  const whole = readFileSync(udf)
  const iso = join(folder, 'noise.iso')
  let seed = 42
  const random = (below: number) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
    return Math.floor((seed / 2 ** 32) * below)
  }
  const kinds = [1, 2, 5, 6, 256, 257, 261].flatMap(kind => descriptorsOf(whole, kind))
  let refused = 0
  for (let round = 0; round < 120; round += 1) {
    const disc = Buffer.from(whole)
    const at = kinds[random(kinds.length)] ?? 0
    for (let hit = 0; hit < 24; hit += 1) disc.writeUInt8(random(256), at + 16 + random(320))
    retag(disc, at)
    writeFileSync(iso, disc)
    await inspectMedia(iso).catch(error => {
      expect(error).toBeInstanceOf(Fault)
      refused += 1
    })
  }
  expect(refused).toBeGreaterThan(5)
})

async function faultOf(file: string): Promise<Fault> {
  const error = await inspectMedia(file).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(Fault)
  return error as Fault
}

async function factsOf(name: string, images: Parameters<typeof makeWim>[1]) {
  return inspectMedia(await makeDisc(folder, name, { files: installationFiles(await makeWim(folder, images)) }))
}

test('the image to install is chosen by name, then by what it is', async () => {
  const facts = await inspectMedia(udf)
  const wanted = { release: '2025', architecture: 'x86_64' } as const
  expect(chooseImage(facts, { ...wanted, edition: 'datacenter-core' })).toEqual({
    index: 3,
    name: 'Windows Server 2025 SERVERDATACENTERCORE',
    evaluation: true
  })
  const renamed = { ...facts, editions: facts.editions.map(edition => ({ ...edition, name: `Mein ${edition.index}` })) }
  expect(chooseImage(renamed, { ...wanted, edition: 'standard' })).toMatchObject({ index: 2, name: 'Mein 2' })
})

test('a wrong disc is refused, with what it is', async () => {
  const wanted = { release: '2025', edition: 'datacenter-core', architecture: 'x86_64' } as const
  const client = await factsOf('client', [
    {
      name: 'Windows 11 Pro',
      editionId: 'Professional',
      installationType: 'Client',
      productType: 'WinNT',
      build: '26200.6584'
    }
  ])
  expect(client).toMatchObject({ kind: 'client', product: 'Windows 11', evaluation: false })
  expect(client.release).toBeUndefined()
  expect(() => chooseImage(client, wanted)).toThrow(/Windows 11 \(build 26200\.6584, x86_64\): a client Windows/)
  const arm = await factsOf('arm', [
    {
      name: 'Windows 11 IoT Enterprise LTSC Evaluation',
      editionId: 'IoTEnterpriseSEval',
      installationType: 'Client',
      productType: 'WinNT',
      architecture: 12,
      build: '26100.1742'
    }
  ])
  expect(arm).toMatchObject({ release: '11-arm64', architecture: 'aarch64' })
  expect(() => chooseImage({ ...arm, kind: 'server' }, wanted)).toThrow(/the machine has x86_64 processors/)
  expect(
    chooseImage(arm, { release: '11-arm64', edition: 'iot-enterprise-ltsc', architecture: 'aarch64' })
  ).toMatchObject({ index: 1 })
  const older = await factsOf('older', serverImages('2022', '20348.587'))
  expect(older.release).toBe('2022')
  expect(() => chooseImage(older, wanted)).toThrow(
    /Windows Server 2022 evaluation \(build 20348\.587, x86_64\), and Windows Server 2025 is wanted/
  )
  const partial = await factsOf('partial', serverImages('2025', '26100.1').slice(0, 2))
  expect(() => chooseImage(partial, wanted)).toThrow('the disc has no Windows Server 2025 Datacenter.')
  expect(() => chooseImage(partial, { ...wanted, edition: 'home' })).toThrow(/no edition called "home"/)
}, 60_000)

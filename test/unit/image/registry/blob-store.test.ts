import { randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync
} from 'node:fs'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { BlobStore } from '#image/registry/blob-store.ts'
import { inParallel } from '#image/registry/transfers.ts'
import { temporaryFolder } from '../../../support/installation-disc.ts'
import { sha256 } from './sample-image.ts'

const { path: root, remove } = temporaryFolder()
afterAll(remove)

const bytes = randomBytes(3_000_000)
const blob = { digest: sha256(bytes), size: bytes.length }
let folder: string
let store: BlobStore
let asked: number[]
beforeEach(() => {
  folder = mkdtempSync(join(root, 'b-'))
  store = new BlobStore(folder)
  asked = []
})

const source =
  (content = bytes) =>
  async (from: number) => {
    asked.push(from)
    return Readable.from([content.subarray(from)], { objectMode: false })
  }
const part = () => join(folder, 'parts', 'sha256', blob.digest.slice(7))
function leave(content: Buffer): void {
  mkdirSync(dirname(part()), { recursive: true })
  writeFileSync(part(), content)
}

describe('a blob', () => {
  test('is kept under its digest, for the owner only', async () => {
    const told: number[] = []
    await store.put(blob, source(), current => told.push(current))
    expect(await store.has(blob.digest)).toBe(true)
    expect(await store.sizeOf(blob.digest)).toBe(blob.size)
    expect((await store.read(blob.digest, 4_000_000)).equals(bytes)).toBe(true)
    expect(readFileSync(store.path(blob.digest)).equals(bytes)).toBe(true)
    expect(statSync(store.path(blob.digest)).mode & 0o777).toBe(0o600)
    expect(told.at(-1)).toBe(blob.size)
    const rest: Buffer[] = []
    for await (const chunk of store.open(blob.digest, 2_999_000)) rest.push(chunk as Buffer)
    expect(Buffer.concat(rest).equals(bytes.subarray(2_999_000))).toBe(true)
    await store.put(blob, source())
    expect(asked).toEqual([0])
  })

  test('of no bytes is one too', async () => {
    const empty = { digest: sha256(Buffer.alloc(0)), size: 0 }
    await store.put(empty, source(Buffer.alloc(0)))
    expect(await store.sizeOf(empty.digest)).toBe(0)
  })

  test('is gone on with', async () => {
    leave(bytes.subarray(0, 1_000_000))
    await store.put(blob, source())
    expect(asked).toEqual([1_000_000])
    expect(existsSync(part())).toBe(false)
  })

  test('that was whole but for its name is not asked for', async () => {
    leave(bytes)
    await store.put(blob, source())
    expect(asked).toEqual([])
    expect(await store.has(blob.digest)).toBe(true)
  })

  test.each([
    ['other bytes', randomBytes(500), [500, 0]],
    ['too many bytes', randomBytes(3_000_001), [0]]
  ])('begins afresh after %s', async (_what, left, expected) => {
    leave(left)
    await store.put(blob, source())
    expect(asked).toEqual(expected)
  })

  test('with other bytes than its name leaves nothing', async () => {
    await expect(store.put(blob, source(randomBytes(blob.size)))).rejects.toThrow(
      `filesystem layer verification failed for digest ${blob.digest}`
    )
    expect(readdirSync(join(folder, 'blobs', 'sha256'))).toEqual([])
    expect(readdirSync(join(folder, 'parts', 'sha256'))).toEqual([])
  })

  test('that ends too early, or fails, leaves what came', async () => {
    await expect(store.put(blob, source(bytes.subarray(0, 100)))).rejects.toThrow('100 of 3000000 bytes came')
    expect(statSync(part()).size).toBe(100)
    const failing = async (from: number) =>
      Readable.from(
        (async function* () {
          yield bytes.subarray(from, 2000)
          throw new Error('the line is dead')
        })(),
        { objectMode: false }
      )
    await expect(store.put(blob, failing)).rejects.toThrow('the line is dead')
    expect(statSync(part()).size).toBe(2000)
    await store.put(blob, source())
    expect(asked.at(-1)).toBe(2000)
  })

  test('of many that want it is fetched by one', async () => {
    const others = Array.from({ length: 4 }, () => new BlobStore(folder).put(blob, source()))
    await Promise.all(others)
    expect(asked).toEqual([0])
  })

  test('is fetched by the next one when the first gives up', async () => {
    const controller = new AbortController()
    const stuck = async () => new Readable({ read: () => undefined })
    const first = store.put(blob, stuck, undefined, controller.signal).catch((error: unknown) => error)
    const second = new Promise(resolve => setTimeout(resolve, 100)).then(() => store.put(blob, source()))
    setTimeout(() => controller.abort(), 300)
    expect(await first).toMatchObject({ exitCode: 130 })
    await second
    expect(await store.has(blob.digest)).toBe(true)
  })

  test('that is larger than the disk is not begun', async () => {
    await expect(store.put({ ...blob, size: 1e15 }, source())).rejects.toThrow(/needs 1000 TB/)
    expect(asked).toEqual([])
  })

  test('that was damaged on the disk is noticed, and removed', async () => {
    await store.put(blob, source())
    truncateSync(store.path(blob.digest), 5)
    await expect(store.read(blob.digest, 1e9)).rejects.toThrow('was damaged')
    expect(await store.has(blob.digest)).toBe(false)
  })

  test.each([
    '',
    'sha256',
    'sha256:',
    'sha256:../../../etc/passwd',
    `../x:${'a'.repeat(64)}`,
    `sha256:${'A'.repeat(64)}`
  ])('cannot be called %j', async digest => {
    expect(() => store.path(digest)).toThrow(/digest/)
    await expect(store.put({ digest, size: 1 }, source())).rejects.toThrow(/digest/)
    await expect(store.remove(digest)).rejects.toThrow(/digest/)
  })
})

test('bytes are kept, listed and removed', async () => {
  const digests = await Promise.all(['a', 'b', 'b'].map(text => store.putBytes(Buffer.from(text))))
  expect(digests[1]).toBe(digests[2])
  const listed = async () => {
    const found: unknown[] = []
    for await (const each of store.list()) found.push(each)
    return found
  }
  expect(await listed()).toHaveLength(2)
  expect(await listed()).toContainEqual({ digest: sha256(Buffer.from('a')), size: 1 })
  await store.remove(digests[0] ?? '')
  await store.remove(digests[0] ?? '')
  expect(await listed()).toEqual([{ digest: sha256(Buffer.from('b')), size: 1 }])
})

test('in parallel, so many at a time, until one fails', async () => {
  const signal = new AbortController().signal
  let now = 0
  let most = 0
  const done: number[] = []
  await inParallel([1, 2, 3, 4, 5], 2, signal, async item => {
    now += 1
    most = Math.max(most, now)
    await new Promise(resolve => setTimeout(resolve, 5))
    now -= 1
    done.push(item)
  })
  expect([most, done.length]).toEqual([2, 5])
  const begun: number[] = []
  const failing = inParallel([1, 2, 3, 4], 2, signal, async (item, inner) => {
    begun.push(item)
    if (item === 2) throw new Error('two')
    await new Promise(resolve => inner.addEventListener('abort', resolve))
    throw new Error('ended with it')
  })
  await expect(failing).rejects.toThrow('two')
  expect(begun).toEqual([1, 2])
})

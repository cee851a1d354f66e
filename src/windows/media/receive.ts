import { checkRoom, isDiskFull } from '#lib/disk-room.ts'
import { Fault } from '#lib/fault.ts'
import { Batch } from '#lib/hashed-file.ts'
import { reasonOf } from '#lib/http-agent.ts'
import { checkAborted, pause } from '#lib/wait.ts'
import type { Download, DownloadWork } from './download.ts'
import { HEAD_SIZE, problemOf } from './file-kind.ts'
import { makeMeter } from './meter.ts'
import type { Part } from './part.ts'
import { type Client, isUrl, type Opened, RangeRefused, recordedSource, SourceError } from './source.ts'

const RETRY_MS = 500
/** On one source, with not a byte that came. */
const MOST_TRIES = 3
/** On one source at all: a line that is cut every few bytes comes to an end as well. */
const MOST_CUTS = 200

/** One source of a download, and what is needed to take from it. */
export interface Receiving {
  download: Download
  source: string
  folder: string
  client: Client
  part: Part
  work: DownloadWork
}

/**
 * Adds to the part what is missing of it, from one source, going on after cuts, until size and SHA-256 are right.
 * SourceError when this source does not give the file.
 */
export async function receive(receiving: Receiving): Promise<void> {
  const { download, source, part, work } = receiving
  let fruitless = 0
  for (let cuts = 0; ; cuts += 1) {
    const before = part.size
    try {
      await receiveOnce(receiving)
      await checkWhole(receiving)
      return
    } catch (error) {
      checkAborted(work.signal)
      if (error instanceof RangeRefused && cuts < MOST_CUTS) {
        await part.restart({ source: recordedSource(source), validator: {} })
        continue
      }
      if (!(error instanceof SourceError) || !error.passing) throw error
      fruitless = part.size > before ? 0 : fruitless + 1
      if (fruitless >= MOST_TRIES || cuts >= MOST_CUTS) throw error
      const fraction = download.size === undefined ? {} : { fraction: part.size / download.size }
      work.report({ type: 'step', stage: work.stage, text: `${error.message}; trying again`, ...fraction })
      await pause(RETRY_MS * 2 ** fruitless, work.signal)
    }
  }
}

async function checkWhole({ download, part, source }: Receiving): Promise<void> {
  const sha256 = part.sha256()
  const wanted = download.sha256?.toLowerCase()
  if (wanted === undefined || wanted === sha256) return
  const { resumed } = part
  await part.restart({ source: recordedSource(source), validator: {} })
  // What was there before this run may be to blame (a power cut, another file), so there is a second chance.
  if (resumed) throw new SourceError('what was there before is damaged', true)
  throw new SourceError(`its SHA-256 is ${sha256}, and ${wanted} is wanted`, false)
}

/** One connection. Throws after what came is in the part. */
async function receiveOnce(receiving: Receiving): Promise<void> {
  const { source, client, part, work } = receiving
  const { origin } = part
  const same = origin?.source === recordedSource(source)
  const opened = await client.open(
    source,
    resumable(receiving, same) ? part.size : 0,
    same ? origin.validator : {},
    work.signal
  )
  try {
    await take(receiving, opened)
  } catch (error) {
    const known = error instanceof SourceError || error instanceof RangeRefused || error instanceof Fault
    if (known || isDiskFull(error)) throw error
    throw new SourceError(reasonOf(error, isUrl(source) ? new URL(source) : undefined), true)
  } finally {
    opened.close()
  }
}

/** Whether the source has the same bytes as those that are there: its tags say so, or the checksum will in the end. */
function resumable({ download, part }: Receiving, same: boolean): boolean {
  if (download.sha256 !== undefined) return true
  const { etag, lastModified } = part.origin?.validator ?? {}
  return same && (lastModified !== undefined || (etag !== undefined && !etag.startsWith('W/')))
}

async function take({ download, source, folder, part, work }: Receiving, opened: Opened): Promise<void> {
  const body = opened.body[Symbol.asyncIterator]()
  const head = opened.offset === 0 ? await readHead(body) : []
  if (opened.offset === 0) {
    const problem = problemOf(download.kind, Buffer.concat(head).subarray(0, HEAD_SIZE))
    if (problem !== undefined) throw new SourceError(problem, false)
  }
  if (download.size !== undefined && opened.size !== undefined && opened.size !== download.size) {
    throw new SourceError(`it has ${opened.size} bytes, and ${download.size} are wanted`, false)
  }
  if (opened.offset === 0) await part.restart({ source: recordedSource(source), validator: opened.validator })
  const whole = download.size ?? opened.size
  if (whole !== undefined) await checkRoom(folder, whole - part.size, download.file)
  const meter = makeMeter(work.report, work.stage, whole)
  await part.append(head)
  meter.at(part.size)
  await drain(body, part, whole, () => meter.at(part.size))
  if (whole !== undefined && part.size < whole) throw new SourceError('the connection was cut', true)
}

async function readHead(body: AsyncIterator<Buffer>): Promise<Buffer[]> {
  const head: Buffer[] = []
  for (let size = 0; size < HEAD_SIZE; ) {
    const next = await body.next()
    if (next.done === true) break
    head.push(next.value)
    size += next.value.length
  }
  return head
}

/** Everything that comes goes into the part, also what came before an error. */
async function drain(
  body: AsyncIterator<Buffer>,
  part: Part,
  whole: number | undefined,
  onBytes: () => void
): Promise<void> {
  const batch = new Batch(part)
  const flush = async () => {
    await batch.flush()
    onBytes()
  }
  try {
    for (;;) {
      const next = await body.next()
      if (next.done === true) break
      batch.add(next.value)
      if (whole !== undefined && batch.size > whole) {
        batch.drop()
        throw new SourceError(`it sends more than the ${whole} bytes that there should be`, false)
      }
      if (batch.full) await flush()
    }
  } finally {
    await flush()
  }
}

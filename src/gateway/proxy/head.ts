import type { Readable } from 'node:stream'
import type { RequestHead, ResponseHead } from './handling.ts'
import { StatusError } from './status-error.ts'

const endOfHead = Buffer.from('\r\n\r\n')

/**
 * Reads from a connection up to the empty line and leaves it paused with the bytes behind put back. Gives undefined when
 * the connection ends, fails or stays silent without a single byte. StatusError: 431 too large, 408 too slow, 400 cut off or
 * plainly not HTTP (`strict`, for requests: told at the first bad byte rather than at the time limit).
 */
export function readHead(
  stream: Readable,
  options: { limitBytes: number; timeoutMs?: number; strict?: boolean }
): Promise<Buffer | undefined> {
  const { limitBytes, timeoutMs, strict = false } = options
  return new Promise((resolve, reject) => {
    let got: Buffer = Buffer.alloc(0)
    const settle = (act: () => void): void => {
      clearTimeout(timer)
      stream.pause()
      stream.off('data', onData).off('end', onEnd).off('close', onEnd).off('error', onEnd)
      act()
    }
    const onEnd = (): void => {
      settle(() => (got.length === 0 ? resolve(undefined) : reject(new StatusError(400, 'the message was cut off'))))
    }
    const onTimeout = (): void => {
      settle(() =>
        got.length === 0 ? resolve(undefined) : reject(new StatusError(408, 'the request came too slowly'))
      )
    }
    const onData = (chunk: Buffer): void => {
      const searched = Math.max(0, got.length - (endOfHead.length - 1))
      got = got.length === 0 ? chunk : Buffer.concat([got, chunk])
      const end = got.indexOf(endOfHead, searched)
      const head = end < 0 ? got : got.subarray(0, end + endOfHead.length)
      const fault = head.length > limitBytes ? new StatusError(431, 'the head is too large') : undefined
      const bad = fault ?? (strict ? badByte(head, searched) : undefined)
      if (bad !== undefined) settle(() => reject(bad))
      else if (end >= 0) {
        settle(() => {
          if (got.length > head.length) stream.unshift(got.subarray(head.length))
          resolve(head)
        })
      }
    }
    const timer = timeoutMs === undefined ? undefined : setTimeout(onTimeout, timeoutMs)
    // 'close' without 'end' is a connection that broke; a listener for 'error' keeps it from being uncaught.
    stream.on('data', onData).on('end', onEnd).on('close', onEnd).on('error', onEnd)
    stream.resume()
  })
}

function badByte(head: Buffer, from: number): StatusError | undefined {
  const first = head[0] ?? 0
  const isLetter = (first >= 65 && first <= 90) || (first >= 97 && first <= 122)
  if (!isLetter) return new StatusError(400, 'this is not HTTP')
  for (let at = head.indexOf(10, from); at >= 0; at = head.indexOf(10, at + 1)) {
    if (head[at - 1] !== 13) return new StatusError(400, 'a line ends without CR')
  }
  return head.includes(0, from) ? new StatusError(400, 'a NUL in the head') : undefined
}

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
// Tab and everything visible; bytes from 0x80 on are opaque text (RFC 9110, section 5.5).
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/
const requestTarget = /^(?:\/|https?:\/\/|\*$)[\x21-\x7e\x80-\xff]*$/i

/** Reads a request's head, strictly: whatever two parsers could read differently is a StatusError 400. */
export function parseRequestHead(bytes: Buffer): RequestHead {
  const [first = '', ...lines] = linesOf(bytes)
  const parts = first.split(' ')
  const [method = '', target = '', protocol = ''] = parts
  if (parts.length !== 3 || !token.test(method) || !requestTarget.test(target)) {
    throw new StatusError(400, 'the request line is broken')
  }
  if (protocol !== 'HTTP/1.1') {
    const known = /^HTTP\/\d\.\d$/.test(protocol)
    throw new StatusError(known ? 505 : 400, known ? 'only HTTP/1.1 is spoken here' : 'the request line is broken')
  }
  return { method, target, headers: lines.map(parseHeader) }
}

/** Reads an answer's head. StatusError 502 when it is not HTTP/1. */
export function parseResponseHead(bytes: Buffer): ResponseHead {
  const [first = '', ...lines] = linesOf(bytes)
  const [, status, reason = ''] = /^HTTP\/1\.[01] (\d{3})(?: (.*))?$/.exec(first) ?? []
  if (status === undefined) throw new StatusError(502, 'the engine does not speak HTTP')
  try {
    return { status: Number(status), reason, headers: lines.map(parseHeader) }
  } catch {
    throw new StatusError(502, 'the engine sent a broken header')
  }
}

function linesOf(bytes: Buffer): string[] {
  return bytes.toString('latin1', 0, bytes.length - endOfHead.length).split('\r\n')
}

function parseHeader(line: string): [name: string, value: string] {
  const at = line.indexOf(':')
  const name = line.slice(0, Math.max(at, 0))
  const value = line.slice(at + 1).replace(/^[ \t]+|[ \t]+$/g, '')
  // An old-style continuation line begins with a blank, and so fails as a name.
  if (!token.test(name) || !fieldValue.test(value)) throw new StatusError(400, 'a header is broken')
  return [name, value]
}

/** A request's head as bytes. */
export function formatRequestHead(head: RequestHead): Buffer {
  return format(`${head.method} ${head.target} HTTP/1.1`, head.headers)
}

/** An answer's head as bytes. */
export function formatResponseHead(head: ResponseHead): Buffer {
  return format(`HTTP/1.1 ${head.status} ${head.reason}`, head.headers)
}

/** A rewrite must not smuggle: a value with a line break would make two headers of one. */
function format(first: string, headers: readonly [string, string][]): Buffer {
  const text = `${first}\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
  if (/[\r\n]/.test(first) || headers.some(pair => /[\r\n\0]/.test(pair.join('')))) {
    throw new Error('a rewritten head has a line break in it')
  }
  return Buffer.from(text, 'latin1')
}

/** The head with a header in place of all others of that name (where the first one stood), or, without a value, with none. */
export function withHeader<Head extends RequestHead | ResponseHead>(head: Head, name: string, value?: string): Head {
  const same = ([key]: [string, string]): boolean => key.toLowerCase() === name.toLowerCase()
  const at = head.headers.findIndex(same)
  const headers = head.headers.filter(header => !same(header))
  if (value !== undefined) headers.splice(at < 0 ? headers.length : at, 0, [name, value])
  return { ...head, headers }
}

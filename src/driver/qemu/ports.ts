import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'
import { run } from '#lib/child-process.ts'
import { Fault } from '#lib/fault.ts'

// Below what systems give to outgoing connections (Linux 32768, macOS 49152), so that a port stays free while its
// machine is off.
const FIRST = 20_000
const END = 32_768
const TRIES = 2000

/**
 * Ports of the host's loopback that nobody listens on, none of them in `taken` (what other machines have on record, and
 * may not be listening on now). They are chosen at random, since two commands may choose at once.
 */
export async function allocatePorts(count: number, taken: Iterable<number> = []): Promise<number[]> {
  const refused = new Set(taken)
  const ports: number[] = []
  for (let tries = 0; ports.length < count && tries < TRIES; tries += 1) {
    const port = randomInt(FIRST, END)
    if (refused.has(port)) continue
    refused.add(port)
    if (await isFree(port)) ports.push(port)
  }
  if (ports.length < count) throw new Fault(`found no ${count} free ports between ${FIRST} and ${END}.`)
  return ports
}

/** True when this process could listen on the loopback port now. */
export async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  return new Promise(resolve => {
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })
}

/** Who listens on a TCP port: `nginx (process 12)`. Undefined when the system does not tell, as for another user's process. */
export async function portHolder(port: number): Promise<string | undefined> {
  const options = { timeoutMs: 5000 }
  const ss = await run(['ss', '-Hltnp', `sport = :${port}`], options).catch(() => undefined)
  const found = /users:\(\("([^"]+)",pid=(\d+)/.exec(ss?.stdout ?? '')
  if (found !== null) return `${found[1]} (process ${found[2]})`
  const lsof = await run(['lsof', '-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fpc'], options).catch(() => undefined)
  const pid = /^p(\d+)$/m.exec(lsof?.stdout ?? '')
  const command = /^c(.+)$/m.exec(lsof?.stdout ?? '')
  return pid === null || command === null ? undefined : `${command[1]} (process ${pid[1]})`
}

import { open, readFile, stat } from 'node:fs/promises'
import { pause } from '#lib/wait.ts'
import { printable } from '#windows/progress-line.ts'
import { existingMachine } from './store.ts'

const POLL_MS = 250

export type LogKind = 'agent' | 'guest' | 'hypervisor'

/**
 * Lines of one of a machine's logs: the last `lines` ones (of this log and, if it is short, the one before it), and with
 * `follow` those to come until the signal fires.
 */
export async function* machineLog(request: {
  name: string
  /** The host agent's; or of a virtual machine, what its guest said while it started, and what its hypervisor says. */
  kind: LogKind
  lines: number
  follow: boolean
  env: NodeJS.ProcessEnv
  signal: AbortSignal
}): AsyncGenerator<string> {
  const path = await logFile(request)
  const now = await readFile(path, 'utf8').catch(() => '')
  const former = await readFile(`${path}.1`, 'utf8').catch(() => '')
  const all = `${former}${now}`.split('\n').filter(line => line !== '')
  const clean = request.kind === 'guest' ? cleanLines : (lines: readonly string[]) => lines
  yield* request.lines === 0 ? [] : clean(all).slice(-request.lines)
  if (!request.follow) return
  for await (const line of newLines(path, Buffer.byteLength(now), request.signal)) yield* clean([line])
}

async function logFile({ name, kind, env, signal }: Parameters<typeof machineLog>[0]): Promise<string> {
  if (kind === 'agent') return (await existingMachine(name, env)).paths.agentLog
  const { openVm } = await import('./vm.ts')
  const { vm, work } = await openVm({ name, env, signal, report: () => undefined })
  return (await vm.logs(work.place))[kind]
}

/** The firmware writes to the same port as the guest, and clears the screen as it likes. */
function cleanLines(lines: readonly string[]): string[] {
  return lines
    .map(line => printable(line.slice(Math.max(0, line.lastIndexOf('{"oriel":')))))
    .filter(line => line !== '')
}

// Polled: watching tells nothing on some file systems, and four looks a second cost nothing.
async function* newLines(path: string, from: number, signal: AbortSignal): AsyncGenerator<string> {
  let at = from
  let rest = ''
  while (!signal.aborted) {
    const size = (await stat(path).catch(() => undefined))?.size ?? 0
    // Cut by a rotation: what is there now is all new.
    if (size < at) at = 0
    if (size > at) {
      const text = await readFrom(path, at, size - at)
      at = size
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      yield* lines
    }
    await pause(POLL_MS, signal).catch(() => undefined)
  }
}

async function readFrom(path: string, at: number, length: number): Promise<string> {
  const file = await open(path, 'r')
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, at)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}

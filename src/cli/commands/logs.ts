import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { Fault } from '#lib/fault.ts'

const DEFAULT_LINES = 100

export const logs = (io: Io) =>
  defineCommand(io, 'logs', [
    ['oriel logs', `the last ${DEFAULT_LINES} lines of the machine "default"`],
    ['oriel logs work -f', 'those of "work", and those to come'],
    ['oriel logs win --guest', 'what the guest of a virtual machine said while it started'],
    ['oriel logs -n 20 --json', 'the last 20 as they are in the file']
  ])
    .argument('[name]', 'name of the machine', 'default')
    .option('-f, --follow', 'go on with the lines to come')
    .option('-n, --lines <number>', `how many of the lines that are there (default ${DEFAULT_LINES})`)
    .option('--guest', 'what the guest of a virtual machine said while it started')
    .option('--qemu', 'what QEMU said')
    .option('--json', 'print the JSON lines as they are')
    .action(async (name, { follow = false, lines, guest, qemu, json }) => {
      const { machineLog } = await import('#machine/logs.ts')
      const kind = guest ? 'guest' : qemu ? 'hypervisor' : 'agent'
      const request = { name, kind, lines: parseLines(lines), follow, env: io.env, signal: io.signal } as const
      for await (const line of machineLog(request)) io.out(`${json ? line : readable(line)}\n`)
      if (io.signal.aborted) io.exitCode = 130
    })

function parseLines(text: string | undefined): number {
  if (text === undefined) return DEFAULT_LINES
  if (/^\d{1,9}$/.test(text)) return Number(text)
  throw new Fault(`"${text}" is not a number of lines.`, { exitCode: 2, hint: 'For example: oriel logs -n 20' })
}

/** What a guest says over its serial port. */
function guestLine(entry: object): string {
  const { stage, state, detail } = entry as Record<string, unknown>
  return `${stage} ${state}${typeof detail === 'string' ? `: ${detail}` : ''}`
}

/** A line of the log for people; what is not one of ours (a crash of Node) stays as it is. */
export function readable(line: string): string {
  let entry: unknown
  try {
    entry = JSON.parse(line)
  } catch {
    return line
  }
  if (typeof entry !== 'object' || entry === null) return line
  if ('oriel' in entry) return guestLine(entry)
  if (!('message' in entry)) return line
  const { time, level, message, ...rest } = entry as Record<string, unknown>
  const more = Object.entries(rest).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`
  )
  return [time, String(level).padEnd(5), message, ...more].join(' ')
}

import { parseJsonForm, readFlags } from './arguments.ts'
import { parseFault } from './fault.ts'
import type { Instruction } from './parse.ts'

const NANOSECONDS: Record<string, number> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9
}

/** What HEALTHCHECK puts into the image's config. Times are in nanoseconds, as Docker has them. */
export function parseHealthcheck(instruction: Instruction): Record<string, unknown> {
  const { line, rest } = instruction
  const flags = readFlags(instruction, ['interval', 'timeout', 'start-period', 'start-interval', 'retries'])
  const [, type = '', command = ''] = /^(\S*)\s*([\s\S]*)$/.exec(rest) ?? []
  if (type === '') throw parseFault(line, 'HEALTHCHECK requires at least one argument')
  if (type.toUpperCase() === 'NONE') {
    if (command !== '') throw parseFault(line, 'HEALTHCHECK NONE takes no arguments')
    return { Test: ['NONE'] }
  }
  if (type.toUpperCase() !== 'CMD') {
    throw parseFault(line, `Unknown type ${JSON.stringify(type.toUpperCase())} in HEALTHCHECK (try CMD)`)
  }
  const words = parseJsonForm(command)
  if (command === '' || words?.length === 0) throw parseFault(line, 'Missing command after HEALTHCHECK CMD')
  const duration = (name: 'interval' | 'timeout' | 'start-period' | 'start-interval'): number =>
    parseDuration(flags[name], name, line)
  const retries = flags.retries ?? '0'
  if (!/^[+-]?\d+$/.test(retries)) {
    throw parseFault(line, `strconv.ParseInt: parsing ${JSON.stringify(retries)}: invalid syntax`)
  }
  if (Number(retries) < 0) throw parseFault(line, `--retries must be at least 1 (not ${Number(retries)})`)
  const values: Record<string, unknown> = {
    Test: words === undefined ? ['CMD-SHELL', command] : ['CMD', ...words],
    Interval: duration('interval'),
    Timeout: duration('timeout'),
    StartPeriod: duration('start-period'),
    StartInterval: duration('start-interval'),
    Retries: Number(retries)
  }
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== 0))
}

function parseDuration(text: string | undefined, name: string, line: number): number {
  if (text === undefined || text === '' || text === '0') return 0
  if (!/^[+-]?(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))+$/.test(text)) {
    throw parseFault(line, `time: invalid duration ${JSON.stringify(text)}`)
  }
  let total = 0
  for (const [, count = '0', unit = 's'] of text.matchAll(/(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)/g)) {
    total += Number(count) * (NANOSECONDS[unit] ?? 0)
  }
  if (text.startsWith('-') || total < 1e6) {
    throw parseFault(line, `Interval ${JSON.stringify(name)} cannot be less than 1ms`)
  }
  return Math.round(total)
}

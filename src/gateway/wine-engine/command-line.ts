import type { WindowsConfig } from '#image/windows-config.ts'
import { cannot } from './refusal.ts'

/** The argument vector of a command line, by the rules of CommandLineToArgvW. */
export function splitCommandLine(line: string): string[] {
  const words: string[] = []
  let word = ''
  let begun = false
  let quoted = false
  for (let at = 0; at < line.length; at++) {
    const char = line[at] ?? ''
    if (char === '\\') {
      let slashes = 1
      while (line[at + 1] === '\\') {
        slashes++
        at++
      }
      begun = true
      if (line[at + 1] !== '"') word += '\\'.repeat(slashes)
      else {
        word += '\\'.repeat(slashes >> 1)
        if (slashes % 2 === 1) {
          word += '"'
          at++
        }
      }
    } else if (char === '"') {
      begun = true
      if (quoted && line[at + 1] === '"') {
        word += '"'
        at++
      } else quoted = !quoted
    } else if (!quoted && (char === ' ' || char === '\t')) {
      if (begun) words.push(word)
      word = ''
      begun = false
    } else {
      begun = true
      word += char
    }
  }
  if (begun) words.push(word)
  return words
}

/** What a config starts, as `inspect` shows it: Path and Args. An escaped command line stays whole, as on Windows. */
export function pathAndArgs(config: Pick<WindowsConfig, 'Entrypoint' | 'Cmd'>): { Path: string; Args: string[] } {
  const [path = '', ...args] = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])]
  return { Path: path, Args: args }
}

/** Refuses a command line whose program is one that only a real Windows has. */
export function refuseProgram(commandLine: string): void {
  const words = splitCommandLine(commandLine)
  let program = programName(words[0] ?? '')
  if (program === 'cmd') {
    // `cmd /S /C powershell …` is what the shell form and many scripts say.
    const first = words.slice(1).find(word => !/^\/[a-z]/i.test(word))
    program = programName(splitCommandLine(first ?? '')[0] ?? '')
  }
  if (program === 'powershell' || program === 'pwsh') throw cannot('run PowerShell')
  if (program === 'servicemonitor' || program === 'w3wp' || program === 'iisexpress') throw cannot('run IIS')
}

function programName(path: string): string {
  const name = path.slice(Math.max(path.lastIndexOf('\\'), path.lastIndexOf('/')) + 1).toLowerCase()
  return name.replace(/\.exe$/, '')
}

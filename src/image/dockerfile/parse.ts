import { DockerfileFault, parseFault } from './fault.ts'

/** The character that escapes and continues lines: set by `# escape=`. */
export type Escape = '\\' | '`'

/** One instruction, its continuation lines joined. */
export interface Instruction {
  /** Number of its first line, from 1. */
  line: number
  /** In upper case. */
  keyword: string
  /** As written, joined to one line: what a build shows as the step. */
  original: string
  /** What follows the keyword and its flags. */
  rest: string
  /** `--name=value` before the arguments; a flag without value has an empty one. */
  flags: { name: string; value: string }[]
}

export interface Dockerfile {
  escapeToken: Escape
  instructions: Instruction[]
}

const KEYWORDS = new Set(
  'ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR'.split(
    ' '
  )
)

/** Docker takes no longer line, so a longer one would be refused by the engine in less clear words. */
const LINE_BYTES = 65_535

/**
 * Splits a Dockerfile into instructions by Docker's rules: directives, comments, line continuations. Throws a
 * DockerfileFault, in Docker's words. `name` is for the message about an empty file.
 */
export function parseDockerfile(text: string, name = 'Dockerfile'): Dockerfile {
  if (text.length === 0) throw new DockerfileFault(`the Dockerfile (${name}) cannot be empty`)
  const lines = text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .map(line => line.replace(/\r$/, ''))
  const escapeToken = escapeDirective(lines)
  const instructions: Instruction[] = []
  for (let at = 0; at < lines.length; at++) {
    const start = at
    const first = (lines[at] ?? '').trimStart()
    if (first === '' || first.startsWith('#')) continue
    let { text: joined, more } = continued(first, escapeToken)
    while (more && at + 1 < lines.length) {
      const next = lines[++at] ?? ''
      if (Buffer.byteLength(next) > LINE_BYTES) throw tooLong()
      if (next.trim() === '' || next.trimStart().startsWith('#')) continue
      const part = continued(next, escapeToken)
      joined += part.text
      more = part.more
    }
    if (Buffer.byteLength(first) > LINE_BYTES) throw tooLong()
    if (joined.trim() !== '') instructions.push(parseInstruction(joined.trim(), start + 1, escapeToken))
  }
  if (instructions.length === 0) throw new DockerfileFault('failed to parse Dockerfile: file with no instructions')
  return { escapeToken, instructions }
}

/** One instruction from its joined text. Throws a DockerfileFault when the keyword is not known. */
export function parseInstruction(text: string, line: number, escapeToken: Escape): Instruction {
  const [, word = '', rest = ''] = /^(\S+)\s*([\s\S]*)$/.exec(text) ?? []
  const keyword = word.toUpperCase()
  if (!KEYWORDS.has(keyword)) throw parseFault(line, `unknown instruction: ${keyword}`)
  return { line, keyword, original: text, ...splitFlags(rest, escapeToken) }
}

function tooLong(): DockerfileFault {
  return new DockerfileFault(
    `failed to parse Dockerfile: dockerfile line greater than maximum allowed size of ${LINE_BYTES}`
  )
}

/** A doubled escape character at the end of a line is that character (`COPY a c:\\`), not a continuation. */
function continued(line: string, escapeToken: Escape): { text: string; more: boolean } {
  const pattern = escapeToken === '\\' ? /(^|[^\\])\\[ \t]*$/ : /(^|[^`])`[ \t]*$/
  return pattern.test(line) ? { text: line.replace(pattern, '$1'), more: true } : { text: line, more: false }
}

function escapeDirective(lines: readonly string[]): Escape {
  const seen = new Set<string>()
  let escapeToken: Escape = '\\'
  for (const line of lines) {
    const [, name = '', rest = ''] = /^\s*#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=(.*)$/s.exec(line) ?? []
    const directive = name.toLowerCase()
    // Not by the pattern: with blanks inside the value it would take the square of their number to find its end.
    const value = rest.trim()
    if (value === '') return escapeToken
    if (directive !== 'escape' && directive !== 'syntax' && directive !== 'check') return escapeToken
    if (seen.has(directive)) {
      throw new DockerfileFault(`failed to parse Dockerfile: only one ${directive} parser directive can be used`)
    }
    seen.add(directive)
    if (directive !== 'escape') continue
    if (value !== '\\' && value !== '`') {
      throw new DockerfileFault(`failed to parse Dockerfile: invalid escape token '${value}' does not match \` or \\`)
    }
    escapeToken = value
  }
  return escapeToken
}

/** Takes the words that begin with `--` off the front. Quotes and escapes keep white space in a flag's value. */
function splitFlags(text: string, escapeToken: Escape): { flags: Instruction['flags']; rest: string } {
  const flags: Instruction['flags'] = []
  let at = 0
  for (;;) {
    while (at < text.length && /\s/.test(text[at] ?? '')) at++
    if (!text.startsWith('--', at)) return { flags, rest: text.slice(at) }
    let word = ''
    let quote = ''
    for (; at < text.length; at++) {
      const char = text[at] ?? ''
      if (quote === '' && /\s/.test(char)) break
      if (char === escapeToken && quote !== "'") word += text[++at] ?? ''
      else if (quote === '' && (char === '"' || char === "'")) quote = char
      else if (char === quote) quote = ''
      else word += char
    }
    if (word === '--') return { flags, rest: text.slice(at).trimStart() }
    const equals = word.indexOf('=')
    flags.push({
      name: word.slice(2, equals < 0 ? undefined : equals),
      value: equals < 0 ? '' : word.slice(equals + 1)
    })
  }
}

import { DockerfileFault } from './fault.ts'
import type { Escape } from './parse.ts'

/** The value of a variable, undefined when it is not set. */
export type Lookup = (name: string) => string | undefined

/** Names compare without case, as on Windows; the first entry wins. */
export function lookupIn(...lists: readonly (readonly string[])[]): Lookup {
  const values = new Map<string, string>()
  for (const entry of lists.flat()) {
    const at = entry.indexOf('=', 1)
    const name = (at < 0 ? entry : entry.slice(0, at)).toUpperCase()
    if (!values.has(name)) values.set(name, at < 0 ? '' : entry.slice(at + 1))
  }
  return name => values.get(name.toUpperCase())
}

/**
 * Docker's word processing: takes quotes and escapes out and puts variables in (`$x`, `${x}`, `${x:-word}`, `${x:+word}`,
 * `${x:?word}`). Throws a DockerfileFault in Docker's words.
 */
export function expandWord(word: string, escapeToken: Escape, lookup: Lookup): string {
  return new Expander(word, escapeToken, lookup).expand().join('')
}

/** The same, and unquoted white space parts words (EXPOSE). */
export function expandWords(word: string, escapeToken: Escape, lookup: Lookup): string[] {
  return new Expander(word, escapeToken, lookup)
    .expand(true)
    .map(part => part.trim())
    .filter(Boolean)
}

const NEVER = /(?!)/
/** Nobody writes substitutions as deep, and each level takes some of the stack. */
const MOST_DEPTH = 100
/** Of a word, in a message. */
const SHOWN = 1000

class Expander {
  readonly #text: string[]
  readonly #source: string
  readonly #escapeToken: Escape
  readonly #lookup: Lookup
  #at = 0
  #depth = 0

  constructor(text: string, escapeToken: Escape, lookup: Lookup) {
    this.#source = text
    this.#text = [...text]
    this.#escapeToken = escapeToken
    this.#lookup = lookup
  }

  expand(split = false): string[] {
    return this.#until(undefined, split)
  }

  /** Reads to `stop` (taken too) or the end. With `split`, white space outside quotes begins a new part. */
  #until(stop: string | undefined, split = false): string[] {
    const parts: string[] = []
    let part = ''
    for (;;) {
      const char = this.#next()
      if (char === stop) break
      if (char === undefined) throw this.#fault(`syntax error: missing '${stop}'`)
      if (char === "'") part += this.#singleQuoted()
      else if (char === '"') part += this.#doubleQuoted()
      else if (char === this.#escapeToken) part += this.#next() ?? ''
      else {
        const [first = '', ...more] = (char === '$' ? this.#variable() : char).split(split ? /\s/ : NEVER)
        part += first
        for (const next of more) {
          parts.push(part)
          part = next
        }
      }
    }
    return [...parts, part]
  }

  #singleQuoted(): string {
    let text = ''
    for (;;) {
      const char = this.#next()
      if (char === undefined) throw this.#fault('unexpected end of statement while looking for matching single-quote')
      if (char === "'") return text
      text += char
    }
  }

  #doubleQuoted(): string {
    let text = ''
    for (;;) {
      const char = this.#next()
      if (char === undefined) throw this.#fault('unexpected end of statement while looking for matching double-quote')
      if (char === '"') return text
      if (char === '$') text += this.#variable()
      else if (char === this.#escapeToken) {
        const next = this.#peek()
        if (next === undefined) continue
        // Only these can be escaped here, so that a Windows path in quotes keeps its backslashes.
        text += next === '"' || next === '$' || next === this.#escapeToken ? this.#next() : char
      } else text += char
    }
  }

  #variable(): string {
    if (this.#peek() !== '{') {
      const name = this.#name()
      return name === '' ? '$' : (this.#lookup(name) ?? '')
    }
    this.#next()
    const first = this.#peek()
    if (first === undefined) throw this.#fault("syntax error: missing '}'")
    if (first === '{' || first === '}' || first === ':') throw this.#fault('syntax error: bad substitution')
    const name = this.#name()
    const mark = this.#next()
    if (mark === '}') return this.#lookup(name) ?? ''
    if (mark !== ':') throw this.#fault("missing ':' in substitution")
    const modifier = this.#next()
    if (++this.#depth > MOST_DEPTH) throw this.#fault(`substitutions are nested more than ${MOST_DEPTH} deep`)
    const word = this.#until('}').join('')
    this.#depth--
    const value = this.#lookup(name) ?? ''
    if (modifier === '+') return value === '' ? '' : word
    if (modifier === '-') return value === '' ? word : value
    if (modifier === '?') {
      if (value !== '') return value
      throw this.#fault(`${name}: ${word === '' ? 'parameter is not allowed to be empty' : word}`)
    }
    throw this.#fault(`unsupported modifier (${modifier ?? ''}) in substitution`)
  }

  #name(): string {
    const rest = this.#text.slice(this.#at, this.#at + 256).join('')
    const name = /^(?:\d+|[@*#?\-$!]|[\p{L}_][\p{L}\p{Nd}_]*)/u.exec(rest)?.[0] ?? ''
    this.#at += [...name].length
    return name
  }

  #peek(): string | undefined {
    return this.#text[this.#at]
  }

  #next(): string | undefined {
    return this.#text[this.#at++]
  }

  #fault(why: string): DockerfileFault {
    const source = this.#source.length > SHOWN ? `${this.#source.slice(0, SHOWN)}…` : this.#source
    return new DockerfileFault(`failed to process ${JSON.stringify(source)}: ${why}`)
  }
}

import { DockerfileFault, parseFault } from './fault.ts'
import type { Escape, Instruction } from './parse.ts'

/** The array of strings that the text is in JSON, or undefined when it is no JSON array: then it counts as plain words. */
export function parseJsonForm(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (!Array.isArray(value)) return undefined
  if (value.every(item => typeof item === 'string')) return value
  throw new DockerfileFault(
    'failed to parse Dockerfile: when using JSON array syntax, arrays must be comprised of strings only'
  )
}

/** JSON form, or words between white space. */
export function parseList(text: string): string[] {
  return parseJsonForm(text) ?? text.split(/\s+/).filter(Boolean)
}

/**
 * The `name=value` pairs of ENV and LABEL, or the one pair of the old form `name value`. Quotes and escapes stay in:
 * expanding takes them out.
 */
export function parsePairs(instruction: Instruction, escapeToken: Escape): [name: string, value: string][] {
  const { keyword, rest, line } = instruction
  const words = splitWords(rest, escapeToken)
  if (words.length === 0) throw parseFault(line, `${keyword} requires at least one argument`)
  if (!words[0]?.includes('=')) {
    const [, name = '', value] = /^(\S+)\s+([\s\S]*)$/.exec(rest) ?? []
    if (value === undefined) throw new DockerfileFault(`failed to parse Dockerfile: ${keyword} must have two arguments`)
    return [[name, value]]
  }
  return words.map(word => {
    const at = word.indexOf('=')
    if (at < 0) {
      throw new DockerfileFault(
        `failed to parse Dockerfile: Syntax error - can't find = in ${JSON.stringify(word)}. Must be of the form: name=value`
      )
    }
    if (at === 0) throw parseFault(line, `${keyword} names can not be blank`)
    return [word.slice(0, at), word.slice(at + 1)]
  })
}

/** Words between white space; quoted and escaped white space does not part them. Nothing is taken out. */
export function splitWords(text: string, escapeToken: Escape): string[] {
  const words: string[] = []
  let word = ''
  let started = false
  let quote = ''
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? ''
    if (quote === '' && /\s/.test(char)) {
      if (started) words.push(word)
      word = ''
      started = false
      continue
    }
    started = true
    if (char === escapeToken && quote !== "'") {
      // An escape at the very end escapes nothing.
      if (at + 1 < text.length) word += char + (text[++at] ?? '')
      continue
    }
    if (quote === '' && (char === '"' || char === "'")) quote = char
    else if (char === quote) quote = ''
    word += char
  }
  if (started) words.push(word)
  return words
}

/** The flags of an instruction that takes these. Throws for others and for one given twice. */
export function readFlags<Name extends string>(
  instruction: Instruction,
  allowed: readonly Name[]
): Partial<Record<Name, string>> {
  const values: Partial<Record<Name, string>> = {}
  for (const { name, value } of instruction.flags) {
    const known = allowed.find(candidate => candidate === name)
    if (known === undefined) throw parseFault(instruction.line, `Unknown flag: ${name}`)
    if (values[known] !== undefined) throw parseFault(instruction.line, `Duplicate flag specified: ${name}`)
    values[known] = value
  }
  return values
}

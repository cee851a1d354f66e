import { expect, test } from 'vitest'
import { parseJsonForm, parsePairs } from '#image/dockerfile/arguments.ts'
import { expandWord } from '#image/dockerfile/expand.ts'
import { asciiJson, jsonLine, labelLine, literalWord } from '#image/dockerfile/linux.ts'
import { parseDockerfile } from '#image/dockerfile/parse.ts'

/** Reads a LABEL line as the engine does. */
function readLabels(line: string): Record<string, string> {
  const { instructions, escapeToken } = parseDockerfile(`FROM x\n${line}\n`)
  expect(instructions).toHaveLength(2)
  const lookup = (): string => 'EXPANDED'
  return Object.fromEntries(
    parsePairs(instructions[1]!, escapeToken).map(([name, value]) => [
      expandWord(name, escapeToken, lookup),
      expandWord(value, escapeToken, lookup)
    ])
  )
}

/** Repeatable noise of the characters that could hurt. */
function* noise(seed: number): Generator<string> {
  const alphabet = [...'abC09 \\\\"\'$`{}[]#=:;,é日😀\t|&%^~', `\${x}`, '\\n', '$x', '<<EOF', ' # ']
  let state = seed
  const next = (limit: number): number => {
    state = (state * 1103515245 + 12345) % 2147483648
    return Math.floor((state / 2147483648) * limit)
  }
  for (;;) yield Array.from({ length: next(40) }, () => alphabet[next(alphabet.length)]).join('')
}

test('a label comes out as it goes in, whatever is in it', () => {
  const values = noise(7)
  for (let round = 0; round < 500; round++) {
    const value = values.next().value
    const labels = { plain: value, 'with space': values.next().value, json: asciiJson({ [value]: value }) }
    expect(readLabels(labelLine(labels))).toEqual(labels)
  }
})

test('a long label is broken into lines and comes out whole', () => {
  const values = noise(11)
  const list = Array.from({ length: 8000 }, () => values.next().value)
  const line = labelLine({ json: asciiJson(list) })
  expect(Math.max(...line.split('\n').map(part => part.length))).toBeLessThan(65_535)
  expect(JSON.parse(readLabels(line).json ?? '')).toEqual(list)
})

test('words of a COPY come out as they go in', () => {
  const values = noise(3)
  for (let round = 0; round < 300; round++) {
    const words = [values.next().value, values.next().value]
    const line = jsonLine('COPY', words.map(literalWord))
    const parsed = parseDockerfile(`FROM x\n${line}`).instructions[1]
    const read = parseJsonForm(parsed?.rest ?? '')?.map(word => expandWord(word, '\\', () => 'EXPANDED'))
    expect(read).toEqual(words)
  }
})

test('JSON in a label is ASCII without line breaks', () => {
  expect(asciiJson({ a: 'é😀\n\u2028' })).toBe('{"a":"\\u00e9\\ud83d\\ude00\\n\\u2028"}')
})

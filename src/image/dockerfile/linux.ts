/** A word of a COPY in JSON form: the engine still expands variables, quotes and escapes in it. */
export function literalWord(word: string): string {
  return word.replace(/[\\$'"]/g, '\\$&')
}

/** `KEYWORD [flags] ["a","b"]` as a Dockerfile line. */
export function jsonLine(keyword: string, words: readonly string[], flags: readonly string[] = []): string {
  return wrapLine([keyword, ...flags, JSON.stringify(words)].join(' '))
}

/** A LABEL line whose values come out exactly as they go in. Neither names nor values may have line breaks. */
export function labelLine(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${quoted(name)}=${quoted(value)}`)
  return wrapLine(`LABEL ${pairs.join(' ')}`)
}

/** JSON on one line, in ASCII: a label that no engine or terminal garbles. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
  )
}

function quoted(text: string): string {
  return `"${text.replace(/["\\$]/g, '\\$&')}"`
}

const WRAP = 30_000

/**
 * Docker refuses lines of 64 KiB, but joins continued ones. A break goes only between letters or digits, where it can
 * neither part an escape nor make a comment.
 */
function wrapLine(line: string): string {
  const parts: string[] = []
  let start = 0
  while (line.length - start > WRAP) {
    let end = start + WRAP
    while (end > start && !/^[A-Za-z0-9]{2}$/.test(line.slice(end - 1, end + 1))) end--
    if (end === start) break
    parts.push(line.slice(start, end))
    start = end
  }
  return [...parts, line.slice(start)].join('\\\n')
}

import { posix } from 'node:path'

/**
 * Whether the patterns of a .dockerignore exclude a path: Docker's rules (`**`, `!`, a pattern that matches a parent), the
 * last matching pattern counts.
 */
export function ignores(patterns: string, path: string): boolean {
  let ignored = false
  for (const line of patterns.replace(/^\uFEFF/, '').split(/\r?\n/)) {
    const trimmed = line.trim()
    if (trimmed === '' || line.startsWith('#')) continue
    const negated = trimmed.startsWith('!')
    const pattern = posix
      .normalize(`/${(negated ? trimmed.slice(1) : trimmed).trim()}`)
      .slice(1)
      .replace(/\/$/, '')
    if (pattern === '') continue
    const expression = toExpression(pattern)
    const parts = path.split('/')
    const matches = parts.some((_, at) => expression.test(parts.slice(0, at + 1).join('/')))
    if (matches) ignored = !negated
  }
  return ignored
}

function toExpression(pattern: string): RegExp {
  let source = ''
  for (let at = 0; at < pattern.length; at++) {
    const char = pattern[at] ?? ''
    if (char === '*' && pattern[at + 1] === '*') {
      at++
      if (pattern[at + 1] === '/') {
        at++
        source += '(?:.*/)?'
      } else source += '.*'
    } else if (char === '*') source += '[^/]*'
    else if (char === '?') source += '[^/]'
    else if (char === '[' && pattern.indexOf(']', at + 2) > 0) {
      const end = pattern.indexOf(']', at + 2)
      source += `[${pattern.slice(at + 1, end).replaceAll('\\', '\\\\')}]`
      at = end
    } else if (char === '\\' && at + 1 < pattern.length) source += literal(pattern[++at] ?? '')
    else source += literal(char)
  }
  try {
    return new RegExp(`^${source}$`, 's')
  } catch {
    // A pattern that is none matches nothing.
    return /(?!)/
  }
}

function literal(char: string): string {
  return char.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')
}

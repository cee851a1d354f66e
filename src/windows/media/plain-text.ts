/** Text from a disc or a server, fit for one line on a terminal: no control characters, at most `limit` characters. */
export function plainText(text: string, limit = 200): string {
  return text
    .replace(/[\p{Cc}\p{Cf}\s]+/gu, ' ')
    .trim()
    .slice(0, limit)
}

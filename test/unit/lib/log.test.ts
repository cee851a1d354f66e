import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { logLine, openLog, rotateLog } from '#lib/log.ts'

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'oriel-log-'))
  path = join(folder, 'agent.log')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('a line is one JSON object, without secrets at any depth', () => {
  const fields = { count: 1, error: new Error('why'), nested: { password: 'p', Authorization: 'Bearer x', name: 'n' } }
  const line = logLine('warn', 'text\nwith lines', fields, new Date(0))
  expect(line.endsWith('}\n') && line.split('\n')).toHaveLength(2)
  expect(JSON.parse(line)).toEqual({
    time: '1970-01-01T00:00:00.000Z',
    level: 'warn',
    message: 'text\nwith lines',
    count: 1,
    error: 'why',
    nested: { password: '[hidden]', Authorization: '[hidden]', name: 'n' }
  })
})

test('lines below the level are left out, and the file is private', () => {
  const log = openLog(path)
  log.debug('small')
  log.info('big')
  log.close()
  log.info('too late')
  expect(readFileSync(path, 'utf8').trim().split('\n')).toHaveLength(1)
  expect(statSync(path).mode & 0o777).toBe(0o600)
})

test('a long log keeps one former file, and writers of the same file go on in the new one', () => {
  const log = openLog(path, { maxBytes: 300 })
  for (let at = 0; at < 10; at++) log.info(`line ${at}`)
  log.close()
  const now = readFileSync(path, 'utf8')
  expect(statSync(path).size).toBeLessThan(500)
  expect(now).toContain('line 9')
  expect(readFileSync(`${path}.1`, 'utf8')).toContain(`line ${10 - now.trim().split('\n').length - 1}`)
})

test('a new start keeps the former log', () => {
  rotateLog(path)
  writeFileSync(path, 'former\n')
  rotateLog(path)
  expect(readFileSync(path, 'utf8')).toBe('')
  expect(readFileSync(`${path}.1`, 'utf8')).toBe('former\n')
})

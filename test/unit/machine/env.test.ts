import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { environment, parseShell, shellOf } from '#machine/env.ts'
import { machinePaths } from '#machine/paths.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "oriel-it's $HOME-"))
  const { folder, spec } = machinePaths('a', { ORIEL_HOME: root })
  mkdirSync(folder, { recursive: true })
  writeFileSync(spec, '')
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

test('bash gets exactly the socket, whatever its path holds', async () => {
  const env = { ORIEL_HOME: root, DOCKER_TLS_VERIFY: '1' }
  const lines = await environment('a', 'bash', env)
  const script = `${lines.join('\n')}\nprintf '%s|%s' "$DOCKER_HOST" "\${DOCKER_TLS_VERIFY-unset}"`
  const said = execFileSync('bash', ['--norc', '-c', script], {
    encoding: 'utf8',
    env: { ...env, PATH: process.env.PATH }
  })
  expect(said).toBe(`unix://${machinePaths('a', env).dockerSocket}|unset`)
})

test('each shell has its own words and quotes', async () => {
  const env = { ORIEL_HOME: root, DOCKER_CONTEXT: 'x' }
  const socket = machinePaths('a', env).dockerSocket
  expect(await environment('a', 'fish', env)).toEqual([
    `set -gx DOCKER_HOST 'unix://${socket.replaceAll("'", "\\'")}'`,
    'set -e DOCKER_CONTEXT'
  ])
  expect(await environment('a', 'powershell', env)).toEqual([
    `$Env:DOCKER_HOST = 'unix://${socket.replaceAll("'", "''")}'`,
    'Remove-Item Env:DOCKER_CONTEXT'
  ])
})

test('the shell is that of $SHELL, else bash', () => {
  expect(shellOf('/usr/bin/fish')).toBe('fish')
  expect(shellOf('/opt/pwsh')).toBe('powershell')
  expect(shellOf('/bin/dash')).toBe('bash')
  expect(shellOf(undefined)).toBe('bash')
  expect(parseShell('zsh')).toBe('zsh')
  expect(() => parseShell('tcsh')).toThrow(expect.objectContaining({ exitCode: 2 }))
})

test('a machine that is not there is no reason to export anything', async () => {
  await expect(environment('b', 'bash', { ORIEL_HOME: root })).rejects.toMatchObject({ exitCode: 3 })
})

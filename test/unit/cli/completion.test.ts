import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { LOADERS } from '#cli/commands.ts'
import { completionScript } from '#cli/completion-script.ts'
import type { Io } from '#cli/io.ts'

const home = mkdtempSync(join(tmpdir(), 'oriel complete-'))
const io: Io = {
  out: () => undefined,
  err: () => undefined,
  env: {},
  signal: new AbortController().signal,
  terminal: { in: false, out: false, err: false, columns: 80 },
  ask: async () => '',
  exitCode: 0
}

beforeAll(() => {
  for (const name of ['default', 'work']) mkdirSync(join(home, 'machines', name), { recursive: true })
})
afterAll(() => rmSync(home, { recursive: true, force: true }))

/** What a real bash offers for a command line whose last word is being typed. */
async function offered(...words: string[]): Promise<string[]> {
  const file = join(home, 'completion.bash')
  writeFileSync(file, await completionScript('bash', io, LOADERS))
  const line = words.map(word => `'${word}'`).join(' ')
  const script = `. "$1"; COMP_WORDS=(oriel ${line}); COMP_CWORD=${words.length}; _oriel; printf '%s\\n' "\${COMPREPLY[@]}"`
  const env = { ORIEL_HOME: home, PATH: process.env.PATH }
  const said = execFileSync('bash', ['--norc', '-u', '-c', script, 'bash', file], { encoding: 'utf8', env })
  return said.split('\n').filter(Boolean)
}

test('bash offers commands, then machines, flags and values', async () => {
  expect(await offered('st')).toEqual(['stop', 'status'])
  expect(await offered('')).toContain('completion')
  expect(await offered('--v')).toEqual(['--version'])
  expect(await offered('status', '')).toEqual(['default', 'work'])
  expect(await offered('rm', '--force', 'w')).toEqual(['work'])
  expect(await offered('up', '--e')).toEqual(['--engine', '--edition', '--engine-archive'])
  expect(await offered('up', '--driver', '')).toEqual(['wine', 'qemu'])
  expect(await offered('up', '--accel', 'k')).toEqual(['kvm'])
  expect(await offered('up', '--memory', '')).toEqual([])
  expect(await offered('up', '--provision', join(home, 'machines/d'))).toEqual([join(home, 'machines/default')])
  expect(await offered('snapshot', 'c')).toEqual(['create'])
  expect(await offered('snapshot', 'create', 'w')).toEqual(['work'])
  expect(await offered('certs', 'r')).toEqual(['renew'])
  expect(await offered('env', '--shell', 'p')).toEqual(['powershell'])
  expect(await offered('up', '--engine', '')).toEqual([])
  expect(await offered('completion', 'z')).toEqual(['zsh'])
  expect(await offered('ls', '')).toEqual([])
  expect(await offered('media', '')).toEqual(['ls', 'fetch', 'inspect', 'rm'])
  expect(await offered('media', 'fetch', '--s')).toEqual(['--sha256'])
  expect(await offered('help', 'do')).toEqual(['doctor'])
})

test.each([
  ['zsh', '/usr/bin/zsh'],
  ['fish', '/usr/bin/fish']
])('the script for %s names every command, and the shell can read it if it is here', async (shell, program) => {
  const script = await completionScript(shell, io, LOADERS)
  for (const name of Object.keys(LOADERS)) expect(script).toContain(name)
  const file = join(home, `completion.${shell}`)
  writeFileSync(file, script)
  if (existsSync(program)) execFileSync(program, ['-n', file])
})

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { applyDisc, guestFacts, rearmGuest, setGuestClock } from '#driver/qemu/guest.ts'
import { ensureSshIdentity } from '#driver/qemu/ssh-identity.ts'

let folder: string
const path = process.env.PATH

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'oriel-guest-'))
  await ensureSshIdentity(join(folder, 'ssh'), 'win')
})
afterEach(() => {
  process.env.PATH = path
  rmSync(folder, { recursive: true, force: true })
})

/** Puts an ssh before the real one that notes its command and answers with this. */
function answering(stdout: string, exitCode = 0, stderr = ''): { said: () => Promise<string> } {
  const answer = join(folder, 'answer')
  writeFileSync(answer, stdout)
  writeFileSync(
    join(folder, 'ssh-program'),
    `#!/bin/sh\nfor last; do :; done\nprintf %s "$last" > '${folder}/said'\ncat '${answer}'\necho '${stderr}' >&2\nexit ${exitCode}\n`
  )
  chmodSync(join(folder, 'ssh-program'), 0o700)
  rmSync(join(folder, 'bin'), { recursive: true, force: true })
  const bin = join(folder, 'bin')
  writeBin(bin)
  process.env.PATH = `${bin}:${path}`
  return { said: async () => (await import('node:fs')).readFileSync(join(folder, 'said'), 'utf8') }
}

function writeBin(bin: string): void {
  const { mkdirSync, symlinkSync } = process.getBuiltinModule('node:fs')
  mkdirSync(bin)
  symlinkSync(join(folder, 'ssh-program'), join(bin, 'ssh'))
}

const access = () => ({ folder: join(folder, 'ssh'), port: 2222 })
const facts = {
  ...{ product: 'Windows Server 2025 Datacenter', build: 26100, revision: 1, evaluation: true, daysLeft: 9 },
  ...{ rearmsLeft: 5, engine: '29.7.2', time: '2026-11-23T10:00:00Z' }
}

test('a verb is asked as the contract says, and its answer is the last object', async () => {
  const ssh = answering(`WARNING: something\r\n${JSON.stringify(facts)}\r\n`)
  expect(await guestFacts(access())).toEqual(facts)
  expect(await ssh.said()).toBe(
    'powershell -NoProfile -NonInteractive -ExecutionPolicy Bypass -File C:\\ProgramData\\Oriel\\guest.ps1 facts'
  )
})

test('the clock is set to the time of now, in UTC', async () => {
  const ssh = answering('{"time":"2026-11-23T10:00:00Z"}')
  await setGuestClock(access())
  const [, time = ''] = /set-clock (\S+)$/.exec(await ssh.said()) ?? []
  expect(Math.abs(Date.parse(time) - Date.now())).toBeLessThan(60_000)
  expect(time).toMatch(/Z$/)
})

test('what the guest could not do is told in its words', async () => {
  answering('{"error":"no drive holds the disc"}', 1)
  await expect(applyDisc(access(), 5000)).rejects.toThrow('the guest could not apply: no drive holds the disc')
})

test('a connection that fails is told with the words of ssh', async () => {
  answering('', 255, 'ssh: connect to host 127.0.0.1 port 2222: Connection refused')
  await expect(rearmGuest(access())).rejects.toThrow(/"rearm" in the guest failed \(255\): ssh: connect/)
})

test('facts in another form are refused, not believed', async () => {
  answering(JSON.stringify({ ...facts, build: 'many' }))
  await expect(guestFacts(access())).rejects.toThrow(/form that this Oriel does not know/)
})

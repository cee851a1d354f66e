import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Activity, DiskFull, type Follow, followGuest, StallWatch } from '#driver/qemu/follow.ts'
import { ProgressTail } from '#windows/progress-tail.ts'

let folder: string
let com1: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'oriel-follow-'))
  com1 = join(folder, 'com1.log')
  writeFileSync(com1, '')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const say = (line: object) => appendFileSync(com1, `\r\n${JSON.stringify({ oriel: 1, ...line })}\r\n`)
const busy = (): Activity => ({ state: 'running', operations: Date.now() * 100, cpuSeconds: Date.now() })

function follow(more: Partial<Follow> = {}): { follow: Follow; said: string[] } {
  const said: string[] = []
  return {
    said,
    follow: {
      machine: 'win',
      stage: 'install',
      tail: new ProgressTail(com1),
      look: async () => busy(),
      screenshot: async () => '/somewhere/screenshot.png',
      stallMs: 60_000,
      silentMs: 60_000,
      signal: new AbortController().signal,
      report: event => said.push('text' in event ? event.text : event.stage),
      ...more
    }
  }
}

test('a guest is followed until the line that is waited for, and its words are told', async () => {
  const { follow: followed, said } = follow()
  say({ stage: 'containers', state: 'started' })
  say({ stage: 'containers', state: 'progress', detail: 'enabling the feature' })
  say({ stage: 'containers', state: 'reboot' })
  say({ stage: 'sealed', state: 'done' })
  expect(await followGuest(followed, line => line.stage === 'sealed')).toBe('reached')
  expect(said).toContain('containers: enabling the feature')
  expect(said).toContain('containers: the guest restarts')
})

test('what was said before the start does not count', async () => {
  say({ stage: 'docker', state: 'failed', detail: 'of yesterday' })
  const { size } = await import('node:fs').then(fs => fs.statSync(com1))
  const { follow: followed } = follow({ tail: new ProgressTail(com1, size) })
  say({ stage: 'docker', state: 'done' })
  expect(await followGuest(followed, line => line.stage === 'docker')).toBe('reached')
})

test('a stage that failed is a fault with the words of the guest', async () => {
  const { follow: followed } = follow()
  say({ stage: 'docker', state: 'failed', detail: 'hnsCall failed' })
  await expect(followGuest(followed, () => false)).rejects.toThrow(/stage "docker": hnsCall failed/)
})

test('a machine that ended is told, unless its last line was the one', async () => {
  const gone = async (): Promise<Activity> => ({ state: 'absent', operations: 0, cpuSeconds: 0 })
  expect(await followGuest(follow({ look: gone }).follow, () => false)).toBe('ended')
  const late = follow({
    look: async () => {
      say({ stage: 'sealed', state: 'done' })
      return { state: 'absent', operations: 0, cpuSeconds: 0 }
    }
  })
  expect(await followGuest(late.follow, line => line.stage === 'sealed')).toBe('reached')
})

test('a full disk of the host is a fault of its own', async () => {
  const full = async (): Promise<Activity> => ({ state: 'io-error', operations: 0, cpuSeconds: 0 })
  await expect(followGuest(follow({ look: full }).follow, () => false)).rejects.toBeInstanceOf(DiskFull)
})

test('a guest that does nothing is a fault that names the stage and shows the screen', async () => {
  const idle = async (): Promise<Activity> => ({ state: 'running', operations: 5, cpuSeconds: 1 })
  const { follow: followed } = follow({ look: idle, stallMs: 300 })
  say({ stage: 'engine', state: 'started' })
  await expect(followGuest(followed, () => false)).rejects.toThrow(
    /has done nothing.*stage "install" \(last word: engine\).*\/somewhere\/screenshot\.png/
  )
})

test('a guest that starts again and again is a fault', async () => {
  const { follow: followed } = follow()
  for (let boot = 0; boot < 16; boot += 1) appendFileSync(com1, 'BdsDxe: starting Boot0001 "Windows Boot Manager"\r\n')
  await expect(followGuest(followed, () => false)).rejects.toThrow(/started 16 times/)
})

test('Enter is pressed while a disc that asks for it boots, and not when the disk does', async () => {
  let pressed = 0
  const pressEnter = async () => {
    pressed += 1
    if (pressed === 3) say({ stage: 'copy', state: 'done' })
  }
  appendFileSync(com1, 'BdsDxe: starting Boot0002 "UEFI QEMU DVD-ROM QM00003 " from PciRoot(0x0)\r\n')
  expect(await followGuest(follow({ pressEnter }).follow, line => line.stage === 'copy')).toBe('reached')
  expect(pressed).toBe(3)
  pressed = -100
  writeFileSync(com1, 'BdsDxe: starting Boot0001 "Windows Boot Manager" from HD(1,GPT)\r\n')
  setTimeout(() => say({ stage: 'copy', state: 'done' }), 600)
  expect(await followGuest(follow({ pressEnter }).follow, line => line.stage === 'copy')).toBe('reached')
  expect(pressed).toBe(-100)
})

test('the wait ends with the signal', async () => {
  const abort = new AbortController()
  setTimeout(() => abort.abort(), 100)
  await expect(followGuest(follow({ signal: abort.signal }).follow, () => false)).rejects.toThrow('interrupted')
})

test('processor or disk at work keep a guest from counting as stalled, each alone', () => {
  const at = (operations: number, cpuSeconds: number): Activity => ({ state: 'running', operations, cpuSeconds })
  const cpu = new StallWatch(10_000, 1e9)
  const disk = new StallWatch(10_000, 1e9)
  const idle = new StallWatch(10_000, 1e9)
  for (let second = 0; second <= 30; second += 5) {
    expect(cpu.look(at(0, second * 0.5), second * 1000)).toBeUndefined()
    expect(disk.look(at(second * 10, 0), second * 1000)).toBeUndefined()
    const word = idle.look(at(second, second * 0.02), second * 1000)
    expect(word === undefined, `${second} s`).toBe(second < 10)
  }
})

test('a busy guest that tells nothing for very long counts as stalled as well', () => {
  const watch = new StallWatch(10_000, 60_000)
  const at = (second: number): Activity => ({ state: 'running', operations: second * 100, cpuSeconds: second })
  for (let second = 0; second < 60; second += 5) expect(watch.look(at(second), second * 1000)).toBeUndefined()
  expect(watch.look(at(60), 60_000)).toMatch(/told nothing for 60 seconds/)
  watch.line(60_000)
  expect(watch.look(at(65), 65_000)).toBeUndefined()
})

import { expect, test } from 'vitest'
import { driverNamed } from '#driver/drivers.ts'
import { Fault } from '#lib/fault.ts'
import { formatSpec, parseSpec } from '#machine/spec.ts'

/** The driver's name and the settings of a text. */
async function read(text: string): Promise<object> {
  const { driver, settings } = await parseSpec(text, 'f', driverNamed)
  return { driver: driver.name, settings }
}

async function problems(text: string): Promise<string> {
  try {
    await parseSpec(text, '/m/machine.yaml', driverNamed)
  } catch (error) {
    if (error instanceof Fault && error.exitCode === 3) return error.message
    throw error
  }
  throw new Error('was taken')
}

test('an empty file is a machine with every default', async () => {
  expect(await read('')).toEqual({ driver: 'wine', settings: {} })
  expect(await read('# nothing\n')).toEqual({ driver: 'wine', settings: {} })
})

test('all problems are told at once, with field and line', async () => {
  const said = await problems('driver: 3\ncpus: 4\nengine:\n  url: docker.sock\n  skipVerify: maybe\n')
  expect(said).toContain('/m/machine.yaml is not valid')
  expect(said).toMatch(/driver \(line 1\): must be the name of a driver.*not 3/)
  expect(said).toMatch(/cpus \(line 2\): is not a setting/)
  expect(said).toMatch(/engine\.url \(line 4\): must begin with unix:\/\//)
  expect(said).toMatch(/engine\.skipVerify \(line 5\): must be true or false/)
})

test('what is no mapping, and no YAML at all, is told', async () => {
  expect(await problems('just words')).toContain('is not valid')
  expect(await problems('- a\n- b\n')).toContain('is not valid')
  expect(await problems('a: [b')).toContain('is not valid')
  expect(await problems('engine: unix:///x')).toContain('engine')
  expect(await problems('engine: {}')).toContain('engine.url')
})

test('what was written is read back, and a change keeps comments', async () => {
  const first = formatSpec('wine', { engine: { url: 'unix:///a' } }, 'default')
  expect(await read(first)).toEqual({ driver: 'wine', settings: { engine: { url: 'unix:///a' } } })
  expect(formatSpec('wine', { engine: { url: 'unix:///a' } }, 'default', first)).toBe(first)
  const commented = `${first}# kept\n`
  const second = formatSpec('wine', { engine: { url: 'unix:///b' } }, 'default', commented)
  expect(second).toContain('# kept')
  expect(second).toContain('unix:///b')
})

test('settings that are not set are not written, and lists stay as they are', async () => {
  const text = formatSpec('wine', { none: undefined, list: ['a', 'b'] }, 'default', 'list: # mine\n  - a\n  - b\n')
  expect(text).toContain('# mine')
  expect(text).not.toContain('none')
})

test('a driver that nobody knows is told as such', async () => {
  await expect(parseSpec('driver: bochs\n', 'f', driverNamed)).rejects.toMatchObject({ exitCode: 2 })
})

import { expect, test } from 'vitest'
import { Fault } from '#lib/fault.ts'
import { formatSpec, parseSpec, recordedEngine } from '#machine/spec.ts'

function problems(text: string): string {
  try {
    parseSpec(text, '/m/machine.yaml')
  } catch (error) {
    if (error instanceof Fault && error.exitCode === 3) return error.message
    throw error
  }
  throw new Error('was taken')
}

test('an empty file is a machine with every default', () => {
  expect(parseSpec('', 'f')).toEqual({ driver: 'wine' })
  expect(parseSpec('# nothing\n', 'f')).toEqual({ driver: 'wine' })
})

test('all problems are told at once, with field and line', () => {
  const said = problems('driver: 3\ncpus: 4\nengine:\n  url: docker.sock\n  skipVerify: maybe\n')
  expect(said).toContain('/m/machine.yaml is not valid')
  expect(said).toMatch(/driver \(line 1\): must be the name of a driver.*not 3/)
  expect(said).toMatch(/cpus \(line 2\): is not a setting/)
  expect(said).toMatch(/engine\.url \(line 4\): must begin with unix:\/\//)
  expect(said).toMatch(/engine\.skipVerify \(line 5\): must be true or false/)
})

test('what is no mapping, and no YAML at all, is told', () => {
  expect(problems('just words')).toContain('is not valid')
  expect(problems('- a\n- b\n')).toContain('is not valid')
  expect(problems('a: [b')).toContain('is not valid')
  expect(problems('engine: unix:///x')).toContain('engine')
  expect(problems('engine: {}')).toContain('engine.url')
})

test('what was written is read back, and a change keeps comments', () => {
  const first = formatSpec({ driver: 'wine', engine: { url: 'unix:///a' } }, 'default')
  expect(parseSpec(first, 'f')).toEqual({ driver: 'wine', engine: { url: 'unix:///a' } })
  expect(formatSpec({ driver: 'wine', engine: { url: 'unix:///a' } }, 'default', first)).toBe(first)
  const commented = `${first}# kept\n`
  const second = formatSpec({ driver: 'wine', engine: { url: 'unix:///b' } }, 'default', commented)
  expect(second).toContain('# kept')
  expect(second).toContain('unix:///b')
})

test('the engine of a spec has only what was set', () => {
  expect(recordedEngine({ url: 'unix:///a' })).toEqual({ url: 'unix:///a' })
  expect(recordedEngine({ url: 'tcp://a', tlsFolder: '/c', skipVerify: false })).toEqual({
    url: 'tcp://a',
    tlsFolder: '/c',
    skipVerify: false
  })
})

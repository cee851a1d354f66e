import { expect, test } from 'vitest'
import { Fault } from '#lib/fault.ts'
import { checkComputerName, computerName } from '#windows/computer-name.ts'

test.each([
  ['win', 'ORIEL-WIN'],
  ['build-2', 'ORIEL-BUILD-2'],
  ['2025', 'ORIEL-2025'],
  ['123456789', 'ORIEL-123456789']
])('the machine %s is %s', (machine, name) => {
  expect(computerName(machine)).toBe(name)
})

test.each([
  'a-name-that-is-too-long',
  'a.b',
  'a_b',
  'a-',
  'x'.repeat(63),
  '1'.repeat(63),
  '1......................',
  'ab--.-.-.-.'
])('the machine %s gets a name that Windows takes', machine => {
  const name = computerName(machine)
  expect(name).toMatch(/^ORIEL-[A-Z0-9-]*-[0-9A-F]{4}$/)
  expect(name.length).toBeLessThanOrEqual(15)
  expect(name).toBe(computerName(machine))
  expect(() => checkComputerName(name)).not.toThrow()
})

test('names that begin alike, or differ only in what Windows forbids, stay apart', () => {
  const machines = ['build-machine-1', 'build-machine-2', 'a.b', 'a_b', 'a-b', 'a..b']
  expect(new Set(machines.map(computerName)).size).toBe(machines.length)
})

test.each(['', '-A', 'A-', 'A B', 'A.B', 'Ä', '123', 'ABCDEFGHIJKLMNOP', 'A\n'])('%j is refused', name => {
  expect(() => checkComputerName(name)).toThrow(Fault)
})

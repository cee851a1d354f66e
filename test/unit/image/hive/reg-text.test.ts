import { expect, test } from 'vitest'
import { encodeReg, hiveToReg, joinReg } from '#image/hive/reg-text.ts'
import { type HiveKey, readHive } from '#image/hive/regf.ts'
import { layered, makeHive, markKey, markTombstone } from '../../../support/hive.ts'

function key(name: string, more: Partial<HiveKey> = {}): HiveKey {
  return { name, layer: 'merge', values: [], keys: [], ...more }
}

function value(name: string, type: number, data: Buffer) {
  return { name, type, data, tombstone: false }
}

function lineOf(type: number, data: Buffer): string | undefined {
  return hiveToReg(key('', { values: [value('v', type, data)] }), 'SOFTWARE').split('\r\n')[3]
}

test('a real hive becomes keys, values, deletions, in this order', async () => {
  const hive = await makeHive([
    'add ControlSet001',
    'cd \\ControlSet001',
    'setval 3',
    'Path',
    'expandstring:%SystemRoot%',
    'Count',
    'dword:0x10',
    'Old',
    'string:x',
    'add Gone',
    'add Fresh',
    'cd \\ControlSet001\\Fresh',
    'add Below',
    'setval 1',
    '@',
    'string:C:\\x "y"'
  ])
  markTombstone(hive, 'Old')
  markKey(hive, 'Gone', 1)
  markKey(hive, 'Fresh', 3)
  markKey(hive, 'Below', 3)
  const root = 'HKEY_LOCAL_MACHINE\\SYSTEM'
  expect(hiveToReg(readHive(layered(hive)), 'SYSTEM').split('\r\n')).toEqual([
    'Windows Registry Editor Version 5.00',
    '',
    `[${root}]`,
    '',
    `[${root}\\ControlSet001]`,
    '"Path"=hex(2):25,00,53,00,79,00,73,00,74,00,65,00,6d,00,52,00,6f,00,6f,00,74,00,25,00,00,00',
    '"Count"=dword:00000010',
    '"Old"=-',
    '',
    `[-${root}\\ControlSet001\\Fresh]`,
    '',
    `[${root}\\ControlSet001\\Fresh]`,
    '@="C:\\\\x \\"y\\""',
    '',
    `[${root}\\ControlSet001\\Fresh\\Below]`,
    '',
    `[-${root}\\ControlSet001\\Gone]`,
    '',
    ''
  ])
})

test('a key that hides only its namesake keeps the subkeys below', () => {
  const text = hiveToReg(key('', { keys: [key('Local', { layer: 'supersede-local' })] }), 'SOFTWARE')
  expect(text).toContain('[HKEY_LOCAL_MACHINE\\SOFTWARE\\Local]')
  expect(text).not.toContain('[-')
})

test('a root that hides all below does not take the registry away', () => {
  expect(hiveToReg(key('', { layer: 'supersede-tree' }), 'SOFTWARE')).not.toContain('[-')
  expect(hiveToReg(key('', { layer: 'tombstone' }), 'SYSTEM')).not.toContain('[-')
})

test.each([
  ['a string with a line end', 1, Buffer.from('a\nb\0', 'utf16le'), '"v"=hex(1):61,00,0a,00,62,00,00,00'],
  ['a string without its NUL', 1, Buffer.from('a', 'utf16le'), '"v"=hex(1):61,00'],
  ['an empty string', 1, Buffer.from('\0', 'utf16le'), '"v"=""'],
  ['a string of nothing', 1, Buffer.alloc(0), '"v"=hex(1):'],
  ['bytes', 3, Buffer.from([0, 255]), '"v"=hex:00,ff'],
  ['a short number', 4, Buffer.from([1]), '"v"=hex(4):01'],
  ['a long number', 11, Buffer.alloc(8, 1), '"v"=hex(b):01,01,01,01,01,01,01,01'],
  ['a type of its own', 0xffff0001, Buffer.from([1]), '"v"=hex(ffff0001):01'],
  ['a link of the registry', 6, Buffer.from([1]), '; "v" is left out: it makes its key a link.']
])('%s', (_, type, data, line) => {
  expect(lineOf(type, data)).toBe(line)
})

test('accounts are left out in words', () => {
  const text = hiveToReg(key('', { keys: [key('SAM')] }), 'SAM')
  expect(text).toMatch(/; SAM is left out/)
  expect(text).not.toContain('[')
})

test('texts are joined under one header, and written as UTF-16 with its mark', () => {
  const joined = joinReg([hiveToReg(key('', {}), 'SYSTEM'), hiveToReg(key('', {}), 'DEFAULTUSER')])
  expect(joined.match(/Windows Registry Editor/g)).toHaveLength(1)
  expect(joined).toContain('[HKEY_USERS\\.DEFAULT]')
  expect([...encodeReg('é').values()]).toEqual([0xff, 0xfe, 0xe9, 0])
})

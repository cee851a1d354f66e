import { expect, test } from 'vitest'
import { isWindowsPath, normalizeWindowsPath, toLinuxPath, toWindowsPath } from '#image/windows-path.ts'

test.each([
  ['C:\\', 'C:\\'],
  ['c:', 'C:\\'],
  ['c:/a/./b//c', 'C:\\a\\b\\c'],
  ['C:\\a\\..\\..\\b\\', 'C:\\b'],
  ['\\temp', 'C:\\temp'],
  ['G:\\data', 'G:\\data']
])('%s is %s', (given, normal) => {
  expect(normalizeWindowsPath(given)).toBe(normal)
})

test.each([
  ['x', 'C:\\app', 'C:\\app\\x'],
  ['..\\x', 'C:\\app\\lib', 'C:\\app\\x'],
  ['\\x', 'C:\\app', 'C:\\x'],
  ['.', 'C:\\app', 'C:\\app'],
  ['../../../../etc', 'C:\\app', 'C:\\etc']
])('%s below %s is %s', (given, base, normal) => {
  expect(normalizeWindowsPath(given, base)).toBe(normal)
})

test.each([
  ['C:\\', '/c/drive_c'],
  ['C:\\WINDOWS\\System32\\drivers\\ETC\\hosts', '/c/drive_c/windows/system32/drivers/etc/hosts'],
  ['c:/PROGRAM FILES/Foo', '/c/drive_c/Program Files/Foo'],
  ['C:\\Data', '/c/drive_c/Data'],
  ['g:\\Windows', '/c/drive_g/Windows']
])('%s lies at %s', (windows, linux) => {
  expect(toLinuxPath(windows)).toBe(linux)
})

test('folders that a build made are found in another case', () => {
  expect(toLinuxPath('c:\\APP\\LIB\\X.dll', ['app', 'app/Lib'])).toBe('/c/drive_c/app/Lib/X.dll')
})

test('a path cannot leave its drive', () => {
  expect(toLinuxPath('C:\\..\\..\\etc\\passwd')).toBe('/c/drive_c/etc/passwd')
})

test('Linux paths outside the drives have no Windows path', () => {
  expect(toWindowsPath('/c/drive_c/a b/c')).toBe('C:\\a b\\c')
  expect(toWindowsPath('/c/drive_c')).toBe('C:\\')
  expect(toWindowsPath('/oriel/init')).toBeUndefined()
  expect(toWindowsPath('/c/system.reg')).toBeUndefined()
})

test('what only Windows calls a path', () => {
  expect(['C:\\x', 'c:/x', 'D:', '\\x'].map(isWindowsPath)).toEqual([true, true, true, true])
  expect(['x', '/x', 'cx:\\', 'vol', ''].map(isWindowsPath)).toEqual([false, false, false, false, false])
})

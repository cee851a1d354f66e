import { expect, test } from 'vitest'
import { mergeEnv, userLabels, windowsImageOf } from '#image/windows-config.ts'

test('environment names compare without case and keep their first spelling', () => {
  expect(mergeEnv(['Path=a', 'X=1'], ['PATH=b', 'y='], null, ['x=2=3', 'Bare'])).toEqual([
    'Path=b',
    'X=2=3',
    'y=',
    'Bare='
  ])
})

test("a drive's hidden variable is one name", () => {
  expect(mergeEnv(['=C:=C:\\a'], ['=c:=C:\\b'])).toEqual(['=C:=C:\\b'])
})

test("clients do not see Oriel's labels", () => {
  expect(userLabels({ 'dev.oriel.image': '{}', a: 'b', 'dev.orielx': 'c' })).toEqual({ a: 'b', 'dev.orielx': 'c' })
  expect(userLabels(null)).toEqual({})
})

test('a Linux image and a damaged label have no Windows side', () => {
  expect(windowsImageOf({})).toBeUndefined()
  expect(windowsImageOf(undefined)).toBeUndefined()
  expect(windowsImageOf({ 'dev.oriel.image': '{"config":' })).toBeUndefined()
  expect(windowsImageOf({ 'dev.oriel.image': '{}' })).toBeUndefined()
  expect(windowsImageOf({ 'dev.oriel.image': 'null' })).toBeUndefined()
  expect(windowsImageOf({ 'dev.oriel.image': '{"config":{},"osVersion":"10.0","folders":[]}' })).toBeUndefined()
})

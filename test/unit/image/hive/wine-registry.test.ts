import { expect, test } from 'vitest'
import { diffRegistry, readWineRegistry } from '#image/hive/wine-registry.ts'
import { Fault } from '#lib/fault.ts'

const HEAD = 'WINE REGISTRY Version 2\n;; All keys relative to \\\\Machine\n\n#arch=win64\n\n'

function registry(body: string) {
  return readWineRegistry(HEAD + body)
}

const BASE = `[Software\\\\A] 1795444002
#time=1dd7b56a8cbfae4
@="default"
"name \\"x\\" \\\\"="one"
"list"=hex(7):61,00,\\
  62,00,00,00
"text"=str(2):"%x%\\\\"

[System\\\\ControlSet001\\\\\\x00e9] 1795444002
"n"=dword:00000001
`

test('reads keys, escapes, and data over several lines', () => {
  const keys = registry(BASE)
  expect([...keys.values()].map(key => key.path)).toEqual(['Software\\A', 'System\\ControlSet001\\é'])
  expect(Object.fromEntries(keys.get('software\\a')?.values ?? [])).toEqual({
    '': '"default"',
    'name "x" \\': '"one"',
    list: 'hex(7):61,00,62,00,00,00',
    text: 'str(2):"%x%\\\\"'
  })
})

test('times and order are no change', () => {
  const again = BASE.replaceAll('1795444002', '1795449999').replace('1dd7b56a8cbfae4', '1dd7b60000000')
  expect(diffRegistry(registry(BASE), registry(again))).toEqual([])
})

test('says what came, went and changed', () => {
  const after = registry(
    `${BASE.replace('"one"', '"two"').replace(/"list".*?0,00\n/s, '')}\n[Software\\\\B] 1\n"new"="x"\n`
  )
  expect(diffRegistry(registry(BASE), after)).toEqual([
    { key: 'Software\\A', value: 'list', change: 'removed' },
    { key: 'Software\\A', value: 'name "x" \\', change: 'changed' },
    { key: 'Software\\B', value: undefined, change: 'added' },
    { key: 'Software\\B', value: 'new', change: 'added' }
  ])
})

test('what Wine writes by itself is no change', () => {
  const noise = `
[Software\\\\Microsoft\\\\Windows NT\\\\CurrentVersion\\\\Fonts] 1
"DejaVu Sans (TrueType)"="Z:\\\\usr\\\\share\\\\fonts"

[Software\\\\Wine\\\\Fonts\\\\External Fonts] 1
"a"="b"

[System\\\\ControlSet001\\\\Control\\\\ComputerName\\\\ComputerName] 1
"ComputerName"="C31FCB77E6F6"

[System\\\\ControlSet001\\\\Control\\\\Class\\\\{4D36E968-E325-11CE-BFC1-08002BE10318}\\\\0000] 1
"DriverDateData"=hex:f4,ae

[Software\\\\Classes\\\\Typelib\\\\{60254CA0-953B-11CF-8C96-00AA00B8708C}\\\\5.6] 1
@="IHost"

[Software\\\\Classes\\\\Interface\\\\{53BAD8C1-E718-11CF-893D-00A0C9054228}\\\\TypeLib] 1
"Version"="1.0"

[System\\\\ControlSet001\\\\Services\\\\Tcpip\\\\Parameters] 1
"Hostname"="c31fcb77e6f6"
`
  const shell =
    '[Software\\\\Microsoft\\\\Windows\\\\CurrentVersion\\\\Explorer\\\\Shell Folders] 1\n"Desktop"="C:\\\\x"\n'
  expect(diffRegistry(registry(BASE), registry(BASE + shell))).toEqual([])
  const moved = shell.replace('Shell Folders', 'User Shell Folders')
  expect(diffRegistry(registry(BASE), registry(BASE + moved))).toHaveLength(2)
  const named = noise
    .replace('C31FCB77E6F6', 'ANOTHER')
    .replace('c31fcb77e6f6', 'another')
    .replace('f4,ae', 'd3,98')
    .replace('"Version"="1.0"', '"Version"="5.6"')
    .replace('@="IHost"', '@="other"')
  expect(diffRegistry(registry(BASE + noise), registry(BASE + named))).toEqual([])
  const other = noise.replace('"Hostname"="c31fcb77e6f6"', '"Hostname"="x"\n"SearchList"="corp"')
  expect(diffRegistry(registry(BASE + noise), registry(BASE + other))).toEqual([
    { key: 'System\\ControlSet001\\Services\\Tcpip\\Parameters', value: 'SearchList', change: 'added' }
  ])
})

test('a key that the text names only while it is empty comes and goes with no change', () => {
  const empty = `${BASE}\n[Software\\\\Vendor] 1\n`
  const full = `${BASE}\n[Software\\\\Vendor\\\\Product] 1\n"a"="b"\n`
  const product = { key: 'Software\\Vendor\\Product', change: 'added' }
  expect(diffRegistry(registry(empty), registry(full))).toEqual([
    { ...product, value: undefined },
    { ...product, value: 'a' }
  ])
  const back = diffRegistry(registry(full), registry(empty))
  expect(back.map(({ key, change }) => [key, change])).toEqual([
    [product.key, 'removed'],
    [product.key, 'removed']
  ])
})

test.each(['', 'REGEDIT4\n', `${HEAD}[unfinished\n`, `${HEAD}[A] 1\n"v\n`])('%j is refused', text => {
  expect(() => readWineRegistry(text)).toThrow(Fault)
})

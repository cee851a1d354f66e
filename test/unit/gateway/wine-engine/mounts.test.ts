import { describe, expect, test } from 'vitest'
import { parseBind, translateMounts } from '#gateway/wine-engine/mounts.ts'

function bindsOf(...Binds: string[]) {
  return translateMounts({ Binds }, [], 'test', ['App', 'App/Lib'])
}

describe('-v SOURCE:TARGET', () => {
  test.each([
    ['/Users/me/src:C:\\app', '/Users/me/src:/c/drive_c/App'],
    ['/Users/me/src:c:/app/lib/x', '/Users/me/src:/c/drive_c/App/Lib/x'],
    ['C:/Users/me:C:\\app', '/Users/me:/c/drive_c/App'],
    ['C:\\Users\\me:C:\\data', '/Users/me:/c/drive_c/data'],
    ['C:/Users/me/src:C:/Users/me/src:ro', '/Users/me/src:/c/drive_c/users/me/src:ro'],
    ['/a:D:\\', '/a:/c/drive_d'],
    ['/a:D:', '/a:/c/drive_d'],
    ['/a:C:\\x\\..\\y\\', '/a:/c/drive_c/y'],
    ['/a b:C:\\program files\\App:rw', '/a b:/c/drive_c/Program Files/App'],
    ['/a:C:\\x:z', '/a:/c/drive_c/x'],
    ['/a:C:\\x:ro,Z,cached', '/a:/c/drive_c/x:ro'],
    ['/a:C:\\x:rshared', '/a:/c/drive_c/x'],
    ['/a:C:\\x:delegated', '/a:/c/drive_c/x']
  ])('%s', (spec, bind) => {
    expect(bindsOf(spec).binds).toEqual([bind])
  })

  test('a named volume is a mount with the owner on it, so that a new one is the machine’s', () => {
    expect(bindsOf('data:C:\\data:ro,nocopy')).toEqual({
      binds: [],
      mounts: [
        {
          Type: 'volume',
          Source: 'data',
          Target: '/c/drive_c/data',
          ReadOnly: true,
          VolumeOptions: { Labels: { 'dev.oriel.machine': 'test' }, NoCopy: true }
        }
      ],
      recorded: [{ type: 'volume', source: 'data', destination: 'C:\\data', target: '/c/drive_c/data' }]
    })
  })

  test('the client’s own spelling is remembered', () => {
    expect(bindsOf('C:\\Users\\me:c:/app').recorded).toEqual([
      { type: 'bind', source: 'C:\\Users\\me', destination: 'C:\\app', target: '/c/drive_c/App' }
    ])
  })

  test.each([
    ['/x:/app', /invalid volume specification: '\/x:\/app'.*use C:\\app/],
    ['/x:app', /use C:\\app/],
    ['vol:\\app', /use C:\\app/],
    ['/x:C:', /cannot be 'c:' or 'c:\\'/],
    ['/x:C:\\', /cannot be 'c:' or 'c:\\'/],
    ['/x:c:/.', /cannot be 'c:' or 'c:\\'/],
    ['/x:C:\\a:b:c', /invalid volume specification/],
    ['/x:C:\\a:wrong', /invalid mode: wrong/],
    ['/x:C:\\a:ro,wrong', /invalid mode/],
    ['/x:C:\\a*b', /invalid volume specification/],
    ['/x:C:\\a\nb', /invalid volume specification/],
    [':C:\\a', /invalid volume specification/],
    ['/x:', /invalid volume specification/],
    ['', /invalid volume specification/],
    ['E:\\x:C:\\a', /no drive E:/],
    ['./x:C:\\a', /must be an absolute path/],
    ['~/x:C:\\a', /must be an absolute path/],
    ['a/b:C:\\a', /must be an absolute path/],
    ['\\\\.\\pipe\\docker_engine:\\\\.\\pipe\\docker_engine', /cannot share a named pipe/],
    ['//./pipe/docker_engine:C:\\x', /cannot share a named pipe/]
  ])('refuses %j', (spec, words) => {
    expect(() => bindsOf(spec)).toThrow(words)
  })

  test('two on one place are refused, whatever their case', () => {
    expect(() => bindsOf('/a:C:\\Data', '/b:c:/data')).toThrow('Duplicate mount point: C:\\data')
  })
})

test('a bind is taken apart at its own colons only', () => {
  expect(parseBind('C:/a:C:/b:ro')).toEqual({ source: 'C:/a', destination: 'C:/b', readOnly: true, noCopy: false })
  expect(parseBind('v1:C:\\b')).toEqual({ source: 'v1', destination: 'C:\\b', readOnly: false, noCopy: false })
})

describe('--mount', () => {
  const mount = (mounted: object) => translateMounts({ Mounts: [mounted] }, [], 'test')

  test('a bind keeps what it has but for words of Linux', () => {
    const BindOptions = { Propagation: 'rprivate', NonRecursive: true }
    expect(
      mount({ Type: 'bind', Source: '/a', Target: 'C:\\x', ReadOnly: true, Consistency: 'cached', BindOptions }).mounts
    ).toEqual([
      {
        Type: 'bind',
        Source: '/a',
        Target: '/c/drive_c/x',
        ReadOnly: true,
        Consistency: '',
        BindOptions: { NonRecursive: true }
      }
    ])
  })

  test('a volume keeps its driver and labels', () => {
    const VolumeOptions = { Labels: { a: 'b' }, DriverConfig: { Name: 'local' } }
    expect(mount({ Type: 'volume', Source: 'v', Target: 'C:\\x', VolumeOptions }).mounts[0]).toMatchObject({
      VolumeOptions: { Labels: { a: 'b', 'dev.oriel.machine': 'test' }, DriverConfig: { Name: 'local' } }
    })
  })

  test.each([
    [{ Type: 'tmpfs', Target: 'C:\\x' }, /mount type unknown/],
    [{ Type: 'npipe', Source: 'a', Target: 'b' }, /cannot share a named pipe/],
    [{ Type: 'cluster', Source: 'a', Target: 'C:\\x' }, /mount type unknown/],
    [{ Target: 'C:\\x' }, /mount type unknown/],
    [{ Type: 'bind', Source: 'a', Target: 'C:\\x' }, /mount path must be absolute/],
    [{ Type: 'bind', Source: '/a', Target: '/x' }, /use C:\\x/],
    [{ Type: 'bind', Source: '/a', Target: 'C:\\' }, /cannot be 'c:'/],
    [{ Type: 'volume', Source: 'v', Target: '' }, /mount path must be absolute/]
  ])('refuses %j', (mounted, words) => {
    expect(() => mount(mounted)).toThrow(words)
  })
})

test('a volume without a name is not made where another mount is', () => {
  const { mounts } = translateMounts({ Binds: ['/a:C:\\Data'] }, ['c:\\data', 'C:\\other'], 'test')
  expect(mounts).toEqual([
    { Type: 'volume', Target: '/c/drive_c/other', VolumeOptions: { Labels: { 'dev.oriel.machine': 'test' } } }
  ])
})

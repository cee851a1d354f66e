import { expect, test } from 'vitest'
import { readBuildQuery } from '#gateway/wine-engine/build-query.ts'

const read = (query: string): ReturnType<typeof readBuildQuery> => readBuildQuery(new URLSearchParams(query))

test('an empty query has the defaults of Docker', () => {
  const { engineQuery, ...request } = read('')
  expect(request).toEqual({
    remote: '',
    dockerfile: 'Dockerfile',
    target: '',
    buildArgs: {},
    labels: {},
    rm: true,
    forceRm: false,
    pull: false
  })
  expect(engineQuery.toString()).toBe('version=1&rm=1')
})

test('what the engine understands goes on, the rest stays', () => {
  const { engineQuery } = read(
    't=a&t=b:1&q=1&nocache=1&pull=1&forcerm=1&rm=0&memory=5&cachefrom=%5B%5D&buildargs=%7B%22a%22%3A%22b%22%7D&labels=%7B%22a%22%3A%22b%22%7D&target=x&isolation=process&platform=windows%2Famd64&networkmode=nat&session=s&buildid=1'
  )
  expect(engineQuery.toString()).toBe('t=a&t=b%3A1&q=1&nocache=1&cachefrom=%5B%5D&memory=5&version=1&rm=1')
})

test('reads arguments, labels and the place of the Dockerfile', () => {
  expect(
    read('buildargs={"a":"b","n":null}&labels={"l":"m"}&dockerfile=docker\\win/../Dockerfile&target=x&rm=0')
  ).toMatchObject({
    buildArgs: { a: 'b', n: null },
    labels: { l: 'm' },
    dockerfile: 'docker/Dockerfile',
    target: 'x',
    rm: false
  })
})

test('a network of none is kept, that of Windows is the default', () => {
  expect(read('networkmode=none').engineQuery.get('networkmode')).toBe('none')
  expect(read('networkmode=default').engineQuery.get('networkmode')).toBeNull()
})

test.each([
  ['version=2', 400, 'BuildKit'],
  ['platform=linux/amd64', 400, 'operating system is not supported'],
  ['platform=windows/arm64', 400, 'windows/amd64'],
  ['isolation=hyperv', 400, 'a machine with a real Windows can'],
  ['isolation=foo', 400, 'Unsupported isolation: "foo"'],
  ['networkmode=host', 400, 'network of the host'],
  ['squash=1', 400, 'squash'],
  ['securityopt=["a"]', 400, 'security options'],
  ['buildargs={', 400, 'error reading buildargs'],
  ['buildargs=[]', 400, 'error reading buildargs'],
  ['buildargs={"a":1}', 400, 'error reading buildargs'],
  ['labels={"a":null}', 400, 'error reading labels'],
  ['dockerfile=../../x', 500, 'Forbidden path outside the build context']
])('%s is refused', (query, status, message) => {
  expect(() => read(query)).toThrow(expect.objectContaining({ status, message: expect.stringContaining(message) }))
})

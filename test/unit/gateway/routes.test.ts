import { expect, test } from 'vitest'
import { joinTarget, matchRoute, type Route, splitTarget } from '#gateway/routes.ts'

const action: Route['action'] = () => ({ kind: 'splice' })
const routes: Route[] = [
  { method: 'GET', template: '/containers/json', action },
  { method: 'GET', template: '/containers/{id}/json', action },
  { method: 'GET', template: '/images/{name}/json', action },
  { method: '*', template: '/swarm', action }
]
const find = (method: string, target: string) => {
  const found = matchRoute(routes, { method, target, headers: [] })
  return found && { template: found.route.template, ...found.match.params, version: found.match.version }
}

test('finds a route with and without a version, and a name with slashes', () => {
  expect(find('GET', '/v1.41/containers/json?all=1')).toEqual({ template: '/containers/json', version: '1.41' })
  expect(find('GET', '/containers/abc/json')).toEqual({ template: '/containers/{id}/json', id: 'abc', version: '' })
  expect(find('GET', '/images/mcr.microsoft.com/windows/nanoserver:ltsc2022/json')).toMatchObject({
    name: 'mcr.microsoft.com/windows/nanoserver:ltsc2022'
  })
  expect(find('POST', '/swarm')).toMatchObject({ template: '/swarm' })
})

test('an encoded slash in a name is decoded, a broken escape matches nothing', () => {
  expect(find('GET', '/images/a%2Fb/json')).toMatchObject({ name: 'a/b' })
  expect(find('GET', '/images/a%zz/json')).toBeUndefined()
})

test('what no rule names is passed through', () => {
  expect(find('POST', '/containers/abc/json')).toBeUndefined()
  expect(find('GET', '/containersx/abc/json')).toBeUndefined()
})

test('a target is cut and joined', () => {
  expect(splitTarget('http://api.moby.localhost/v1.44/info')).toMatchObject({ path: '/info', version: '1.44' })
  expect(joinTarget('1.44', '/a', new URLSearchParams({ path: 'C:\\x' }))).toBe('/v1.44/a?path=C%3A%5Cx')
  expect(joinTarget('', '/a')).toBe('/a')
})

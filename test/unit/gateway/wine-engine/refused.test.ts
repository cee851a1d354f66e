import { afterEach, expect, test } from 'vitest'
import { refusalOf, type Stage, stage } from '../../../support/fake-engine.ts'

let open: Stage | undefined
afterEach(async () => {
  await open?.close()
  open = undefined
})

test.each([
  ['GET', '/swarm', 503, /not a swarm manager/],
  ['GET', '/services', 503, /not a swarm manager/],
  ['POST', '/services/create', 503, /not a swarm manager/],
  ['GET', '/nodes/x', 503, /not a swarm manager/],
  ['GET', '/secrets', 503, /not a swarm manager/],
  ['GET', '/tasks/a/logs', 503, /not a swarm manager/],
  ['POST', '/swarm/leave', 503, /not part of a swarm/],
  ['POST', '/swarm/init', 400, /cannot be part of a swarm.*qemu/],
  ['POST', '/swarm/join', 400, /cannot be part of a swarm/],
  ['GET', '/plugins/privileges', 501, /plugins are not supported on this platform/],
  ['POST', '/plugins/a/b/enable', 501, /plugins are not supported/],
  ['GET', '/debug/vars', 404, /page not found/],
  ['POST', '/session', 404, /classic builder/],
  ['POST', '/grpc', 404, /classic builder/]
])('%s %s answers as a Windows daemon would', async (method, path, status, message) => {
  open = await stage({})
  const before = open.seen.length
  const refusal = await refusalOf(open.client.json(method, `/v1.41${path}`))
  expect(refusal).toEqual({ status, message: expect.stringMatching(message) })
  expect(open.seen.slice(before).filter(request => request.path.startsWith(path))).toEqual([])
})

test('there are no plugins, and no build cache of this machine', async () => {
  open = await stage({})
  expect(await open.client.json('GET', '/plugins')).toEqual([])
  expect(await open.client.json('POST', '/build/prune')).toEqual({ CachesDeleted: null, SpaceReclaimed: 0 })
})

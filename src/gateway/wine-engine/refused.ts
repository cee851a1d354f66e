import type { Handling } from '#gateway/proxy/handling.ts'
import type { Route } from '#gateway/routes.ts'
import { answerJson, refuse } from './answer.ts'
import { cannot, Refusal } from './refusal.ts'

const noManager =
  'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.'

/** Calls that a Windows daemon lacks or that this driver has no part for; each answers in the daemon's own words. */
export function refusedRoutes(): Route[] {
  const outside = (): Handling => refuse(new Refusal(noManager, 503))
  const noSwarm = (): Handling => refuse(cannot('be part of a swarm'))
  const noPlugins = (): Handling => refuse(new Refusal('plugins are not supported on this platform', 501))
  const notFound = (): Handling => refuse(new Refusal('page not found', 404))
  const noBuildKit = (): Handling =>
    refuse(new Refusal('this machine has no BuildKit: use the classic builder (DOCKER_BUILDKIT=0 docker build)', 404))
  return [
    { method: 'POST', template: '/swarm/init', action: noSwarm },
    { method: 'POST', template: '/swarm/join', action: noSwarm },
    {
      method: 'POST',
      template: '/swarm/leave',
      action: () => refuse(new Refusal('This node is not part of a swarm', 503))
    },
    ...['swarm', 'nodes', 'services', 'tasks', 'secrets', 'configs'].flatMap((what): Route[] => [
      { method: '*', template: `/${what}`, action: outside },
      { method: '*', template: `/${what}/{rest}`, action: outside }
    ]),
    { method: 'GET', template: '/plugins', action: () => answerJson(async () => []) },
    { method: '*', template: '/plugins/{rest}', action: noPlugins },
    { method: '*', template: '/grpc', action: noBuildKit },
    { method: '*', template: '/session', action: noBuildKit },
    { method: '*', template: '/debug/{rest}', action: notFound },
    // BuildKit's cache is that of the engine's Linux builds: not this machine's to throw away.
    {
      method: 'POST',
      template: '/build/prune',
      action: () => answerJson(async () => ({ CachesDeleted: null, SpaceReclaimed: 0 }))
    }
  ]
}

import { afterEach, describe, expect, test } from 'vitest'
import { MACHINE_LABEL } from '#image/windows-config.ts'
import { refusalOf, type Stage, send, stage } from '../../../support/fake-engine.ts'

const own = { [MACHINE_LABEL]: 'm1' }
const foreign = { [MACHINE_LABEL]: 'm2' }

let open: Stage | undefined
afterEach(async () => {
  await open?.close()
  open = undefined
})

describe('networks', () => {
  const bridge = {
    Name: 'bridge',
    Id: 'b1',
    Driver: 'bridge',
    IPAM: { Driver: 'default', Config: [{ Subnet: '172.17.0.0/16' }] },
    Options: { 'com.docker.network.bridge.name': 'docker0', 'com.docker.network.driver.mtu': '1500' },
    Containers: { c1: { Name: 'mine' }, c2: { Name: 'theirs' } },
    Labels: {},
    Future: [1]
  }
  const rows = [
    bridge,
    { Name: 'host', Id: 'h1', Driver: 'host', Labels: {} },
    { Name: 'none', Id: 'n1', Driver: 'null', Labels: {} },
    { Name: 'app', Id: 'a1', Driver: 'bridge', Labels: { ...own, tier: 'web' } },
    { Name: 'other', Id: 'o1', Driver: 'bridge', Labels: foreign },
    { Name: 'linux', Id: 'l1', Driver: 'bridge', Labels: null }
  ]
  const answers = {
    'GET /networks': rows,
    'GET /networks/bridge': bridge,
    'GET /networks/b1': bridge,
    'GET /networks/app': rows[3] ?? null,
    'GET /networks/other': rows[4] ?? null,
    'GET /networks/host': rows[1] ?? null,
    'GET /containers/json': [{ Id: 'c1' }]
  }

  test.each([
    ['', ['nat', 'none', 'app']],
    ['{"driver":["nat"]}', ['nat', 'app']],
    ['{"driver":["bridge"]}', []],
    ['{"name":["na"]}', ['nat']],
    ['{"name":["^app$"]}', ['app']],
    ['{"name":["["]}', []]
  ])('list with the filters %s', async (filters, names) => {
    open = await stage(answers)
    const shown = await open.client.json<{ Name: string }[]>('GET', `/networks?${new URLSearchParams({ filters })}`)
    expect(shown.map(({ Name }) => Name)).toEqual(names)
  })

  test('nat is the bridge of the engine, with the containers of this machine', async () => {
    open = await stage(answers)
    const shown = await open.client.json<Record<string, unknown>>('GET', '/networks/nat')
    expect(shown).toMatchObject({
      Name: 'nat',
      Driver: 'nat',
      IPAM: { Driver: 'windows', Config: [{ Subnet: '172.17.0.0/16' }] },
      Containers: { c1: { Name: 'mine' } },
      Future: [1]
    })
    expect(JSON.stringify(shown)).not.toMatch(/docker0|theirs|bridge/)
  })

  test.each(['bridge', 'host', 'other', 'nosuch'])('%s is not there', async name => {
    open = await stage(answers)
    const refusal = { status: 404, message: `network ${name} not found` }
    expect(await refusalOf(open.client.json('GET', `/networks/${name}`))).toEqual(refusal)
    expect(await refusalOf(open.client.json('DELETE', `/networks/${name}`))).toEqual(refusal)
    expect(await refusalOf(open.client.json('POST', `/networks/${name}/connect`, { Container: 'c1' }))).toEqual(refusal)
  })

  test.each(['', 'nat', 'bridge'])('create with the driver "%s" makes a bridge of this machine', async Driver => {
    open = await stage({ ...answers, 'POST /networks/create': { Id: 'new' } })
    await open.client.json('POST', '/networks/create', {
      Name: 'x',
      Driver,
      Labels: { tier: 'web' },
      Options: { 'com.docker.network.windowsshim.dnsservers': '1.1.1.1', mine: '1' },
      IPAM: { Driver: 'windows', Config: [] },
      Unknown: true
    })
    expect(JSON.parse(open.seen.at(-1)?.body ?? '')).toEqual({
      Name: 'x',
      Driver: 'bridge',
      Labels: { tier: 'web', [MACHINE_LABEL]: 'm1' },
      Options: { mine: '1' },
      IPAM: { Driver: 'default', Config: [] },
      Unknown: true
    })
  })

  test.each([
    [{ Name: 'x', Driver: 'transparent' }, 400],
    [{ Name: 'x', Driver: 'overlay' }, 400],
    [{ Name: 'x', Driver: 'macvlan' }, 404],
    [{ Name: 'nat' }, 409]
  ])('create refuses %o', async (body, status) => {
    open = await stage(answers)
    expect(await refusalOf(open.client.json('POST', '/networks/create', body))).toMatchObject({ status })
  })

  test('connect goes to the engine by id, for containers of this machine', async () => {
    open = await stage({
      ...answers,
      'GET /containers/c1/json': { Config: { Labels: own } },
      'GET /containers/c2/json': { Config: { Labels: foreign } },
      'POST /networks/b1/connect': (_request, response) => response.writeHead(200).end()
    })
    const body = { Container: 'c1', EndpointConfig: { Aliases: ['a'] } }
    await open.client.json('POST', '/networks/nat/connect', body)
    expect(JSON.parse(open.seen.at(-1)?.body ?? '')).toEqual(body)
    expect(await refusalOf(open.client.json('POST', '/networks/nat/connect', { Container: 'c2' }))).toMatchObject({
      status: 404,
      message: 'No such container: c2'
    })
  })

  test('nat cannot be removed', async () => {
    open = await stage(answers)
    expect(await refusalOf(open.client.json('DELETE', '/networks/nat'))).toMatchObject({
      status: 403,
      message: 'nat is a pre-defined network and cannot be removed'
    })
  })

  test('prune is for this machine', async () => {
    open = await stage({ 'POST /networks/prune': { NetworksDeleted: null } })
    await open.client.json('POST', '/networks/prune')
    expect(open.seen.at(-1)?.query.get('filters')).toBe(`{"label":["${MACHINE_LABEL}=m1"]}`)
  })
})

describe('volumes', () => {
  const mine = { Name: 'v', Driver: 'local', Mountpoint: '/var/lib/docker/volumes/v/_data', Labels: { ...own, a: 'b' } }

  test('show Windows paths and no labels of Oriel', async () => {
    open = await stage({ 'GET /volumes/v': mine, 'GET /volumes': { Volumes: [mine], Warnings: null } })
    const shown = { ...mine, Mountpoint: 'C:\\ProgramData\\docker\\volumes\\v\\_data', Labels: { a: 'b' } }
    expect(await open.client.json('GET', '/volumes/v')).toEqual(shown)
    expect(await open.client.json('GET', '/volumes')).toEqual({ Volumes: [shown], Warnings: null })
    expect(open.seen.at(-1)?.query.get('filters')).toBe(`{"label":["${MACHINE_LABEL}=m1"]}`)
  })

  test.each(['theirs', 'linux', 'nosuch'])('%s is not there', async name => {
    open = await stage({
      'GET /volumes/theirs': { ...mine, Labels: foreign },
      'GET /volumes/linux': { ...mine, Labels: null }
    })
    const refusal = { status: 404, message: `get ${name}: no such volume` }
    expect(await refusalOf(open.client.json('GET', `/volumes/${name}`))).toEqual(refusal)
    expect(await refusalOf(open.client.json('DELETE', `/volumes/${name}`))).toEqual(refusal)
  })

  test('create marks the volume with the machine', async () => {
    open = await stage({
      'POST /volumes/create': ({ body }, response) => send(response, 201, { ...mine, ...JSON.parse(body) })
    })
    const answer = await open.client.json('POST', '/volumes/create', { Name: 'v', Labels: { a: 'b' } })
    expect(answer).toMatchObject({ Name: 'v', Labels: { a: 'b' } })
    expect(JSON.parse(open.seen.at(-1)?.body ?? '')).toEqual({ Name: 'v', Labels: { a: 'b', [MACHINE_LABEL]: 'm1' } })
  })

  test("create refuses a name that is someone else's", async () => {
    open = await stage({ 'POST /volumes/create': { ...mine, Labels: null } })
    expect(await refusalOf(open.client.json('POST', '/volumes/create', { Name: 'v' }))).toMatchObject({ status: 409 })
  })

  test.each([
    [{ Driver: 'nfs' }, 404],
    [{ DriverOpts: { type: 'nfs', o: 'addr=1', device: ':/x' } }, 400],
    [{ DriverOpts: { type: 'none', o: 'bind', device: 'C:\\x' } }, 400],
    [{ DriverOpts: { size: '1' } }, 400],
    [[], 400]
  ])('create refuses %o', async (body, status) => {
    open = await stage({})
    expect(await refusalOf(open.client.json('POST', '/volumes/create', body))).toMatchObject({ status })
  })

  test('create binds a folder', async () => {
    open = await stage({ 'POST /volumes/create': mine })
    const DriverOpts = { type: 'none', o: 'bind,ro', device: '/Users/me/data' }
    await open.client.json('POST', '/volumes/create', { Name: 'v', DriverOpts })
    expect(JSON.parse(open.seen.at(-1)?.body ?? '')).toMatchObject({ DriverOpts })
  })
})

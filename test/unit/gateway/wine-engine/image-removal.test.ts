import { afterEach, expect, test } from 'vitest'
import { baseImage, type KnownBase, knownBase } from '#image/bases.ts'
import { IMAGE_LABEL, LAYER_LABEL } from '#image/windows-config.ts'
import { type FakeRequest, type Stage, stage } from '../../../support/fake-engine.ts'

let open: Stage | undefined
afterEach(async () => {
  await open?.close()
  open = undefined
})

interface Row {
  Id: string
  ParentId: string
  RepoTags: string[]
  Labels: Record<string, string>
}

const shown = JSON.stringify(baseImage(knownBase('nanoserver:ltsc2019') as KnownBase))
const laid = (Id: string, ParentId: string, mark: string): Row => ({
  Id,
  ParentId,
  RepoTags: [],
  Labels: { [LAYER_LABEL]: mark }
})
const image = (Id: string, ParentId: string, mark: string, ...RepoTags: string[]): Row => ({
  Id,
  ParentId,
  RepoTags,
  Labels: { [LAYER_LABEL]: mark, [IMAGE_LABEL]: shown }
})

/** With containerd's image store an engine removes what it is told to, children or not, and nothing besides. */
async function engineWith(rows: Row[], used: readonly string[] = []): Promise<Row[]> {
  const labelled = ({ query }: FakeRequest) => {
    const { label = [] } = JSON.parse(query.get('filters') ?? '{}') as { label?: string[] }
    return rows.filter(row => label.every(name => name in row.Labels))
  }
  const named = (name: string) => rows.find(row => row.Id === name || row.RepoTags.includes(name))
  open = await stage({
    'GET /images/json': labelled,
    '*': ({ method, path }, response) => {
      const name = path.replace(/^\/images\//, '').replace(/\/json$/, '')
      const found = named(name)
      if (method === 'GET') return found && { ...found, Config: { Labels: found.Labels } }
      if (found === undefined || used.includes(found.Id)) {
        response.writeHead(409, { 'Content-Type': 'application/json' }).end('{"message":"in use"}')
        return
      }
      rows.splice(rows.indexOf(found), 1)
      return [...found.RepoTags.map(Untagged => ({ Untagged })), { Deleted: found.Id }]
    }
  })
  return rows
}

const all = (): Row[] => [
  laid('sha256:low', 'sha256:wine', 'm1'),
  laid('sha256:high', 'sha256:low', 'm2'),
  laid('sha256:other', 'sha256:low', 'm3'),
  image('sha256:app', 'sha256:high', 'm2', 'app:1'),
  image('sha256:first', 'sha256:app', 'm2'),
  image('sha256:second', 'sha256:first', 'm2'),
  image('sha256:mine', 'sha256:second', 'm2', 'mine:1'),
  image('sha256:sibling', 'sha256:first', 'm2', 'sibling:1')
]
const ids = (rows: readonly Row[]) => rows.map(({ Id }) => Id.slice(7)).join(' ')

test('laid layers stay as long as an image names them or those above them', async () => {
  const rows = await engineWith(all())
  expect(await open?.client.json('DELETE', '/images/app:1')).toEqual([{ Untagged: 'app:1' }, { Deleted: 'sha256:app' }])
  expect(ids(rows)).toBe('low high first second mine sibling')
})

test('the steps of a build go with its image, but for those that another one has', async () => {
  const rows = await engineWith(all())
  expect(await open?.client.json('DELETE', '/images/mine:1')).toEqual([
    { Untagged: 'mine:1' },
    { Deleted: 'sha256:mine' },
    { Deleted: 'sha256:second' }
  ])
  expect(ids(rows)).toBe('low high app first sibling')
  await open?.client.json('DELETE', '/images/sibling:1')
  expect(ids(rows)).toBe('low high app')
  await open?.client.json('DELETE', '/images/app:1')
  expect(ids(rows)).toBe('')
})

test('steps stay when they are asked for, and when a container uses them', async () => {
  const kept = await engineWith(all())
  await open?.client.json('DELETE', '/images/mine:1?noprune=1')
  expect(ids(kept)).toBe('low high app first second sibling')
  await open?.close()
  const used = await engineWith(all(), ['sha256:second'])
  expect(await open?.client.json('DELETE', '/images/mine:1')).not.toContainEqual({ Deleted: 'sha256:second' })
  expect(ids(used)).toBe('low high app first second sibling')
})

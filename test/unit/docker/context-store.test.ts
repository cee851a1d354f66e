import { chmod, mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  currentContextName,
  type DockerContext,
  dockerConfigDir,
  ownedBy,
  readContext,
  removeContext,
  useContext,
  writeContext
} from '#docker/context-store.ts'
import { Fault } from '#lib/fault.ts'

let dir = ''
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'oriel-contexts-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

const context: DockerContext = {
  name: 'oriel-default',
  host: 'unix:///run/user/1000/oriel/d.sock',
  description: 'Windows containers',
  metadata: { oriel: { machine: 'default' } }
}
const mode = async (...path: string[]) => (await stat(join(dir, ...path))).mode & 0o777
const config = async () => JSON.parse(await readFile(join(dir, 'config.json'), 'utf8'))

test('a context is written as docker writes it, and read back', async () => {
  await writeContext(dir, context)
  const [folder = ''] = await readdir(join(dir, 'contexts', 'meta'))
  expect(folder).toMatch(/^[0-9a-f]{64}$/)
  const meta = JSON.parse(await readFile(join(dir, 'contexts', 'meta', folder, 'meta.json'), 'utf8'))
  expect(meta).toEqual({
    Name: 'oriel-default',
    Metadata: { Description: 'Windows containers', oriel: { machine: 'default' } },
    Endpoints: { docker: { Host: context.host, SkipTLSVerify: false } }
  })
  expect(await readContext(dir, 'oriel-default')).toEqual(context)
  expect(await readContext(dir, 'other')).toBeUndefined()
  expect(ownedBy(context)).toBe('default')
})

test('keys are private, and go when the context has none any more', async () => {
  const tls = { ca: 'CA', cert: 'CERT', key: 'KEY', skipVerify: true }
  await writeContext(dir, { ...context, tls })
  expect((await readContext(dir, context.name))?.tls).toEqual(tls)
  const [folder = ''] = await readdir(join(dir, 'contexts', 'tls'))
  expect(await mode('contexts', 'tls', folder, 'docker')).toBe(0o700)
  expect(await mode('contexts', 'tls', folder, 'docker', 'key.pem')).toBe(0o600)
  await writeContext(dir, context)
  expect(await readContext(dir, context.name)).toEqual(context)
})

test('removing takes the context, its keys, and the currency; twice is no error', async () => {
  await writeContext(dir, { ...context, tls: { ca: 'CA' } })
  await useContext(dir, context.name)
  await removeContext(dir, context.name)
  await removeContext(dir, context.name)
  expect(await readContext(dir, context.name)).toBeUndefined()
  expect(await readdir(join(dir, 'contexts', 'tls'))).toEqual([])
  expect(await currentContextName(dir, {})).toBe('default')
})

test('others are not ours', () => {
  for (const metadata of [{}, { oriel: true }, { oriel: { machine: 1 } }, { oriel: null }, { oriel: [] }]) {
    expect(ownedBy({ metadata })).toBeUndefined()
  }
})

test('using a context keeps everything else of config.json, its mode, and a link to it', async () => {
  await writeContext(dir, context)
  await expect(useContext(dir, 'none')).rejects.toThrow('"none" does not exist')
  await mkdir(join(dir, 'dotfiles'))
  const real = join(dir, 'dotfiles', 'docker.json')
  await writeFile(real, '{"auths":{"r":{"auth":"x"}},"currentContext":"old","newField":[1]}')
  await chmod(real, 0o640)
  await symlink(real, join(dir, 'config.json'))
  await useContext(dir, context.name)
  expect(await config()).toEqual({ auths: { r: { auth: 'x' } }, newField: [1], currentContext: context.name })
  expect(await readlink(join(dir, 'config.json'))).toBe(real)
  expect(await mode('config.json')).toBe(0o640)
  await useContext(dir, 'default')
  expect(await config()).toEqual({ auths: { r: { auth: 'x' } }, newField: [1] })
})

test('a new config.json is private', async () => {
  await writeContext(dir, context)
  await useContext(dir, context.name)
  expect(await mode('config.json')).toBe(0o600)
})

test('the current context follows docker: DOCKER_HOST, DOCKER_CONTEXT, config.json, default', async () => {
  expect(await currentContextName(join(dir, 'none'), {})).toBe('default')
  await writeContext(dir, context)
  await useContext(dir, context.name)
  expect(await currentContextName(dir, {})).toBe(context.name)
  expect(await currentContextName(dir, { DOCKER_CONTEXT: 'x' })).toBe('x')
  expect(await currentContextName(dir, { DOCKER_CONTEXT: '', DOCKER_HOST: '' })).toBe(context.name)
  expect(await currentContextName(dir, { DOCKER_CONTEXT: 'x', DOCKER_HOST: 'tcp://h' })).toBe('default')
  expect(dockerConfigDir({ DOCKER_CONFIG: '/etc/d' })).toBe('/etc/d')
  expect(dockerConfigDir({})).toMatch(/\/\.docker$/)
})

test.each(['', 'default', 'x', '-x', '../x', 'a b', 'a/b'])('the name "%s" is refused', async name => {
  await expect(writeContext(dir, { ...context, name })).rejects.toMatchObject({ exitCode: 2 })
  await expect(removeContext(dir, name)).rejects.toBeInstanceOf(Fault)
})

test.each([
  '{"Name":',
  '[]',
  '{}',
  '{"Name":"other","Endpoints":{"docker":{"Host":"x"}}}',
  '{"Name":"oriel-default"}',
  '{"Name":"oriel-default","Endpoints":{"docker":{}}}',
  '{"Name":"oriel-default","Metadata":3,"Endpoints":{"docker":{"Host":"x"}}}',
  '{"Name":"oriel-default","Metadata":{"Description":3},"Endpoints":{"docker":{"Host":"x"}}}'
])('damage is a Fault that names the file: %s', async text => {
  await writeContext(dir, context)
  const [folder = ''] = await readdir(join(dir, 'contexts', 'meta'))
  const path = join(dir, 'contexts', 'meta', folder, 'meta.json')
  await writeFile(path, text)
  await expect(readContext(dir, context.name)).rejects.toBeInstanceOf(Fault)
  await expect(readContext(dir, context.name)).rejects.toThrow(path)
})

test('a damaged config.json is not overwritten', async () => {
  await writeContext(dir, context)
  for (const text of ['{"auths":', '[1]']) {
    await writeFile(join(dir, 'config.json'), text)
    await expect(useContext(dir, context.name)).rejects.toThrow(join(dir, 'config.json'))
    await expect(currentContextName(dir, {})).rejects.toBeInstanceOf(Fault)
    expect(await readFile(join(dir, 'config.json'), 'utf8')).toBe(text)
  }
})

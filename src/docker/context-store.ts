import { createHash } from 'node:crypto'
import { readFile, realpath, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { makeFolder, readJsonFile, writeFileAtomic } from '#lib/atomic-file.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import type { TlsMaterial } from './endpoint.ts'

/** A context of the docker CLI: a name for an engine's address. */
export interface DockerContext {
  name: string
  /** Address of the engine, as docker writes it. */
  host: string
  tls?: TlsMaterial
  description: string
  /** The fields of `Metadata` beside the description; docker keeps those it does not know. */
  metadata: Record<string, unknown>
}

type Environment = Readonly<Record<string, string | undefined>>
type JsonObject = Record<string, unknown>

const defaultName = 'default'
const tlsFiles = { ca: 'ca.pem', cert: 'cert.pem', key: 'key.pem' } as const

/** The docker CLI's own folder: `DOCKER_CONFIG`, or `~/.docker`. */
export function dockerConfigDir(env: Environment = process.env): string {
  return nonEmpty(env.DOCKER_CONFIG) ?? join(homedir(), '.docker')
}

/** The context that `docker` without `--context` uses here, by docker's own rules. Fault when config.json is damaged. */
export async function currentContextName(configDir: string, env: Environment = process.env): Promise<string> {
  if (nonEmpty(env.DOCKER_HOST) !== undefined) return defaultName
  const named = nonEmpty(env.DOCKER_CONTEXT)
  if (named !== undefined) return named
  const { currentContext } = (await readConfig(configDir)) ?? {}
  return typeof currentContext === 'string' && currentContext !== '' ? currentContext : defaultName
}

/** A context of the store; undefined when there is none of that name. Fault, naming the file, when it is damaged. */
export async function readContext(configDir: string, name: string): Promise<DockerContext | undefined> {
  const path = metaFile(configDir, name)
  const meta = await readJsonFile(path)
  if (meta === undefined) return undefined
  if (!isObject(meta)) throw damaged(path, 'it is not an object')
  const { Name, Metadata = {}, Endpoints } = meta
  if (Name !== name) throw damaged(path, `its name is not "${name}"`)
  if (!isObject(Metadata)) throw damaged(path, 'Metadata is not an object')
  const docker = isObject(Endpoints) ? Endpoints.docker : undefined
  if (!isObject(docker) || typeof docker.Host !== 'string') throw damaged(path, 'it has no docker endpoint')
  const { Description = '', ...metadata } = Metadata
  if (typeof Description !== 'string') throw damaged(path, 'Description is not a text')
  const files = await readTls(tlsFolder(configDir, name))
  const tls: TlsMaterial = docker.SkipTLSVerify === true ? { ...files, skipVerify: true } : files
  return {
    name,
    host: docker.Host,
    ...(Object.keys(tls).length === 0 ? {} : { tls }),
    description: Description,
    metadata
  }
}

/**
 * Creates or replaces a context. Ours say so in `metadata`, as `{ oriel: { machine } }`; whether one that exists may be replaced
 * is for the caller to ask (`ownedBy`). The keys are there before the context that needs them. Fault for a name docker refuses.
 */
export async function writeContext(configDir: string, context: DockerContext): Promise<void> {
  const { name, host, tls = {}, description, metadata } = context
  checkName(name)
  await makeFolder(configDir)
  const folder = tlsFolder(configDir, name)
  await rm(folder, { recursive: true, force: true })
  for (const [part, file] of Object.entries(tlsFiles)) {
    const pem = tls[part as keyof typeof tlsFiles]
    if (pem === undefined) continue
    await makeFolder(folder)
    await writeFileAtomic(join(folder, file), pem)
  }
  const meta = {
    Name: name,
    Metadata: { ...metadata, Description: description },
    Endpoints: { docker: { Host: host, SkipTLSVerify: tls.skipVerify === true } }
  }
  await makeFolder(metaFolder(configDir, name), 0o755)
  await writeFileAtomic(metaFile(configDir, name), JSON.stringify(meta), 0o644)
}

/** Removes a context and its keys. If it is the current one, the default takes its place. No such context is no error. */
export async function removeContext(configDir: string, name: string): Promise<void> {
  checkName(name)
  const config = await readConfig(configDir)
  if (config?.currentContext === name) await useContext(configDir, defaultName)
  await rm(metaFolder(configDir, name), { recursive: true, force: true })
  await rm(join(configDir, 'contexts', 'tls', digest(name)), { recursive: true, force: true })
}

/** Makes a context the current one, as `docker context use` does; everything else in config.json stays as it is. */
export async function useContext(configDir: string, name: string): Promise<void> {
  if (name !== defaultName && (await readContext(configDir, name)) === undefined) {
    throw new Fault(`The docker context "${name}" does not exist.`)
  }
  const { currentContext: _before, ...rest } = (await readConfig(configDir)) ?? {}
  const config = name === defaultName ? rest : { ...rest, currentContext: name }
  // People keep this file under version control by a link to it; the link stays.
  const path = await realpath(configFile(configDir)).catch(() => configFile(configDir))
  const mode = await stat(path).then(
    found => found.mode & 0o777,
    () => 0o600
  )
  await makeFolder(configDir)
  await writeFileAtomic(path, `${JSON.stringify(config, undefined, '\t')}\n`, mode)
}

/** The machine of Oriel's that a context belongs to; undefined when it is somebody else's. */
export function ownedBy(context: Pick<DockerContext, 'metadata'>): string | undefined {
  const mark = context.metadata.oriel
  return isObject(mark) && typeof mark.machine === 'string' ? mark.machine : undefined
}

async function readTls(folder: string): Promise<TlsMaterial> {
  const material: TlsMaterial = {}
  for (const [part, file] of Object.entries(tlsFiles)) {
    const path = join(folder, file)
    try {
      material[part as keyof typeof tlsFiles] = await readFile(path, 'utf8')
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') continue
      throw new Fault(`Cannot read ${path}: ${messageOf(error)}`, { cause: error })
    }
  }
  return material
}

async function readConfig(configDir: string): Promise<JsonObject | undefined> {
  const config = await readJsonFile(configFile(configDir))
  if (config === undefined || isObject(config)) return config
  throw damaged(configFile(configDir), 'it is not an object')
}

/** docker's own rule for names; `default` stands for what has no entry in the store. */
function checkName(name: string): void {
  if (/^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$/.test(name) && name !== defaultName) return
  throw new Fault(`"${name}" cannot be the name of a docker context.`, {
    hint: 'Two or more letters, digits or _ . + -, a letter or digit first, and not "default".',
    exitCode: 2
  })
}

function damaged(path: string, why: string): Fault {
  return new Fault(`${path} is damaged: ${why}.`, { hint: 'Repair the file, or move it away.' })
}

function digest(name: string): string {
  return createHash('sha256').update(name).digest('hex')
}

function configFile(configDir: string): string {
  return join(configDir, 'config.json')
}

function metaFolder(configDir: string, name: string): string {
  return join(configDir, 'contexts', 'meta', digest(name))
}

function metaFile(configDir: string, name: string): string {
  return join(metaFolder(configDir, name), 'meta.json')
}

function tlsFolder(configDir: string, name: string): string {
  return join(configDir, 'contexts', 'tls', digest(name), 'docker')
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === '' ? undefined : value
}

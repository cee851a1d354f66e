import { createHash } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { readJsonFile, writeFileAtomic } from '#lib/atomic-file.ts'

/** INTERIM until the proxy branch brings its own. */
export interface DockerContext {
  name: string
  host: string
  description: string
  metadata: Record<string, unknown>
  skipVerify?: boolean
}

const folderOf = (configDir: string, name: string, part = 'meta') =>
  join(configDir, 'contexts', part, createHash('sha256').update(name).digest('hex'))

export async function currentContextName(configDir: string, env: NodeJS.ProcessEnv): Promise<string> {
  if (env.DOCKER_CONTEXT) return env.DOCKER_CONTEXT
  const config = (await readJsonFile(join(configDir, 'config.json'))) as { currentContext?: string } | undefined
  return config?.currentContext || 'default'
}

export async function readContext(configDir: string, name: string): Promise<DockerContext | undefined> {
  const meta = (await readJsonFile(join(folderOf(configDir, name), 'meta.json'))) as
    | { Metadata?: Record<string, unknown>; Endpoints?: { docker?: { Host?: string } } }
    | undefined
  if (meta === undefined) return undefined
  const metadata = meta.Metadata ?? {}
  return {
    name,
    host: meta.Endpoints?.docker?.Host ?? '',
    description: String(metadata.Description ?? ''),
    metadata
  }
}

export async function writeContext(
  configDir: string,
  context: { name: string; host: string; description: string; metadata: Record<string, unknown> }
): Promise<void> {
  const folder = folderOf(configDir, context.name)
  await mkdir(folder, { recursive: true, mode: 0o755 })
  const meta = {
    Name: context.name,
    Metadata: { Description: context.description, ...context.metadata },
    Endpoints: { docker: { Host: context.host, SkipTLSVerify: false } }
  }
  await writeFileAtomic(join(folder, 'meta.json'), JSON.stringify(meta), 0o644)
}

export async function removeContext(configDir: string, name: string): Promise<void> {
  await rm(folderOf(configDir, name), { recursive: true, force: true })
}

export async function useContext(configDir: string, name: string): Promise<void> {
  const path = join(configDir, 'config.json')
  const config = ((await readJsonFile(path)) ?? {}) as Record<string, unknown>
  await writeFileAtomic(path, `${JSON.stringify({ ...config, currentContext: name }, null, '\t')}\n`)
}

export function ownedBy(context: DockerContext): string | undefined {
  const owner = context.metadata['dev.oriel.machine']
  return typeof owner === 'string' ? owner : undefined
}

/** Where the docker client keeps its settings. */
export function dockerConfigFolder(env: NodeJS.ProcessEnv): string {
  return env.DOCKER_CONFIG || join(env.HOME || homedir(), '.docker')
}

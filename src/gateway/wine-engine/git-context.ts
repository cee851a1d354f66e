import { createReadStream } from 'node:fs'
import { lstat, readdir, readFile, readlink, realpath, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Pack, pack } from 'tar-stream'
import { run } from '#lib/child-process.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { checkAborted } from '#lib/wait.ts'
import { ignores } from './build-ignore.ts'
import type { WineContext } from './context.ts'
import { Refusal } from './refusal.ts'

/** A place in a Git repository, as `docker build URL#REF:FOLDER` names it. */
export interface GitPlace {
  /** For git. */
  url: string
  /** A branch, a tag or a commit; empty for what the repository shows first. */
  ref: string
  /** Empty for all of it. */
  folder: string
}

const IGNORE = '.dockerignore'

/** Reads what docker takes for a Git repository. A Refusal for a ref that git would take for an option. */
export function parseGitPlace(remote: string): GitPlace {
  const [address = '', ...rest] = remote.split('#')
  const [ref = '', ...folder] = rest.join('#').split(':')
  const url = /^(https?:\/\/|git:\/\/|git@)/i.test(address) ? address : `https://${address}`
  if (ref.startsWith('-')) throw new Refusal(`invalid refspec: ${ref}`)
  return { url, ref, folder: folder.join(':') }
}

/**
 * A Git repository as a build context, for as long as `work` takes: fetched by the host's git with the person's own settings,
 * which may name a proxy or know a password, but asking nobody. What `.dockerignore` names is left out, as docker's client does
 * it, and so is `.git`: its files change with each fetch, and may hold the URL's password.
 */
export async function withGitContext<T>(
  { images }: WineContext,
  remote: string,
  dockerfile: string,
  signal: AbortSignal,
  work: (tar: Readable) => Promise<T>
): Promise<T> {
  const place = parseGitPlace(remote)
  const folder = await images.workFolder()
  try {
    const root = await checkOut(place, join(folder, 'repository'), images.env, signal)
    const tar = await packed(root, dockerfile)
    try {
      return await work(tar)
    } finally {
      tar.destroy()
    }
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** What of the environment would make git use another repository. */
const ELSEWHERE = [
  'GIT_DIR',
  'GIT_WORK_TREE',
  'GIT_INDEX_FILE',
  'GIT_OBJECT_DIRECTORY',
  'GIT_COMMON_DIR',
  'GIT_NAMESPACE'
]

function environment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const own = Object.fromEntries(Object.entries(env).filter(([name]) => !ELSEWHERE.includes(name)))
  return {
    ...own,
    // Others run programs (ext) or read this host's files (file), and a submodule can name any.
    GIT_ALLOW_PROTOCOL: 'http:https:git:ssh',
    // Nobody is there to answer.
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '',
    SSH_ASKPASS_REQUIRE: 'never',
    LC_ALL: 'C'
  }
}

/** Fetches no more than is needed, where the server can do that. Gives the folder of the context. */
async function checkOut(
  { url, ref, folder }: GitPlace,
  root: string,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal
): Promise<string> {
  const options = { env: environment(env), signal, session: true }
  const git = async (...args: string[]): Promise<void> => {
    const { exitCode, stderr } = await run(['git', '-c', 'core.hooksPath=/dev/null', ...args], options).catch(error => {
      checkAborted(signal)
      const missing = error instanceof Fault && error.exitCode === 4
      throw missing ? new Refusal(`cannot build from a Git repository: ${messageOf(error)}`, 500) : error
    })
    checkAborted(signal)
    if (exitCode !== 0) throw new GitFailure(stderr.replace(/\/\/[^/@\s]*@/g, '//').trim() || `exit status ${exitCode}`)
  }
  const inside = (...args: string[]) => git('-C', root, ...args)
  await git('init', '--quiet', '--template=', '--', root)
  // Submodules may be named relative to it.
  await inside('remote', 'add', '--', 'origin', url)
  try {
    await inside('checkout', '--quiet', '--detach', await fetchRef(inside, ref))
    if (await exists(join(root, '.gitmodules'))) {
      await inside('submodule', 'update', '--quiet', '--init', '--recursive', '--depth=1')
    }
  } catch (error) {
    if (!(error instanceof GitFailure)) throw error
    throw new Refusal(`error fetching: ${error.message}`, 500)
  }
  return await contextFolder(root, folder)
}

class GitFailure extends Error {}

/** Gives the name under which what was asked for can be checked out. */
async function fetchRef(git: (...args: string[]) => Promise<void>, ref: string): Promise<string> {
  const fetch = (...args: string[]) => git('fetch', '--quiet', '--no-tags', ...args)
  try {
    await fetch('--depth=1', '--', 'origin', ref || 'HEAD')
  } catch (error) {
    if (!(error instanceof GitFailure)) throw error
    if (/^[0-9a-f]{7,64}$/.test(ref)) {
      // Not every server gives a commit that no branch ends with, and none the beginning of its name.
      await fetch('--', 'origin', '+refs/heads/*:refs/remotes/origin/*')
      return ref
    }
    // A plain web server, which has files and no git behind them.
    if (!/dumb http transport/.test(error.message)) throw error
    await fetch('--', 'origin', ref || 'HEAD')
  }
  return 'FETCH_HEAD'
}

async function contextFolder(root: string, folder: string): Promise<string> {
  const real = await realpath(root)
  const found = await realpath(join(real, folder)).catch(() => undefined)
  if (found === undefined) throw new Refusal(`error setting git context: no such folder: ${folder}`)
  if (found !== real && !found.startsWith(`${real}/`)) {
    throw new Refusal(`error setting git context, it leads out of the repository: ${folder}`)
  }
  if (!(await stat(found)).isDirectory()) throw new Refusal(`error setting git context, not a directory: ${folder}`)
  return found
}

async function exists(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    () => false
  )
}

/** A folder as a tar, file by file as it is read. */
async function packed(root: string, dockerfile: string): Promise<Readable> {
  const file = join(root, IGNORE)
  // A link would be read wherever it leads to.
  const isFile = await lstat(file).then(
    facts => facts.isFile(),
    () => false
  )
  const patterns = isFile ? await readFile(file, 'utf8') : ''
  const kept = (path: string): boolean => path === dockerfile || path === IGNORE || !ignores(patterns, path)
  const tar = pack()
  addFolder(tar, root, '', kept).then(
    () => tar.finalize(),
    (error: Error) => tar.destroy(error)
  )
  return Readable.from(tar, { objectMode: false })
}

async function addFolder(tar: Pack, root: string, folder: string, kept: (path: string) => boolean): Promise<void> {
  // In one order, so that the same commit makes the same context.
  for (const name of (await readdir(join(root, folder))).sort()) {
    if (name === '.git') continue
    const path = folder === '' ? name : `${folder}/${name}`
    const facts = await lstat(join(root, path))
    const header = { name: path, mode: facts.mode & 0o777, mtime: facts.mtime }
    if (facts.isDirectory()) {
      // A pattern may take back something below.
      if (kept(path)) tar.entry({ ...header, type: 'directory' })
      await addFolder(tar, root, path, kept)
    } else if (!kept(path)) continue
    else if (facts.isSymbolicLink()) {
      tar.entry({ ...header, type: 'symlink', linkname: await readlink(join(root, path)) })
    } else await pipeline(createReadStream(join(root, path)), tar.entry({ ...header, size: facts.size }))
  }
}

import { createHash } from 'node:crypto'
import { INIT } from '#image/launch.ts'
import { isWindowsPath, normalizeWindowsPath, toLinuxPath } from '#image/windows-path.ts'
import { parseList, readFlags } from './arguments.ts'
import { DockerfileFault, parseFault } from './fault.ts'
import { checkName, checkPath, type Folders } from './folders.ts'
import { jsonLine, literalWord } from './linux.ts'
import type { Instruction } from './parse.ts'
import { needsBuildKit } from './run.ts'
import type { Stage } from './stage.ts'

/** Where `COPY --from` takes its files. */
export interface CopySource {
  /** The name that the Linux Dockerfile has for it. */
  name: string
  folders: Folders
}

/** Translates COPY or ADD. `sourceOf` finds the stage or image of `--from`. */
export async function translateCopy(
  stage: Stage,
  instruction: Instruction,
  step: number,
  sourceOf: (from: string) => Promise<CopySource>
): Promise<void> {
  const { keyword, line } = instruction
  const copies = keyword === 'COPY'
  const flags = readFlags(instruction, copies ? ['chown', 'chmod', 'from', 'link', 'parents', 'exclude'] : ADD_FLAGS)
  const words = parseList(instruction.rest)
  if (words.length < 2) {
    throw parseFault(
      line,
      `${keyword} requires at least two arguments, but only one was provided. Destination could not be determined`
    )
  }
  // `--chown` names a Linux user; a Windows daemon leaves it aside too.
  for (const name of ['chmod', 'link', 'parents', 'exclude', 'checksum'] as const) {
    if (flags[name] !== undefined) throw needsBuildKit(name)
  }
  const expand = stage.expander()
  const expanded = words.map(word => stage.expandPath(word, expand))
  const target = destination(stage, keyword, expanded.at(-1) ?? '')
  const given = expanded.slice(0, -1)
  const from = flags.from === undefined ? undefined : await sourceOf(flags.from)
  const sources = given.map(source => (from === undefined ? contextPath(source) : stagePath(source, from.folders)))

  const located = stage.folders.locate(target.path)
  let linux = located.linux
  if (!located.certain) {
    // Only a program inside can tell in which case the folders are; it leaves a link that the engine's COPY can follow.
    const path = target.folder && !target.path.endsWith('\\') ? `${target.path}\\` : target.path
    const anchor = createHash('sha256').update(path.toLowerCase()).digest('hex').slice(0, 16)
    stage.emit(step, jsonLine('RUN', [INIT, 'anchor', anchor, path]), false)
    linux = `/oriel/anchor/${anchor}`
  }
  const where = target.folder ? `${linux}/` : linux
  const flag = from === undefined ? [] : [`--from=${from.name}`]
  stage.emit(step, jsonLine(keyword, [...sources, where].map(literalWord), flag))
  stage.folders.add(target.path, true)
  stage.note(`${keyword} ${given.join(' ')} in ${target.path} `, false)
}

const ADD_FLAGS = ['chown', 'chmod', 'link', 'exclude', 'checksum'] as const

/** The absolute Windows path of a destination, and whether it can only be a folder. */
function destination(stage: Stage, keyword: string, word: string): { path: string; folder: boolean } {
  const path = normalizeWindowsPath(word, stage.config.WorkingDir || 'C:\\')
  if (!path.startsWith('C:')) {
    throw new DockerfileFault(`Windows does not support ${keyword} with a destinations not on the system drive (C:)`)
  }
  checkPath(path)
  return { path, folder: word === '' || path === 'C:\\' || /(^|[\\/])\.{0,2}$/.test(word) }
}

/** A source in the context: the engine knows only forward slashes. URLs stay as they are. */
function contextPath(source: string): string {
  if (/^(https?|git|ftp):\/\//i.test(source)) return source
  return source.replaceAll('\\', '/')
}

/**
 * A source in another stage or image. Where the case of a folder is not known, each letter becomes a pattern for both: the
 * engine then finds what Windows would.
 */
function stagePath(source: string, folders: Folders): string {
  const path = isWindowsPath(source) ? source : `\\${source}`
  checkName(path)
  const { linux, certain } = folders.locate(path)
  if (certain || folders.has(path)) return linux
  const relative = toLinuxPath(path, []).slice(ROOT.length)
  return ROOT + relative.replace(/\[[^\]]*\]|\p{L}/gu, match => (match.startsWith('[') ? match : bothCases(match)))
}

const ROOT = '/c/drive_c'

function bothCases(letter: string): string {
  const lower = letter.toLowerCase()
  const upper = letter.toUpperCase()
  return lower === upper || lower.length !== 1 || upper.length !== 1 ? letter : `[${lower}${upper}]`
}

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault, messageOf } from '#lib/fault.ts'
import type { DiscFile } from './disc-file.ts'
import { jsonText, scriptText } from './guest-text.ts'

// The discs' layout is that of guest/windows/CONTRACT.md.

export const SETUP_LABEL = 'ORIEL_SETUP'
export const ENGINE_LABEL = 'ORIEL_ENGINE'

/** A zip file of this host that goes on a disc. The guest compares the sum again. */
export interface DiscArchive {
  version: string
  archive: string
  sha256: string
}

export interface SetupDisc {
  /** Text of Autounattend.xml. */
  answerFile: string
  /** guest/windows of Oriel's package. */
  scriptsFolder: string
  release: string
  isolation: 'process' | 'hyperv'
  engine: DiscArchive
  /** Only for releases that have none of their own. */
  openssh?: DiscArchive
}

// What the first-logon command of the answer file starts.
const FIRST_SCRIPT = 'setup.ps1'

/** What the disc holds that lies beside Windows' own during Setup. Fault 4 when Oriel's own scripts cannot be read. */
export async function setupDiscFiles(disc: SetupDisc): Promise<DiscFile[]> {
  const { engine, openssh } = disc
  const setup = {
    version: 1,
    release: disc.release,
    isolation: disc.isolation,
    engine: { version: engine.version, file: 'docker.zip', sha256: engine.sha256 },
    openssh: openssh === undefined ? null : { version: openssh.version, file: 'openssh.zip', sha256: openssh.sha256 }
  }
  return [
    { path: 'Autounattend.xml', content: disc.answerFile },
    ...(await scripts(disc.scriptsFolder)),
    { path: 'oriel/setup.json', content: jsonText(setup) },
    { path: 'oriel/docker.zip', content: { file: engine.archive } },
    ...(openssh === undefined ? [] : [{ path: 'oriel/openssh.zip', content: { file: openssh.archive } }])
  ]
}

/** What the disc holds from which a guest takes another version of the engine. */
export function engineDiscFiles({ version, archive, sha256 }: DiscArchive): DiscFile[] {
  return [
    { path: 'oriel/engine.json', content: jsonText({ version, file: 'docker.zip', sha256 }) },
    { path: 'oriel/docker.zip', content: { file: archive } }
  ]
}

async function scripts(folder: string): Promise<DiscFile[]> {
  try {
    const names = (await readdir(folder)).filter(name => name.endsWith('.ps1')).sort()
    if (!names.includes(FIRST_SCRIPT)) throw new Error(`${FIRST_SCRIPT} is missing`)
    return await Promise.all(
      names.map(async name => ({
        path: `oriel/${name}`,
        content: scriptText(await readFile(join(folder, name), 'utf8'))
      }))
    )
  } catch (error) {
    throw new Fault(`Oriel's own scripts for Windows, in ${folder}, cannot be used: ${messageOf(error)}`, {
      hint: 'Install Oriel again.',
      exitCode: 4,
      cause: error
    })
  }
}

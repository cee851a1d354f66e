import { existsSync, mkdirSync, renameSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { runOk } from '../support/command.ts'

/** What the suites ask for by name. Stand-ins of Debian's packages have these names, so Docker Hub is not needed. */
const NAMES = {
  busybox: ['busybox:latest', 'alpine:latest', 'alpine:3.10', 'hello-world:latest'],
  debian: ['ubuntu:latest', 'ubuntu:14.04']
}

export interface Archives {
  busybox: string
  debian: string
}

/** Makes the file systems of the stand-ins; `folder` takes the quick one, the cache of the tests the other. */
export async function makeArchives(folder: string): Promise<Archives> {
  const cache = join(process.env.ORIEL_TEST_CACHE ?? join(homedir(), '.cache', 'oriel-test'), 'foreign-suites')
  mkdirSync(cache, { recursive: true })
  const debian = join(cache, 'debian.tar')
  if (!existsSync(debian)) {
    const made = `${debian}.new.tar`
    await runOk('mmdebstrap', ['--quiet', '--variant=essential', '--include=procps', 'bookworm', made], {
      timeoutMs: 900_000
    })
    renameSync(made, debian)
  }
  const root = join(folder, 'busybox')
  const busybox = join(folder, 'busybox.tar')
  const script = `
    mkdir -p "$1/bin" "$1/etc" "$1/root" "$1/usr/bin" "$1/usr/sbin" "$1/sbin" "$1/var/opt" "$1/home"
    mkdir -m 1777 "$1/tmp"
    cp "$(command -v busybox)" "$1/bin/busybox"
    for applet in $("$1/bin/busybox" --list); do test "$applet" = busybox || ln -s busybox "$1/bin/$applet"; done
    printf 'root:x:0:0:root:/root:/bin/sh\\npostgres:x:70:70::/var/lib/postgresql:/bin/sh\\nnobody:x:65534:65534:nobody:/:/bin/false\\n' >"$1/etc/passwd"
    printf 'root:x:0:\\npostgres:x:70:\\nnobody:x:65534:\\n' >"$1/etc/group"
    tar -C "$1" --owner=0 --group=0 -cf "$2" .`
  await runOk('sh', ['-ec', script, 'sh', root, busybox])
  return { busybox, debian }
}

/** Puts the stand-ins on the engine, and on the registry that it takes for a mirror of Docker Hub, for the tests that pull. */
export async function loadImages(url: string, registry: string, archives: Archives): Promise<void> {
  const docker = (...args: string[]) => runOk('docker', ['-H', url, ...args])
  const commands = { busybox: '["/bin/sh"]', debian: '["/bin/bash"]' }
  for (const kind of ['busybox', 'debian'] as const) {
    for (const name of NAMES[kind]) {
      // Each an image of its own: one that went by several names would fare differently when unused ones are removed.
      const changes = ['-c', `CMD ${commands[kind]}`, '-c', `LABEL stand-in=${name}`]
      const id = (await docker('import', ...changes, archives[kind], name)).trim()
      const there = `${registry}/library/${name}`
      await docker('tag', id, there)
      await docker('push', there)
      await docker('rmi', there)
    }
  }
}

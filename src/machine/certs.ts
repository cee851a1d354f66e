import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { agentStatus } from '#agent/control.ts'
import { Fault } from '#lib/fault.ts'
import { startAgent } from './host-agent.ts'
import type { MachineRequest } from './machine-lock.ts'
import { asStage, openVm, withVm } from './vm.ts'

/** Where a client finds the keys of the machine's engine, and until when (ISO 8601) its own certificate holds. */
export interface Certificates {
  folder: string
  engine: string
  validTo: string
}

/** Fault 3 when the machine has none yet. */
export async function certificates(request: MachineRequest): Promise<Certificates> {
  const { vm, work } = await openVm(request)
  const { url, tlsFolder } = await vm.tls(work.place)
  try {
    if (tlsFolder === undefined) throw new Error('no folder')
    const { validTo } = new X509Certificate(await readFile(join(tlsFolder, 'cert.pem')))
    return { folder: tlsFolder, engine: url, validTo: new Date(validTo).toISOString() }
  } catch (error) {
    throw new Fault(`machine "${request.name}" has no certificates yet.`, {
      exitCode: 3,
      hint: `oriel up ${request.name} makes them.`,
      cause: error
    })
  }
}

/** Makes new certificates, in the guest as well when it runs; the host agent goes on with them. */
export async function renewCertificates(request: MachineRequest): Promise<void> {
  await withVm(request, 'certs renew', async ({ machine, driver, vm, settings, work }) => {
    const held = { ...request, signal: work.signal }
    await asStage(held, 'certificates', () => vm.renewCertificates(settings, work))
    if ((await agentStatus(machine.paths.agentSocket)) === undefined) return
    const reference = await driver.reference(settings, work.place)
    if (reference === undefined) return
    // The one that runs has read the old ones.
    await asStage(held, 'agent', () => startAgent(held, machine.paths, driver.name, reference))
  })
}

import * as v from 'valibot'
import { Document, isCollection, isMap, parseDocument } from 'yaml'
import type { Driver } from '#driver/driver.ts'
import { Fault } from '#lib/fault.ts'
import type { MachinePaths } from './paths.ts'
import { readSpecText } from './store.ts'

export const DEFAULT_DRIVER = 'wine'

const DriverName = v.optional(v.string('must be the name of a driver, such as wine'), DEFAULT_DRIVER)

/** What a person wants of a machine: the content of machine.yaml. The settings have passed the driver's schema. */
export interface MachineSpec {
  driver: Driver
  settings: unknown
}

/** Gives the driver of a name, as `driverNamed`. */
export type DriverOf = (name: string) => Promise<Driver>

/** Reads machine.yaml. A Fault (3) lists every problem at once, each with its field and line. Faults as `driverNamed`. */
export async function parseSpec(text: string, file: string, driverOf: DriverOf): Promise<MachineSpec> {
  const document = parseDocument(text)
  const broken = document.errors.map(error => error.message.split('\n')[0] ?? error.message)
  if (broken.length > 0) throw specFault(file, broken)
  const content: unknown = document.toJS() ?? {}
  const { driver: named, ...rest } = isObject(content) ? content : {}
  const name = v.safeParse(DriverName, named)
  const driver = await driverOf(name.success ? name.output : DEFAULT_DRIVER)
  const settings = v.safeParse(driver.settings, isObject(content) ? rest : content)
  const problems = [
    ...(name.issues ?? []).map(issue => ({ path: ['driver'], reason: reasonOf(issue) })),
    ...(settings.issues ?? []).map(issue => ({
      path: (issue.path ?? []).map(item => (typeof item.key === 'number' ? item.key : String(item.key))),
      reason: reasonOf(issue)
    }))
  ]
  if (problems.length === 0 && settings.success) return { driver, settings: settings.output }
  throw specFault(
    file,
    problems.map(({ path, reason }) => {
      const node = document.getIn(path, true) as { range?: [number, number, number] } | undefined
      const at = node?.range === undefined ? '' : ` (line ${text.slice(0, node.range[0]).split('\n').length})`
      return `${path.join('.') || 'the file'}${at}: ${reason}`
    })
  )
}

/** Reads the machine.yaml of a machine; undefined for one that has none. Faults as `parseSpec`. */
export async function loadSpec(paths: MachinePaths, driverOf: DriverOf): Promise<MachineSpec | undefined> {
  const text = await readSpecText(paths)
  return text === undefined ? undefined : parseSpec(text, paths.spec, driverOf)
}

/** The text of machine.yaml for a driver and its settings. What is in `former` and still true keeps its comments. */
export function formatSpec(driver: string, settings: unknown, machine: string, former = ''): string {
  const parsed: Document = parseDocument(former)
  const document = isMap(parsed.contents) ? parsed : new Document({})
  if (document !== parsed)
    document.commentBefore = ` Oriel machine "${machine}". After a change: oriel restart ${machine}`
  for (const [key, value] of Object.entries({ driver, ...(isObject(settings) ? settings : {}) })) {
    if (value === undefined) continue
    const present = document.get(key)
    const plain = isCollection(present) ? present.toJSON() : present
    if (JSON.stringify(plain) !== JSON.stringify(value)) document.set(key, document.createNode(value))
  }
  return document.toString()
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function reasonOf(issue: v.BaseIssue<unknown>): string {
  if (issue.type === 'strict_object') {
    return issue.expected === 'never' ? 'is not a setting that Oriel knows' : `must be a ${issue.expected ?? 'mapping'}`
  }
  return `${issue.message}, not ${issue.received}`
}

function specFault(file: string, problems: string[]): Fault {
  return new Fault(`${file} is not valid:\n${problems.map(problem => `  ${problem}`).join('\n')}`, {
    exitCode: 3,
    hint: 'Correct the file, or remove the machine with: oriel rm --force NAME'
  })
}

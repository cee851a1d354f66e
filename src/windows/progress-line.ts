import * as v from 'valibot'
import { type FactsAnswer, parseFacts } from './guest-facts.ts'

/** The stages of guest/windows/CONTRACT.md, in their order. */
export const SETUP_STAGES = ['copy', 'settings', 'containers', 'engine', 'ssh', 'firewall', 'clean', 'sealed'] as const
export const MACHINE_STAGES = ['identity', 'certificates', 'access', 'network', 'provision', 'docker', 'ready'] as const

export type GuestStage = (typeof SETUP_STAGES)[number] | (typeof MACHINE_STAGES)[number]

/** A line that the guest wrote on COM1. `detail` is a text for people, without control characters. */
export type ProgressLine =
  | { state: 'started' | 'reboot'; stage: GuestStage; detail?: string }
  | { state: 'progress' | 'failed'; stage: GuestStage; detail: string }
  | { state: 'done'; stage: Exclude<GuestStage, 'ready'>; detail?: string }
  /** The engine answers. `id` is the machine disc that is applied; no `facts` when the guest's could not be understood. */
  | { state: 'done'; stage: 'ready'; detail?: string; id: string; facts?: FactsAnswer }

/** A longer line is not one of ours. */
export const LINE_LENGTH = 4000
const DETAIL_LENGTH = 500

const LineSchema = v.object({
  oriel: v.literal(1),
  stage: v.picklist([...SETUP_STAGES, ...MACHINE_STAGES]),
  state: v.picklist(['started', 'progress', 'done', 'failed', 'reboot']),
  detail: v.optional(v.string()),
  id: v.optional(v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/))),
  facts: v.optional(v.unknown())
})

/**
 * Reads one line of COM1. Undefined for everything that is not a line of the contract: firmware, boot loaders and a guest
 * gone wrong write to the same port. What the firmware or a cut line left before ours on the same line does no harm.
 */
export function parseProgress(line: string): ProgressLine | undefined {
  if (line.length > LINE_LENGTH) return undefined
  const start = line.lastIndexOf('{"oriel":')
  if (start < 0) return undefined
  let value: unknown
  try {
    value = JSON.parse(line.slice(start))
  } catch {
    return undefined
  }
  const result = v.safeParse(LineSchema, value)
  if (!result.success) return undefined
  const { stage, state, id, facts } = result.output
  const said = printable(result.output.detail ?? '')
  const detail = said === '' ? {} : { detail: said }
  switch (state) {
    case 'started':
    case 'reboot':
      return { state, stage, ...detail }
    case 'progress':
    case 'failed':
      return { state, stage, detail: said }
    case 'done': {
      if (stage !== 'ready') return { state, stage, ...detail }
      if (id === undefined) return undefined
      const known = parseFacts(facts)
      return { state, stage, ...detail, id, ...(known === undefined ? {} : { facts: known }) }
    }
  }
}

// ECMA-48: control sequences, then strings for the terminal (titles, clipboard) with their ends, then single escapes.
const ESCAPES =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is removed
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]?|(?:\u001b[\]PX^_]|[\u009d\u0090\u0098\u009e\u009f])[^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c)?|\u001b[ -/]*[0-~]?/g

/**
 * A text of the guest, safe to print in one line: without escape sequences, control characters and those that turn the
 * direction of writing, and at most 500 characters.
 */
export function printable(text: string): string {
  const plain = text
    .replace(ESCAPES, '')
    .replace(/[\p{C}\p{Z}]+/gu, ' ')
    .trim()
  return plain.length <= DETAIL_LENGTH ? plain : `${plain.slice(0, DETAIL_LENGTH - 1).replace(/\p{Surrogate}$/u, '')}…`
}

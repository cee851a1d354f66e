import { INIT } from '#image/launch.ts'
import { originConfig } from '#image/origin.ts'
import { type HistoryEntry, IMAGE_LABEL, type ImageOrigin, type WindowsImage } from '#image/windows-config.ts'
import { type Json, numberOf, objectsOf, stringOf } from './json.ts'
import { LAYING } from './layer-chain.ts'
import { isHidden } from './windows-images.ts'

/**
 * `docker history` of a Windows image from the engine's rows, newest first. The rows of the Wine base become the two that
 * Microsoft's base images have; those above carry what the Dockerfile said.
 */
export function windowsHistory(rows: readonly Json[], image: WindowsImage): Json[] {
  const oldestFirst = [...rows].reverse()
  const origin = image.origin ?? image.parent
  const lower =
    origin !== undefined
      ? onOriginal(oldestFirst, origin)
      : image.imported !== undefined
        ? onImport(oldestFirst, image, image.imported)
        : onBase(oldestFirst, image)
  const history = [...lower.rows, ...buildRows(lower.above, image)].reverse()
  // The newest row is the image itself, whichever rows had to go.
  const [newest, ...older] = history
  if (newest === undefined) return []
  return [{ ...newest, Id: image.origin?.id ?? rows[0]?.Id, Tags: shownTags(rows[0]?.Tags) }, ...older]
}

function shownTags(tags: unknown): unknown {
  if (!Array.isArray(tags)) return null
  const shown = tags.filter(tag => !isHidden(stringOf(tag)))
  return shown.length === 0 ? null : shown
}

interface LowerRows {
  rows: Json[]
  /** The engine's rows of what lies on top. */
  above: readonly Json[]
}

function onBase(oldestFirst: readonly Json[], image: WindowsImage): LowerRows {
  // A pulled base ends with the row that gave it its label.
  const end = oldestFirst.findIndex(row => stringOf(row.CreatedBy).includes(IMAGE_LABEL)) + 1
  return { rows: baseRows(oldestFirst.slice(0, end), image), above: oldestFirst.slice(end) }
}

const LAID = LAYING.join(' ')

/** Whether the engine's row is of a commit of what laid a layer: it shows the command, with or without the program before it. */
export function isLaid(createdBy: unknown): boolean {
  return createdBy === LAID || createdBy === `${INIT} ${LAID}`
}

/** The Wine base, and the one layer that was imported; the row of its config has nothing to tell. */
function onImport(oldestFirst: readonly Json[], image: WindowsImage, comment: string): LowerRows {
  const at = oldestFirst.findIndex(row => isLaid(row.CreatedBy))
  const layer = { ...oldestFirst[at], Id: '<missing>', Tags: null, CreatedBy: '', Comment: comment }
  const last = oldestFirst.findLastIndex(row => isLaid(row.CreatedBy))
  return { rows: [...baseRows(oldestFirst.slice(0, at), image), layer], above: oldestFirst.slice(last + 1) }
}

/** The history that the original brought, with the engine's sizes: one row for each laid layer, and one more for its config. */
function onOriginal(oldestFirst: readonly Json[], origin: ImageOrigin): LowerRows {
  const config = originConfig(origin)
  const laid = oldestFirst.filter(row => isLaid(row.CreatedBy))
  const base = oldestFirst.findIndex(row => isLaid(row.CreatedBy))
  const above = oldestFirst.slice(oldestFirst.findLastIndex(row => isLaid(row.CreatedBy)) + 1)
  const steps = objectsOf(config.history)
  const microsofts = steps.filter(step => step.empty_layer !== true).length - (laid.length - 1)
  let layer = 0
  const rows = steps.map((step): Json => {
    const at = step.empty_layer === true ? -1 : layer++
    const size =
      at < 0
        ? 0
        : at < microsofts
          ? at === 0
            ? sizeOf(oldestFirst.slice(0, base))
            : 0
          : sizeOf([laid[at - microsofts] ?? {}])
    const created = Date.parse(stringOf(step.created))
    return {
      Id: '<missing>',
      Created: Number.isNaN(created) ? 0 : Math.floor(created / 1000),
      CreatedBy: stringOf(step.created_by),
      Tags: null,
      Size: size,
      Comment: stringOf(step.comment)
    }
  })
  return { rows, above }
}

function baseRows(rows: readonly Json[], image: WindowsImage): Json[] {
  const template = rows.at(-1) ?? {}
  const row = { ...template, Id: '<missing>', Tags: null, Comment: '' }
  const release = image.osVersion.split('.').slice(0, 3).join('.')
  return [
    { ...row, CreatedBy: `Apply image ${release}.1`, Size: sizeOf(rows) },
    { ...row, CreatedBy: `Install update ${image.osVersion}`, Size: 0 }
  ]
}

/** One row a Dockerfile instruction; those that make layers get time and size from the engine's rows. */
function buildRows(rows: readonly Json[], image: WindowsImage): Json[] {
  const groups = rowsOfInstructions(
    image.history,
    rows.map(row => stringOf(row.CreatedBy))
  )
  let at = 0
  return image.history.map(({ created_by, comment = '' }, index): Json => {
    const mine = (groups[index] ?? []).map(row => rows[row] ?? {})
    at += mine.length
    const template = mine.at(-1) ?? rows[Math.min(at, rows.length - 1)] ?? {}
    return { ...template, Id: '<missing>', Tags: null, Comment: comment, CreatedBy: created_by, Size: sizeOf(mine) }
  })
}

/**
 * The engine's rows, by their places, that each instruction made: in order, each up to the next row of its kind, with what a
 * translation needed before that. What is over is the last instruction's that made a layer, or the very last one's.
 */
export function rowsOfInstructions(history: readonly HistoryEntry[], createdBy: readonly string[]): number[][] {
  const kinds = createdBy.map(kindOf)
  let at = 0
  const groups = history.map(({ created_by, empty }) => {
    const found = empty ? -1 : kinds.indexOf(kindOf(created_by), at)
    const from = at
    at = Math.max(at, found + 1)
    return range(from, at)
  })
  groups.at(history.findLastIndex(({ empty }) => !empty))?.push(...range(at, kinds.length))
  return groups
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index)
}

const ownStep = new RegExp(`${INIT} (anchor|mkdir) `)

/** The instruction behind a row, as the classic builder and BuildKit write it; a row without a known name is a RUN. */
function kindOf(createdBy: string): string {
  const [, mine] = ownStep.exec(createdBy) ?? []
  // A WORKDIR, or the first half of a COPY, below a folder whose name only a program in the image can tell.
  if (mine !== undefined) return mine === 'mkdir' ? 'WORKDIR' : 'anchor'
  return /^(?:\S+ .*#\(nop\) +)?(COPY|ADD|WORKDIR|LABEL)\b/.exec(createdBy)?.[1]?.replace('ADD', 'COPY') ?? 'RUN'
}

function sizeOf(rows: readonly Json[]): number {
  return rows.reduce((sum, row) => sum + numberOf(row.Size), 0)
}

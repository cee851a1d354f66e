import { INIT } from '#image/launch.ts'
import { originConfig } from '#image/origin.ts'
import { IMAGE_LABEL, type ImageOrigin, type WindowsImage } from '#image/windows-config.ts'
import { type Json, numberOf, objectsOf, stringOf } from './json.ts'
import { isHidden } from './windows-images.ts'

/**
 * `docker history` of a Windows image from the engine's rows, newest first. The rows of the Wine base become the two that
 * Microsoft's base images have; those above carry what the Dockerfile said.
 */
export function windowsHistory(rows: readonly Json[], image: WindowsImage): Json[] {
  const oldestFirst = [...rows].reverse()
  const origin = image.origin ?? image.parent
  const lower = origin === undefined ? onBase(oldestFirst, image) : onOriginal(oldestFirst, origin)
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

/** As engines write a commit of what laid a layer: its arguments, with the entry point or without. */
const LAID = ['layer', `${INIT} layer`]

function isLaid(row: Json): boolean {
  return LAID.includes(stringOf(row.CreatedBy))
}

/** The history that the original brought, with the engine's sizes: one row for each laid layer, and one more for its config. */
function onOriginal(oldestFirst: readonly Json[], origin: ImageOrigin): LowerRows {
  const config = originConfig(origin)
  const laid = oldestFirst.filter(isLaid)
  const base = oldestFirst.findIndex(isLaid)
  const above = oldestFirst.slice(oldestFirst.findLastIndex(isLaid) + 1)
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

/**
 * One row a Dockerfile instruction. Those that make a layer get time and size from the engine's rows: in order, each from
 * the next row of its kind and what a translation needed before that.
 */
function buildRows(rows: readonly Json[], image: WindowsImage): Json[] {
  let at = 0
  const shown = image.history.map(({ created_by, empty }): Json => {
    const found = empty
      ? -1
      : rows.findIndex((row, index) => index >= at && kindOf(row.CreatedBy) === kindOf(created_by))
    const mine = found < 0 ? [] : rows.slice(at, found + 1)
    at = Math.max(at, found + 1)
    const template = mine.at(-1) ?? rows[Math.min(at, rows.length - 1)] ?? {}
    return { ...template, Id: '<missing>', Tags: null, Comment: '', CreatedBy: created_by, Size: sizeOf(mine) }
  })
  const last = shown.pop()
  return last === undefined ? [] : [...shown, { ...last, Size: numberOf(last.Size) + sizeOf(rows.slice(at)) }]
}

/** The instruction behind a row, as the classic builder and BuildKit write it; a row without a known name is a RUN. */
function kindOf(createdBy: unknown): string {
  return (
    /^(?:\S+ .*#\(nop\) +)?(COPY|ADD|WORKDIR|LABEL)\b/.exec(stringOf(createdBy))?.[1]?.replace('ADD', 'COPY') ?? 'RUN'
  )
}

function sizeOf(rows: readonly Json[]): number {
  return rows.reduce((sum, row) => sum + numberOf(row.Size), 0)
}

import { IMAGE_LABEL, type WindowsImage } from '#image/windows-config.ts'
import { type Json, numberOf, stringOf } from './json.ts'

/**
 * `docker history` of a Windows image from the engine's rows, newest first. The rows of the Wine base become the two that
 * Microsoft's base images have; those above carry what the Dockerfile said.
 */
export function windowsHistory(rows: readonly Json[], image: WindowsImage): Json[] {
  const oldestFirst = [...rows].reverse()
  // A pulled base ends with the row that gave it its label.
  const end = oldestFirst.findIndex(row => stringOf(row.CreatedBy).includes(IMAGE_LABEL)) + 1
  const base = oldestFirst.slice(0, end)
  const above = oldestFirst.slice(end)
  const history = [...baseRows(base, image), ...buildRows(above, image)].reverse()
  // The newest row is the image itself, whichever rows had to go.
  const [newest, ...older] = history
  return newest === undefined ? [] : [{ ...newest, Id: rows[0]?.Id, Tags: rows[0]?.Tags ?? null }, ...older]
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

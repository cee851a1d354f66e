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

/** One row a Dockerfile instruction; the engine's rows lend time and size, in their order, to those that made a layer. */
function buildRows(rows: readonly Json[], image: WindowsImage): Json[] {
  const layers = rows.filter(row => numberOf(row.Size) > 0)
  const last = rows.at(-1) ?? {}
  const makers = image.history.filter(({ empty }) => !empty).length
  let used = 0
  return image.history.map(({ created_by, empty }) => {
    if (empty) return { ...last, Id: '<missing>', Tags: null, Comment: '', CreatedBy: created_by, Size: 0 }
    used += 1
    // Where a translation needed more layers than the Dockerfile has, the last instruction carries the rest.
    const mine = used === makers ? layers.slice(used - 1) : layers.slice(used - 1, used)
    const row = mine.at(-1) ?? last
    return { ...row, Id: '<missing>', Tags: null, Comment: '', CreatedBy: created_by, Size: sizeOf(mine) }
  })
}

function sizeOf(rows: readonly Json[]): number {
  return rows.reduce((sum, row) => sum + numberOf(row.Size), 0)
}

import { type GoldenEntry, listGolden, removeGolden } from '#driver/qemu/golden.ts'
import { orielHome } from './paths.ts'

export type { GoldenEntry }

/** The golden images of this ORIEL_HOME, each with the machines that need it. */
export function goldenImages(env: NodeJS.ProcessEnv): Promise<GoldenEntry[]> {
  return listGolden(orielHome(env))
}

/** Removes an image that no machine needs. Fault 3 when one does, or when there is no such image. */
export function dropGolden(key: string, env: NodeJS.ProcessEnv): Promise<void> {
  return removeGolden(orielHome(env), key)
}

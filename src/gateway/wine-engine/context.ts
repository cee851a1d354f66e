import type { Engine } from '#docker/engine.ts'
import type { ImageStore } from './image-store.ts'

/** Where the rewrites say what went wrong and nobody could be told in an answer. */
export interface GatewayLog {
  info(message: string, fields?: object): void
  warn(message: string, fields?: object): void
  error(message: string, fields?: object): void
}

/** What every rewrite of the Wine engine works with. */
export interface WineContext {
  /** Name of the machine; engine objects that carry another one are not shown. */
  machine: string
  /** The Linux engine. */
  engine: Engine
  images: ImageStore
  log: GatewayLog
}

import * as v from 'valibot'
import type { EngineReference } from '#driver/driver.ts'

/** How to reach an engine. Keys stay where they are: `tlsFolder` holds ca.pem, cert.pem and key.pem. */
const EngineSpec = v.strictObject({
  url: v.pipe(
    v.string('must be text such as unix:///var/run/docker.sock'),
    v.regex(/^(unix|tcp|http|https|ssh):\/\/./, 'must begin with unix://, tcp:// or ssh://')
  ),
  tlsFolder: v.optional(v.pipe(v.string('must be the path of a folder'), v.minLength(1, 'must not be empty'))),
  skipVerify: v.optional(v.boolean('must be true or false'))
})

/** What machine.yaml says of a machine of the wine driver. */
export const WineSettings = v.strictObject({ engine: v.optional(EngineSpec) })
export type WineSettings = v.InferOutput<typeof WineSettings>

/** The engine of the settings; valibot writes absent keys as undefined. */
export function recordedEngine(engine: NonNullable<WineSettings['engine']>): EngineReference {
  return {
    url: engine.url,
    ...(engine.tlsFolder === undefined ? {} : { tlsFolder: engine.tlsFolder }),
    ...(engine.skipVerify === undefined ? {} : { skipVerify: engine.skipVerify })
  }
}

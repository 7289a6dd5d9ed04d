/**
 * Names that depend on the schema: several logs may live in one database, each in a schema of its own, with
 * its own locks, settings and channel.
 */
import { hash32 } from "@millrace/core/Vnode"

/** Lower case, so that it means the same with and without quotes. Range: 1 to 40 characters. */
export const schemaPattern = /^[a-z_][a-z0-9_]{0,39}$/

/** The names of one log. */
export interface PgNames {
  readonly schema: string
  /** The schema, quoted. */
  readonly q: string
  /** First key of the advisory locks of the log; the second is a mark. 32 bits, signed. */
  readonly lockSpace: number
  /** First key of the advisory lock that is held before the mark is known; the second is 0. 32 bits, signed. */
  readonly doorSpace: number
  /** First key of the advisory locks of conditions; the second is a bucket. 32 bits, signed. */
  readonly bucketSpace: number
  /** Both keys of the lock under which the schema is migrated, as one. */
  readonly migrationKey: number
  /** Setting that is local to a transaction and says that it holds the log's lock. */
  readonly markSetting: string
  /** Setting that is local to a transaction and lets it change events. */
  readonly repairSetting: string
  /** NOTIFY channel. */
  readonly channel: string
}

/** Names for a schema that matches {@link schemaPattern}. */
export const namesOf = (schema: string): PgNames => ({
  schema,
  q: `"${schema}"`,
  lockSpace: hash32(`millrace/log/${schema}`) | 0,
  doorSpace: hash32(`millrace/door/${schema}`) | 0,
  bucketSpace: hash32(`millrace/buckets/${schema}`) | 0,
  migrationKey: hash32(`millrace/migrations/${schema}`),
  markSetting: `millrace.mark_${schema}`,
  repairSetting: `millrace.repair_${schema}`,
  channel: `millrace_${schema}`
})

/** Number of buckets that the categories, types and tags of appends and conditions are spread over. */
export const bucketCount = 64

/** Where a store's tables are: in a schema (Postgres), or under a prefix (SQLite). */

/** The place of tables and functions. */
export interface TablePlace {
  readonly schema?: string | undefined
  readonly prefix?: string | undefined
}

/** A name as SQL text, whatever characters it has. */
export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`

/** The name of a table or function at its place, as SQL text. */
export const placed = ({ prefix = "", schema }: TablePlace, name: string): string =>
  `${schema === undefined ? "" : `${quoted(schema)}.`}${quoted(`${prefix}${name}`)}`

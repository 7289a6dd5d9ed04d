/**
 * The form in which a SQL database keeps the rows of a fold: a table `(key, …)` with a column for each field of
 * the row, or with one column of JSON.
 *
 * Columns are made of the *encoded* side of the row's schema, where it is a struct whose fields are texts,
 * integers, numbers, booleans, or any of them and null or absent. Everything else goes into one column of JSON,
 * also what no database can name as a column. Integers are those of `Schema.Int` and what is refined from it.
 *
 * A value that one of the databases would not give back as it was is refused before anything is sent: NaN and the
 * infinities (SQLite makes NaN null), integers past 2^53, NUL and lone surrogates in a column of text.
 *
 * Hot: every row of every page goes through `encode` and `decode`. A schema that transforms nothing is left out:
 * what its encoded side is, the row is already.
 */
import { jsonFault } from "@millrace/core/DataFault"
import { invalid } from "@millrace/core/InvalidArgument"
import type { Fold } from "@millrace/core/Projection"
import * as Schema from "effect/Schema"
import * as SchemaAST from "effect/SchemaAST"

/** What a column holds. `json` is the whole row. */
export type ColumnKind = "text" | "integer" | "number" | "boolean" | "json"

/** A column beside the key. */
export interface FoldColumn {
  readonly name: string
  readonly kind: ColumnKind
  /** What null stands for; where it may not stand, the column is NOT NULL. */
  readonly empty: "none" | "null" | "absent"
}

/** How rows of one fold become rows of a table, and back. */
export interface FoldTable {
  readonly table: string
  readonly columns: ReadonlyArray<FoldColumn>
  /** The values of the columns. Throws for a row that cannot be kept. */
  readonly encode: (row: unknown) => ReadonlyArray<unknown>
  /** The row of what the database gives, by the names of the columns. Throws for what is no row of the fold. */
  readonly decode: (stored: Readonly<Record<string, unknown>>) => unknown
}

/** The table of a fold, or why it can have none. */
export const make = (fold: Fold<unknown>): FoldTable | { readonly fault: string } => {
  const { ast } = fold.row
  const columns = fold.storage === "columns" ? columnsOf(SchemaAST.encodedBoundAST(ast)) : undefined
  const clash = columns?.find(({ name }) => name.toLowerCase() === "key")
  if (clash !== undefined)
    return {
      fault: `the field ${clash.name} has the name of the column of keys: name it otherwise, or choose storage "json"`
    }
  const isPlain = SchemaAST.encodedBoundAST(ast) === ast && isJson(ast)
  const encoded = isPlain ? undefined : Schema.encodeSync(fold.row)
  const decoded = isPlain ? undefined : Schema.decodeUnknownSync(fold.row)
  const form = columns === undefined ? json : inColumns(columns)
  return {
    table: fold.table,
    columns: columns ?? jsonColumns,
    encode: encoded === undefined ? form.encode : (row) => form.encode(encoded(row)),
    decode: decoded === undefined ? form.decode : (stored) => decoded(form.decode(stored))
  }
}

// ---- internal: rows ----

type Form = Pick<FoldTable, "encode" | "decode">

const jsonColumns: ReadonlyArray<FoldColumn> = [{ name: "row", kind: "json", empty: "none" }]

const json: Form = {
  encode: (row) => {
    const fault = jsonFault("row", row)
    if (fault !== undefined) throw invalid(fault.path, `a JSON value; this one ${fault.reason}`, row)
    return [JSON.stringify(row)]
  },
  // It is asked for as text: a driver that parses JSON would leave open whether a text was parsed.
  decode: ({ row }) => JSON.parse(row as string)
}

const inColumns = (columns: ReadonlyArray<FoldColumn>): Form => ({
  encode: (row) => {
    const values: Array<unknown> = []
    for (const column of columns) {
      const value = (row as Readonly<Record<string, unknown>>)[column.name]
      if (value === undefined || value === null) {
        if (column.empty === (value === null ? "null" : "absent")) {
          values.push(null)
          continue
        }
        throw invalid(`row.${column.name}`, allowed[column.kind], value)
      }
      if (!accepts[column.kind](value)) throw invalid(`row.${column.name}`, allowed[column.kind], value)
      values.push(value)
    }
    return values
  },
  decode: (stored) => {
    const row: Record<string, unknown> = {}
    for (const { empty, kind, name } of columns) {
      const value = stored[name]
      if (value === null) {
        if (empty !== "absent") row[name] = null
      } else if (kind === "boolean") row[name] = value === true || value === 1
      else row[name] = kind === "text" ? value : Number(value)
    }
    return row
  }
})

const accepts: Readonly<Record<ColumnKind, (value: unknown) => boolean>> = {
  text: (value) => typeof value === "string" && !value.includes("\u0000") && value.isWellFormed(),
  integer: Number.isSafeInteger,
  number: Number.isFinite,
  boolean: (value) => typeof value === "boolean",
  json: () => true
}

const allowed: Readonly<Record<ColumnKind, string>> = {
  text: "a text without NUL and lone surrogates",
  integer: "an integer of -(2^53 - 1) to 2^53 - 1",
  number: "a finite number",
  boolean: "a boolean",
  json: "a JSON value"
}

// ---- internal: schemas ----

/** Most columns of a row: Postgres takes 1 600, and statements name each of them four times. */
const columnsMax = 500

/** Longest name of a column: Postgres cuts off what is longer. Unit: bytes of UTF-8. */
const columnBytesMax = 63

/** Every table of Postgres has these. */
const systemColumns = new Set(["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"])

/** The columns of a struct, or undefined where it does not fit into any. */
const columnsOf = (ast: SchemaAST.AST): ReadonlyArray<FoldColumn> | undefined => {
  const struct = unrefined(ast)
  if (struct._tag !== "TypeLiteral" || struct.indexSignatures.length > 0) return undefined
  const columns: Array<FoldColumn> = []
  for (const { isOptional, name, type } of struct.propertySignatures) {
    if (typeof name !== "string" || !isColumnName(name)) return undefined
    const members = type._tag === "Union" ? type.types : [type]
    const present = members.filter((member) => !isNull(member) && member._tag !== "UndefinedKeyword")
    const kinds = new Set(present.map(kindOf))
    const [kind] = kinds
    if (kinds.size !== 1 || kind === undefined) return undefined
    const isNullable = members.some(isNull)
    const isAbsent = isOptional || members.some(({ _tag }) => _tag === "UndefinedKeyword")
    // One null in the table cannot stand for both.
    if (isNullable && isAbsent) return undefined
    columns.push({ name, kind, empty: isNullable ? "null" : isAbsent ? "absent" : "none" })
  }
  // SQLite takes names for the same that differ in case only.
  const distinct = new Set(columns.map(({ name }) => name.toLowerCase()))
  const fits = columns.length > 0 && columns.length <= columnsMax && distinct.size === columns.length
  return fits ? columns : undefined
}

const isColumnName = (name: string): boolean =>
  name.length > 0 &&
  !name.includes("\u0000") &&
  name.isWellFormed() &&
  Buffer.byteLength(name) <= columnBytesMax &&
  !systemColumns.has(name.toLowerCase()) &&
  name !== "__proto__"

const isNull = (ast: SchemaAST.AST): boolean => ast._tag === "Literal" && ast.literal === null

const unrefined = (ast: SchemaAST.AST): SchemaAST.AST =>
  ast._tag === "Refinement" ? unrefined(ast.from) : ast

const kindOf = (ast: SchemaAST.AST): ColumnKind | undefined => {
  switch (ast._tag) {
    case "Refinement":
      return ast.annotations[SchemaAST.SchemaIdAnnotationId] === Schema.IntSchemaId
        ? "integer"
        : kindOf(ast.from)
    case "StringKeyword":
    case "TemplateLiteral":
      return "text"
    case "NumberKeyword":
      return "number"
    case "BooleanKeyword":
      return "boolean"
    case "Literal":
      return literalKinds[typeof ast.literal]
    case "Enums": {
      const kinds = new Set(ast.enums.map(([, value]) => literalKinds[typeof value]))
      return kinds.size === 1 ? [...kinds][0] : undefined
    }
    default:
      return undefined
  }
}

const literalKinds: Readonly<Record<string, ColumnKind | undefined>> = {
  string: "text",
  number: "number",
  boolean: "boolean"
}

/** Whether JSON gives a value back as it was. Of a schema that refers to itself nobody needs to know. */
const isJson = (ast: SchemaAST.AST): boolean => {
  switch (ast._tag) {
    case "Refinement":
      return isJson(ast.from)
    case "TypeLiteral":
      return (
        ast.propertySignatures.every(({ name, type }) => typeof name === "string" && isJson(type)) &&
        ast.indexSignatures.every(({ type }) => isJson(type))
      )
    case "TupleType":
      return ast.elements.every(({ type }) => isJson(type)) && ast.rest.every(({ type }) => isJson(type))
    case "Union":
      return ast.types.every((type) => type._tag === "UndefinedKeyword" || isJson(type))
    case "Literal":
      return typeof ast.literal !== "bigint"
    case "StringKeyword":
    case "TemplateLiteral":
    case "NumberKeyword":
    case "BooleanKeyword":
    case "Enums":
      return true
    default:
      return false
  }
}

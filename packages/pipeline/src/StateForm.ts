/**
 * The form of a state: a Schema, and a version of it. With each checkpoint the version and the Schema's own description
 * are kept; a state of an older version is brought up to date by `migrate`, one of another description under the same
 * version is refused before anything is processed.
 *
 * Where the Schema's encoded form is the value itself (structs of numbers and texts), nothing is encoded at all.
 */
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"

/** How states of one kind are kept. */
export interface StateForm<A> {
  readonly version: number
  /** The Schema's description; another one under the same version is another form. */
  readonly fingerprint: string
  encode(state: A): unknown
  /** How to read states of a version, or why they cannot be read. */
  reader(stored: StoredForm): Either.Either<(data: unknown) => A, string>
}

/** What a checkpoint says of the form of its states. */
export interface StoredForm {
  readonly version: number
  readonly fingerprint: string
}

/** How a state's form came to be what it is. */
export interface StateFormOptions {
  /** Range: 1 to 2^53 − 1. Default: 1. Raise it with every change of the Schema. */
  readonly version?: number | undefined
  /** By version: from the encoded state of this version to that of the next one. */
  readonly migrate?: Readonly<Record<number, (encoded: never) => unknown>> | undefined
}

/** A form. */
export const make = <A, I>(schema: Schema.Schema<A, I>, options: StateFormOptions = {}): StateForm<A> => {
  const version = options.version ?? 1
  const encoded = Schema.encodedSchema(schema)
  // Refinements and brands are what they refine, once they are there.
  const isPlain = isData(schema.ast)
  const fingerprint = String(encoded.ast)
  const encode = isPlain ? (state: A): unknown => state : Schema.encodeSync(schema)
  const decodeKnown = isPlain ? (data: unknown): A => data as A : Schema.decodeUnknownSync(schema)
  const decodeMigrated = Schema.decodeUnknownSync(schema)
  return {
    version,
    fingerprint,
    encode,
    reader: (stored) => {
      if (stored.version === version)
        return stored.fingerprint === fingerprint
          ? Either.right(decodeKnown)
          : Either.left(
              `version ${version} is another form: it was ${short(stored.fingerprint)}, and is ${short(fingerprint)}`
            )
      if (stored.version > version)
        return Either.left(`it is of version ${stored.version}, and the code knows ${version}`)
      const steps: Array<(data: unknown) => unknown> = []
      for (let from = stored.version; from < version; from++) {
        const step = options.migrate?.[from]
        if (step === undefined) return Either.left(`there is no migration from version ${from}`)
        steps.push(step as (data: unknown) => unknown)
      }
      return Either.right((data) => decodeMigrated(steps.reduce((at, step) => step(at), data)))
    }
  }
}

/** What is wrong with data that could not be read, in words. */
export const reasonOf = (cause: unknown): string =>
  ParseResult.isParseError(cause)
    ? (ParseResult.ArrayFormatter.formatErrorSync(cause)[0]?.message ?? "it does not have the form")
    : cause instanceof Error
      ? cause.message
      : String(cause)

// ---- internal ----

const short = (text: string): string => (text.length > 200 ? `${text.slice(0, 199)}…` : text)

/** Whether values of it are numbers, texts and the like, and structs and lists of them: what bytes are made of as they are. */
const isData = (ast: SchemaAST.AST): boolean => {
  switch (ast._tag) {
    case "StringKeyword":
    case "NumberKeyword":
    case "BooleanKeyword":
    case "BigIntKeyword":
    case "UndefinedKeyword":
    case "Literal":
    case "TemplateLiteral":
    case "Enums":
      return true
    case "Refinement":
      return isData(ast.from)
    case "Union":
      return ast.types.every(isData)
    case "TupleType":
      return [...ast.elements, ...ast.rest].every(({ type }) => isData(type))
    case "TypeLiteral":
      return (
        ast.propertySignatures.every(({ name, type }) => typeof name === "string" && isData(type)) &&
        ast.indexSignatures.every(({ type }) => isData(type))
      )
    default:
      return false
  }
}

/** Lines and rows of files. */
import { NodeContext } from "@effect/platform-node"
import { FileSystem } from "@effect/platform/FileSystem"
import { assert, describe, layer } from "@effect/vitest"
import { fromCsv, fromNdjson, RecordUnreadable } from "@millrace/pipeline/sources/FileSource"
import { folder } from "@millrace/testkit/Databases"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { read, resumesEverywhere, valuesOf } from "./Reading.js"

const Row = Schema.Struct({ n: Schema.NumberFromString, text: Schema.String })
const Line = Schema.Struct({ n: Schema.Int, text: Schema.String })

/** A new file with a text, or bytes. */
const file = (content: string | Uint8Array) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem
    const path = `${yield* folder}/records`
    yield* fs.writeFile(path, typeof content === "string" ? new TextEncoder().encode(content) : content)
    return path
  })
const ndjson = (
  content: string | Uint8Array,
  options: { readonly batchSize?: number; readonly recordBytesMax?: number } = {}
) => Effect.map(file(content), (path) => fromNdjson({ name: "lines", path, schema: Line, ...options }))
const csv = (
  content: string,
  options: {
    readonly batchSize?: number
    readonly recordBytesMax?: number
    readonly delimiter?: string
    readonly quote?: string
  } = {}
) => Effect.map(file(content), (path) => fromCsv({ name: "rows", path, schema: Row, ...options }))

const lines = Array.from({ length: 30 }, (_, n) => ({ n, text: 'ä€😀"\n'.repeat(n % 5) }))

describe("FileSource", () => {
  layer(NodeContext.layer)((it) => {
    for (const [name, lineBreak, last] of [
      ["\\n", "\n", "\n"],
      ["\\r\\n", "\r\n", "\r\n"],
      ["\\n and nothing at the end", "\n", ""],
      ["\\n and empty lines", "\n\n  \n", "\n\n"]
    ] as const)
      it.scoped(`lines that end in ${name}: resumed behind any batch the rest is given`, () =>
        Effect.gen(function* () {
          const text = lines.map((line) => JSON.stringify(line)).join(lineBreak) + last
          const source = yield* ndjson(`\ufeff${text}`, { batchSize: 1 })
          assert.deepStrictEqual(valuesOf(yield* read(source)), lines)
          assert.deepStrictEqual(yield* resumesEverywhere(source), { batches: 30, wrong: [] })
        })
      )

    it.scoped("lines are put together from the pieces that the file is read in", () =>
      Effect.gen(function* () {
        const long = Array.from({ length: 40 }, (_, n) => ({ n, text: "😀x".repeat(n * 2_000) }))
        const source = yield* ndjson(long.map((line) => JSON.stringify(line)).join("\n"), { batchSize: 7 })
        assert.deepStrictEqual(valuesOf(yield* read(source)), long)
        assert.deepStrictEqual(yield* resumesEverywhere(source), { batches: 6, wrong: [] })
      })
    )

    it.scoped("a file that holds nothing gives nothing, and goes on where it has grown", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* read(yield* ndjson("")), [])
        assert.deepStrictEqual(yield* read(yield* ndjson("\n \n\r\n")), [])
        assert.deepStrictEqual(yield* read(yield* csv("")), [])
        assert.deepStrictEqual(yield* read(yield* csv("n,text")), [])
        assert.deepStrictEqual(yield* read(yield* csv("n,text\n")), [])
        const fs = yield* FileSystem
        const path = yield* file(`{"n":1,"text":""}`)
        const source = fromNdjson({ name: "lines", path, schema: Line })
        const [first] = yield* read(source)
        yield* fs.writeFileString(path, `\n{"n":2,"text":""}\n`, { flag: "a" })
        assert.deepStrictEqual(valuesOf(yield* read(source, { "0": first!.offset })), [{ n: 2, text: "" }])
      })
    )

    it.scoped("a line that is not what it should be fails where it begins, behind those before it", () =>
      Effect.gen(function* () {
        const good = `{"n":1,"text":""}\n`
        const broken: ReadonlyArray<readonly [string | Uint8Array, string]> = [
          [`{"n":2,`, "JSON"],
          [`{"n":"2","text":""}`, "record.n"],
          [Uint8Array.of(0x22, 0xff, 0x22), ""],
          [JSON.stringify("x".repeat(99)), "longer than 99 bytes"]
        ]
        for (const [line, reason] of broken) {
          const bytes = typeof line === "string" ? new TextEncoder().encode(line) : line
          const content = Buffer.concat([Buffer.from(good + good), bytes, Buffer.from(`\n${good}`)])
          const source = yield* ndjson(content, { recordBytesMax: 99 })
          const [first] = yield* read(source, {}, 1)
          assert.strictEqual(first!.values.length, 2)
          for (const offsets of [{}, { "0": first!.offset }]) {
            const error = yield* Effect.flip(read(source, offsets))
            assert.instanceOf(error, RecordUnreadable)
            assert.strictEqual(error.offset, 2 * good.length)
            assert.include(error.reason, reason)
          }
        }
      })
    )

    for (const [name, lineBreak, last] of [
      ["\\n", "\n", "\n"],
      ["\\r\\n", "\r\n", "\r\n"],
      ["\\n and nothing at the end", "\n", ""],
      ["\\n and empty lines", "\n\n", "\n\n\n"]
    ] as const)
      it.scoped(`rows that end in ${name}: resumed behind any batch the rest is given`, () =>
        Effect.gen(function* () {
          const rows = lines.map(({ n, text }) => ({ n, text: `${text},\r` }))
          const text = ["n,text", ...rows.map(({ n, text }) => `${n},"${text.replaceAll(`"`, `""`)}"`)]
          const source = yield* csv(`\ufeff${text.join(lineBreak)}${last}`, { batchSize: 1 })
          assert.deepStrictEqual(valuesOf(yield* read(source)), rows)
          assert.deepStrictEqual(yield* resumesEverywhere(source), { batches: 30, wrong: [] })
        })
      )

    it.scoped("rows of many pieces, with other marks and a stray carriage return", () =>
      Effect.gen(function* () {
        const rows = Array.from({ length: 3_000 }, (_, n) => ({ n, text: `a\r${"b;'\n".repeat(n % 90)}` }))
        const text = rows.map(({ n, text }) =>
          text.includes(";") ? `${n};'${text.replaceAll("'", "''")}'` : `${n};${text}`
        )
        const options = { delimiter: ";", quote: "'", batchSize: 250 }
        const source = yield* csv(["n;text", ...text].join("\n"), options)
        assert.deepStrictEqual(valuesOf(yield* read(source)), rows)
        assert.deepStrictEqual(yield* resumesEverywhere(source), { batches: 12, wrong: [] })
      })
    )

    it.scoped("a row that is not what it should be fails where it begins, behind those before it", () =>
      Effect.gen(function* () {
        const begin = "n,text\n1,a\n2,b\n"
        const broken = [
          ["3", "Invalid Record Length"],
          ["3,c,d", "Invalid Record Length"],
          ["three,c", "record.n"],
          [`3,"c`, "Quote Not Closed"],
          [`3,"c"d`, "Invalid Closing Quote"],
          [`3,${"c".repeat(200)}`, "Max Record Size"]
        ] as const
        for (const [row, reason] of broken) {
          const source = yield* csv(`${begin}${row}\n4,d\n`, { recordBytesMax: 99 })
          const [first] = yield* read(source, {}, 1)
          assert.strictEqual(first!.values.length, 2)
          for (const offsets of [{}, { "0": first!.offset }]) {
            const error = yield* Effect.flip(read(source, offsets))
            assert.instanceOf(error, RecordUnreadable, reason)
            assert.strictEqual(error.offset, begin.length)
            assert.include(error.reason, reason)
          }
        }
        for (const header of [`n,"text`, "n,n", `n,"a"b`]) {
          const error = yield* Effect.flip(read(yield* csv(`${header}\n1,a\n`)))
          assert.instanceOf(error, RecordUnreadable)
          assert.strictEqual(error.offset, 0)
          assert.include(error.reason, "header")
        }
      })
    )

    it.scoped("times are those of the records", () =>
      Effect.gen(function* () {
        const path = yield* file("n,text\n1,a\n2,b\n")
        const source = fromCsv({ name: "rows", path, schema: Row, timestamp: ({ n }) => n * 10 })
        assert.deepStrictEqual((yield* read(source))[0]!.times, [10, 20])
      })
    )

    it.scoped("a missing file, an offset behind the end and wrong options are told", () =>
      Effect.gen(function* () {
        const missing = fromNdjson({ name: "lines", path: "/no/such/file", schema: Line })
        const error = yield* Effect.flip(read(missing))
        assert.strictEqual(error._tag, "StoreUnavailable")
        const fields: Array<string> = []
        for (const [source, offset] of [
          [yield* ndjson("{}"), "3"],
          [yield* ndjson("{}", { batchSize: 0 }), "0"],
          [yield* ndjson("{}", { recordBytesMax: 0 }), "0"],
          [yield* csv("n", { delimiter: "ab" }), "0"],
          [yield* csv("n", { delimiter: "\n" }), "0"],
          [yield* csv("n", { quote: "," }), "0"]
        ] as const) {
          const wrong = yield* Effect.flip(read(source, { "0": offset }))
          fields.push(wrong._tag === "InvalidArgument" ? wrong.field : wrong._tag)
        }
        assert.deepStrictEqual(fields, [
          `offsets["0"]`,
          "batchSize",
          "recordBytesMax",
          "delimiter",
          "delimiter",
          "quote"
        ])
      })
    )
  })
})

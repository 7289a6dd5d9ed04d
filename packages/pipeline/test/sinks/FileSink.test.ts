/** Results as files. */
import { NodeContext } from "@effect/platform-node"
import { FileSystem } from "@effect/platform/FileSystem"
import { assert, describe, layer } from "@effect/vitest"
import * as Scoped from "@millrace/core/Scoped"
import { toFiles } from "@millrace/pipeline/sinks/FileSink"
import type { PreparedPart } from "@millrace/pipeline/sinks/FileSink"
import { folder } from "@millrace/testkit/Databases"
import * as Effect from "effect/Effect"

const part = (id: number, extension = "ndjson") => `part-${String(id).padStart(12, "0")}.${extension}`
const temporary = (id: number) => `.${part(id)}.tmp`

/** A sink in a folder that does not exist yet, and what is in it. */
const scene = Effect.gen(function* () {
  const fs = yield* FileSystem
  const place = `${yield* folder}/a/b`
  const sink = toFiles<unknown>({ name: "out", folder: place })
  return {
    fs,
    place,
    open: (checkpointId: number) => sink.open({ pipeline: "p", checkpointId }),
    names: Effect.map(fs.readDirectory(place), (names) => names.sort()),
    text: (name: string) => fs.readFileString(`${place}/${name}`)
  }
})

describe("FileSink", () => {
  layer(NodeContext.layer)((it) => {
    it.scoped("a checkpoint is a part, which has its name when it is committed", () =>
      Effect.gen(function* () {
        const { names, open, text } = yield* scene
        const writer = yield* open(0)
        assert.deepStrictEqual(yield* names, [])
        yield* writer.write([{ a: 1 }, "zwei\n"])
        yield* writer.write([])
        yield* writer.write([3])
        const first = (yield* writer.prepare(1)) as PreparedPart
        assert.deepStrictEqual(first, { temporary: temporary(1), part: part(1), lines: 3 })
        yield* writer.write([4])
        assert.strictEqual((yield* names).filter((name) => name.startsWith("part-")).length, 0)
        yield* writer.commit(1, first)
        assert.strictEqual(yield* text(part(1)), `{"a":1}\n"zwei\\n"\n3\n`)
        yield* writer.commit(2, yield* writer.prepare(2))
        assert.deepStrictEqual(yield* names, [part(1), part(2)])
      })
    )

    it.scoped("nothing is made for a checkpoint without results", () =>
      Effect.gen(function* () {
        const { names, open } = yield* scene
        const writer = yield* open(0)
        yield* writer.write([])
        assert.isUndefined(yield* writer.prepare(1))
        yield* writer.commit(1, undefined)
        assert.deepStrictEqual(yield* names, [])
      })
    )

    it.scoped("a commit again is as once, here and after a crash", () =>
      Effect.gen(function* () {
        const { names, open, text } = yield* scene
        const writer = yield* open(0)
        yield* writer.write([1])
        const prepared = yield* writer.prepare(1)
        yield* writer.commit(1, prepared)
        yield* writer.commit(1, prepared)
        const again = yield* open(1)
        yield* again.commit(1, JSON.parse(JSON.stringify(prepared)))
        assert.deepStrictEqual(yield* names, [part(1)])
        assert.strictEqual(yield* text(part(1)), "1\n")
      })
    )

    it.scoped(
      "a crash between prepare and commit: committed when it is opened there, gone when it is not",
      () =>
        Effect.gen(function* () {
          for (const [checkpointId, expected] of [
            [2, [part(1), part(2)]],
            [1, [part(1)]]
          ] as const) {
            const { fs, names, open, place } = yield* scene
            const prepared = yield* Scoped.scoped(
              Effect.gen(function* () {
                const writer = yield* open(0)
                yield* writer.write([1])
                yield* writer.commit(1, yield* writer.prepare(1))
                yield* writer.write([2])
                const prepared = yield* writer.prepare(2)
                yield* writer.write([3])
                return prepared
              })
            )
            assert.deepStrictEqual(yield* names, [temporary(2), part(1)])
            // As a process leaves them that is killed, and what is not the sink's.
            for (const name of [".writing-k3q.tmp", temporary(1), temporary(3), "mine.txt", "part-1.ndjson"])
              yield* fs.writeFileString(`${place}/${name}`, "left")
            const again = yield* open(checkpointId)
            if (checkpointId === 2) yield* again.commit(2, prepared)
            else if (checkpointId === 1) yield* again.write([2])
            const left = (yield* names).filter((name) => !name.startsWith(".writing-"))
            const strays = checkpointId === 1 ? [temporary(1)] : []
            assert.deepStrictEqual(left, [...strays, "mine.txt", "part-1.ndjson", ...expected].sort())
          }
        })
    )

    it.scoped("going back takes away the parts of later checkpoints", () =>
      Effect.gen(function* () {
        const { names, open, text } = yield* scene
        const writer = yield* open(0)
        for (const id of [1, 2, 3]) {
          yield* writer.write([id])
          yield* writer.commit(id, yield* writer.prepare(id))
        }
        const again = yield* open(1)
        assert.deepStrictEqual(yield* names, [part(1)])
        yield* again.write(["again"])
        yield* again.commit(4, yield* again.prepare(4))
        assert.deepStrictEqual(yield* names, [part(1), part(4)])
        assert.strictEqual(yield* text(part(4)), `"again"\n`)
      })
    )

    it.scoped("what is written when the writer ends is removed with it", () =>
      Effect.gen(function* () {
        const { names, open } = yield* scene
        yield* Scoped.scoped(
          Effect.gen(function* () {
            const writer = yield* open(0)
            yield* writer.write(["x".repeat(100_000)])
            assert.match((yield* names)[0]!, /^\.writing-/)
          })
        )
        assert.deepStrictEqual(yield* names, [])
      })
    )

    it.scoped("many lines, in an encoding and under an extension of one's own", () =>
      Effect.gen(function* () {
        const place = yield* folder
        const fs = yield* FileSystem
        const sink = toFiles({ name: "out", folder: place, encode: (n: number) => `ü${n}`, extension: "csv" })
        const writer = yield* sink.open({ pipeline: "p", checkpointId: 0 })
        const numbers = Array.from({ length: 50_000 }, (_, n) => n)
        for (let at = 0; at < numbers.length; at += 777) yield* writer.write(numbers.slice(at, at + 777))
        yield* writer.commit(1, yield* writer.prepare(1))
        const lines = (yield* fs.readFileString(`${place}/${part(1, "csv")}`)).split("\n")
        assert.deepStrictEqual(lines, [...numbers.map((n) => `ü${n}`), ""])
      })
    )

    it.scoped("a part that somebody has removed is missed", () =>
      Effect.gen(function* () {
        const { fs, open, place } = yield* scene
        const writer = yield* open(0)
        yield* writer.write([1])
        const prepared = yield* writer.prepare(1)
        yield* fs.remove(`${place}/${temporary(1)}`)
        const error = yield* Effect.flip(writer.commit(1, prepared))
        assert.strictEqual(error._tag, "PartMissing")
      })
    )

    it.scoped("lines that are none, wrong options and a folder that cannot be made are told", () =>
      Effect.gen(function* () {
        const { fs, open, place } = yield* scene
        const writer = yield* open(0)
        assert.strictEqual((yield* Effect.flip(writer.write([undefined])))._tag, "InvalidArgument")
        const context = { pipeline: "p", checkpointId: 0 }
        const two = yield* toFiles({ name: "n", folder: place, encode: () => "a\nb" }).open(context)
        assert.strictEqual((yield* Effect.flip(two.write([1])))._tag, "InvalidArgument")
        yield* fs.writeFileString(`${place}/file`, "")
        const tags: Array<string> = []
        for (const options of [
          { name: "", folder: place },
          { name: "n", folder: place, extension: "../x" },
          { name: "n", folder: `${place}/file` }
        ])
          tags.push((yield* Effect.flip(toFiles(options).open(context)))._tag)
        assert.deepStrictEqual(tags, ["InvalidArgument", "InvalidArgument", "StoreUnavailable"])
      })
    )
  })
})

/** Names of projections as names of files: none leads out of the folder, and no two meet. */
import { assert, it } from "@effect/vitest"
import { ModelStore } from "@millrace/core/ModelStore"
import * as ProjectionDir from "@millrace/sqlite/ProjectionDir"
import * as Names from "@millrace/sqlite/ProjectionDirNames"
import { folder } from "@millrace/testkit/Databases"
import { totals as totalsOf } from "@millrace/testkit/suites/ModelScene"
import * as Effect from "effect/Effect"
import * as FC from "effect/FastCheck"
import { mkdirSync, readdirSync } from "node:fs"
import { basename, join } from "node:path"

const bad = [
  "",
  ".",
  "..",
  ".hidden",
  ".lock",
  "../outside",
  "a/../../outside",
  "a/..",
  "a/./b",
  "a//b",
  "/etc/passwd",
  "a/",
  "..\\outside",
  "C:\\outside",
  "a\u0000b",
  "a~b7",
  "\ud800",
  "x".repeat(201),
  "é".repeat(50)
]

it.scopedLive("names that could leave the folder are refused by every door, and nothing is made", () =>
  Effect.gen(function* () {
    const above = yield* folder
    const path = join(above, "models")
    mkdirSync(path)
    const { dir, models } = yield* ProjectionDir.make({ folder: path })
    for (const name of bad) {
      for (const door of [dir.db(name), dir.remove(name)]) {
        const error = yield* Effect.flip(door as Effect.Effect<unknown, { readonly _tag: string }>)
        assert.propertyVal(error, "_tag", "InvalidArgument")
        assert.propertyVal(error, "field", "name")
        assert.propertyVal(error, "allowed", Names.allowedNames)
      }
      for (const generation of [undefined, 7]) {
        const error = yield* Effect.flip(models.open(totalsOf(name, { table: "t" }), generation))
        assert.propertyVal(error, "_tag", "ModelRefused")
      }
      assert.deepStrictEqual(yield* models.list(totalsOf("unknown"), { limit: 1 }), [])
      yield* models.remove(totalsOf(name, { table: "t" }))
    }
    assert.deepStrictEqual(yield* dir.list, [])
    assert.deepStrictEqual(readdirSync(above), ["models"])
    assert.deepStrictEqual(
      readdirSync(path).filter((file) => !file.startsWith(".lock")),
      []
    )
  })
)

it("file names are plain, lower-case ASCII, and give the name back", () => {
  FC.assert(
    FC.property(FC.oneof(FC.string(), FC.string({ unit: "grapheme" }), FC.webPath()), (name) => {
      if (Names.nameFault(name) !== undefined) return
      for (const file of [Names.pointerFile(name), Names.databaseFile(name, 2 ** 53 - 1, 2 ** 53 - 1)]) {
        assert.match(file, /^[a-z0-9_%-][a-z0-9_.%-]*$/)
        assert.strictEqual(basename(file), file)
        assert.isAtMost(`${file}-journal`.length, 255)
        assert.strictEqual(Names.nameOfFile(file), name)
      }
    }),
    { numRuns: 1_000 }
  )
})

it("projections whose names look like parts of one another's files have files of their own", () => {
  const names = [
    "a",
    "A",
    "a.7",
    "a.7.db",
    "a.current",
    "a.7-1",
    "a-7",
    "a%2fb",
    "a/b",
    "a.7.db-wal",
    "á",
    "a\u0301"
  ]
  const files = names.flatMap((name) => [
    Names.pointerFile(name),
    ...[0, 7].map((generation) => Names.databaseFile(name, generation, 0)),
    Names.databaseFile(name, 7, 1)
  ])
  assert.strictEqual(new Set(files.map((file) => file.toLowerCase().normalize("NFC"))).size, files.length)
  for (const name of names) {
    const own = files.filter(Names.isDatabaseFileOf(name))
    assert.deepStrictEqual(
      own.map((file) => Names.nameOfFile(file)),
      [name, name, name]
    )
  }
  for (const file of [".lock", "a.db", "a.x.db", "readme.md", "%zz.current", "A.current", "..0.db"])
    assert.isUndefined(Names.nameOfFile(file))
})

it.scopedLive("options that no folder takes are refused by their names", () =>
  Effect.gen(function* () {
    const path = yield* folder
    const wrong: ReadonlyArray<readonly [string, object]> = [
      ["folder", { folder: "" }],
      ["folder", { folder: "a\u0000" }],
      ["synchronous", { folder: path, synchronous: "OFF" }],
      ["busyTimeout", { folder: path, busyTimeout: "Infinity" }]
    ]
    for (const [field, options] of wrong) {
      const error = yield* Effect.flip(ProjectionDir.make(options as ProjectionDir.ProjectionDirOptions))
      assert.propertyVal(error, "_tag", "InvalidArgument")
      assert.propertyVal(error, "field", field)
    }
    yield* Effect.provide(ModelStore, ProjectionDir.layer({ folder: join(path, "made", "here") }))
    assert.include(readdirSync(join(path, "made")), "here")
  })
)

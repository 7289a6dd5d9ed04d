/** Opening a file: options, what can be wrong with it, and what is set on it. */
import { assert, it } from "@effect/vitest"
import { EventStore } from "@millrace/core/EventStore"
import type { EventStore as EventStoreTag } from "@millrace/core/EventStore"
import * as Sqlite from "@millrace/sqlite/Sqlite"
import type { SqliteOptions } from "@millrace/sqlite/Sqlite"
import { SqliteSession } from "@millrace/sqlite/SqliteSession"
import { folder, sqliteFile } from "@millrace/testkit/Databases"
import { SqlClient } from "@effect/sql/SqlClient"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"

const opened = (options: SqliteOptions) => Effect.scoped(Layer.build(Sqlite.layer(options)))

const write = Effect.flatMap(EventStore, (store) =>
  store.write({ streamId: "account/1", events: [{ type: "Opened", data: null }] })
)

it.scopedLive("a file that is opened again has WAL and synchronous FULL, unless told otherwise", () =>
  Effect.gen(function* () {
    const filename = yield* sqliteFile
    const settings = Effect.gen(function* () {
      const sql = yield* SqlClient
      const [journal] = yield* sql<{ journal_mode: string }>`PRAGMA journal_mode`
      const [synchronous] = yield* sql<{ synchronous: number }>`PRAGMA synchronous`
      return [journal?.journal_mode, synchronous?.synchronous]
    })
    assert.deepStrictEqual(yield* Effect.provide(settings, Sqlite.layer({ filename })), ["wal", 2])
    assert.deepStrictEqual(yield* Effect.provide(settings, Sqlite.layer({ filename })), ["wal", 2])
    const normal = Sqlite.layer({ filename, synchronous: "NORMAL" })
    assert.deepStrictEqual(yield* Effect.provide(settings, normal), ["wal", 1])
    const extra = Sqlite.layer({ filename, synchronous: "EXTRA" })
    assert.deepStrictEqual(yield* Effect.provide(settings, extra), ["wal", 3])
  })
)

it.scopedLive("what was written is there when the file is opened again", () =>
  Effect.gen(function* () {
    const filename = yield* sqliteFile
    yield* Effect.provide(write, Sqlite.layer({ filename }))
    const again = yield* Effect.provide(write, Sqlite.layer({ filename }))
    assert.strictEqual(again.position, 2)
    assert.strictEqual(again.appends[0]?.version, 2)
  })
)

it.scopedLive("a file in a missing folder is refused, and nothing is made", () =>
  Effect.gen(function* () {
    const path = join(yield* folder, "missing", "log.db")
    const error = yield* Effect.flip(opened({ filename: path }))
    assert.propertyVal(error, "_tag", "StoreUnavailable")
    assert.propertyVal(error, "operation", "open")
    assert.propertyVal(error, "transient", false)
    assert.isFalse(existsSync(path))
  })
)

it.scopedLive("a folder, and a file that is no database, are refused", () =>
  Effect.gen(function* () {
    const path = yield* folder
    mkdirSync(join(path, "folder.db"))
    writeFileSync(join(path, "text.db"), "this is a letter and no database ".repeat(100))
    for (const name of ["folder.db", "text.db"]) {
      const error = yield* Effect.flip(opened({ filename: join(path, name) }))
      assert.propertyVal(error, "_tag", "StoreUnavailable")
      assert.propertyVal(error, "operation", "open")
      assert.propertyVal(error, "transient", false)
    }
  })
)

it.scopedLive("a file whose tables another connection keeps locked is refused as transient", () =>
  Effect.gen(function* () {
    const filename = yield* sqliteFile
    const other = SqliteSession.open(filename)
    yield* Effect.addFinalizer(() => Effect.sync(() => other.close()))
    other.rows("PRAGMA journal_mode = WAL")
    other.run("BEGIN IMMEDIATE")
    const error = yield* Effect.flip(opened({ filename, busyTimeout: "100 millis" }))
    assert.propertyVal(error, "_tag", "StoreUnavailable")
    assert.propertyVal(error, "operation", "migrate")
    assert.propertyVal(error, "transient", true)
  })
)

it.scopedLive("a file whose text is not UTF-8 is refused, since its names would have another order", () =>
  Effect.gen(function* () {
    const filename = yield* sqliteFile
    const other = SqliteSession.open(filename)
    other.run("PRAGMA encoding = 'UTF-16le'")
    other.run("CREATE TABLE theirs (a TEXT)")
    other.close()
    const error = yield* Effect.flip(opened({ filename }))
    assert.propertyVal(error, "_tag", "StoreUnavailable")
    assert.include(error.message, "UTF-16le")
  })
)

it.effect("options out of range are refused by name, before anything is opened", () =>
  Effect.gen(function* () {
    const wrong: ReadonlyArray<readonly [field: string, options: Record<string, unknown>]> = [
      ["filename", { filename: "" }],
      ["filename", { filename: "a\u0000b" }],
      ["filename", { filename: undefined }],
      ["filename", { filename: null }],
      ["synchronous", { synchronous: "OFF" }],
      ["synchronous", { synchronous: null }],
      ["busyTimeout", { busyTimeout: Infinity }],
      ["busyTimeout", { busyTimeout: "soon" }],
      ["busyTimeout", { busyTimeout: null }],
      ["pollInterval", { pollInterval: 0 }],
      ["pollInterval", { pollInterval: NaN }],
      ["eventBytesMax", { eventBytesMax: 0 }]
    ]
    for (const [field, options] of wrong) {
      const error = yield* Effect.flip(
        opened({ filename: "/nowhere/at/all.db", ...options } as unknown as SqliteOptions)
      )
      assert.propertyVal(error, "_tag", "InvalidArgument", field)
      assert.propertyVal(error, "field", field)
    }
  })
)

it.scopedLive("options come from the configuration, and a missing one is a ConfigError", () =>
  Effect.gen(function* () {
    const filename = yield* sqliteFile
    const layer: Layer.Layer<EventStoreTag, unknown> = Sqlite.layerConfig({
      filename: Config.string("FILE"),
      busyTimeout: Config.duration("TIMEOUT")
    })
    const withEnv = (env: Record<string, string>) =>
      Effect.withConfigProvider(ConfigProvider.fromMap(new Map(Object.entries(env))))
    const result = yield* write.pipe(Effect.provide(layer), withEnv({ FILE: filename, TIMEOUT: "2 seconds" }))
    assert.strictEqual(result.position, 1)
    const error = yield* write.pipe(Effect.provide(layer), withEnv({ FILE: filename }), Effect.flip)
    assert.propertyVal(error, "_op", "MissingData")
  })
)

it.scopedLive("names of the store's tables leave those of the application alone", () =>
  Effect.gen(function* () {
    const filename = yield* sqliteFile
    yield* Effect.gen(function* () {
      const sql = yield* SqlClient
      yield* sql`CREATE TABLE events (n INTEGER)`
      yield* sql`CREATE TABLE streams (n INTEGER)`
      yield* sql`INSERT INTO events ${sql.insert([{ n: 1 }, { n: 2 }])}`
      yield* write
      assert.deepStrictEqual(yield* sql`SELECT n FROM events ORDER BY n`, [{ n: 1 }, { n: 2 }])
      const tables = yield* sql<{ name: string }>`SELECT name FROM sqlite_schema WHERE name LIKE 'millrace%'`
      assert.isAbove(tables.length, 5)
    }).pipe(Effect.provide(Sqlite.layer({ filename })))
  })
)

/**
 * The rules that every snapshot store obeys, as tests. A snapshot is a cache: whatever is wrong with one is a
 * miss. Each test has streams of its own, so that one database serves them all.
 *
 * @example
 * ```ts
 * snapshotStoreSuite("sqlite", Sqlite.layer({ filename: ":memory:" }))
 * ```
 */
import { assert, layer as testsWith } from "@effect/vitest"
import { EventIds } from "@millrace/core/EventIds"
import type { InvalidArgument } from "@millrace/core/InvalidArgument"
import type { SnapshotKey } from "@millrace/core/SnapshotStore"
import { SnapshotStore } from "@millrace/core/SnapshotStore"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as LogLevel from "effect/LogLevel"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { badTexts, oddTexts } from "./suites/OddTexts.js"
import { refused, version, wrong } from "./suites/Scene.js"

const Balance = Schema.Struct({ cents: Schema.Number })

/** A stream of this test alone, and shortcuts that keep and get balances of it. */
const scene = Effect.gen(function* () {
  const store = yield* SnapshotStore
  const ids = yield* EventIds
  const streamId = `snapshot-${ids.next(yield* Clock.currentTimeMillis)}/1`
  const key = (more: Partial<SnapshotKey>) => ({ name: "balance", revision: 1, streamId, ...more })
  return {
    store,
    streamId,
    save: (at: number, cents: number, more: Partial<SnapshotKey> = {}) =>
      store.saveSnapshot({ ...key(more), schema: Balance, version: version(at), state: { cents } }),
    /** `[version, cents]`, or nothing when it is a miss. */
    get: (more: Partial<SnapshotKey> = {}) =>
      Effect.map(store.getSnapshot({ ...key(more), schema: Balance }), (snapshot) =>
        Option.getOrUndefined(Option.map(snapshot, ({ state, version }) => [Number(version), state.cents]))
      )
  }
})

/** Without the warnings of a store that has to say that a snapshot is of no use. */
const quietly = Logger.withMinimumLogLevel(LogLevel.None)

/** Declares the tests for one store. `layer` is built once. */
export const snapshotStoreSuite = <E>(name: string, layer: Layer.Layer<SnapshotStore, E>): void => {
  testsWith(layer, { timeout: "60 seconds", excludeTestServices: true })(`SnapshotStore / ${name}`, (it) => {
    it.effect("a snapshot that was never saved is a miss", () =>
      Effect.gen(function* () {
        const { get } = yield* scene
        assert.isUndefined(yield* get())
      })
    )

    it.effect("a saved snapshot comes back with its version", () =>
      Effect.gen(function* () {
        const { get, save } = yield* scene
        yield* save(7, 500)
        assert.deepStrictEqual(yield* get(), [7, 500])
      })
    )

    it.effect("versions and revisions may be as large as they go, and 0", () =>
      Effect.gen(function* () {
        const { get, save } = yield* scene
        const most = Number.MAX_SAFE_INTEGER
        yield* save(0, 1, { revision: 0 })
        assert.deepStrictEqual(yield* get({ revision: 0 }), [0, 1])
        yield* save(most, 2, { revision: most })
        assert.deepStrictEqual(yield* get({ revision: most }), [most, 2])
      })
    )

    it.effect("another revision, name or stream is a miss", () =>
      Effect.gen(function* () {
        const { get, save, streamId } = yield* scene
        yield* save(7, 500)
        assert.isUndefined(yield* get({ revision: 0 }))
        assert.isUndefined(yield* get({ revision: 2 }))
        assert.isUndefined(yield* get({ name: "balances" }))
        assert.isUndefined(yield* get({ streamId: `${streamId}0` }))
        assert.deepStrictEqual(yield* get(), [7, 500])
      })
    )

    it.effect("the newest version wins; an older one that comes late changes nothing", () =>
      Effect.gen(function* () {
        const { get, save } = yield* scene
        yield* save(7, 500)
        yield* save(9, 600)
        assert.deepStrictEqual(yield* get(), [9, 600])
        yield* save(8, 700)
        assert.deepStrictEqual(yield* get(), [9, 600])
        yield* save(9, 800)
        assert.deepStrictEqual(yield* get(), [9, 800], "one of the same version replaces it")
        yield* save(10, 1)
        assert.deepStrictEqual(yield* get(), [10, 1], "9 and 10 are compared as numbers")
      })
    )

    it.effect("a higher revision replaces whatever its version, a lower one never does", () =>
      Effect.gen(function* () {
        const { get, save } = yield* scene
        yield* save(9, 600, { revision: 1 })
        yield* save(2, 100, { revision: 2 })
        assert.deepStrictEqual(yield* get({ revision: 2 }), [2, 100])
        assert.isUndefined(yield* get({ revision: 1 }))
        yield* save(50, 900, { revision: 1 })
        assert.deepStrictEqual(yield* get({ revision: 2 }), [2, 100])
        assert.isUndefined(yield* get({ revision: 1 }))
        yield* save(3, 200, { revision: 10 })
        assert.deepStrictEqual(yield* get({ revision: 10 }), [3, 200], "2 and 10 are compared as numbers")
      })
    )

    it.effect("of many savers at once the newest stays", () =>
      Effect.gen(function* () {
        const { get, save } = yield* scene
        const versions = Array.from({ length: 40 }, (_, i) => ((i * 17) % 40) + 1)
        yield* Effect.forEach(versions, (at) => save(at, at * 10), { concurrency: "unbounded" })
        assert.deepStrictEqual(yield* get(), [40, 400])
      })
    )

    it.effect("a deleted snapshot is a miss, whatever its revision, and deleting none is as good", () =>
      Effect.gen(function* () {
        const { get, save, store, streamId } = yield* scene
        yield* store.deleteSnapshot({ name: "balance", streamId })
        yield* save(7, 500, { revision: 3 })
        yield* store.deleteSnapshot({ name: "balance", streamId })
        yield* store.deleteSnapshot({ name: "balance", streamId })
        assert.isUndefined(yield* get({ revision: 3 }))
        yield* save(1, 100, { revision: 1 })
        assert.deepStrictEqual(yield* get({ revision: 1 }), [1, 100], "and the place is free again")
      })
    )

    it.effect("names and streams are compared whole and literally", () =>
      Effect.gen(function* () {
        const { get, save, store, streamId } = yield* scene
        const names = ["a", "a/b", "a/", "ab", "A", "a ", "%", "_", "a%"]
        for (const [index, name] of names.entries()) yield* save(index + 1, index, { name })
        yield* save(100, 1, { streamId: `${streamId}/more`, name: "a" })
        for (const [index, name] of names.entries()) {
          assert.deepStrictEqual(yield* get({ name }), [index + 1, index], name)
        }
        yield* store.deleteSnapshot({ name: "a", streamId })
        yield* store.deleteSnapshot({ name: "%", streamId })
        for (const [index, name] of names.entries()) {
          const kept = name === "a" || name === "%" ? undefined : [index + 1, index]
          assert.deepStrictEqual(yield* get({ name }), kept, name)
        }
        assert.deepStrictEqual(yield* get({ streamId: `${streamId}/more`, name: "a" }), [100, 1])
      })
    )

    it.effect("odd texts as names, streams and states come back as they went in", () =>
      Effect.gen(function* () {
        const { store, streamId } = yield* scene
        const State = Schema.Struct({ text: Schema.String })
        const long = ["x".repeat(255), "🦄".repeat(255)]
        for (const text of [...oddTexts.map(([, text]) => text), ...long]) {
          const key = {
            name: text,
            revision: 1,
            streamId: long.includes(text) ? streamId : `${streamId}${text}`,
            schema: State
          }
          const state = { text: `${text}\u0000\ud800` }
          yield* store.saveSnapshot({ ...key, version: version(1), state })
          const snapshot = yield* store.getSnapshot(key)
          assert.deepStrictEqual(snapshot, Option.some({ state, version: version(1) }))
        }
      })
    )

    it.effect("states of every schema come back as they went in, also large ones", () =>
      Effect.gen(function* () {
        const { store, streamId } = yield* scene
        const State = Schema.Struct({
          at: Schema.Date,
          big: Schema.BigInt,
          maybe: Schema.Option(Schema.Number),
          byName: Schema.Map({ key: Schema.String, value: Schema.Number }),
          list: Schema.Array(Schema.Number)
        })
        const state = {
          at: new Date(1_000),
          big: 2n ** 80n,
          maybe: Option.some(1),
          byName: new Map([["__proto__", 1]]),
          list: Array.from({ length: 100_000 }, (_, i) => i)
        }
        const key = { name: "state", revision: 1, streamId, schema: State }
        yield* store.saveSnapshot({ ...key, version: version(1), state })
        assert.deepStrictEqual(yield* store.getSnapshot(key), Option.some({ state, version: version(1) }))
      })
    )

    it.effect("a snapshot that no longer decodes is a miss, and stays for who can read it", () =>
      Effect.gen(function* () {
        const { get, save, store, streamId } = yield* scene
        yield* save(7, 500)
        const other = {
          name: "balance",
          revision: 1,
          streamId,
          schema: Schema.Struct({ euros: Schema.String })
        }
        assert.isTrue(Option.isNone(yield* quietly(store.getSnapshot(other))))
        assert.deepStrictEqual(yield* get(), [7, 500])
      })
    )

    it.effect("a state that does not encode is not kept, and is no failure", () =>
      Effect.gen(function* () {
        const { get, save, store, streamId } = yield* scene
        yield* save(7, 500)
        const key = { name: "balance", revision: 1, streamId, schema: Balance }
        yield* quietly(
          store.saveSnapshot({
            ...key,
            version: version(8),
            state: wrong<{ cents: number }>({ cents: "many" })
          })
        )
        assert.deepStrictEqual(yield* get(), [7, 500])
      })
    )

    it.effect("a wrong key is refused by the name of its field, and nothing is kept", () =>
      Effect.gen(function* () {
        const { get, save, store, streamId } = yield* scene
        yield* save(7, 500)
        const good = { name: "balance", revision: 1, streamId }
        const attempt = (field: string, bad: unknown) =>
          Effect.gen(function* () {
            const key = { ...good, ...wrong<Partial<SnapshotKey>>(bad) }
            const calls: ReadonlyArray<Effect.Effect<unknown, InvalidArgument>> = [
              store.getSnapshot({ ...key, schema: Balance }),
              store.saveSnapshot({ ...key, schema: Balance, version: version(9), state: { cents: 1 } }),
              ...(field === "revision" ? [] : [store.deleteSnapshot(key)])
            ]
            for (const call of calls) {
              const error = yield* refused(call, "InvalidArgument")
              assert.strictEqual(error.field, field)
              assert.isAtMost(error.actual.length, 80)
            }
          })
        for (const name of badTexts) yield* attempt("name", { name })
        const badIds = badTexts.map((text) => (typeof text === "string" && text !== "" ? `a/${text}` : text))
        for (const id of [...badIds, "noslash", "/a", "a/"]) yield* attempt("streamId", { streamId: id })
        for (const revision of [-1, 0.5, NaN, 2 ** 53, "1", null, undefined]) {
          yield* attempt("revision", { revision })
        }
        for (const at of [-1, 0.5, NaN, 2 ** 53, "1", null]) {
          const saving = store.saveSnapshot({
            ...good,
            schema: Balance,
            version: wrong(at),
            state: { cents: 1 }
          })
          assert.strictEqual((yield* refused(saving, "InvalidArgument")).field, "version")
        }
        assert.deepStrictEqual(yield* get(), [7, 500])
      })
    )
  })
}

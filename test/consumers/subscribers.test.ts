/**
 * A subscriber's processes are killed, frozen and thawed at seeded moments. Whatever happens: every event was
 * handled, each stream's in order, none more than `ackEvery` times more a crash; and what it wrote under its lease
 * is exactly what a plain fold of the log says.
 */
import { assert, describe, it } from "@effect/vitest"
import { EventStore } from "@millrace/core/EventStore"
import { start } from "@millrace/core/Position"
import * as Children from "@millrace/testkit/Children"
import * as Databases from "@millrace/testkit/Databases"
import { sized, withChance } from "@millrace/testkit/Seeds"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import type { AlertingArgument, AlertingLine } from "./programs/alerting.js"
import type { StoreAddress } from "./Stores.js"
import { freezeBetween, newStore, storeLayer } from "./Stores.js"

const program = new URL("./programs/alerting.ts", import.meta.url)

const eventsCount = sized(4_000, 20_000)
const killsCount = sized(2, 50)
const streamsCount = 20
const testMs = sized(180_000, 900_000)

for (const kind of ["postgres", "sqlite"] as const) {
  describe(`a subscriber on ${kind}`, () => {
    it.scopedLive(
      `killed at ${killsCount} moments, it has handled every event and alerted of exactly the right ones`,
      () =>
        withChance((chance) =>
          Effect.gen(function* () {
            const { notes, options, store } = yield* prepared(kind)
            let left = 0
            for (let run = 0; run <= killsCount; run++) {
              const before = linesOf(notes).length
              const child = yield* Children.start(program, {
                ...options,
                name: `worker-${run}`,
                drains: false,
                pauseMs: run === killsCount ? 0 : 1
              })
              yield* child.ready
              if (run < killsCount) {
                yield* until(() => Effect.sync(() => linesOf(notes).length > before), 30_000)
                yield* Effect.sleep(chance.int(0, 300))
              } else
                yield* until(
                  () => alertsOf(store).pipe(Effect.map((alerts) => alerts.length >= alertsCount)),
                  60_000
                )
              if (run < killsCount) yield* child.kill
              else yield* child.say("stop")
              yield* child.ended
              left++
            }
            assert.strictEqual(left, killsCount + 1)
            yield* Effect.scoped(drained(options))
            yield* checkAlerts(store)
            checkNotes(linesOf(notes), options.ackEvery, killsCount)
          })
        ),
      testMs
    )

    it.scopedLive(
      "frozen past its lease and thawed, everything it still tries is refused, and another has done its work",
      () =>
        withChance((chance) =>
          Effect.gen(function* () {
            const { notes, options, store } = yield* prepared(kind)
            const slow = { ...options, ttlMs: 800, drains: false, pauseMs: 1, chunkSize: 20, ackEvery: 20 }
            const first = yield* Children.start(program, { ...slow, name: "first" })
            yield* first.ready
            yield* until(() => Effect.sync(() => linesOf(notes).length > chance.int(20, 200)), 30_000)
            yield* freezeBetween(first, store, chance)
            const frozenAt = linesOf(notes).length
            const second = yield* Children.start(program, { ...slow, name: "second", pauseMs: 0 })
            yield* second.ready
            yield* until(() => Effect.sync(() => linesOf(notes).length > frozenAt + 100), 30_000)
            yield* first.thaw
            yield* until(() => Effect.map(alertsOf(store), (alerts) => alerts.length >= alertsCount), 60_000)
            // The first has come back to a lease that is not its own: whatever it tried in its name was refused.
            const refused = (first.lines as ReadonlyArray<AlertingLine>).flatMap((line) =>
              "refused" in line ? [line.refused] : []
            )
            for (const tag of refused) assert.strictEqual(tag, "LeaseLost")
            yield* first.say("stop")
            yield* second.say("stop")
            yield* first.ended
            yield* second.ended
            yield* Effect.scoped(drained(options))
            yield* checkAlerts(store)
            const epochs = [...new Set(linesOf(notes).map((line) => line.epoch))]
            assert.isAtLeast(epochs.length, 2)
          })
        ),
      testMs
    )

    it.scopedLive(
      "three processes share 8 partitions; those of one that is killed move within the ttl and a second",
      () =>
        withChance((chance) =>
          Effect.gen(function* () {
            const { notes, options, store } = yield* prepared(kind)
            const ttlMs = 2_000
            const shared = { ...options, partitions: 8, ttlMs, drains: false, pauseMs: 2 }
            const children = yield* Effect.forEach(["one", "two", "three"], (name) =>
              Children.start(program, { ...shared, name })
            )
            yield* Effect.forEach(children, (child) => child.ready)
            yield* until(() => Effect.sync(() => children.every((child) => partitionsOf(child) >= 2)), 30_000)
            const victim = chance.pick(children)
            const others = children.filter((child) => child !== victim)
            yield* victim.kill
            const killed = Date.now()
            yield* until(
              () => Effect.sync(() => others.reduce((sum, child) => sum + partitionsOf(child), 0) === 8),
              30_000
            )
            const tookMs = Date.now() - killed
            assert.isAtMost(tookMs, ttlMs + 1_000 + sized(1_500, 500))
            yield* until(() => Effect.map(alertsOf(store), (alerts) => alerts.length >= alertsCount), 120_000)
            for (const child of others) {
              yield* child.say("stop")
              yield* child.ended
            }
            yield* Effect.scoped(drained({ ...options, partitions: 8 }))
            yield* checkAlerts(store)
            checkNotes(linesOf(notes), options.ackEvery * 8, 1)
          })
        ),
      testMs
    )
  })
}

// ---- internal ----

const alertsCount = Math.floor((eventsCount - 1) / 7) + 1

/** A store with numbered events in it, and what the program is told. */
const prepared = (kind: StoreAddress["kind"]) =>
  Effect.gen(function* () {
    const store = yield* newStore(kind)
    const folder = yield* Databases.folder
    const notes = join(folder, "notes")
    yield* withLog(store, (log) =>
      Effect.forEach(
        pagesOf(eventsCount, 500),
        (numbers) =>
          log.write(
            numbers.map((number) => ({
              streamId: `number/${number % streamsCount}`,
              events: [{ type: "Numbered", data: { number } }]
            }))
          ),
        { discard: true }
      )
    )
    const options: AlertingArgument = {
      store,
      name: "drain",
      notes,
      partitions: 1,
      ttlMs: 1_000,
      chunkSize: 100,
      ackEvery: 150,
      drains: true,
      pauseMs: 0
    }
    return { store, notes, options }
  })

const pagesOf = (count: number, size: number): ReadonlyArray<ReadonlyArray<number>> =>
  Array.from({ length: Math.ceil(count / size) }, (_, page) =>
    Array.from({ length: Math.min(size, count - page * size) }, (_, i) => page * size + i)
  )

const withLog = <A, E>(store: StoreAddress, use: (log: EventStore["Type"]) => Effect.Effect<A, E>) =>
  Effect.provide(Effect.flatMap(EventStore, use), storeLayer(store))

/** A last process that finds whatever is left, and ends. */
const drained = (options: AlertingArgument) =>
  Effect.gen(function* () {
    // The lease of one that was killed must run out first.
    yield* Effect.sleep(options.ttlMs + 200)
    const child = yield* Children.start(program, { ...options, name: "last", drains: true })
    yield* child.ended
  })

const alertsOf = (store: StoreAddress) =>
  withLog(store, (log) =>
    Effect.map(
      Stream.runFold(log.stream({ filters: [{ type: "Alerted" }] }), new Array<string>(), (seen, event) => {
        seen.push(`${event.streamId} ${(event.data as { readonly number: number }).number}`)
        return seen
      }),
      (seen) => seen
    )
  )

/** The alerts are what a plain fold of the log gives: each number once, each stream's in the order of the log. */
const checkAlerts = (store: StoreAddress) =>
  Effect.gen(function* () {
    const expected = yield* withLog(store, (log) =>
      Stream.runFold(log.stream({ filters: [{ type: "Numbered" }] }), new Array<string>(), (seen, event) => {
        const { number } = event.data as { readonly number: number }
        if (number % 7 === 0) seen.push(`alert/${event.streamId.split("/")[1]} ${number}`)
        return seen
      })
    )
    const alerts = yield* alertsOf(store)
    assert.strictEqual(expected.length, alertsCount)
    for (let stream = 0; stream < streamsCount; stream++) {
      const of = (all: ReadonlyArray<string>) => all.filter((one) => one.startsWith(`alert/${stream} `))
      assert.deepStrictEqual(of(alerts), of(expected))
    }
    assert.strictEqual(alerts.length, expected.length)
    assert.isAbove(yield* withLog(store, (log) => log.head), start)
  })

interface Note {
  readonly epoch: string
  readonly streamId: string
  readonly number: number
}

/** Whole lines only: a process that was killed may have written half of one. */
const linesOf = (file: string): ReadonlyArray<Note> =>
  existsSync(file)
    ? readFileSync(file, "utf8")
        .split("\n")
        .slice(0, -1)
        .map((line) => {
          const [key, epoch, streamId, number] = line.split(" ")
          return { epoch: `${key} ${epoch}`, streamId: streamId!, number: Number(number) }
        })
    : []

/** Every event was handled; within an epoch none twice and each stream's in order; and no more repeats than promised. */
const checkNotes = (notes: ReadonlyArray<Note>, ackEvery: number, crashes: number): void => {
  assert.strictEqual(new Set(notes.map((note) => note.number)).size, eventsCount)
  const last = new Map<string, number>()
  for (const { epoch, number, streamId } of notes) {
    const key = `${epoch} ${streamId}`
    assert.isAbove(number, last.get(key) ?? -1, `out of order in ${key}`)
    last.set(key, number)
  }
  assert.isAtMost(notes.length - eventsCount, ackEvery * crashes)
}

const partitionsOf = (child: Children.Child): number =>
  (child.lines as ReadonlyArray<AlertingLine>).reduce(
    (newest, line) => ("partitions" in line ? line.partitions : newest),
    0
  )

const until = <E>(is: () => Effect.Effect<boolean, E>, timeoutMs: number) =>
  Effect.suspend(is).pipe(
    Effect.repeat({ schedule: Schedule.spaced("50 millis"), until: (done) => done }),
    Effect.timeoutFail({ duration: timeoutMs, onTimeout: () => "it never became so" })
  )

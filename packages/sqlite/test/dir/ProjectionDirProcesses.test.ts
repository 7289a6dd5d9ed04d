/** Several processes on one folder, and processes that are killed while they swap. */
import { assert, it } from "@effect/vitest"
import { EventStore } from "@millrace/core/EventStore"
import { ModelStore } from "@millrace/core/ModelStore"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import { ProjectionDir } from "@millrace/sqlite/ProjectionDir"
import type { SwapPoint } from "@millrace/sqlite/ProjectionDirStore"
import * as Children from "@millrace/testkit/Children"
import { folder } from "@millrace/testkit/Databases"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import type { ProjectorArgument } from "./programs/projector.js"
import { layer, quick, totals } from "./programs/Totals.js"
import type { Place } from "./programs/Totals.js"

const slowTestMs = 240_000
const isFull = process.env.MILLRACE_FAULTS === "full"

const projector = (argument: ProjectorArgument) =>
  Children.start(new URL("./programs/projector.ts", import.meta.url), argument)

const place: Effect.Effect<Place, never, Scope.Scope> = Effect.map(folder, (path) => ({
  log: join(path, "log.db"),
  folder: join(path, "models")
}))

const streams = 20

/** Appends `count` events to each of the streams. */
const fill = (count: number) =>
  Effect.flatMap(EventStore, (store) =>
    store.write(
      Array.from({ length: streams }, (_, n) => ({
        streamId: `account/${n}`,
        events: Array.from({ length: count }, () => ({ type: "Deposited", data: {} }))
      }))
    )
  )

/** The version of all rows of the model, which must have all of them, each with so many events. */
const wholeVersion = (events: number) =>
  Effect.gen(function* () {
    const rows = yield* (yield* ModelStore).list(totals(1), { limit: 10_000 })
    assert.strictEqual(rows.length, streams)
    for (const { row } of rows) assert.deepStrictEqual(row, { events, by: rows[0]!.row.by })
    const sql = yield* (yield* ProjectionDir).db("totals")
    const [found] = yield* sql<{ readonly n: number }>`SELECT sum(events) AS n FROM totals`
    assert.strictEqual(found?.n, events * streams)
    return rows[0]!.row.by
  })

/** The lease of who was killed; or one of this process that ended before a busy machine renewed it. */
const isHeld = ({ _tag }: { readonly _tag: string }): boolean => _tag === "LeaseHeld" || _tag === "LeaseLost"

/** Rebuilds as soon as the lease of who was killed has ended. */
const rebuilt = (version: number) =>
  Effect.flatMap(ProjectionRunner, (runner) =>
    Effect.retry(runner.rebuild(totals(version), quick), {
      schedule: Schedule.spaced("50 millis"),
      while: isHeld
    })
  )

const databases = ({ folder }: Place): ReadonlyArray<string> =>
  readdirSync(folder).filter((file) => file.startsWith("totals.") && file.endsWith(".db"))

/** A child that died, and what it left: a whole model, from which everything goes on. */
const afterDeath = (where: Place, before: number, known: number) =>
  Effect.gen(function* () {
    const version = yield* wholeVersion(before)
    yield* rebuilt(known + 100)
    assert.strictEqual(yield* wholeVersion(before), known + 100)
    yield* fill(1)
    yield* (yield* ProjectionRunner)
      .catchUp(totals(known + 100), quick)
      .pipe(Effect.retry({ schedule: Schedule.spaced("50 millis"), while: isHeld }))
    yield* wholeVersion(before + 1)
    assert.strictEqual(databases(where).length, 2, "the live one and the former one, no more")
    yield* (yield* ProjectionRunner).dropFormer(totals(known + 100))
    assert.strictEqual(databases(where).length, 1)
    return version
  }).pipe(Effect.provide(layer(where)))

const points: ReadonlyArray<SwapPoint> = ["begun", "handed over", "in live form", "synced", "pointed"]

for (const point of points)
  it.scopedLive(
    `a process that dies in a swap, "${point}", leaves the old model or the new one, and all goes on`,
    () =>
      Effect.gen(function* () {
        for (const turn of [1, 3]) {
          const where = yield* place
          yield* Effect.provide(
            Effect.zipRight(
              fill(10),
              Effect.flatMap(ProjectionRunner, (runner) => runner.catchUp(totals(1)))
            ),
            layer(where)
          )
          const child = yield* projector({ ...where, version: 2, dies: { point, turn } })
          assert.match(String(yield* Effect.flip(child.ended)), /ended by SIGKILL/)
          assert.strictEqual(child.lines.length, turn - 1)
          const version = yield* afterDeath(where, 10, turn + 1)
          assert.strictEqual(version, point === "pointed" ? turn + 1 : turn)
        }
      }),
    slowTestMs
  )

it.scopedLive(
  "a process killed at any moment of many swaps leaves a whole model, and a rebuild after it ends right",
  () =>
    Effect.gen(function* () {
      const seed = Number(process.env.MILLRACE_SEED ?? (yield* Random.nextIntBetween(0, 2 ** 31)))
      yield* Console.log(`killed in swaps: MILLRACE_SEED=${seed}`)
      const kills = Effect.forEach(
        Array.from({ length: isFull ? 50 : 8 }),
        () =>
          Effect.gen(function* () {
            const where = yield* place
            yield* Effect.provide(
              Effect.zipRight(
                fill(10),
                Effect.flatMap(ProjectionRunner, (runner) => runner.catchUp(totals(1)))
              ),
              layer(where)
            )
            const child = yield* projector({ ...where, version: 2, rebuilds: true })
            yield* child.ready
            yield* Effect.sleep(`${yield* Random.nextIntBetween(0, 300)} millis`)
            yield* child.kill
            yield* child.ended
            const known = child.lines.length
            const version = yield* afterDeath(where, 10, known + 2)
            assert.isAtLeast(version, known + 1)
            assert.isAtMost(version, known + 2)
          }),
        { concurrency: 2, discard: true }
      )
      yield* Effect.withRandom(kills, Random.make(seed))
    }),
  slowTestMs
)

for (const frozen of [false, true])
  it.scopedLive(
    `a process that runs the model ${frozen ? "and is frozen meanwhile " : ""}goes on with the new file when another one has swapped`,
    () =>
      Effect.gen(function* () {
        const where = yield* place
        yield* Effect.gen(function* () {
          const runner = yield* ProjectionRunner
          yield* fill(10)
          const child = yield* projector({ ...where, version: 1 })
          yield* child.ready
          const head = yield* (yield* EventStore).head
          yield* runner.waitFor(totals(1), head, "20 seconds")
          for (let events = 11; events < 14; events++) {
            const before = readFileSync(join(where.folder, "totals.current"), "utf8")
            if (frozen) yield* child.freeze
            yield* runner.rebuild(totals(1), { ...quick, ttl: "5 seconds" })
            assert.notStrictEqual(readFileSync(join(where.folder, "totals.current"), "utf8"), before)
            yield* wholeVersion(events - 1)
            if (frozen) yield* child.thaw
            const { position } = yield* fill(1)
            yield* runner.waitFor(totals(1), position, "20 seconds")
            yield* wholeVersion(events)
          }
          yield* child.say("stop")
          yield* child.ended
          assert.deepStrictEqual(child.lines, ["runs", { status: ["running"] }])
        }).pipe(Effect.provide(layer(where)))
      }),
    slowTestMs
  )

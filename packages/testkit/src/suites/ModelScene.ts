/**
 * One test's own projections in a store of models that other tests use as well: names and tables that no other
 * test has, events made by hand, and short words for what is done to a model.
 */
import type { Vitest } from "@effect/vitest"
import { assert } from "@effect/vitest"
import type { RecordedEvent } from "@millrace/core/Event"
import { EventIds } from "@millrace/core/EventIds"
import { Epoch } from "@millrace/core/Lease"
import type { Lease } from "@millrace/core/Lease"
import type { LeaseLost } from "@millrace/core/LeaseLost"
import { ModelStore } from "@millrace/core/ModelStore"
import type { ApplyError, Model, ModelRefused, ModelStep, Swapped } from "@millrace/core/ModelStore"
import * as Projection from "@millrace/core/Projection"
import * as Scoped from "@millrace/core/Scoped"
import type { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import type { StreamId } from "@millrace/core/StreamId"
import type { StreamVersion } from "@millrace/core/StreamVersion"
import { compareUtf8 } from "@millrace/core/Text"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { position, version } from "./Scene.js"

/** When a step's `also` takes place: within its transaction, or behind it, where the log is in another database. */
export type AlsoOf = "within" | "behind"

/** The `it` within the suite: time is real, since databases keep their own. `R` is what SQL handlers need. */
export type ModelIt<R = never> = Vitest.MethodsNonLive<ModelStore | R, true>

// ---- events ----

/** What an event of these tests says. The keys that it concerns are its stream when it names none. */
export interface Told {
  readonly keys?: string | ReadonlyArray<string> | null | undefined
  readonly add?: number | undefined
  /** Removes the rows. */
  readonly drop?: boolean | undefined
  /** What a fold or a handler throws on it. */
  readonly fail?: string | undefined
}

/** A log with these events: positions from 1, versions from 1 in each stream. */
export const logOf = (
  entries: ReadonlyArray<readonly [streamId: string, data: unknown]>
): ReadonlyArray<RecordedEvent> => {
  const versions = new Map<string, number>()
  return entries.map(([streamId, data], index) => {
    const at = (versions.get(streamId) ?? 0) + 1
    versions.set(streamId, at)
    return {
      streamId: streamId as StreamId,
      version: version(at),
      position: position(index + 1),
      id: `01${String(index + 1).padStart(24, "0")}` as RecordedEvent["id"],
      type: "Told",
      data,
      metadata: {},
      tags: [],
      recordedAt: DateTime.unsafeMake(1_700_000_000_000 + index),
      correlationId: Option.none(),
      causationId: Option.none(),
      erased: false
    }
  })
}

/** A log whose events go to the streams `s/1` to `s/3` by turns. */
export const told = (...events: ReadonlyArray<Told>): ReadonlyArray<RecordedEvent> =>
  logOf(events.map((event, index) => [`s/${(index % 3) + 1}`, event]))

/** `count` events that add 1, 2, 3 … to the rows `s/1` to `s/3` by turns. */
export const counting = (count: number): ReadonlyArray<RecordedEvent> =>
  told(...Array.from({ length: count }, (_, index) => ({ add: index + 1 })))

export const tellOf = (event: RecordedEvent): Told => event.data as Told

// ---- projections ----

export const TotalRow = Schema.Struct({ n: Schema.Int, last: Schema.String })
export type TotalRow = typeof TotalRow.Type

/** The sum by key, and the version of the event that was last. */
export const totals = (
  name: string,
  more: { readonly version?: number; readonly table?: string; readonly storage?: "columns" | "json" } = {}
): Projection.FoldProjection<TotalRow> =>
  Projection.fold({
    name,
    ...more,
    row: TotalRow,
    key: (event) => {
      const { keys } = tellOf(event)
      return keys === null ? undefined : (keys ?? event.streamId)
    },
    initial: () => ({ n: 0, last: "" }),
    evolve: (row, event) => {
      const { add = 0, drop, fail } = tellOf(event)
      if (fail !== undefined) throw new Error(fail)
      return drop === true ? undefined : { n: row.n + add, last: `${event.streamId} ${event.version}` }
    }
  })

/** A fold of all events, one after another. */
export const plainFold = <Row>(
  { strength }: Projection.FoldProjection<Row>,
  events: ReadonlyArray<RecordedEvent>,
  rows = new Map<string, Row>()
): ReadonlyMap<string, Row> => {
  for (const event of events) {
    const keys = strength.key(event) ?? []
    for (const key of new Set(typeof keys === "string" ? [keys] : keys)) {
      const row = strength.evolve(rows.get(key) ?? strength.initial(key), event, key)
      if (row === undefined) rows.delete(key)
      else rows.set(key, row)
    }
  }
  return rows
}

/** Rows as a listing gives them. */
export const listed = <Row>(rows: ReadonlyMap<string, Row>) =>
  [...rows].sort(([a], [b]) => compareUtf8(a, b)).map(([key, row]) => ({ key, row }))

// ---- steps ----

/** A lease that a worker shows; the store looks at its epoch alone. */
export const leaseOf = (epoch: number): Lease => ({
  key: "projection",
  workerId: "w",
  epoch: Epoch.make(epoch),
  ttl: Duration.hours(1),
  expiresAt: DateTime.unsafeMake(4_000_000_000_000),
  paused: false
})

/** The step over a page, from where the log says that its reader stands. */
export const stepOver = (
  page: ReadonlyArray<RecordedEvent>,
  from: number,
  epoch: number,
  also?: ModelStep["also"]
): ModelStep => {
  const before = new Map<StreamId, StreamVersion>()
  const after = new Map<StreamId, StreamVersion>()
  for (const event of page) {
    if (!after.has(event.streamId) && event.version > 1)
      before.set(event.streamId, version(event.version - 1))
    after.set(event.streamId, event.version)
  }
  return {
    previous: { position: position(from), cursors: before },
    current: { position: page[page.length - 1]?.position ?? position(from), cursors: after },
    lease: leaseOf(epoch),
    also
  }
}

/** Claims a model, and hands it the rest of the log in pages. */
export const feed = <R>(
  model: Model<R>,
  log: ReadonlyArray<RecordedEvent>,
  { epoch = 1, pageEvents = 4 }: { readonly epoch?: number; readonly pageEvents?: number } = {}
): Effect.Effect<void, ApplyError, R> =>
  Effect.gen(function* () {
    let from = Number((yield* model.claim(Epoch.make(epoch))).position)
    while (from < log.length) {
      const page = log.slice(from, from + pageEvents)
      yield* model.apply(page, stepOver(page, from, epoch))
      from += page.length
    }
  })

// ---- the scene ----

/** The service. A fold says nothing of `E` and `R`, from which `open` would take them for unknown: it needs nothing. */
export interface OpenedStore extends Omit<ModelStore["Type"], "open"> {
  readonly open: <E = never, R = never>(
    projection: Projection.Projection<E, R>,
    generation?: number | undefined
  ) => Effect.Effect<Model<R>, ModelRefused | StoreUnavailable, Scope.Scope>
}

export interface ModelScene {
  readonly store: OpenedStore
  /** A projection of this test: 1 to 30 letters and digits, and what its table begins with. */
  readonly name: (suffix?: string) => string
  /** The rows of a live model. */
  readonly rows: <Row>(
    projection: Projection.FoldProjection<Row>
  ) => Effect.Effect<ReadonlyArray<{ readonly key: string; readonly row: Row }>, unknown>
  /** Runs an effect that must leave no trace in the models of a projection. */
  readonly unchanged: <A, E, R>(
    projection: Projection.Projection<unknown, unknown>,
    effect: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, unknown, R>
  /** Swaps, again when readers were in the way. */
  readonly swap: (
    projection: Projection.Projection<unknown, unknown>,
    generation: number,
    options: { readonly epoch: number; readonly keepFormer?: boolean }
  ) => Effect.Effect<Swapped, LeaseLost | StoreUnavailable>
  /** The models beside the live one: `[generation, position, version]`. */
  readonly beside: (
    projection: Projection.Projection<unknown, unknown>
  ) => Effect.Effect<{ readonly building: Beside; readonly former: Beside }, StoreUnavailable>
}

/** Generation, position and version; nothing where there is none. */
export type Beside = readonly [number, number, number | undefined] | undefined

export const modelScene: Effect.Effect<ModelScene, never, ModelStore> = Effect.gen(function* () {
  const store: OpenedStore = yield* ModelStore
  const prefix = `m${(yield* EventIds).next(yield* Clock.currentTimeMillis).toLowerCase()}`
  const rows: ModelScene["rows"] = (projection) => store.list(projection, { limit: 10_000 })
  const look = (projection: Projection.Projection<unknown, unknown>) =>
    Scoped.scoped(
      Effect.gen(function* () {
        const live = yield* store.open(projection)
        return {
          info: yield* live.info,
          count: yield* live.count,
          cursors: yield* live.cursors(["s/1", "s/2", "s/3"] as unknown as ReadonlyArray<StreamId>),
          beside: yield* store.generations(projection),
          rows: projection.strength._tag === "Fold" ? yield* rows(projection as never) : []
        }
      })
    )
  return {
    store,
    name: (suffix = "") => prefix + suffix,
    rows,
    unchanged: (projection, effect) =>
      Effect.gen(function* () {
        const before = yield* look(projection)
        const result = yield* effect
        assert.deepStrictEqual(yield* look(projection), before)
        return result
      }),
    swap: (projection, generation, { epoch, keepFormer = true }) =>
      Effect.retry(store.swap(projection, generation, { epoch: Epoch.make(epoch), keepFormer }), {
        while: (error) => error._tag === "StoreUnavailable" && error.transient,
        times: 20
      }),
    beside: (projection) =>
      Effect.map(store.generations(projection), ({ building, former }) => {
        const [b, f] = [building, former].map((part) =>
          Option.getOrUndefined(
            Option.map(part, ({ generation, position, version }) => [
              generation,
              Number(position),
              Option.getOrUndefined(version)
            ])
          )
        )
        return { building: b as unknown as Beside, former: f as unknown as Beside }
      })
  }
})

/** Where a model's checkpoint stands; nothing when it was never claimed. */
export const standing = (model: Pick<Model<never>, "info">) =>
  Effect.map(model.info, (info) =>
    Option.getOrUndefined(
      Option.map(info, ({ epoch, position, revision }) => ({
        position: Number(position),
        revision: Option.getOrUndefined(revision),
        epoch: Option.getOrUndefined(epoch) as number | undefined
      }))
    )
  )

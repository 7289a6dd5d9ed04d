/**
 * One test's own projections over its own corner of a log: names and tables that no other test has, a fold that
 * shows every event that is handled twice, left out or out of order, and runners over stores that were tampered with.
 */
import type { Vitest } from "@effect/vitest"
import { assert } from "@effect/vitest"
import type { ActorRegistry } from "@millrace/core/ActorRegistry"
import type { NewEvent, RecordedEvent } from "@millrace/core/Event"
import { EventIds } from "@millrace/core/EventIds"
import { EventStore } from "@millrace/core/EventStore"
import { ModelStore } from "@millrace/core/ModelStore"
import type { Model } from "@millrace/core/ModelStore"
import * as Projection from "@millrace/core/Projection"
import { ProjectionRunner } from "@millrace/core/ProjectionRunner"
import type { ProjectionStatus } from "@millrace/core/ProjectionRun"
import type { RebuildProgress } from "@millrace/core/RebuildProgress"
import * as Scoped from "@millrace/core/Scoped"
import type { SnapshotStore } from "@millrace/core/SnapshotStore"
import { SubscriberStore } from "@millrace/core/SubscriberStore"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { listed, plainFold } from "./ModelScene.js"
import type { Scene } from "./Scene.js"
import { scene } from "./Scene.js"

/** The stores beneath a runner. */
export type ProjectionStores = EventStore | SnapshotStore | SubscriberStore | ModelStore

/** What a test of projections needs. */
export type ProjectionServices = ProjectionStores | ActorRegistry | ProjectionRunner

/** The `it` within the suite: time is real. */
export type ProjectingIt = Vitest.MethodsNonLive<ProjectionServices, true>

export const TotalRow = Schema.Struct({ events: Schema.Int, total: Schema.Int, trail: Schema.Int })
export type TotalRow = typeof TotalRow.Type

/** What an event of these tests says: the rows that it concerns are its stream's when it names none. */
export interface Said {
  readonly n: number
  readonly keys?: ReadonlyArray<string> | undefined
  readonly drop?: boolean | undefined
}

/** What {@link ProjectingScene.totals} can be given. */
export type TotalsOptions = Partial<Projection.FoldOptions<TotalRow, TotalRow>>

export interface ProjectingScene extends Scene {
  readonly runner: ProjectionRunner["Type"]
  readonly models: ModelStore["Type"]
  readonly subscribers: SubscriberStore["Type"]
  /** Of a projection of this test, which its table is called by as well. */
  readonly name: (suffix?: string) => string
  /** Counts, sums and chains the events of each stream of this scene. */
  readonly totals: (options?: TotalsOptions) => Projection.FoldProjection<TotalRow>
  /** The log as the projection is to take it. */
  readonly wanted: (
    projection: Pick<Projection.Projection, "filters" | "routingKey">
  ) => Effect.Effect<ReadonlyArray<RecordedEvent>, unknown>
  /** Asserts that the live model is a plain fold of the log, but for the events of these positions. */
  readonly isFold: <Row>(
    projection: Projection.FoldProjection<Row>,
    without?: ReadonlySet<number>
  ) => Effect.Effect<void, unknown>
  /** The rows of the live model. */
  readonly rows: <Row>(
    projection: Projection.FoldProjection<Row>
  ) => Effect.Effect<ReadonlyArray<{ readonly key: string; readonly row: Row }>, unknown>
  /** Appends `count` numbered events to these streams by turns, 1 000 in a write. */
  readonly fill: (count: number, streams?: number) => Effect.Effect<void, unknown>
  /** Where the live model stands. */
  readonly position: (projection: Projection.Projection<unknown, unknown>) => Effect.Effect<number, unknown>
}

/** A scene with projections. */
export const projectingScene: Effect.Effect<
  ProjectingScene,
  never,
  EventStore | SubscriberStore | ModelStore | ProjectionRunner
> = Effect.gen(function* () {
  const here = yield* scene("projected")
  const models = yield* ModelStore
  const prefix = `p${(yield* EventIds).next(yield* Clock.currentTimeMillis).toLowerCase()}`
  let written = 0
  const wanted: ProjectingScene["wanted"] = ({ filters, routingKey }) =>
    Effect.map(Stream.runCollect(here.store.stream({ filters, routingKey })), (chunk) => [...chunk])
  const rows: ProjectingScene["rows"] = (projection) => models.list(projection, { limit: 10_000 })
  return {
    ...here,
    models,
    runner: yield* ProjectionRunner,
    subscribers: yield* SubscriberStore,
    name: (suffix = "") => prefix + suffix,
    totals: (options = {}) =>
      Projection.fold({
        name: prefix,
        filters: [{ category: here.category }],
        row: TotalRow,
        key: (event) => saidOf(event).keys ?? event.streamId,
        initial: () => ({ events: 0, total: 0, trail: 7 }),
        evolve: (row, event) => {
          const { drop, n } = saidOf(event)
          if (drop === true) return undefined
          return { events: row.events + 1, total: row.total + n, trail: (row.trail * 31 + n) % 1_000_003 }
        },
        ...options
      }),
    wanted,
    isFold: (projection, without = new Set()) =>
      Effect.gen(function* () {
        const events = (yield* wanted(projection)).filter((event) => !without.has(event.position))
        assert.deepStrictEqual(yield* rows(projection), listed(plainFold(projection, events)))
      }),
    rows,
    fill: (count, streams = 5) =>
      Effect.gen(function* () {
        const numbers = Array.from({ length: count }, () => ++written)
        for (let from = 0; from < count; from += 1_000) {
          const some = numbers.slice(from, from + 1_000)
          const byStream = new Map<string, Array<NewEvent>>()
          for (const n of some) {
            const streamId = here.stream(`s${n % streams}`)
            const events = byStream.get(streamId) ?? []
            events.push(said(n))
            byStream.set(streamId, events)
          }
          yield* here.write([...byStream].map(([streamId, events]) => ({ streamId, events })))
        }
      }),
    position: (projection) => Scoped.scoped(Effect.flatMap(models.open(projection), standingAt))
  }
})

/** An event that says a number. */
export const said = (n: number, more: Partial<NewEvent> & { readonly data?: object } = {}): NewEvent => ({
  type: "Said",
  ...more,
  data: { n, ...more.data }
})

export const saidOf = (event: RecordedEvent): Said => event.data as Said

/** Where a model stands; 0 when it was never claimed. */
export const standingAt = (model: Pick<Model<never>, "info">): Effect.Effect<number, unknown> =>
  Effect.map(model.info, (info) =>
    Number(Option.match(info, { onNone: () => 0, onSome: (one) => one.position }))
  )

/** What a tampered runner stands on. */
export interface Tampered {
  readonly log?: (log: EventStore["Type"]) => EventStore["Type"]
  readonly models?: (models: ModelStore["Type"]) => ModelStore["Type"]
  readonly subscribers?: (subscribers: SubscriberStore["Type"]) => SubscriberStore["Type"]
}

/** Another runner, as another process has it, over the same stores or over some that were tampered with. */
export const runnerOver = (
  tampered: Tampered = {}
): Effect.Effect<
  ProjectionRunner["Type"],
  never,
  EventStore | SubscriberStore | ModelStore | ActorRegistry
> =>
  Effect.gen(function* () {
    const [log, models, subscribers] = [yield* EventStore, yield* ModelStore, yield* SubscriberStore]
    return yield* Effect.provide(ProjectionRunner, ProjectionRunner.layer).pipe(
      Effect.provideService(EventStore, tampered.log?.(log) ?? log),
      Effect.provideService(ModelStore, tampered.models?.(models) ?? models),
      Effect.provideService(SubscriberStore, tampered.subscribers?.(subscribers) ?? subscribers)
    )
  })

/** Models whose steps go through `around`; everything else is as it was. */
export const steppingThrough =
  (
    around: <E, R>(
      apply: Effect.Effect<void, E, R>,
      events: ReadonlyArray<RecordedEvent>,
      projectionName: string
    ) => Effect.Effect<void, E, R>
  ) =>
  (models: ModelStore["Type"]): ModelStore["Type"] =>
    ModelStore.of({
      ...models,
      open: (projection, generation) =>
        Effect.map(models.open(projection, generation), (model) => ({
          ...model,
          apply: (events, step) => around(model.apply(events, step), events, projection.name)
        }))
    })

/** Waits until it is so; a test that never gets there fails by its time limit. */
export const until = <E, R>(is: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.asVoid(Effect.repeat(is, { schedule: Schedule.spaced("10 millis"), until: (done) => done }))

/** Waits until the first projection that a runner runs is in a phase. */
export const inPhase = (
  status: Effect.Effect<ReadonlyArray<ProjectionStatus>>,
  phase: ProjectionStatus["phase"],
  index = 0
): Effect.Effect<void> => until(Effect.map(status, (all) => all[index]?.phase === phase))

/** Keeps what a rebuild tells. */
export const noting =
  (told: Array<RebuildProgress>) =>
  (progress: RebuildProgress): Effect.Effect<void> =>
    Effect.sync(() => void told.push(progress))

/** Short times, for tests in which something must be waited for. */
export const quick = { ttl: "2 seconds", pollInterval: "20 millis", retry: Schedule.stop } as const

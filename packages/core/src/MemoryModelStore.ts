/**
 * Models of projections in the memory of one process, each with its checkpoint.
 *
 * Rows of folds are kept as the JSON text of their encoded values, as a durable store keeps them: each read
 * decodes a row of its own, so nobody outside can change a stored one, and what would not come back from a
 * database as it was does not come back here either. Handlers of places `memory` and `elsewhere` keep their
 * models themselves: here they have a checkpoint, which moves when their effects are done.
 *
 * All that writes waits for its turn, and what changes is changed in one step: whoever reads in between sees
 * the state before it or after it. The step of a fold is computed before anything is changed. What `apply` is
 * given as `also` runs when nothing refuses the step any more; only who writes the same checkpoint through
 * `ProjectionCheckpointStore` at that very moment can still refuse it then.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { jsonFault } from "./DataFault.js"
import { HandlerError } from "./EngineError.js"
import type { RecordedEvent } from "./Event.js"
import { invalid, InvalidArgument } from "./InvalidArgument.js"
import { LeaseLost } from "./LeaseLost.js"
import type { MemoryCheckpoints } from "./MemoryProjectionCheckpointStore.js"
import type { ApplyError, Generation, Model, ModelStep, Swapped } from "./ModelStore.js"
import { ModelRefused, ModelStore, partName, partOf, ShadowUnsupported } from "./ModelStore.js"
import { pageRowsMax } from "./Page.js"
import { Position } from "./Position.js"
import type { Batch, Fold, Handlers, Projection, ProjectionContext } from "./Projection.js"
import { projectionFault } from "./Projection.js"
import type { ProjectionRow } from "./ProjectionCheckpointStoreBackend.js"
import { StoreUnavailable } from "./StoreUnavailable.js"
import { compareUtf8, textFault } from "./Text.js"

/** Builds a store without models. The checkpoints are those of the `ProjectionCheckpointStore` beside it. */
export const make = (checkpoints: MemoryCheckpoints): Effect.Effect<ModelStore["Type"]> =>
  Effect.sync(() => {
    /** Rows by key, by the name of the model's checkpoint. */
    const models = new Map<string, Map<string, string>>()
    const rowsOf = (name: string): ReadonlyMap<string, string> => models.get(name) ?? noRows

    const turn = Effect.unsafeMakeSemaphore(1)
    /** Waiting can be interrupted, what is waited for cannot. */
    const inTurn = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      turn.withPermits(1)(Effect.uninterruptible(effect))
    /** One step in turn. */
    const step = <A, E = never>(change: (nowMs: number) => Either.Either<A, E>): Effect.Effect<A, E> =>
      inTurn(Effect.flatMap(Clock.currentTimeMillis, change))

    // ---- the models beside the live one ----

    const partsOf = (projectionName: string): ReadonlyArray<Part> =>
      checkpoints.names().flatMap((name) => {
        const part = name.startsWith(`${projectionName}~`) ? partOf(name) : undefined
        return part !== undefined && partName(projectionName, part.part, part.generation) === name
          ? [{ ...part, row: checkpoints.find(name)! }]
          : []
      })
    const move = (from: string, to: string, epoch: number, nowMs: number): void => {
      checkpoints.move(from, to, epoch, nowMs)
      models.set(to, models.get(from) ?? new Map())
      models.delete(from)
    }
    const drop = (name: string): void => {
      checkpoints.remove(name)
      models.delete(name)
    }
    /** The checkpoint of a generation, which is begun when it is not there. */
    const begin = ({ name, version }: Plain, generation: number, nowMs: number): string => {
      const part = partsOf(name).find((part) => part.generation === generation)
      if (part !== undefined) return part.row.name
      const building = partName(name, "b", generation)
      checkpoints.restart({ name: building, position: 0, revision: version, epoch: 0, updatedAtMs: nowMs })
      return building
    }

    // ---- one model ----

    /** The model whose checkpoint has this name. */
    const modelOf = <E, R>(projection: Projection<E, R>, name: string): Model<R> => {
      const { strength, version } = projection
      const isLive = name === projection.name
      /** A generation that was swapped or discarded is nobody's any more. */
      const gone = Effect.suspend(() =>
        isLive || checkpoints.find(name) !== undefined ? Effect.void : overtaken(name)
      )
      const rightOf = ({ lease }: ModelStep) => ({ epoch: lease?.epoch, revision: version })
      const declared = new Set(strength._tag === "Fold" ? [strength.table] : Object.keys(strength.tables))
      /** Without tables, a declared name stands for itself. */
      const table = (name: string): string => {
        if (!declared.has(name)) throw new Error(`table is not declared. table=${name}`)
        return name
      }

      const checked = (step: ModelStep) =>
        Effect.zipRight(gone, checkpoints.check(name, step.previous, step.current, rightOf(step)))
      /** The end of every step, in turn: the checkpoint moves, and `together` happens with it. */
      const commit = (step: ModelStep, together: () => void) =>
        Effect.gen(function* () {
          yield* checked(step)
          if (step.also !== undefined) yield* step.also
          yield* checkpoints.advanceWith(together)(name, step.previous, step.current, rightOf(step))
        })

      const fold = (strength: Fold<unknown>, events: ReadonlyArray<RecordedEvent>, step: ModelStep) =>
        inTurn(
          Effect.gen(function* () {
            yield* checked(step)
            const changed = yield* foldPage(strength, events, rowsOf(name))
            yield* commit(step, () => {
              const rows = models.get(name) ?? new Map<string, string>()
              for (const [key, row] of changed) {
                if (row === undefined) rows.delete(key)
                else rows.set(key, row)
              }
              models.set(name, rows)
            })
          })
        )
      const handle = (
        strength: Handlers<E, R> | Batch<E, R>,
        events: ReadonlyArray<RecordedEvent>,
        step: ModelStep
      ): Effect.Effect<void, ApplyError, R> =>
        Effect.gen(function* () {
          yield* checked(step)
          if (!isLive && events.length > 0)
            return yield* new ShadowUnsupported({
              projectionName: projection.name,
              reason: "its handlers keep their model outside of the store"
            })
          yield* runHandlers(strength, events, { lease: step.lease, table })
          yield* inTurn(commit(step, () => undefined))
        })

      return {
        info: known(checkpoints.store.getProjection(name)),
        hold: Effect.zipRight(
          step((nowMs) => {
            if (checkpoints.find(name) === undefined)
              checkpoints.restart({ name, position: 0, revision: version, epoch: 0, updatedAtMs: nowMs })
            return Either.void
          }),
          Effect.sync(() => Position.make(checkpoints.find(name)!.position))
        ),
        claim: (epoch) =>
          inTurn(
            Effect.zipRight(
              gone,
              known(checkpoints.store.claimProjection(name, epoch, { revision: version }))
            )
          ),
        cursors: (streamIds) => known(checkpoints.store.loadProjectionCursors(name, streamIds)),
        apply: (events, step) =>
          strength._tag === "Fold" ? fold(strength, events, step) : handle(strength, events, step),
        table,
        count: Effect.sync(() => rowsOf(name).size),
        provided: (effect) => effect,
        rows: (keys) =>
          Effect.suspend(() => {
            if (strength._tag !== "Fold") return Effect.succeed(new Map())
            const stored = rowsOf(name)
            const texts = [...new Set(keys)].flatMap((key) => {
              const text = stored.get(key)
              return text === undefined ? [] : [[key, text] as const]
            })
            return Effect.map(decodeAll("rows", strength, texts), (rows) => new Map(rows))
          })
      }
    }

    return ModelStore.of({
      isDurable: false,
      transaction: undefined,
      open: (projection, generation) =>
        Effect.suspend(() => {
          const refused = refusal(projection)
          if (refused !== undefined) return refused
          return generation === undefined
            ? Effect.succeed(modelOf(projection, projection.name))
            : step((nowMs) => Either.right(modelOf(projection, begin(projection, generation, nowMs))))
        }),
      generations: ({ name }) =>
        Effect.sync(() => {
          const parts = partsOf(name)
          return { building: newest(parts, "b"), former: newest(parts, "f") }
        }),
      swap: ({ name }, generation, { epoch, keepFormer }) =>
        step<Swapped, LeaseLost>((nowMs) => {
          const parts = partsOf(name)
          const part = parts.find((part) => part.generation === generation)
          if (part === undefined || part.row.epoch > epoch)
            return Either.left(overtaken(part?.row.name ?? partName(name, "b", generation)))
          const live = checkpoints.find(name)
          if (live !== undefined && live.position > part.row.position)
            return Either.right({ _tag: "Behind", live: Position.make(live.position) })
          for (const { part: kind, row } of parts) if (kind === "f" && row !== part.row) drop(row.name)
          // The one that comes gives its name to the one that goes, by way of a name that nobody can have.
          move(part.row.name, `${name}~`, 0, nowMs)
          if (live !== undefined && keepFormer) move(name, partName(name, "f", generation), 0, nowMs)
          move(`${name}~`, name, (live?.epoch ?? 0) + 1, nowMs)
          return Either.right({ _tag: "Swapped" })
        }),
      discard: ({ name }, generation) =>
        step(() => {
          for (const part of partsOf(name)) if (part.generation === generation) drop(part.row.name)
          return Either.void
        }),
      empty: ({ name, version }) =>
        step((nowMs) => {
          const epoch = (checkpoints.find(name)?.epoch ?? 0) + 1
          checkpoints.restart({ name, position: 0, revision: version, epoch, updatedAtMs: nowMs })
          models.delete(name)
          return Either.void
        }),
      remove: ({ name }) =>
        step(() => {
          for (const part of partsOf(name)) drop(part.row.name)
          drop(name)
          return Either.void
        }),
      list: (projection, listing) =>
        unless(unlessFold(projection) ?? listingFault(listing), () => {
          const { after, limit } = listing
          const page = [...rowsOf(projection.name)]
            .filter(([key]) => after === undefined || compareUtf8(key, after) > 0)
            .sort(([a], [b]) => compareUtf8(a, b))
            .slice(0, limit)
          return Effect.map(decodeAll("list", projection.strength, page), (rows) =>
            rows.map(([key, row]) => ({ key, row }))
          )
        }),
      get: (projection, key) =>
        unless(unlessFold(projection), () => {
          const text = rowsOf(projection.name).get(key)
          return text === undefined
            ? Effect.succeedNone
            : Effect.map(decodeAll("get", projection.strength, [[key, text]]), ([first]) =>
                Option.some(first![1])
              )
        })
    })
  })

// ---- internal: what can be kept ----

const refusal = (projection: Projection<unknown, unknown>): ModelRefused | undefined => {
  const fault = projectionFault(projection)
  if (fault !== undefined) return refuse(projection, fault.message)
  const { strength } = projection
  return strength._tag !== "Fold" && strength.place === "sql"
    ? refuse(projection, "its handlers need the SQL database of their model store, and this one is in memory")
    : undefined
}

const unlessFold = (projection: Projection): ModelRefused | undefined =>
  projection.strength._tag === "Fold" ? undefined : refuse(projection, "rows are listed of a fold only")

const unless = <Fault, A, E>(fault: Fault | undefined, use: () => Effect.Effect<A, E>) =>
  Effect.suspend((): Effect.Effect<A, E | Fault> => (fault === undefined ? use() : Effect.fail(fault)))

const refuse = ({ name }: Plain, reason: string): ModelRefused =>
  new ModelRefused({ projectionName: name, reason })

const listingFault = (listing: { readonly after?: unknown; readonly limit: number }) => {
  const { after, limit } = listing
  if (!(Number.isSafeInteger(limit) && limit >= 1 && limit <= pageRowsMax))
    return invalid("limit", `an integer of 1 to ${pageRowsMax} rows`, limit)
  const fault = after === undefined ? undefined : textFault(after, keyCodePointsMax)
  return fault === undefined ? undefined : invalid("after", `a key; this one ${fault}`, after)
}

// ---- internal: folds ----

/** Longest key of a row. Unit: code points. */
const keyCodePointsMax = 255

/**
 * The rows that a page of events changes, as they are afterwards; `undefined` for those that it removes. A key that
 * an event names twice is concerned once.
 */
const foldPage = (
  fold: Fold<unknown>,
  events: ReadonlyArray<RecordedEvent>,
  stored: ReadonlyMap<string, string>
): Either.Either<ReadonlyMap<string, string | undefined>, HandlerError | StoreUnavailable> => {
  const decode = Schema.decodeUnknownSync(fold.row)
  const encode = Schema.encodeSync(fold.row)
  const current = new Map<string, { readonly row: unknown; readonly event: RecordedEvent }>()
  for (const event of events) {
    let at = ""
    let isStored = false
    try {
      for (const key of keysOf(fold, event)) {
        at = key
        const known = current.get(key)
        const text = known === undefined ? stored.get(key) : undefined
        isStored = text !== undefined
        const before = text === undefined ? known?.row : decode(JSON.parse(text))
        isStored = false
        current.set(key, {
          row: fold.evolve(before === undefined ? fold.initial(key) : before, event, key),
          event
        })
      }
    } catch (cause) {
      return Either.left(isStored ? broken("apply", at, cause) : handlerError(event, cause))
    }
  }
  const changed = new Map<string, string | undefined>()
  for (const [key, { event, row }] of current) {
    try {
      changed.set(key, row === undefined ? undefined : jsonOf(encode(row)))
    } catch (cause) {
      return Either.left(handlerError(event, cause))
    }
  }
  return Either.right(changed)
}

const keysOf = (fold: Fold<unknown>, event: RecordedEvent): Iterable<string> => {
  const key = fold.key(event)
  if (key === undefined) return []
  const keys = new Set(typeof key === "string" ? [key] : key)
  for (const key of keys) {
    const fault = textFault(key, keyCodePointsMax)
    if (fault !== undefined)
      throw invalid("key", `1 to ${keyCodePointsMax} characters; this one ${fault}`, key)
  }
  return keys
}

const jsonOf = (encoded: unknown): string => {
  const fault = jsonFault("row", encoded)
  if (fault !== undefined) throw invalid(fault.path, `a JSON value; this one ${fault.reason}`, encoded)
  return JSON.stringify(encoded)
}

const decodeAll = <Row>(
  operation: string,
  { row }: Fold<Row>,
  stored: ReadonlyArray<readonly [key: string, text: string]>
): Either.Either<ReadonlyArray<readonly [key: string, row: Row]>, StoreUnavailable> => {
  const decode = Schema.decodeUnknownSync(row)
  const rows: Array<readonly [string, Row]> = []
  for (const [key, text] of stored) {
    try {
      rows.push([key, decode(JSON.parse(text))])
    } catch (cause) {
      return Either.left(broken(operation, key, cause))
    }
  }
  return Either.right(rows)
}

/** A stored row is not what the projection's schema says: its form changed, and its version did not. */
const broken = (operation: string, key: string, cause: unknown): StoreUnavailable =>
  new StoreUnavailable({
    operation,
    transient: false,
    cause: new Error(`the row of key ${JSON.stringify(key)} does not have the form of the projection`, {
      cause
    })
  })

// ---- internal: handlers ----

const runHandlers = <E, R>(
  strength: Handlers<E, R> | Batch<E, R>,
  events: ReadonlyArray<RecordedEvent>,
  context: ProjectionContext
): Effect.Effect<void, HandlerError | LeaseLost, R> => {
  if (strength._tag === "Handlers")
    return Effect.forEach(
      events,
      (event) => runHandler(event, () => strength.handlerOf(event)?.(event, context)),
      { discard: true }
    )
  // A page that fails names its first event: which one it was, only the handler knows.
  return events.length === 0 ? Effect.void : runHandler(events[0]!, () => strength.onBatch(events, context))
}

const runHandler = <E, R>(
  event: RecordedEvent,
  handler: () => Effect.Effect<unknown, E, R> | void
): Effect.Effect<void, HandlerError | LeaseLost, R> =>
  Effect.suspend(() => handler() ?? Effect.void).pipe(
    Effect.asVoid,
    // Who is stopped from outside never comes here: an interruption in the cause is the handler's own.
    Effect.catchAllCause((cause) => {
      const reason = Cause.squash(cause)
      return Effect.fail(reason instanceof LeaseLost ? reason : handlerError(event, reason))
    })
  )

const handlerError = ({ position, streamId, type }: RecordedEvent, cause: unknown): HandlerError =>
  new HandlerError({ eventType: type, streamId, position, cause })

// ---- internal: checkpoints ----

type Plain = Pick<Projection, "name" | "version">

/** A model beside the live one, by its checkpoint. */
interface Part {
  readonly part: "b" | "f"
  readonly generation: number
  readonly row: ProjectionRow
}

const newest = (parts: ReadonlyArray<Part>, kind: Part["part"]): Option.Option<Generation> => {
  const [part] = parts.filter(({ part }) => part === kind).sort((a, b) => b.generation - a.generation)
  return part === undefined
    ? Option.none()
    : Option.some({
        generation: part.generation,
        position: Position.make(part.row.position),
        version: Option.fromNullable(part.row.revision)
      })
}

const overtaken = (name: string): LeaseLost => new LeaseLost({ key: name, holder: "" })

/** Names were looked at when the model was opened, and epochs and streams are those of the types. */
const known = <A, E>(effect: Effect.Effect<A, E | InvalidArgument>) =>
  Effect.catchIf(effect, (error): error is InvalidArgument => error instanceof InvalidArgument, Effect.die)

const noRows: ReadonlyMap<string, string> = new Map()

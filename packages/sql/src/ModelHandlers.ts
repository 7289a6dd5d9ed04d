/**
 * Runs the handlers of a page, one after another, and says what their failures mean.
 *
 * A failure or a throw is a `HandlerError` that names the event (of a batch: the first one of its page), with these
 * exceptions: a lease that was lost is passed on; a fault of the store that goes away by itself (a lost connection,
 * a deadlock, a serialization failure) is the store's and not the event's; who is interrupted stays interrupted.
 */
import { LeaseLost } from "@millrace/core/LeaseLost"
import type { HandlerError } from "@millrace/core/EngineError"
import type { RecordedEvent } from "@millrace/core/Event"
import { ShadowUnsupported } from "@millrace/core/ModelStore"
import type { Lease } from "@millrace/core/Lease"
import type { Batch, Handlers, ProjectionContext } from "@millrace/core/Projection"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import { SqlError } from "@effect/sql/SqlError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { handlerError } from "./FoldPage.js"

/** The tables of one model. */
export interface HandlerTables {
  readonly projectionName: string
  /** The name that each declared table has here. */
  readonly names: ReadonlyMap<string, string>
  /** Whether the model is built beside the live one: then the handlers must ask for the names. */
  readonly isShadow: boolean
  /** What an error of the driver means. */
  readonly storeUnavailable: (cause: unknown) => StoreUnavailable
}

/** What running handlers can fail with. */
export type HandlersFailure = HandlerError | LeaseLost | ShadowUnsupported | StoreUnavailable

/** Runs the handlers of a page. */
export const runHandlers = <E, R>(
  strength: Handlers<E, R> | Batch<E, R>,
  events: ReadonlyArray<RecordedEvent>,
  lease: Lease | undefined,
  tables: HandlerTables
): Effect.Effect<void, HandlersFailure, R> =>
  Effect.suspend(() => {
    let handled = 0
    let asked = 0
    const context: ProjectionContext = {
      lease,
      table: (name) => {
        const here = tables.names.get(name)
        if (here === undefined) throw new Error(`table is not declared. table=${name}`)
        asked++
        return here
      }
    }
    const run = (event: RecordedEvent, handler: () => Effect.Effect<unknown, E, R> | void) =>
      Effect.suspend(() => {
        handled++
        return handler() ?? Effect.void
      }).pipe(
        Effect.asVoid,
        Effect.catchAllCause((cause) => Effect.failCause(failureOf(event, cause, tables)))
      )
    const all =
      strength._tag === "Batch"
        ? events.length === 0
          ? Effect.void
          : run(events[0]!, () => strength.onBatch(events, context))
        : Effect.forEach(
            events,
            (event) => {
              const handler = strength.handlerOf(event)
              return handler === undefined ? Effect.void : run(event, () => handler(event, context))
            },
            { discard: true }
          )
    if (!tables.isShadow) return all
    return Effect.zipRight(
      all,
      Effect.suspend(() => (handled > 0 && asked === 0 ? unsupported(tables) : Effect.void))
    )
  })

// ---- internal ----

const unsupported = ({ names, projectionName }: HandlerTables): ShadowUnsupported =>
  new ShadowUnsupported({
    projectionName,
    reason:
      names.size === 0
        ? "its handlers have no tables declared"
        : "its handlers did not ask context.table for the name of any of their tables"
  })

/**
 * What a cause means. Whoever is interrupted from outside never comes here: a handler that interrupts itself has
 * failed, and would else be handed its event for ever.
 */
const failureOf = <E>(
  event: RecordedEvent,
  cause: Cause.Cause<E>,
  { storeUnavailable }: HandlerTables
): Cause.Cause<HandlersFailure> => {
  const reason: unknown = Cause.squash(cause)
  if (reason instanceof LeaseLost) return Cause.fail(reason)
  if (reason instanceof StoreUnavailable && reason.transient) return Cause.fail(reason)
  if (reason instanceof SqlError) {
    const fault = storeUnavailable(reason)
    if (fault.transient) return Cause.fail(fault)
  }
  return Cause.fail(handlerError(event, reason))
}

/**
 * Every actor that is alive, by its name: what runs in this process can be seen, paused, resumed and stopped from
 * here, without knowing who made it.
 *
 * Promises:
 *
 *  1. No two living actors have one name. A name is free again when `stop` or `await` of its actor returns.
 *  2. When the scope of the registry's layer closes, every actor of it is stopped, each as its own `shutdown`
 *     says, and none can be made any more.
 *
 * It keeps the failures of actors that ended by one, the newest 100 of them: an actor that is gone can no longer
 * be asked.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { ActorNameTaken } from "./ActorError.js"
import type { ActorFailed } from "./ActorError.js"
import type { ActorHandle } from "./ActorRef.js"
import type { ActorStatus, StopMode } from "./ActorStatus.js"
import { compareUtf8 } from "./Text.js"

/** Which actors: one by its name, or all whose names begin with a text. `{ prefix: "" }` is all of them. */
export type ActorSelection = string | { readonly prefix: string }

/** What a registry needs to know of an actor, beside what everybody may. */
export interface ActorEntry extends ActorHandle {
  /** How it stops with the registry. */
  readonly shutdown: StopMode
}

/** The service. Its one layer is {@link layer}. */
export class ActorRegistry extends Context.Tag("@millrace/core/ActorRegistry")<
  ActorRegistry,
  {
    /** Those that are alive, in byte order of their names. Default: all of them. */
    readonly list: (selection?: ActorSelection) => Effect.Effect<ReadonlyArray<ActorStatus>>

    /** The living actor of this name. */
    readonly get: (name: string) => Effect.Effect<Option.Option<ActorHandle>>

    /**
     * Pauses all that are selected, at once, and returns when each has finished its message in hand. Gives the
     * number of them: 0 for a name that nobody has.
     */
    readonly pause: (selection: ActorSelection) => Effect.Effect<number>

    /** Lets all that are selected go on. Gives the number of them. */
    readonly resume: (selection: ActorSelection) => Effect.Effect<number>

    /**
     * Stops all that are selected, at once, and returns when each has ended. Gives the number of them. Where
     * some tell others what they have handled, close their scopes instead, which stops the newest first.
     *
     * `mode` default: each one's own `shutdown`.
     */
    readonly stop: (
      selection: ActorSelection,
      options?: { readonly mode?: StopMode | undefined }
    ) => Effect.Effect<number>

    /** Stops all, also those that are made meanwhile, until none is left. Gives the number of them. */
    readonly stopAll: (options?: { readonly mode?: StopMode | undefined }) => Effect.Effect<number>

    /** The last status of actors that ended by a failure, newest last, at most 100. */
    readonly failures: Effect.Effect<ReadonlyArray<ActorStatus>>

    /**
     * Never succeeds. Fails when an actor ends by a failure that its supervision escalates, and for ever after:
     * race the program's main effect against it, so that it ends too.
     */
    readonly escalated: Effect.Effect<never, ActorFailed>

    /**
     * Enters an actor: for `Actor.make`, which calls it once. What it gives takes the entry out again, and tells
     * how the actor ended. Interrupts the caller when the registry has closed.
     */
    readonly register: (actor: ActorEntry) => Effect.Effect<Registration, ActorNameTaken>
  }
>() {}

/** Takes an actor out of its registry. `failed`: its last status; `escalated`: for who waits for that. */
export type Registration = (end: {
  readonly failed?: ActorStatus | undefined
  readonly escalated?: ActorFailed | undefined
}) => void

/** Most failures that a registry remembers. Unit: actors. */
export const failuresMax = 100

/** Builds an empty registry. Closing the scope stops its actors. */
export const make: Effect.Effect<ActorRegistry["Type"], never, Scope.Scope> = Effect.gen(function* () {
  const actors = new Map<string, ActorEntry>()
  const escalated = yield* Deferred.make<never, ActorFailed>()
  let failures: ReadonlyArray<ActorStatus> = []
  let isClosed = false

  const select = (selection: ActorSelection): ReadonlyArray<ActorEntry> => {
    if (typeof selection !== "string") {
      return [...actors.values()].filter((actor) => actor.name.startsWith(selection.prefix))
    }
    const actor = actors.get(selection)
    return actor === undefined ? [] : [actor]
  }

  /** To all at once: one that takes its time must not keep the others from being told. */
  const each = (
    selection: ActorSelection,
    command: (actor: ActorEntry) => Effect.Effect<void>
  ): Effect.Effect<number> =>
    Effect.suspend(() => {
      const selected = select(selection)
      return Effect.as(
        Effect.forEach(selected, command, { concurrency: "unbounded", discard: true }),
        selected.length
      )
    })

  const stop: ActorRegistry["Type"]["stop"] = (selection, options) =>
    each(selection, (actor) => actor.stop({ mode: options?.mode ?? actor.shutdown }))

  const stopAll: ActorRegistry["Type"]["stopAll"] = (options) =>
    Effect.gen(function* () {
      let count = 0
      while (actors.size > 0) count += yield* stop({ prefix: "" }, options)
      return count
    })

  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      isClosed = true
      return stopAll()
    })
  )

  return ActorRegistry.of({
    list: (selection = { prefix: "" }) =>
      Effect.suspend(() =>
        Effect.forEach(
          select(selection).toSorted((a, b) => compareUtf8(a.name, b.name)),
          (actor) => actor.status
        )
      ),
    get: (name) => Effect.sync(() => Option.fromNullable(actors.get(name))),
    pause: (selection) => each(selection, (actor) => actor.pause),
    resume: (selection) => each(selection, (actor) => actor.resume),
    stop,
    stopAll,
    failures: Effect.sync(() => failures),
    escalated: Deferred.await(escalated),
    register: (actor) =>
      Effect.suspend(() => {
        if (isClosed) return Effect.interrupt
        if (actors.has(actor.name)) return Effect.fail(new ActorNameTaken({ actor: actor.name }))
        actors.set(actor.name, actor)
        return Effect.succeed<Registration>((end) => {
          actors.delete(actor.name)
          if (end.failed !== undefined) failures = [...failures, end.failed].slice(-failuresMax)
          if (end.escalated !== undefined) Deferred.unsafeDone(escalated, Effect.fail(end.escalated))
        })
      })
  })
})

/** An empty registry for each build of the layer; closing it stops its actors. */
export const layer: Layer.Layer<ActorRegistry> = Layer.scoped(ActorRegistry, make)

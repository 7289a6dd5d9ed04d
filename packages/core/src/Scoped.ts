/**
 * Scopes that end without forgetting an interruption.
 *
 * A finalizer of `Effect.addFinalizer` (and so of `acquireRelease`) runs with the fiber's references as they were
 * when it was added, and afterwards puts back those of before. Whether the fiber was interrupted is one of them: an
 * interruption that comes while a finalizer runs is put away with the rest, when it is not the first that this fiber
 * runs (Effect 3.22; `docs/decisions/008-scopes.md` has the program that shows it). A fiber that has more to do after
 * the scope then does it for ever, and whoever interrupted it waits as long.
 *
 * Here the finalizers run in a fiber of their own, and this one only waits for it. Everything in these packages that
 * goes on after a scope uses this.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"

/** `Scope.close`, in a fiber of its own. Not interruptible; fails with what a finalizer dies of. */
export const close = (scope: Scope.CloseableScope, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  Effect.uninterruptible(
    Effect.flatMap(Effect.forkDaemon(Scope.close(scope, exit)), (fiber) => Effect.flatten(Fiber.await(fiber)))
  )

/**
 * `Effect.scoped`: closes the scope when the effect has ended, in a fiber of its own.
 *
 * @example
 * ```ts
 * const turns = Effect.forever(Scoped.scoped(Effect.zipRight(leaseOfThisTurn, work)))
 * ```
 */
export const scoped = <A, E, R>(
  effect: Effect.Effect<A, E, R>
): Effect.Effect<A, E, Exclude<R, Scope.Scope>> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(Scope.make(), (scope) =>
      Effect.flatMap(Effect.exit(restore(Scope.extend(effect, scope))), (exit) =>
        Effect.flatMap(Effect.exit(close(scope, exit)), (closed): Effect.Effect<A, E> => {
          if (Exit.isSuccess(closed)) return exit
          return Effect.failCause(
            Exit.isSuccess(exit) ? closed.cause : Cause.sequential(exit.cause, closed.cause)
          )
        })
      )
    )
  )

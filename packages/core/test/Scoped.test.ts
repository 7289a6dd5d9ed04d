/**
 * An interruption that comes while finalizers run is not forgotten. `Effect.scoped` forgets it, which is asserted
 * too: when that changes, `Scoped` has done its work.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Scoped from "@millrace/core/Scoped"
import { Cause, Deferred, Effect, Exit, Fiber, Option, Scope } from "effect"
import type { Duration } from "effect"

/** Goes on for ever after a scope with a finalizer that takes as long as it is told; says when that has begun. */
const goingOn = (
  scoped: (effect: Effect.Effect<void, never, Scope.Scope>) => Effect.Effect<void>,
  began: Deferred.Deferred<void>,
  end: Deferred.Deferred<void>
) =>
  scoped(
    Effect.zipRight(
      Effect.addFinalizer(() => Effect.zipRight(Deferred.succeed(began, undefined), Deferred.await(end))),
      // The first that runs makes way for the second to forget.
      Effect.addFinalizer(() => Effect.void)
    )
  ).pipe(Effect.zipRight(Effect.never))

/** Whether it ends when it is interrupted while its finalizer runs. */
const endsInTime = (
  scoped: (effect: Effect.Effect<void, never, Scope.Scope>) => Effect.Effect<void>,
  time: Duration.DurationInput
) =>
  Effect.gen(function* () {
    const began = yield* Deferred.make<void>()
    const end = yield* Deferred.make<void>()
    const fiber = yield* Effect.forkDaemon(goingOn(scoped, began, end))
    yield* Deferred.await(began)
    yield* Fiber.interruptFork(fiber)
    yield* Effect.yieldNow()
    yield* Deferred.succeed(end, undefined)
    return Option.isSome(yield* Effect.timeoutOption(Fiber.await(fiber), time))
  })

describe("Scoped", () => {
  it.live("an interruption that comes while a finalizer runs ends the fiber", () =>
    Effect.gen(function* () {
      assert.isTrue(yield* endsInTime(Scoped.scoped, "5 seconds"))
    })
  )

  it.live("as it does not in Effect itself", () =>
    Effect.gen(function* () {
      assert.isFalse(yield* endsInTime(Effect.scoped, "100 millis"))
    })
  )

  it.effect("finalizers have run, in reverse, and know how it ended, before it has", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const note = (name: string) =>
        Effect.addFinalizer((exit) => Effect.sync(() => void seen.push(`${name} ${exit._tag}`)))
      const exit = yield* Effect.exit(
        Scoped.scoped(Effect.all([note("first"), note("second"), Effect.fail("no")]))
      )
      assert.deepStrictEqual(seen, ["second Failure", "first Failure"])
      assert.deepStrictEqual(exit, Exit.fail("no"))
      assert.strictEqual(yield* Scoped.scoped(Effect.as(note("third"), 3)), 3)
      assert.strictEqual(seen.at(-1), "third Success")
    })
  )

  it.effect("what a finalizer dies of is not lost", () =>
    Effect.gen(function* () {
      const dying = Effect.addFinalizer(() => Effect.die("worse"))
      const alone = yield* Effect.exit(Scoped.scoped(dying))
      assert.deepStrictEqual(Exit.isFailure(alone) && [...Cause.defects(alone.cause)], ["worse"])
      const both = yield* Effect.exit(Scoped.scoped(Effect.zipRight(dying, Effect.fail("no"))))
      assert.isTrue(Exit.isFailure(both))
      if (Exit.isFailure(both)) {
        assert.deepStrictEqual([...Cause.failures(both.cause)], ["no"])
        assert.deepStrictEqual([...Cause.defects(both.cause)], ["worse"])
      }
      const scope = yield* Scope.make()
      yield* Scope.extend(dying, scope)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Scoped.close(scope, Exit.void))))
    })
  )
})

/** What follows a failure: each directive, the schedule that bounds it, and that no failure goes unseen. */
import { assert, describe, it } from "@effect/vitest"
import * as Actor from "@millrace/core/Actor"
import { ActorFailed, ActorStopped } from "@millrace/core/ActorError"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"

const scoped = <A, E>(
  name: string,
  test: () => Effect.Effect<A, E, ActorRegistry.ActorRegistry | Scope.Scope>
) => it.scoped(name, () => Effect.provide(test(), ActorRegistry.layer))

type Message = "fail" | "die" | "throw" | "interrupt" | number | Actor.Reply<number>

/** Adds numbers to a state that begins with the number of times it was loaded. */
const summing = (supervision: Actor.Supervision<Message, string>) =>
  Effect.gen(function* () {
    let loads = 0
    const actor = yield* Actor.make({
      name: "sum",
      supervision,
      initial: Effect.sync(() => 100 * ++loads),
      receive: (sum, message: Message): Effect.Effect<number, string> => {
        if (message === "fail") return Effect.fail("failed")
        if (message === "die") return Effect.die("died")
        if (message === "interrupt") return Effect.interrupt
        if (message === "throw") throw new Error("thrown")
        return typeof message === "number"
          ? Effect.succeed(sum + message)
          : Effect.as(message.succeed(sum), sum)
      }
    })
    return { actor, sum: actor.ask((reply: Actor.Reply<number>) => reply) }
  })

const atOnce = Schedule.forever

describe("supervision", () => {
  scoped("without a word about it a failure stops the actor and is what await fails with", () =>
    Effect.gen(function* () {
      const { actor, sum } = yield* summing({})
      yield* actor.tell(1)
      yield* actor.tell("fail")
      yield* actor.tell(2)
      assert.strictEqual(yield* Effect.flip(actor.await), "failed")
      const { counters, lastFailure, phase } = yield* actor.status
      assert.strictEqual(phase, "stopped")
      assert.deepStrictEqual(Option.getOrThrow(lastFailure).cause, Cause.fail("failed"))
      assert.deepStrictEqual(counters, {
        received: 3,
        handled: 1,
        failed: 1,
        dropped: 1,
        refused: 0,
        restarts: 0
      })
      assert.instanceOf(yield* Effect.flip(sum), ActorStopped)
    })
  )

  scoped("restart runs initial again; the failed message is not handled again, the others are", () =>
    Effect.gen(function* () {
      const { actor, sum } = yield* summing({ onFailure: "restart", schedule: atOnce })
      yield* actor.tell(1)
      assert.strictEqual(yield* sum, 101)
      yield* actor.tell("fail")
      yield* actor.tell(2)
      assert.strictEqual(yield* sum, 202)
      const { counters } = yield* actor.status
      assert.strictEqual(counters.restarts, 1)
      assert.strictEqual(counters.failed, 1)
      assert.strictEqual(counters.handled, 4)
    })
  )

  scoped("restart runs initial at once, not with the next message", () =>
    Effect.gen(function* () {
      const loaded: Array<number> = []
      const actor = yield* Actor.make({
        name: "poll",
        supervision: { onFailure: "restart", schedule: atOnce },
        // Only so can an actor that keeps itself going be restarted.
        initial: (self: Actor.ActorRef<string>) =>
          Effect.sync(() => void loaded.push(loaded.length)).pipe(
            Effect.zipRight(Effect.ignore(self.tell("go on")))
          ),
        receive: (state, message: string) =>
          loaded.length < 3 ? Effect.fail(message) : Effect.succeed(state)
      })
      yield* actor.tell("begin")
      while ((yield* actor.status).counters.handled < 1) yield* Effect.yieldNow()
      assert.deepStrictEqual(loaded, [0, 1, 2])
    })
  )

  scoped("resume keeps the state as it was before the message", () =>
    Effect.gen(function* () {
      const { actor, sum } = yield* summing({ onFailure: "resume", schedule: atOnce })
      yield* actor.tell(1)
      yield* actor.tell("fail")
      yield* actor.tell(2)
      assert.strictEqual(yield* sum, 103)
      assert.strictEqual((yield* actor.status).counters.restarts, 0)
    })
  )

  scoped("defects, thrown errors and interruptions from within are failures like any other", () =>
    Effect.gen(function* () {
      const { actor, sum } = yield* summing({ onFailure: "resume", schedule: atOnce })
      for (const message of ["die", "throw", "interrupt"] as const) {
        yield* actor.tell(message)
        yield* sum
        const cause = Option.getOrThrow((yield* actor.status).lastFailure).cause
        assert.strictEqual(Cause.isInterruptedOnly(cause), message === "interrupt")
        assert.strictEqual(Cause.isDie(cause), message !== "interrupt")
      }
      assert.strictEqual((yield* actor.status).counters.failed, 3)
      assert.strictEqual(yield* sum, 100)
    })
  )

  scoped("a defect that stops it is kept as the cause", () =>
    Effect.gen(function* () {
      const { actor } = yield* summing({ onFailure: "stop" })
      yield* actor.tell("die")
      const exit = yield* Effect.exit(actor.await)
      assert.deepStrictEqual(exit, Exit.die("died"))
      assert.deepStrictEqual(Option.getOrThrow((yield* actor.status).lastFailure).cause, Cause.die("died"))
    })
  )

  scoped("a function decides by the failure, and is shown the message that is not handled again", () =>
    Effect.gen(function* () {
      const seen: Array<Message> = []
      const { actor, sum } = yield* summing({
        schedule: atOnce,
        onFailure: (cause, message) => {
          if (Option.isSome(message)) seen.push(message.value)
          return Cause.isDie(cause) ? "restart" : "resume"
        }
      })
      yield* actor.tell(1)
      yield* actor.tell("fail")
      assert.strictEqual(yield* sum, 101)
      yield* actor.tell("die")
      assert.strictEqual(yield* sum, 200)
      assert.deepStrictEqual(seen, ["fail", "die"])
    })
  )

  scoped("where that function throws, the actor stops with both causes", () =>
    Effect.gen(function* () {
      const { actor } = yield* summing({
        onFailure: () => {
          throw new Error("undecided")
        }
      })
      yield* actor.tell("fail")
      const cause = Option.getOrThrow(Exit.causeOption(yield* Effect.exit(actor.await)))
      assert.deepStrictEqual(Array.from(Cause.failures(cause)), ["failed"])
      assert.strictEqual(Array.from(Cause.defects(cause)).length, 1)
    })
  )

  scoped("the schedule says how long to wait, in TestClock's time", () =>
    Effect.gen(function* () {
      const { actor, sum } = yield* summing({ onFailure: "restart", schedule: Schedule.spaced("10 seconds") })
      yield* actor.tell("fail")
      const asked = yield* Effect.fork(Effect.exit(sum))
      yield* TestClock.adjust("4999 millis")
      assert.isNull(asked.unsafePoll())
      assert.isFalse((yield* actor.status).busy)
      yield* TestClock.adjust("1 millis")
      assert.isTrue(Exit.isFailure(yield* Fiber.join(asked)))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* sum, 200)
    })
  )

  scoped("a schedule that is done stops the actor by the failure", () =>
    Effect.gen(function* () {
      const { actor } = yield* summing({ onFailure: "restart", schedule: Schedule.recurs(2) })
      yield* Effect.forEach(["fail", "fail", "fail", 1] as const, actor.tell)
      assert.strictEqual(yield* Effect.flip(actor.await), "failed")
      const { counters } = yield* actor.status
      assert.strictEqual(counters.failed, 3)
      assert.strictEqual(counters.dropped, 1)
    })
  )

  scoped("a message that was handled begins the schedule anew: it counts failures in a row", () =>
    Effect.gen(function* () {
      const { actor, sum } = yield* summing({ onFailure: "resume", schedule: Schedule.recurs(2) })
      for (let round = 0; round < 5; round++) {
        yield* actor.tell("fail")
        yield* actor.tell("fail")
        yield* actor.tell(1)
      }
      assert.strictEqual(yield* sum, 105)
    })
  )

  scoped("the default delay doubles from 100 ms to 30 seconds and stays there", () =>
    Effect.gen(function* () {
      const loadedAtMs: Array<number> = []
      const actor = yield* Actor.make({
        name: "hopeless",
        supervision: { onFailure: "restart" },
        initial: Effect.flatMap(Clock.currentTimeMillis, (nowMs) => {
          loadedAtMs.push(nowMs)
          return Effect.fail("failed")
        }),
        receive: () => Effect.void
      })
      yield* actor.tell(undefined)
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(
        loadedAtMs.slice(1).map((atMs, i) => atMs - loadedAtMs[i]!),
        [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]
      )
    })
  )

  scoped("a failing initial is tried again, and the messages wait for it", () =>
    Effect.gen(function* () {
      let loads = 0
      const actor = yield* Actor.make({
        name: "lease",
        supervision: { onFailure: "resume", schedule: Schedule.recurs(3) },
        initial: Effect.suspend(() => (++loads < 3 ? Effect.fail("held") : Effect.succeed(loads))),
        receive: (state, reply: Actor.Reply<number>) => Effect.as(reply.succeed(state), state)
      })
      assert.strictEqual(yield* actor.ask((reply: Actor.Reply<number>) => reply), 3)
      const { counters } = yield* actor.status
      assert.strictEqual(counters.restarts, 2)
      assert.strictEqual(counters.failed, 0)
    })
  )

  scoped("escalate ends the actor and tells the registry, for ever", () =>
    Effect.gen(function* () {
      const registry = yield* ActorRegistry.ActorRegistry
      const main = yield* Effect.fork(Effect.flip(Effect.raceFirst(Effect.never, registry.escalated)))
      const { actor } = yield* summing({ onFailure: "escalate" })
      yield* actor.tell("fail")
      const failed = new ActorFailed({ actor: "sum", cause: "failed" })
      assert.deepStrictEqual(yield* Fiber.join(main), failed)
      assert.strictEqual(yield* Effect.flip(actor.await), "failed")
      assert.deepStrictEqual(yield* Effect.flip(registry.escalated), failed)
    })
  )

  scoped("a restart fails the asks that only the lost state knew of", () =>
    Effect.gen(function* () {
      const actor = yield* Actor.make({
        name: "keeper",
        supervision: { onFailure: "restart", schedule: atOnce },
        initial: Effect.succeed<ReadonlyArray<Actor.Reply<string>>>([]),
        receive: (kept, message: "fail" | Actor.Reply<string>) =>
          message === "fail" ? Effect.fail("failed") : Effect.succeed([...kept, message])
      })
      const asked = yield* Effect.fork(Effect.flip(actor.ask((reply: Actor.Reply<string>) => reply)))
      while ((yield* actor.status).counters.handled < 1) yield* Effect.yieldNow()
      yield* actor.tell("fail")
      assert.deepStrictEqual(yield* Fiber.join(asked), new ActorFailed({ actor: "keeper", cause: "failed" }))
    })
  )

  scoped("what initial and receive acquire and fork lasts until the restart or the end", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      let life = 0
      const actor = yield* Actor.make({
        name: "resources",
        supervision: { onFailure: "restart", schedule: atOnce },
        initial: Effect.suspend(() => {
          const own = ++life
          log.push(`open ${own}`)
          return Effect.as(
            Effect.addFinalizer(() => Effect.sync(() => void log.push(`close ${own}`))),
            own
          )
        }),
        receive: (own, message: "fork" | "fail") =>
          message === "fail"
            ? Effect.fail("failed")
            : Effect.as(
                Effect.forkScoped(
                  Effect.onInterrupt(Effect.never, () =>
                    Effect.sync(() => void log.push(`interrupted ${own}`))
                  )
                ),
                own
              ).pipe(Effect.zipLeft(Effect.yieldNow())),
        onStop: (own) => Effect.sync(() => void log.push(`stop ${own}`))
      })
      yield* Effect.forEach(["fork", "fail", "fork"] as const, actor.tell)
      yield* actor.stop()
      assert.deepStrictEqual(log, [
        "open 1",
        "interrupted 1",
        "close 1",
        "open 2",
        "stop 2",
        "interrupted 2",
        "close 2"
      ])
    })
  )

  scoped("a failing onStop or finalizer is what await fails with", () =>
    Effect.gen(function* () {
      const make = (name: string, where: "onStop" | "finalizer" | "restart") =>
        Actor.make({
          name,
          supervision: { onFailure: "restart", schedule: atOnce },
          initial: where === "onStop" ? Effect.void : Effect.addFinalizer(() => Effect.die("not closed")),
          receive: () => (where === "restart" ? Effect.fail("failed") : Effect.void),
          onStop: () => (where === "onStop" ? Effect.fail("not saved") : Effect.void)
        })
      const onStop = yield* make("onStop", "onStop")
      yield* onStop.tell(undefined)
      yield* onStop.stop()
      assert.deepStrictEqual(yield* Effect.exit(onStop.await), Exit.fail("not saved"))
      const finalizer = yield* make("finalizer", "finalizer")
      yield* finalizer.tell(undefined)
      yield* finalizer.stop()
      assert.deepStrictEqual(yield* Effect.exit(finalizer.await), Exit.die("not closed"))
      const restart = yield* make("restart", "restart")
      yield* restart.tell(undefined)
      assert.deepStrictEqual(
        yield* Effect.exit(restart.await),
        Exit.failCause(Cause.sequential(Cause.fail("failed"), Cause.die("not closed")))
      )
    })
  )

  scoped("onStop sees the last state and how it ended", () =>
    Effect.gen(function* () {
      const ends: Array<readonly [number, string]> = []
      const make = (name: string) =>
        Actor.make({
          name,
          initial: Effect.succeed(0),
          receive: (count, message: string) =>
            message === "fail" ? Effect.fail(message) : Effect.succeed(count + 1),
          onStop: (count, end) => Effect.sync(() => void ends.push([count, end._tag]))
        })
      const failing = yield* make("failing")
      yield* Effect.forEach(["a", "b", "fail"], failing.tell)
      yield* Effect.exit(failing.await)
      const stopped = yield* make("stopped")
      yield* stopped.tell("a")
      yield* stopped.stop()
      const idle = yield* make("idle")
      yield* idle.stop()
      assert.deepStrictEqual(ends, [
        [2, "Failure"],
        [1, "Success"]
      ])
    })
  )

  scoped("runs with the services and fiber refs of its maker, not of its first sender", () =>
    Effect.gen(function* () {
      const ref = FiberRef.unsafeMake("default")
      const seen = yield* Deferred.make<string>()
      const actor = yield* Actor.make({
        name: "context",
        initial: Effect.void,
        receive: () => Effect.flatMap(FiberRef.get(ref), (value) => Deferred.succeed(seen, value))
      }).pipe(Effect.locally(ref, "maker"))
      yield* Effect.locally(actor.tell(undefined), ref, "sender")
      assert.strictEqual(yield* Deferred.await(seen), "maker")
    })
  )
})

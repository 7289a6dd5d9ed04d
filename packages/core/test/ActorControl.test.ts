/** Pausing, resuming and stopping: what they wait for, what becomes of messages, and that they never wait for themselves. */
import { assert, describe, it } from "@effect/vitest"
import * as Actor from "@millrace/core/Actor"
import { ActorStopped } from "@millrace/core/ActorError"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import type { StopMode } from "@millrace/core/ActorStatus"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"

const scoped = <A, E>(
  name: string,
  test: () => Effect.Effect<A, E, ActorRegistry.ActorRegistry | Scope.Scope>
) => it.scoped(name, () => Effect.provide(test(), ActorRegistry.layer))

/** Writes down what it handles; from `busy` on each message waits for `gate`. */
const recording = (options: { readonly capacity?: number; readonly shutdown?: StopMode } = {}) =>
  Effect.gen(function* () {
    const handled: Array<number> = []
    const interrupted: Array<number> = []
    const gate = yield* Effect.makeLatch(true)
    const actor = yield* Actor.make({
      name: "recording",
      mailbox: { capacity: options.capacity },
      shutdown: options.shutdown,
      initial: Effect.succeed(0),
      receive: (count, message: number) =>
        gate.await.pipe(
          Effect.onInterrupt(() => Effect.sync(() => void interrupted.push(message))),
          Effect.map(() => {
            handled.push(message)
            return count + 1
          })
        )
    })
    /** Makes it busy with a message until `gate` opens. */
    const busy = (message: number) =>
      Effect.gen(function* () {
        yield* gate.close
        yield* actor.tell(message)
        while (!(yield* actor.status).busy) yield* Effect.yieldNow()
      })
    return { actor, busy, gate, handled, interrupted }
  })

const settled = Effect.forEach(Array.from({ length: 20 }), () => Effect.yieldNow(), { discard: true })

describe("pause and resume", () => {
  scoped("pause returns when the message in hand is finished, and nothing is handled until resume", () =>
    Effect.gen(function* () {
      const { actor, busy, gate, handled } = yield* recording()
      yield* busy(1)
      yield* actor.tell(2)
      const pausing = yield* Effect.fork(actor.pause)
      const again = yield* Effect.fork(actor.pause)
      yield* settled
      assert.isNull(pausing.unsafePoll())
      const { busy: isBusy, phase } = yield* actor.status
      assert.deepStrictEqual([phase, isBusy], ["paused", true])
      yield* gate.open
      yield* Fiber.join(pausing)
      yield* Fiber.join(again)
      yield* settled
      assert.deepStrictEqual(handled, [1])
      yield* actor.pause
      yield* actor.resume
      yield* actor.resume
      yield* settled
      assert.deepStrictEqual(handled, [1, 2])
      assert.strictEqual((yield* actor.status).phase, "running")
    })
  )

  scoped("while paused the mailbox fills up to its bound, and then senders wait", () =>
    Effect.gen(function* () {
      const { actor, handled } = yield* recording({ capacity: 2 })
      yield* actor.tell(1)
      yield* settled
      yield* actor.pause
      const sending = yield* Effect.fork(Effect.forEach([2, 3, 4, 5], actor.tell, { discard: true }))
      yield* settled
      const { mailbox } = yield* actor.status
      assert.deepStrictEqual([mailbox.size, mailbox.senders], [2, 1])
      assert.deepStrictEqual(handled, [1])
      yield* actor.resume
      yield* Fiber.join(sending)
      yield* settled
      assert.deepStrictEqual(handled, [1, 2, 3, 4, 5])
    })
  )

  scoped("an actor paused before its first message starts with the resume", () =>
    Effect.gen(function* () {
      const { actor, handled } = yield* recording()
      yield* actor.pause
      assert.strictEqual((yield* actor.status).phase, "paused")
      yield* actor.resume
      assert.strictEqual((yield* actor.status).phase, "idle")
      yield* actor.pause
      yield* actor.tell(1)
      yield* settled
      assert.deepStrictEqual(handled, [])
      assert.isTrue((yield* actor.status).startedAt._tag === "None")
      yield* actor.resume
      yield* settled
      assert.deepStrictEqual(handled, [1])
    })
  )

  scoped("resume releases those who wait for a pause", () =>
    Effect.gen(function* () {
      const { actor, busy, gate } = yield* recording()
      yield* busy(1)
      const pausing = yield* Effect.fork(actor.pause)
      yield* settled
      yield* actor.resume
      yield* Fiber.join(pausing)
      assert.isTrue((yield* actor.status).busy)
      yield* gate.open
    })
  )

  scoped("an interrupted wait for a pause leaves the actor paused", () =>
    Effect.gen(function* () {
      const { actor, busy, gate, handled } = yield* recording()
      yield* busy(1)
      yield* actor.tell(2)
      const pausing = yield* Effect.fork(actor.pause)
      yield* settled
      yield* Fiber.interrupt(pausing)
      yield* gate.open
      yield* settled
      assert.deepStrictEqual(handled, [1])
    })
  )

  scoped("a paused actor whose delay ends does not restart before it is resumed", () =>
    Effect.gen(function* () {
      let loads = 0
      const actor = yield* Actor.make({
        name: "delayed",
        supervision: { onFailure: "restart", schedule: Schedule.spaced("1 second") },
        initial: Effect.sync(() => ++loads),
        receive: (load, message: string) => (message === "fail" ? Effect.fail(message) : Effect.succeed(load))
      })
      yield* actor.tell("fail")
      yield* settled
      yield* actor.pause
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(loads, 1)
      yield* actor.resume
      yield* settled
      assert.strictEqual(loads, 2)
    })
  )
})

describe("stop", () => {
  scoped("drain handles what is in the mailbox first", () =>
    Effect.gen(function* () {
      const { actor, busy, gate, handled } = yield* recording()
      yield* busy(1)
      yield* actor.tell(2)
      yield* actor.tell(3)
      const stopping = yield* Effect.fork(actor.stop())
      yield* settled
      assert.strictEqual((yield* actor.status).phase, "stopping")
      assert.instanceOf(yield* Effect.flip(actor.tell(4)), ActorStopped)
      yield* gate.open
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(handled, [1, 2, 3])
      assert.strictEqual((yield* actor.status).phase, "stopped")
      yield* actor.await
    })
  )

  scoped("finish finishes the message in hand and drops the others", () =>
    Effect.gen(function* () {
      const { actor, busy, gate, handled } = yield* recording()
      yield* busy(1)
      yield* actor.tell(2)
      const stopping = yield* Effect.fork(actor.stop({ mode: "finish" }))
      yield* settled
      assert.isNull(stopping.unsafePoll())
      yield* gate.open
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(handled, [1])
      assert.strictEqual((yield* actor.status).counters.dropped, 1)
    })
  )

  scoped("interrupt interrupts the message in hand and drops it with the others", () =>
    Effect.gen(function* () {
      const { actor, busy, handled, interrupted } = yield* recording()
      yield* busy(1)
      yield* actor.tell(2)
      yield* actor.stop({ mode: "interrupt" })
      assert.deepStrictEqual(handled, [])
      assert.deepStrictEqual(interrupted, [1])
      const { counters, lastFailure } = yield* actor.status
      assert.strictEqual(counters.dropped, 2)
      assert.strictEqual(counters.failed, 0)
      // The stop was asked for: it is no failure.
      assert.strictEqual(lastFailure._tag, "None")
      yield* actor.await
    })
  )

  scoped("a later stop makes it quicker, never slower", () =>
    Effect.gen(function* () {
      const { actor, busy, interrupted } = yield* recording()
      yield* busy(1)
      yield* actor.tell(2)
      const draining = yield* Effect.fork(actor.stop())
      yield* settled
      const interrupting = yield* Effect.fork(actor.stop({ mode: "interrupt" }))
      yield* actor.stop()
      yield* Fiber.join(draining)
      yield* Fiber.join(interrupting)
      assert.deepStrictEqual(interrupted, [1])
      yield* actor.stop()
    })
  )

  scoped("a paused actor drains when it is stopped", () =>
    Effect.gen(function* () {
      const { actor, handled } = yield* recording()
      yield* actor.pause
      yield* actor.tell(1)
      yield* actor.tell(2)
      yield* actor.stop()
      assert.deepStrictEqual(handled, [1, 2])
      assert.strictEqual((yield* actor.status).phase, "stopped")
      const other = yield* recording()
      yield* other.actor.tell(1)
      yield* settled
      yield* other.actor.pause
      yield* other.actor.tell(2)
      yield* other.actor.stop({ mode: "finish" })
      assert.deepStrictEqual(other.handled, [1])
    })
  )

  scoped("pausing and resuming a stopped or stopping actor change nothing", () =>
    Effect.gen(function* () {
      const { actor, busy, gate } = yield* recording()
      yield* busy(1)
      const stopping = yield* Effect.fork(actor.stop())
      yield* settled
      const pausing = yield* Effect.fork(actor.pause)
      yield* settled
      assert.isNull(pausing.unsafePoll())
      yield* actor.resume
      assert.strictEqual((yield* actor.status).phase, "stopping")
      yield* gate.open
      yield* Fiber.join(stopping)
      yield* Fiber.join(pausing)
      yield* actor.pause
      yield* actor.resume
      assert.strictEqual((yield* actor.status).phase, "stopped")
    })
  )

  scoped("an interrupted wait does not take the stop back", () =>
    Effect.gen(function* () {
      const { actor, busy, gate } = yield* recording()
      yield* busy(1)
      const stopping = yield* Effect.fork(actor.stop())
      yield* settled
      yield* Fiber.interrupt(stopping)
      yield* gate.open
      yield* actor.await
    })
  )

  scoped("within receive, pause, resume and stop return at once", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const actor = yield* Actor.make({
        name: "inside",
        initial: Effect.void,
        receive: (_, message: "pause" | "stop" | "last", self) =>
          Effect.gen(function* () {
            if (message === "pause") {
              yield* self.pause
              yield* self.resume
              yield* self.pause
            }
            // Also by way of a fiber that it waits for, and of the registry.
            if (message === "stop") {
              const registry = yield* ActorRegistry.ActorRegistry
              yield* registry.stopAll({ mode: "drain" }).pipe(Effect.timeoutOption("1 second"), Effect.fork)
              yield* Fiber.join(yield* Effect.fork(self.stop()))
            }
            log.push(message)
          })
      })
      yield* actor.tell("pause")
      yield* actor.tell("stop")
      yield* actor.tell("last")
      yield* settled
      assert.deepStrictEqual(log, ["pause"])
      yield* actor.resume
      yield* actor.await
      assert.deepStrictEqual(log, ["pause", "stop", "last"])
    })
  )

  scoped("within receive, interrupt ends the very message", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const actor = yield* Actor.make({
        name: "inside",
        initial: Effect.void,
        receive: (_, _message: string, self) =>
          Effect.zipRight(
            self.stop({ mode: "interrupt" }),
            Effect.sync(() => void log.push("went on"))
          )
      })
      yield* actor.tell("stop")
      yield* actor.await
      assert.deepStrictEqual(log, [])
    })
  )

  scoped("does not wait for a delay before a restart, nor for an initial that no message needs", () =>
    Effect.gen(function* () {
      const delayed = yield* Actor.make({
        name: "delayed",
        supervision: { onFailure: "restart", schedule: Schedule.spaced("1 hour") },
        initial: Effect.void,
        receive: () => Effect.fail("failed")
      })
      yield* delayed.tell(1)
      yield* settled
      yield* delayed.stop()
      yield* delayed.await
      const loading = yield* Actor.make({
        name: "loading",
        initial: Effect.never,
        receive: () => Effect.void
      })
      yield* loading.tell(1)
      yield* settled
      assert.isTrue((yield* loading.status).busy)
      yield* loading.stop({ mode: "finish" })
      yield* loading.await
      const asked = yield* Actor.make({
        name: "asked",
        initial: Effect.asVoid(Effect.never),
        receive: (_state: void, _reply: Actor.Reply<string>) => Effect.void
      })
      const asking = yield* Effect.fork(Effect.exit(asked.ask((reply: Actor.Reply<string>) => reply)))
      yield* settled
      const stopping = yield* Effect.fork(asked.stop())
      yield* settled
      assert.isNull(stopping.unsafePoll())
      // The asker gives up, and with it the one message that the drain was for.
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(stopping)
      assert.isTrue(Exit.isFailure(yield* Fiber.join(asking)))
    })
  )

  scoped("a drain comes to an end where every message fails, and where initial does", () =>
    Effect.gen(function* () {
      const failing = yield* Actor.make({
        name: "failing",
        supervision: { onFailure: "restart", schedule: Schedule.spaced("1 hour") },
        initial: Effect.void,
        receive: () => Effect.fail("failed")
      })
      yield* Effect.forEach([1, 2, 3], failing.tell)
      yield* failing.stop()
      const { counters } = yield* failing.status
      assert.deepStrictEqual([counters.failed, counters.dropped], [3, 0])
      yield* failing.await
      const unloadable = yield* Actor.make({
        name: "unloadable",
        supervision: { onFailure: "restart", schedule: Schedule.spaced("1 hour") },
        initial: Effect.fail("held"),
        receive: () => Effect.void
      })
      yield* unloadable.tell(1)
      yield* settled
      yield* unloadable.stop()
      assert.strictEqual(yield* Effect.flip(unloadable.await), "held")
      assert.strictEqual((yield* unloadable.status).counters.dropped, 1)
    })
  )

  scoped("closing the scope stops it as its shutdown says", () =>
    Effect.gen(function* () {
      for (const shutdown of ["drain", "interrupt"] as const) {
        const scope = yield* Scope.make()
        const { actor, busy, gate, handled } = yield* Scope.extend(recording({ shutdown }), scope)
        yield* busy(1)
        yield* actor.tell(2)
        const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
        yield* settled
        if (shutdown === "drain") yield* gate.open
        yield* Fiber.join(closing)
        assert.deepStrictEqual(handled, shutdown === "drain" ? [1, 2] : [])
        assert.strictEqual((yield* actor.status).phase, "stopped")
      }
    })
  )

  scoped("an actor made where nothing may be interrupted can be interrupted all the same", () =>
    Effect.gen(function* () {
      const { actor, busy } = yield* Effect.uninterruptible(recording())
      yield* busy(1)
      yield* actor.stop({ mode: "interrupt" })
    })
  )
})

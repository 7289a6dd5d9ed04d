/** What senders may rely on: order, the bounds of the mailbox, and that every ask ends. */
import { assert, describe, it } from "@effect/vitest"
import * as Actor from "@millrace/core/Actor"
import { ActorFailed, ActorStopped, AskError, AskTimeout, MailboxFull } from "@millrace/core/ActorError"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import type { MailboxStrategy } from "@millrace/core/ActorStatus"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"

const scoped = <A, E>(
  name: string,
  test: () => Effect.Effect<A, E, ActorRegistry.ActorRegistry | Scope.Scope>
) => it.scoped(name, () => Effect.provide(test(), ActorRegistry.layer))

/** An actor that waits with each message until `gate` opens, and writes down what it has handled. */
const gated = (options: { readonly strategy: MailboxStrategy; readonly capacity: number }) =>
  Effect.gen(function* () {
    const handled: Array<number> = []
    const gate = yield* Effect.makeLatch(false)
    const begun = yield* Deferred.make<void>()
    const actor = yield* Actor.make({
      name: "gated",
      mailbox: options,
      initial: Effect.void,
      receive: (_, message: number | Actor.Reply<string>) =>
        Effect.gen(function* () {
          yield* Deferred.succeed(begun, undefined)
          yield* gate.await
          if (typeof message === "number") handled.push(message)
          else yield* message.succeed("answer")
        })
    })
    // The first message is in hand, and no longer in the mailbox.
    yield* actor.tell(0)
    yield* Deferred.await(begun)
    return { actor, gate, handled }
  })

const answer = (reply: Actor.Reply<string>) => reply

describe("telling", () => {
  scoped("messages of one sender are handled in the order told, of all senders each once", () =>
    Effect.gen(function* () {
      const actor = yield* Actor.make({
        name: "log",
        mailbox: { capacity: 7 },
        initial: Effect.sync((): Array<readonly [number, number]> => []),
        receive: (
          log,
          message: readonly [number, number] | Actor.Reply<Array<readonly [number, number]>>
        ) => {
          if ("succeed" in message) return Effect.as(message.succeed(log), log)
          log.push(message)
          return message[1] % 3 === 0 ? Effect.as(Effect.yieldNow(), log) : Effect.succeed(log)
        }
      })
      const senders = Array.from({ length: 20 }, (_, sender) => sender)
      yield* Effect.forEach(
        senders,
        (sender) => Effect.forEach(Array.from({ length: 50 }), (_, i) => actor.tell([sender, i])),
        { concurrency: "unbounded" }
      )
      const log = yield* actor.ask((reply: Actor.Reply<Array<readonly [number, number]>>) => reply)
      assert.strictEqual(log.length, 20 * 50)
      for (const sender of senders) {
        assert.deepStrictEqual(
          log.filter(([by]) => by === sender).map(([, i]) => i),
          Array.from({ length: 50 }, (_, i) => i)
        )
      }
    })
  )

  scoped("the first message starts it; before that it is idle and its initial has not run", () =>
    Effect.gen(function* () {
      let runs = 0
      const actor = yield* Actor.make({
        name: "lazy",
        initial: Effect.sync((): void => void runs++),
        receive: (_, reply: Actor.Reply<string>) => Effect.asVoid(reply.succeed("here"))
      })
      yield* Effect.yieldNow()
      assert.strictEqual((yield* actor.status).phase, "idle")
      assert.strictEqual(runs, 0)
      assert.strictEqual(yield* actor.ask(answer), "here")
      assert.strictEqual((yield* actor.status).phase, "running")
      assert.strictEqual(runs, 1)
    })
  )

  scoped("with suspend the sender waits for room, and goes on when a message is taken", () =>
    Effect.gen(function* () {
      const { actor, gate, handled } = yield* gated({ strategy: "suspend", capacity: 2 })
      yield* actor.tell(1)
      yield* actor.tell(2)
      const third = yield* Effect.fork(actor.tell(3))
      yield* Effect.yieldNow()
      const { counters, mailbox } = yield* actor.status
      assert.strictEqual(mailbox.size, 2)
      assert.strictEqual(mailbox.senders, 1)
      assert.strictEqual(counters.received, 3)
      assert.isNull(third.unsafePoll())
      assert.isFalse(actor.unsafeTell(4))
      yield* gate.open
      yield* Fiber.join(third)
      yield* actor.stop()
      assert.deepStrictEqual(handled, [0, 1, 2, 3])
      assert.strictEqual((yield* actor.status).counters.refused, 1)
    })
  )

  scoped("a sender that is interrupted while it waits for room has sent nothing", () =>
    Effect.gen(function* () {
      const { actor, gate, handled } = yield* gated({ strategy: "suspend", capacity: 1 })
      yield* actor.tell(1)
      const second = yield* Effect.fork(actor.tell(2))
      const third = yield* Effect.fork(actor.tell(3))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(second)
      assert.strictEqual((yield* actor.status).mailbox.senders, 1)
      yield* gate.open
      yield* Fiber.join(third)
      yield* actor.stop()
      assert.deepStrictEqual(handled, [0, 1, 3])
    })
  )

  scoped("with drop a full mailbox refuses the new message and says so", () =>
    Effect.gen(function* () {
      const { actor, gate, handled } = yield* gated({ strategy: "drop", capacity: 2 })
      yield* actor.tell(1)
      yield* actor.tell(2)
      assert.deepStrictEqual(
        yield* Effect.flip(actor.tell(3)),
        new MailboxFull({ actor: "gated", capacity: 2 })
      )
      assert.instanceOf(yield* Effect.flip(actor.ask(answer)), MailboxFull)
      yield* gate.open
      yield* actor.stop()
      assert.deepStrictEqual(handled, [0, 1, 2])
      const { counters } = yield* actor.status
      assert.strictEqual(counters.refused, 2)
      assert.strictEqual(counters.dropped, 0)
    })
  )

  scoped("with slide the oldest message goes, and an ask in it fails at once", () =>
    Effect.gen(function* () {
      const { actor, gate, handled } = yield* gated({ strategy: "slide", capacity: 2 })
      const asked = yield* Effect.fork(Effect.flip(actor.ask(answer)))
      yield* Effect.yieldNow()
      yield* actor.tell(2)
      yield* actor.tell(3)
      assert.deepStrictEqual(yield* Fiber.join(asked), new MailboxFull({ actor: "gated", capacity: 2 }))
      assert.isTrue(actor.unsafeTell(4))
      yield* gate.open
      yield* actor.stop()
      assert.deepStrictEqual(handled, [0, 3, 4])
      assert.strictEqual((yield* actor.status).counters.dropped, 2)
    })
  )

  scoped(
    "what an actor tells itself never waits: one place is kept for it, then it is told that it is full",
    () =>
      Effect.gen(function* () {
        const handled: Array<string> = []
        const first = yield* Effect.makeLatch(false)
        const results: Array<string> = []
        const actor = yield* Actor.make({
          name: "self",
          mailbox: { capacity: 1 },
          initial: Effect.void,
          receive: (_, message: string, self) =>
            Effect.gen(function* () {
              handled.push(message)
              if (message !== "begin") return
              yield* first.await
              results.push((yield* Effect.either(self.tell("own")))._tag)
              // A fiber that receive waits for counts as the actor itself, else this would wait for ever.
              const inner = yield* Effect.fork(Effect.either(self.tell("too much")))
              results.push((yield* Fiber.join(inner))._tag)
            })
        })
        yield* actor.tell("begin")
        yield* Effect.yieldNow()
        yield* actor.tell("of another")
        yield* first.open
        while (handled.length < 3) yield* Effect.yieldNow()
        assert.deepStrictEqual(results, ["Right", "Left"])
        assert.deepStrictEqual(handled, ["begin", "of another", "own"])
      })
  )

  scoped("a fiber in the background of an actor waits for room when it says that it is outside", () =>
    Effect.gen(function* () {
      const handled: Array<string> = []
      const first = yield* Effect.makeLatch(false)
      const actor = yield* Actor.make({
        name: "background",
        mailbox: { capacity: 1 },
        initial: Effect.void,
        receive: (_, message: string, self) =>
          Effect.gen(function* () {
            handled.push(message)
            if (message !== "begin") return
            yield* first.await
            yield* Effect.forkScoped(
              Actor.outside(Effect.forEach(["a", "b", "c"], self.tell, { discard: true }))
            )
            yield* Effect.yieldNow()
          })
      })
      yield* actor.tell("begin")
      yield* Effect.yieldNow()
      yield* first.open
      while (handled.length < 4) yield* Effect.yieldNow()
      assert.deepStrictEqual(handled, ["begin", "a", "b", "c"])
    })
  )

  scoped("a stopped actor takes no message", () =>
    Effect.gen(function* () {
      const { actor, gate } = yield* gated({ strategy: "suspend", capacity: 1 })
      yield* actor.tell(1)
      const waiting = yield* Effect.fork(Effect.flip(actor.tell(2)))
      yield* Effect.yieldNow()
      const stopping = yield* Effect.fork(actor.stop())
      const stopped = new ActorStopped({ actor: "gated" })
      assert.deepStrictEqual(yield* Fiber.join(waiting), stopped)
      assert.deepStrictEqual(yield* Effect.flip(actor.tell(3)), stopped)
      yield* gate.open
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(yield* Effect.flip(actor.tell(4)), stopped)
      assert.deepStrictEqual(yield* Effect.flip(actor.ask(answer)), stopped)
      assert.isFalse(actor.unsafeTell(5))
    })
  )

  scoped("arguments out of range are refused by name", () =>
    Effect.gen(function* () {
      const field = (options: { readonly name?: string; readonly mailbox?: Actor.MailboxOptions }) =>
        Actor.make({ name: "ok", initial: Effect.void, receive: () => Effect.void, ...options }).pipe(
          Effect.flip,
          Effect.map((error) => (error._tag === "InvalidArgument" ? error.field : error._tag))
        )
      assert.strictEqual(yield* field({ name: "" }), "name")
      assert.strictEqual(yield* field({ name: "n".repeat(256) }), "name")
      for (const capacity of [0, 1.5, 1_000_001, Number.NaN]) {
        assert.strictEqual(yield* field({ mailbox: { capacity } }), "mailbox.capacity")
      }
      assert.strictEqual(
        yield* field({ mailbox: { strategy: "lose" as MailboxStrategy } }),
        "mailbox.strategy"
      )
    })
  )
})

describe("asking", () => {
  scoped("gives the answer, or the answer's own error", () =>
    Effect.gen(function* () {
      const actor = yield* Actor.make({
        name: "divider",
        initial: Effect.succeed(12),
        receive: (sum, message: { readonly by: number; readonly reply: Actor.Reply<number, "zero"> }) =>
          Effect.as(
            message.by === 0 ? message.reply.fail("zero") : message.reply.succeed(sum / message.by),
            sum
          )
      })
      const divide = (by: number) => actor.ask((reply: Actor.Reply<number, "zero">) => ({ by, reply }))
      assert.strictEqual(yield* divide(4), 3)
      assert.strictEqual(yield* Effect.flip(divide(0)), "zero")
    })
  )

  scoped("takes the first answer; who answers later learns that nobody waits", () =>
    Effect.gen(function* () {
      const taken: Array<boolean> = []
      const actor = yield* Actor.make({
        name: "twice",
        initial: Effect.void,
        receive: (_, reply: Actor.Reply<string>) =>
          Effect.gen(function* () {
            taken.push(reply.unsafeDone(Exit.succeed("first")))
            taken.push(yield* reply.succeed("second"))
          })
      })
      assert.strictEqual(yield* actor.ask(answer), "first")
      yield* actor.stop()
      assert.deepStrictEqual(taken, [true, false])
    })
  )

  scoped("an answer may come with a later message", () =>
    Effect.gen(function* () {
      const actor = yield* Actor.make({
        name: "later",
        initial: Effect.succeed<ReadonlyArray<Actor.Reply<string>>>([]),
        receive: (waiting, message: string | Actor.Reply<string>) =>
          typeof message === "string"
            ? Effect.as(
                Effect.forEach(waiting, (reply) => reply.succeed(message)),
                []
              )
            : Effect.succeed([...waiting, message])
      })
      const asked = yield* Effect.fork(Effect.all([actor.ask(answer), actor.ask(answer)], { concurrency: 2 }))
      while ((yield* actor.status).counters.handled < 2) yield* Effect.yieldNow()
      yield* actor.tell("now")
      assert.deepStrictEqual(yield* Fiber.join(asked), ["now", "now"])
    })
  )

  scoped("out of time, a message that was not begun with is taken back", () =>
    Effect.gen(function* () {
      const { actor, gate, handled } = yield* gated({ strategy: "suspend", capacity: 2 })
      const asked = yield* Effect.fork(Effect.flip(actor.ask(answer, { timeout: "3 seconds" })))
      yield* Effect.yieldNow()
      yield* actor.tell(1)
      assert.strictEqual((yield* actor.status).mailbox.size, 2)
      yield* TestClock.adjust("2999 millis")
      assert.isNull(asked.unsafePoll())
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(
        yield* Fiber.join(asked),
        new AskTimeout({ actor: "gated", timeoutMs: 3_000, received: false })
      )
      const { counters, mailbox } = yield* actor.status
      assert.strictEqual(mailbox.size, 1)
      assert.strictEqual(counters.dropped, 1)
      yield* gate.open
      yield* actor.stop()
      assert.deepStrictEqual(handled, [0, 1])
    })
  )

  scoped("out of time, a message that was begun with is said to have been received", () =>
    Effect.gen(function* () {
      const actor = yield* Actor.make({
        name: "silent",
        initial: Effect.void,
        receive: (_state: void, _reply: Actor.Reply<string>) => Effect.void
      })
      const asked = yield* Effect.fork(Effect.flip(actor.ask(answer)))
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(
        yield* Fiber.join(asked),
        new AskTimeout({ actor: "silent", timeoutMs: 5_000, received: true })
      )
      // The actor goes on.
      assert.strictEqual((yield* actor.status).counters.handled, 1)
    })
  )

  scoped("each ask has its own time, whichever was asked first", () =>
    Effect.gen(function* () {
      const { actor } = yield* gated({ strategy: "suspend", capacity: 100 })
      const seconds = [7, 3, 5, 3, 9, 1]
      const asked = yield* Effect.forEach(seconds, (timeout) =>
        Effect.tap(Effect.fork(Effect.flip(actor.ask(answer, { timeout: Duration.seconds(timeout) }))), () =>
          Effect.yieldNow()
        )
      )
      for (let now = 1; now <= 9; now++) {
        yield* TestClock.adjust("1 seconds")
        assert.deepStrictEqual(
          asked.map((fiber) => fiber.unsafePoll() !== null),
          seconds.map((timeout) => timeout <= now),
          `after ${now} seconds`
        )
      }
      yield* actor.stop({ mode: "interrupt" })
    })
  )

  scoped("the time counts for the wait for room too, and leaves no sender behind", () =>
    Effect.gen(function* () {
      const { actor, gate, handled } = yield* gated({ strategy: "suspend", capacity: 1 })
      yield* actor.tell(1)
      const asked = yield* Effect.fork(Effect.flip(actor.ask(answer)))
      yield* Effect.yieldNow()
      assert.strictEqual((yield* actor.status).mailbox.senders, 1)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(
        yield* Fiber.join(asked),
        new AskTimeout({ actor: "gated", timeoutMs: 5_000, received: false })
      )
      assert.strictEqual((yield* actor.status).mailbox.senders, 0)
      yield* gate.open
      yield* actor.stop()
      assert.deepStrictEqual(handled, [0, 1])
      assert.strictEqual((yield* actor.status).counters.dropped, 0)
    })
  )

  scoped("without a limit it waits as long as the actor lives", () =>
    Effect.gen(function* () {
      const { actor } = yield* gated({ strategy: "suspend", capacity: 2 })
      const asked = yield* Effect.fork(Effect.flip(actor.ask(answer, { timeout: Duration.infinity })))
      yield* TestClock.adjust("365 days")
      assert.isNull(asked.unsafePoll())
      yield* actor.stop({ mode: "interrupt" })
      assert.deepStrictEqual(yield* Fiber.join(asked), new ActorStopped({ actor: "gated" }))
    })
  )

  scoped("interrupted, it leaves nothing behind", () =>
    Effect.gen(function* () {
      const { actor, gate, handled } = yield* gated({ strategy: "suspend", capacity: 2 })
      const asked = yield* Effect.fork(actor.ask(answer))
      yield* Effect.yieldNow()
      assert.strictEqual((yield* actor.status).mailbox.size, 1)
      yield* Fiber.interrupt(asked)
      assert.strictEqual((yield* actor.status).mailbox.size, 0)
      yield* actor.tell(1)
      yield* gate.open
      yield* actor.stop()
      assert.deepStrictEqual(handled, [0, 1])
    })
  )

  scoped("fails at once when the actor stops, wherever the message is", () =>
    Effect.gen(function* () {
      const gate = yield* Effect.makeLatch(false)
      const actor = yield* Actor.make({
        name: "stopping",
        mailbox: { capacity: 1 },
        initial: Effect.succeed(0),
        receive: (count, _message: Actor.Reply<string>) =>
          count === 0 ? Effect.succeed(1) : Effect.as(gate.await, count)
      })
      const ask = Effect.fork(Effect.either(actor.ask(answer)))
      const handled = yield* ask
      while ((yield* actor.status).counters.handled < 1) yield* Effect.yieldNow()
      const inHand = yield* ask
      while (!(yield* actor.status).busy) yield* Effect.yieldNow()
      const inMailbox = yield* ask
      yield* Effect.yieldNow()
      const waiting = yield* ask
      yield* Effect.yieldNow()
      const { mailbox } = yield* actor.status
      assert.deepStrictEqual([mailbox.size, mailbox.senders], [1, 1])
      const stopping = yield* Effect.fork(actor.stop({ mode: "finish" }))
      const stopped = Either.left(new ActorStopped({ actor: "stopping" }))
      // These two do not wait for the message in hand.
      assert.deepStrictEqual(yield* Fiber.join(inMailbox), stopped)
      assert.deepStrictEqual(yield* Fiber.join(waiting), stopped)
      yield* gate.open
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(yield* Fiber.join(handled), stopped)
      assert.deepStrictEqual(yield* Fiber.join(inHand), stopped)
    })
  )

  scoped("fails at once when the actor fails on the message", () =>
    Effect.gen(function* () {
      const actor = yield* Actor.make({
        name: "failing",
        initial: Effect.void,
        supervision: { onFailure: "resume" },
        receive: (_state: void, _reply: Actor.Reply<string>) => Effect.fail("broken")
      })
      assert.deepStrictEqual(
        yield* Effect.flip(actor.ask(answer)),
        new ActorFailed({ actor: "failing", cause: "broken" })
      )
    })
  )

  it("its errors travel as JSON", () => {
    const errors = [
      new ActorStopped({ actor: "a" }),
      new MailboxFull({ actor: "a", capacity: 1 }),
      new AskTimeout({ actor: "a", timeoutMs: 1, received: true }),
      new ActorFailed({ actor: "a", cause: new Error("broken") })
    ]
    for (const error of errors) {
      const back = Schema.decodeUnknownSync(Schema.parseJson(AskError))(
        Schema.encodeSync(Schema.parseJson(AskError))(error)
      )
      assert.strictEqual(back._tag, error._tag)
      assert.strictEqual(back.message, error.message)
    }
  })
})

/**
 * Many fibers tell, ask, pause, resume and stop one actor at once, by plans drawn from a seed that a failure prints.
 * Whatever they did: every message that was accepted was handled once, failed once, or is counted as dropped, and
 * everybody got an answer.
 */
import { assert, it } from "@effect/vitest"
import * as Actor from "@millrace/core/Actor"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import type { MailboxStrategy, StopMode } from "@millrace/core/ActorStatus"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FC from "effect/FastCheck"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schedule from "effect/Schedule"

type Deed =
  | { readonly _tag: "tell" | "unsafeTell" | "ask" | "pause" | "resume" | "rest"; readonly patience: number }
  | { readonly _tag: "stop"; readonly mode: StopMode }

const deed: FC.Arbitrary<Deed> = FC.oneof(
  {
    weight: 40,
    arbitrary: FC.record({
      _tag: FC.constantFrom(
        "tell" as const,
        "tell" as const,
        "unsafeTell" as const,
        "ask" as const,
        "rest" as const
      ),
      patience: FC.nat({ max: 6 })
    })
  },
  {
    weight: 8,
    arbitrary: FC.record({
      _tag: FC.constantFrom("pause" as const, "resume" as const, "resume" as const),
      patience: FC.nat({ max: 6 })
    })
  },
  {
    weight: 1,
    arbitrary: FC.record({
      _tag: FC.constant("stop" as const),
      mode: FC.constantFrom("drain" as const, "finish" as const, "interrupt" as const)
    })
  }
)

interface Plan {
  readonly capacity: number
  readonly strategy: MailboxStrategy
  readonly onFailure: Actor.Directive
  readonly lastStop: StopMode
  /** Steps after which the actor yields, so that others come between any two; below 10 Effect itself never gets on. */
  readonly opsBeforeYield: number
  readonly fibers: ReadonlyArray<ReadonlyArray<Deed>>
}

const plan: FC.Arbitrary<Plan> = FC.record({
  capacity: FC.integer({ min: 1, max: 5 }),
  strategy: FC.constantFrom<MailboxStrategy>("suspend", "drop", "slide"),
  onFailure: FC.constantFrom<Actor.Directive>("restart", "resume", "stop"),
  lastStop: FC.constantFrom<StopMode>("drain", "finish", "interrupt"),
  opsBeforeYield: FC.oneof(FC.integer({ min: 10, max: 40 }), FC.constant(2_048)),
  fibers: FC.array(FC.array(deed, { maxLength: 25, size: "max" }), {
    minLength: 2,
    maxLength: 8,
    size: "max"
  })
})

interface Numbered {
  readonly number: number
  readonly reply?: Actor.Reply<number, "refused">
}

const rest = (turns: number) =>
  Effect.forEach(Array.from({ length: turns }), () => Effect.yieldNow(), { discard: true })

const run = ({ capacity, fibers, lastStop, onFailure, opsBeforeYield, strategy }: Plan) =>
  Effect.gen(function* () {
    const begun: Array<number> = []
    const finished: Array<number> = []
    /** Numbers for which the sender was told that they are in the mailbox. */
    const accepted = new Set<number>()
    /** Numbers for which the sender was told that nobody will handle them. */
    const refused = new Set<number>()
    let sent = 0
    let atOnce = 0
    let atOnceMax = 0
    const actor = yield* Actor.make({
      name: "hammered",
      mailbox: { capacity, strategy },
      supervision: { onFailure, schedule: Schedule.forever },
      initial: rest(2),
      receive: (_, { number, reply }: Numbered, self) =>
        Effect.gen(function* () {
          begun.push(number)
          atOnceMax = Math.max(atOnceMax, ++atOnce)
          yield* rest(number % 4)
          if (number % 11 === 3) return yield* Effect.fail("failed")
          if (number % 13 === 4) yield* self.pause
          if (number % 17 === 5) yield* Effect.ignore(send(self.tell))
          if (number % 5 !== 0) yield* reply?.succeed(number) ?? Effect.void
          finished.push(number)
        }).pipe(Effect.ensuring(Effect.sync(() => void atOnce--)))
    }).pipe(Effect.withMaxOpsBeforeYield(opsBeforeYield))
    const send = <E>(tell: (message: Numbered) => Effect.Effect<void, E>) =>
      Effect.suspend(() => {
        const number = sent++
        return Effect.onExit(tell({ number }), (exit) =>
          Effect.sync(() => {
            if (Exit.isSuccess(exit)) accepted.add(number)
            else if (!Exit.isInterrupted(exit)) refused.add(number)
          })
        )
      })
    /** Gives up after some turns: an interrupted sender must leave nothing half done. */
    const patiently = <A, E>(effect: Effect.Effect<A, E>, turns: number): Effect.Effect<A | void, E> =>
      turns === 0 ? effect : Effect.raceFirst(effect, rest(turns * 3))
    const perform = (deed: Deed): Effect.Effect<unknown> => {
      if (deed._tag === "stop") return patiently(actor.stop({ mode: deed.mode }), 1)
      switch (deed._tag) {
        case "tell":
          return Effect.exit(patiently(send(actor.tell), deed.patience))
        case "unsafeTell":
          return Effect.exit(
            send((message) => (actor.unsafeTell(message) ? Effect.void : Effect.fail("refused")))
          )
        case "ask":
          return Effect.suspend(() => {
            const number = sent++
            return Effect.exit(
              patiently(
                actor.ask((reply: Actor.Reply<number, "refused">) => ({ number, reply }), {
                  timeout: Infinity
                }),
                deed.patience + 1
              )
            )
          })
        case "pause":
          return patiently(actor.pause, deed.patience)
        case "resume":
          return actor.resume
        case "rest":
          return rest(deed.patience)
      }
    }
    const working = yield* Effect.forEach(fibers, (deeds) => Effect.fork(Effect.forEach(deeds, perform)))
    // Who waits for an actor that somebody paused goes on when it is resumed or stopped.
    const isDone = () => working.every((fiber) => fiber.unsafePoll() !== null)
    for (let turns = 0; !isDone() && turns < 100; turns++) {
      yield* rest(20)
      yield* actor.resume
    }
    yield* actor.stop({ mode: lastStop })
    while (!isDone()) yield* rest(1)
    yield* Effect.exit(actor.await)

    const { counters, mailbox, phase } = yield* actor.status
    assert.strictEqual(phase, "stopped")
    assert.deepStrictEqual([mailbox.size, mailbox.senders], [0, 0])
    assert.strictEqual(new Set(begun).size, begun.length, "each begun once")
    assert.isAtMost(atOnceMax, 1, "one at a time")
    // An interruption may come behind the last line of receive and still before its end.
    const isInterrupted = [lastStop, ...modesOf(fibers)].includes("interrupt")
    assert.include(isInterrupted ? [0, 1] : [0], finished.length - counters.handled)
    assert.strictEqual(counters.received, counters.handled + counters.failed + counters.dropped)
    for (const number of refused) assert.notInclude(begun, number, "refused and handled all the same")
    for (const number of accepted) assert.notInclude([...refused], number)
    const lost = [...accepted].filter((number) => !begun.includes(number))
    assert.isAtMost(lost.length, counters.dropped, "lost without being counted")
    if (
      strategy !== "slide" &&
      onFailure !== "stop" &&
      lastStop === "drain" &&
      modesOf(fibers).every((mode) => mode === "drain")
    ) {
      assert.deepStrictEqual(lost, [], "a drain lost messages")
    }
  })

const modesOf = (fibers: Plan["fibers"]): ReadonlyArray<StopMode> =>
  fibers.flat().flatMap((deed) => (deed._tag === "stop" ? [deed.mode] : []))

const quiet = Layer.merge(ActorRegistry.layer, Logger.remove(Logger.defaultLogger))

it.effect(
  "of every accepted message it is known what became of it, however many hammer the actor",
  () =>
    Effect.promise(() =>
      FC.assert(
        FC.asyncProperty(plan, (plan) => Effect.runPromise(Effect.provide(Effect.scoped(run(plan)), quiet))),
        { numRuns: 300 }
      )
    ),
  { timeout: 60_000 }
)

it.effect("a message wakes the actor at whatever step of its going to sleep it comes", () =>
  Effect.forEach(
    Array.from({ length: 40 }, (_, i) => i + 10),
    (opsBeforeYield) =>
      Effect.gen(function* () {
        const actor = yield* Actor.make({
          name: "sleepy",
          initial: Effect.void,
          receive: (_state: void, _message: number) => Effect.void
        }).pipe(Effect.withMaxOpsBeforeYield(opsBeforeYield))
        for (let i = 0; i < 40; i++) {
          yield* actor.tell(i)
          yield* rest(i % 10)
          yield* actor.tell(i)
          // Nothing else comes that would wake it.
          const handled = Effect.map(actor.status, ({ counters }) => counters.handled)
          for (let turn = 0; turn < 2_000 && (yield* handled) < 2 * (i + 1); turn++) yield* rest(1)
          assert.strictEqual(
            yield* handled,
            2 * (i + 1),
            `yields after ${opsBeforeYield} steps, message ${i}`
          )
        }
      }).pipe(Effect.scoped, Effect.provide(quiet)),
    { discard: true }
  )
)

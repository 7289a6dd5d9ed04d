/** Everything that runs, by name: unique, listed, and paused, resumed and stopped from one place. */
import { assert, describe, it } from "@effect/vitest"
import * as Actor from "@millrace/core/Actor"
import { ActorNameTaken, ActorStopped } from "@millrace/core/ActorError"
import * as ActorRegistry from "@millrace/core/ActorRegistry"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"

const scoped = <A, E>(
  name: string,
  test: () => Effect.Effect<A, E, ActorRegistry.ActorRegistry | Scope.Scope>
) => it.scoped(name, () => Effect.provide(test(), ActorRegistry.layer))

/** Adds numbers up; fails on NaN. */
const summing = (name: string) =>
  Actor.make({
    name,
    initial: Effect.succeed(0),
    receive: (sum, message: number | Actor.Reply<number>) => {
      if (typeof message === "object") return Effect.as(message.succeed(sum), sum)
      return Number.isNaN(message) ? Effect.fail("not a number") : Effect.succeed(sum + message)
    }
  })

const names = Effect.flatMap(ActorRegistry.ActorRegistry, (registry) =>
  Effect.map(registry.list(), (statuses) => statuses.map(({ name }) => name))
)

describe("the registry", () => {
  scoped("lists what is alive, in byte order of the names", () =>
    Effect.gen(function* () {
      const registry = yield* ActorRegistry.ActorRegistry
      assert.deepStrictEqual(yield* names, [])
      const made = yield* Effect.forEach(["b", "a/2", "\u{1f600}", "\uffee", "a/1"], summing)
      assert.deepStrictEqual(yield* names, ["a/1", "a/2", "b", "\uffee", "\u{1f600}"])
      yield* made[0]!.tell(1)
      const listed = yield* registry.list({ prefix: "a/" })
      assert.deepStrictEqual(
        listed.map(({ name, phase }) => [name, phase]),
        [
          ["a/1", "idle"],
          ["a/2", "idle"]
        ]
      )
      assert.strictEqual((yield* registry.list("b"))[0]?.phase, "running")
      assert.deepStrictEqual(yield* registry.list("nobody"), [])
    })
  )

  scoped("a name is taken while its actor lives, and free when stop returns", () =>
    Effect.gen(function* () {
      const actor = yield* summing("one")
      assert.deepStrictEqual(yield* Effect.flip(summing("one")), new ActorNameTaken({ actor: "one" }))
      yield* actor.tell(1)
      yield* actor.stop()
      const again = yield* summing("one")
      assert.strictEqual(yield* again.ask((reply: Actor.Reply<number>) => reply), 0)
      // The old one does not take the new one's entry with it.
      yield* actor.stop()
      assert.deepStrictEqual(yield* names, ["one"])
    })
  )

  scoped("a name is free when await returns from a failure, which is remembered", () =>
    Effect.gen(function* () {
      const registry = yield* ActorRegistry.ActorRegistry
      const actor = yield* summing("failing")
      yield* actor.tell(Number.NaN)
      yield* Effect.exit(actor.await)
      assert.deepStrictEqual(yield* names, [])
      yield* summing("failing")
      const failures = yield* registry.failures
      assert.deepStrictEqual(
        failures.map(({ lastFailure, name, phase }) => [name, phase, lastFailure._tag]),
        [["failing", "stopped", "Some"]]
      )
    })
  )

  scoped("remembers the newest failures, and no more than it says", () =>
    Effect.gen(function* () {
      const registry = yield* ActorRegistry.ActorRegistry
      for (let i = 0; i < ActorRegistry.failuresMax + 5; i++) {
        const actor = yield* summing(`failing ${i}`)
        yield* actor.tell(Number.NaN)
        yield* Effect.exit(actor.await)
      }
      const failures = yield* registry.failures
      assert.strictEqual(failures.length, ActorRegistry.failuresMax)
      assert.strictEqual(failures[0]?.name, "failing 5")
      assert.strictEqual(failures.at(-1)?.name, `failing ${ActorRegistry.failuresMax + 4}`)
    })
  )

  scoped("of two that are made at once with one name, one is", () =>
    Effect.gen(function* () {
      const exits = yield* Effect.forEach(Array.from({ length: 10 }), () => Effect.exit(summing("one")), {
        concurrency: "unbounded"
      })
      assert.strictEqual(exits.filter(Exit.isSuccess).length, 1)
    })
  )

  scoped("pauses, resumes and stops one by its name and many by a prefix", () =>
    Effect.gen(function* () {
      const registry = yield* ActorRegistry.ActorRegistry
      yield* Effect.forEach(["mails/1", "mails/2", "mails", "other"], summing)
      const phases = Effect.map(registry.list(), (statuses) => statuses.map(({ phase }) => phase))
      assert.strictEqual(yield* registry.pause("mails"), 1)
      assert.deepStrictEqual(yield* phases, ["paused", "idle", "idle", "idle"])
      assert.strictEqual(yield* registry.pause({ prefix: "mails/" }), 2)
      assert.deepStrictEqual(yield* phases, ["paused", "paused", "paused", "idle"])
      assert.strictEqual(yield* registry.resume({ prefix: "mails" }), 3)
      assert.deepStrictEqual(yield* phases, ["idle", "idle", "idle", "idle"])
      assert.strictEqual(yield* registry.stop({ prefix: "mails/" }), 2)
      assert.strictEqual(yield* registry.stop("nobody"), 0)
      assert.deepStrictEqual(yield* names, ["mails", "other"])
    })
  )

  scoped("finds an actor by its name", () =>
    Effect.gen(function* () {
      const registry = yield* ActorRegistry.ActorRegistry
      yield* summing("here")
      const found = Option.getOrThrow(yield* registry.get("here"))
      assert.strictEqual((yield* found.status).name, "here")
      yield* found.stop()
      assert.isTrue(Option.isNone(yield* registry.get("here")))
    })
  )

  scoped("one that takes its time keeps no other from being stopped", () =>
    Effect.gen(function* () {
      const registry = yield* ActorRegistry.ActorRegistry
      const gate = yield* Effect.makeLatch(false)
      const slow = yield* Actor.make({ name: "slow", initial: Effect.void, receive: () => gate.await })
      yield* slow.tell(1)
      const quick = yield* summing("quick")
      yield* Effect.yieldNow()
      const stopping = yield* Effect.fork(registry.stopAll())
      yield* quick.await
      assert.deepStrictEqual(yield* names, ["slow"])
      yield* gate.open
      assert.strictEqual(yield* Fiber.join(stopping), 2)
      assert.deepStrictEqual(yield* names, [])
    })
  )

  scoped("stopAll also stops actors that are made while it runs", () =>
    Effect.gen(function* () {
      const registry = yield* ActorRegistry.ActorRegistry
      const scope = yield* Effect.scope
      const first = yield* Actor.make({
        name: "first",
        initial: Effect.void,
        receive: (_, message: number) => Effect.asVoid(Scope.extend(summing(`child ${message}`), scope))
      })
      yield* first.tell(1)
      yield* first.tell(2)
      assert.strictEqual(yield* registry.stopAll(), 3)
      assert.deepStrictEqual(yield* names, [])
    })
  )

  it.scoped("closing its layer stops every actor, and none is made any more", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(ActorRegistry.layer, scope)
      const make = (name: string) => Effect.provide(summing(name), context)
      const actors = yield* Effect.forEach(["a", "b", "c"], make)
      yield* Effect.forEach(actors, (actor) => actor.tell(1))
      yield* Scope.close(scope, Exit.void)
      for (const actor of actors) {
        const { counters, phase } = yield* actor.status
        assert.deepStrictEqual([phase, counters.handled], ["stopped", 1])
        assert.instanceOf(yield* Effect.flip(actor.tell(2)), ActorStopped)
      }
      assert.isTrue(Exit.isInterrupted(yield* Effect.exit(make("late"))))
    })
  )

  scoped("a thousand actors run, answer, pause and stop", () =>
    Effect.gen(function* () {
      const registry = yield* ActorRegistry.ActorRegistry
      const actors = yield* Effect.forEach(Array.from({ length: 1_000 }), (_, i) =>
        summing(`many/${String(i).padStart(3, "0")}`)
      )
      yield* Effect.forEach(actors, (actor, i) => Effect.all([actor.tell(i), actor.tell(1)]), {
        concurrency: "unbounded"
      })
      const sums = yield* Effect.forEach(
        actors,
        (actor) => actor.ask((reply: Actor.Reply<number>) => reply),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(
        sums,
        actors.map((_, i) => i + 1)
      )
      assert.strictEqual(yield* registry.pause({ prefix: "many/" }), 1_000)
      assert.strictEqual(yield* registry.resume({ prefix: "many/0" }), 100)
      assert.strictEqual(yield* registry.stopAll(), 1_000)
      assert.deepStrictEqual(yield* names, [])
    })
  )

  scoped("an actor that ended leaves nothing behind in the scope of its owner", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const finalizers = (): number => {
        const { state } = scope as unknown as {
          readonly state: { readonly finalizers: Map<unknown, unknown> }
        }
        return state.finalizers.size
      }
      for (const ending of ["idle", "stop", "fail", "taken"]) {
        const actor = yield* Scope.extend(summing("owned"), scope)
        if (ending === "stop") yield* actor.tell(1)
        if (ending === "fail") yield* actor.tell(Number.NaN)
        if (ending === "taken") yield* Effect.exit(Scope.extend(summing("owned"), scope))
        if (ending === "fail") yield* Effect.exit(actor.await)
        else yield* actor.stop()
        while (finalizers() > 0) yield* Effect.yieldNow()
      }
    })
  )
})

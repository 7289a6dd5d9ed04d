/**
 * Writes under a lease: they take effect while it is the newest of its key and has not ended, or not at all. What
 * else a write may be refused for comes first.
 */
import { assert, describe } from "@effect/vitest"
import type { StreamAppend } from "@millrace/core/Append"
import type { Epoch, Lease } from "@millrace/core/Lease"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { SuiteIt } from "./Scene.js"
import {
  happened,
  numbered,
  position,
  range,
  refused,
  scene,
  typesOf,
  unchanged,
  version,
  versionsOf,
  wrong
} from "./Scene.js"
import { subscriberScene } from "./SubscriberScene.js"

const unbounded = { concurrency: "unbounded" } as const

const scenes = (name: string) => Effect.all([scene(name), subscriberScene])

export const fencedWrites = (it: SuiteIt): void => {
  describe("fenced writes", () => {
    it.effect("a lease that holds lets writes of every kind through, as given and as renewed", () =>
      Effect.gen(function* () {
        const [{ category, stream, streamOf, write }, { key, store, take }] = yield* scenes("fence")
        const fence = yield* take(key(), "w")
        yield* write({ streamId: stream("a"), events: [happened("One")] }, { fence })
        yield* write({ streamId: stream("a"), events: numbered(3, "Many") }, { fence })
        const renewed = yield* store.renew(fence)
        yield* write({ streamId: stream("a"), events: [happened("Renewed")] }, { fence: renewed })
        yield* write({ streamId: stream("a"), events: [happened("Given")] }, { fence })
        yield* write(
          [
            { streamId: stream("a"), events: [happened("Several")], expected: version(6) },
            { streamId: stream("b"), events: [happened("Several")], expected: "empty" },
            { streamId: stream("a"), events: [happened("Several")], expected: version(7) }
          ],
          { fence }
        )
        const last = yield* write(
          { streamId: stream("a"), events: [happened("Condition")] },
          { fence, condition: { filters: [{ category, type: "Condition" }], after: position(0) } }
        )
        assert.strictEqual(last.appends[0]!.version, 9)
        const events = yield* streamOf(stream("a"))
        assert.deepStrictEqual(versionsOf(events), range(1, 9))
        assert.deepStrictEqual(typesOf(events), [
          "One",
          ...range(1, 3).map(() => "Many"),
          "Renewed",
          "Given",
          "Several",
          "Several",
          "Condition"
        ])
      })
    )

    it.effect("a lease that does not hold refuses writes of every kind, and says who holds it", () =>
      Effect.gen(function* () {
        const [here, { key, store, take, takeAndExpire }] = yield* scenes("lost")
        const { category, stream } = here
        const former = yield* take(key("overtaken"), "w")
        const again = yield* take(key("again"), "w")
        const released = yield* take(key("released"), "w")
        const passed = yield* take(key("passed"), "w")
        const present = yield* take(key("present"), "w")
        yield* store.release(former)
        yield* take(key("overtaken"), "v")
        yield* take(key("again"), "w")
        yield* store.release(released)
        yield* store.release(passed)
        yield* takeAndExpire(key("passed"), "v")
        const lost: ReadonlyArray<readonly [what: string, fence: Lease, holder: string]> = [
          ["overtaken by another worker", former, "v"],
          ["overtaken by the same worker", again, "w"],
          ["released", released, ""],
          ["expired", yield* takeAndExpire(key("expired"), "w"), ""],
          ["overtaken by one that has expired", passed, ""],
          ["of a key that nobody knows", { ...present, key: key("unknown") }, ""],
          ["another worker's", { ...present, workerId: "v" }, "w"],
          ["of an epoch that never was", { ...present, epoch: 2 as Epoch }, "w"]
        ]
        const writes: ReadonlyArray<StreamAppend | ReadonlyArray<StreamAppend>> = [
          { streamId: stream("a"), events: numbered(1) },
          { streamId: stream("a"), events: numbered(3) },
          { streamId: stream("a"), events: [happened("Named", { id: here.id() })] },
          [
            { streamId: stream("b"), events: numbered(1) },
            { streamId: stream("a"), events: numbered(1), expected: "exists" },
            { streamId: stream("b"), events: numbered(1), expected: version(1) }
          ]
        ]
        yield* here.append(stream("a"), "Before")
        for (const [what, fence, holder] of lost) {
          for (const condition of [
            undefined,
            { filters: [{ category, type: "Never" }], after: position(0) }
          ]) {
            for (const write of writes) {
              const error = yield* unchanged(
                here,
                [stream("a"), stream("b")],
                refused(here.store.write(write, { fence, condition }), "LeaseLost")
              )
              assert.strictEqual(error.key, fence.key, what)
              assert.strictEqual(error.holder, holder, what)
            }
          }
        }
        // What was refused may be written, with the ids of then.
        yield* here.write(writes[2]!, { fence: present })
        assert.deepStrictEqual(typesOf(yield* here.log()), ["Before", "Named"])
      })
    )

    it.effect("everything else that a write may be refused for is looked at before the lease", () =>
      Effect.gen(function* () {
        const [here, { key, take }] = yield* scenes("order")
        const { category, store, stream } = here
        const fence = yield* take(key(), "w")
        yield* take(key(), "w")
        const id = here.id()
        yield* here.write({ streamId: stream("a"), events: [happened("E", { id })], routingKey: "red" })
        yield* store.deleteStream(stream("dead"), { tombstone: true })
        const condition = { filters: [{ category }], after: position(0) }
        const a = { streamId: stream("a"), events: numbered(1) }
        const attempts = [
          [{ streamId: stream("b"), events: [happened("E", { id })] }, { condition }, "EventIdConflict"],
          [{ ...a, expected: version(0) }, { condition }, "AppendConditionFailed"],
          [{ ...a, expected: version(0) }, {}, "InvalidOriginalVersion"],
          [{ ...a, routingKey: "blue" }, {}, "RoutingKeyMismatch"],
          [{ ...a, streamId: stream("dead") }, {}, "StreamDeleted"],
          [[a, { ...a, expected: version(1) }], {}, "InvalidOriginalVersion"],
          [[a, { ...a, expected: version(2) }], {}, "LeaseLost"]
        ] as const
        for (const [appends, options, tag] of attempts) {
          const write: ReadonlyArray<StreamAppend> = [appends].flat()
          yield* unchanged(here, [stream("a")], refused(store.write(write, { ...options, fence }), tag))
        }
      })
    )

    it.effect("a write repeated under a lease that is lost by now gives its first result", () =>
      Effect.gen(function* () {
        const [here, { key, store: leases, take }] = yield* scenes("again")
        const { store, stream } = here
        const fence = yield* take(key(), "w")
        const append = { streamId: stream("a"), events: [happened("E", { id: here.id() })] }
        const first = yield* here.write(append, { fence })
        yield* leases.release(fence)
        const again = unchanged(here, [stream("a")], store.write(append, { fence }))
        assert.deepStrictEqual(yield* again, first)
        yield* take(key(), "v")
        assert.deepStrictEqual(yield* again, first)
        // One that was refused is no repeat.
        const other = { streamId: stream("a"), events: [happened("E", { id: here.id() })] }
        for (const _ of range(1, 2)) yield* refused(store.write(other, { fence }), "LeaseLost")
      })
    )

    it.effect("of 100 writes at once those under lost leases fail alone, and leave no gap", () =>
      Effect.gen(function* () {
        const [here, { key, take, takeAndExpire }] = yield* scenes("among")
        const { store, stream, streamOf } = here
        const former = yield* take(key("a"), "w")
        const fences = [undefined, yield* take(key("a"), "w"), yield* take(key("b"), "w")]
        const lost = [former, yield* takeAndExpire(key("c"), "w")]
        const outcomes = yield* Effect.forEach(
          range(1, 100),
          (n) => {
            const isLost = n % 7 === 0
            const fence = isLost ? lost[n % 2] : fences[n % 3]
            // To one stream, to one of few, or several at once.
            const streams = [["one"], [`${n % 10}`], ["several", "one"]][n % 3]!
            const write = store.write(
              streams.map((name) => ({
                streamId: stream(name),
                events: [happened(isLost ? "Lost" : "Held")]
              })),
              { fence }
            )
            return Effect.map(Effect.either(write), (outcome) => {
              const tag = outcome._tag === "Right" ? "Written" : outcome.left._tag
              assert.strictEqual(tag, isLost ? "LeaseLost" : "Written", `write ${n}`)
              return outcome._tag === "Right" ? outcome.right.position : 0
            })
          },
          unbounded
        )
        yield* here.reached(Math.max(...outcomes))
        const events = yield* here.log()
        assert.deepStrictEqual(new Set(typesOf(events)), new Set(["Held"]))
        const one = yield* streamOf(stream("one"))
        assert.deepStrictEqual(versionsOf(one), range(1, one.length))
        assert.strictEqual(one.length, range(1, 100).filter((n) => n % 7 !== 0 && n % 3 !== 1).length)
      })
    )

    it.effect("a takeover under way of writes: all of the former lease stands before all of the next", () =>
      Effect.gen(function* () {
        const [here, { key, take }] = yield* scenes("race")
        const { store, stream } = here
        let fence = yield* take(key(), "w")
        const last: Array<number> = []
        for (const round of range(1, 10)) {
          const present = fence
          const writers = Effect.forEach(
            range(1, 8),
            (n) =>
              Effect.forEach(range(1, 5), () =>
                Effect.either(
                  store.write(
                    { streamId: stream(`${n}`), events: [happened(`${present.epoch}`)] },
                    { fence: present }
                  )
                )
              ),
            unbounded
          )
          const takeover = Effect.gen(function* () {
            yield* Effect.sleep(round)
            fence = yield* take(key(), "w")
            const first = yield* store.write(
              { streamId: stream("first"), events: [happened(`${fence.epoch}`)] },
              { fence }
            )
            last.push(first.position)
          })
          yield* Effect.all([writers, takeover], unbounded)
        }
        yield* here.reached(Math.max(...last))
        const epochs = typesOf(yield* here.log()).map(Number)
        assert.deepStrictEqual(
          epochs,
          [...epochs].sort((a, b) => a - b)
        )
      })
    )

    it.effect("a fence with a wrong field is refused by the path of the field", () =>
      Effect.gen(function* () {
        const [here, { key, take }] = yield* scenes("shape")
        const good = yield* take(key(), "w")
        const cases: ReadonlyArray<readonly [field: string, fence: unknown]> = [
          ["fence", null],
          ["fence", "lease"],
          ["fence.key", {}],
          ["fence.key", { ...good, key: "" }],
          ["fence.key", { ...good, key: 1 }],
          ["fence.key", { ...good, key: "a\u0000" }],
          ["fence.key", { ...good, key: "\ud800" }],
          ["fence.key", { ...good, key: "k".repeat(256) }],
          ["fence.workerId", { ...good, workerId: undefined }],
          ["fence.workerId", { ...good, workerId: "" }],
          ["fence.workerId", { ...good, workerId: "w".repeat(256) }],
          ["fence.epoch", { ...good, epoch: undefined }],
          ["fence.epoch", { ...good, epoch: 0 }],
          ["fence.epoch", { ...good, epoch: -1 }],
          ["fence.epoch", { ...good, epoch: 1.5 }],
          ["fence.epoch", { ...good, epoch: "1" }],
          ["fence.epoch", { ...good, epoch: 2 ** 53 }],
          ["fence.ttl", { ...good, ttl: undefined }],
          ["fence.ttl", { ...good, ttl: Duration.infinity }]
        ]
        for (const [field, fence] of cases) {
          const write = here.store.write(
            { streamId: here.stream("a"), events: numbered(1) },
            { fence: wrong<Lease>(fence) }
          )
          const error = yield* unchanged(here, [here.stream("a")], refused(write, "InvalidArgument"))
          assert.strictEqual(error.field, field)
        }
      })
    )

    it.effect("keys and workers may have any characters, and are told apart by them", () =>
      Effect.gen(function* () {
        const [here, { key, take }] = yield* scenes("odd")
        const names = [`"{a,b}\\`, "NULL", "é", "e\u0301", " ", "A", "a", "😀".repeat(100), "'; --"]
        for (const name of names) {
          const fence = yield* take(key(name), name)
          yield* here.write({ streamId: here.stream("a"), events: [happened("E")] }, { fence })
          for (const other of names) {
            if (other === name) continue
            const write = here.store.write(
              { streamId: here.stream("a"), events: numbered(1) },
              { fence: { ...fence, workerId: other } }
            )
            assert.strictEqual((yield* refused(write, "LeaseLost")).holder, name)
          }
        }
        assert.strictEqual(yield* here.store.streamVersion(here.stream("a")), names.length)
      })
    )
  })
}

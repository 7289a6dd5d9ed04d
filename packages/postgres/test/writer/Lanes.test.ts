/** Lanes by themselves, in front of a server that is made up: how often they ask it, and for whom. */
import { assert, describe } from "@effect/vitest"
import type { StreamId } from "@millrace/core/StreamId"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Outcome } from "../../src/PgAppend.js"
import { PgError } from "../../src/PgFault.js"
import * as PgLanes from "../../src/PgLanes.js"
import type { Pending } from "../../src/PgPending.js"
import { range, test } from "./Fixtures.js"
import { leaseOf } from "./Leases.js"

const busy: Outcome = { _tag: "LeaseBusy" }
const written: Outcome = { _tag: "Written", result: { appends: [], position: 1 as never } }
const held = (streamId: StreamId | undefined): Outcome => ({ _tag: "Blocked", streamId })

/** Lanes whose calls are answered by `answer`, and the writes that have ended. */
const lanesWith = (answer: (pending: Pending, waits: boolean) => Outcome | Error) =>
  Effect.gen(function* () {
    const calls: Array<{ readonly size: number; readonly waits: boolean }> = []
    const ended: Array<string> = []
    const lanes = yield* PgLanes.make({
      clock: Clock.make(),
      call: (batch, waits) => {
        calls.push({ size: batch.length, waits })
        const answers = batch.map((pending) => answer(pending, waits))
        const fault = answers.find((each) => each instanceof Error)
        // A server takes its time: an answer at once would keep everything else from its turn.
        return new Promise((resolve, reject) =>
          setTimeout(() => (fault === undefined ? resolve(answers as Array<Outcome>) : reject(fault)), 1)
        )
      },
      committed: () => undefined,
      expired: () => false,
      shortLockMs: 10
    })
    const pendingOf = (
      streams: ReadonlyArray<string>,
      key: string | undefined,
      conditional = false
    ): Pending => ({
      write: {
        appends: streams.map((streamId) => ({ streamId: streamId as StreamId })),
        fence: key === undefined ? undefined : leaseOf(key, "w", 1),
        condition: conditional ? {} : undefined
      } as unknown as Pending["write"],
      looksAtIds: false,
      deadlineMs: Infinity,
      caller: { unsafePoll: () => null } as unknown as Pending["caller"],
      end: () => void ended.push(streams.join())
    })
    const settled = Effect.repeat(Effect.sleep("5 millis"), { until: () => lanes.isEmpty() })
    return { calls, ended, lanes, pendingOf, settled }
  })

describe("lanes", () => {
  test("all who wait for one lease ask together, every 20 ms, and condition and others apart", 20, () =>
    Effect.gen(function* () {
      let free = false
      const { calls, ended, lanes, pendingOf, settled } = yield* lanesWith(({ write }) =>
        !free && write.fence?.key === "a" ? busy : written
      )
      for (const n of range(1, 150)) lanes.addHeld(pendingOf([`s/${n}`], "a"), busy)
      lanes.add(pendingOf(["s/condition"], "a", true), undefined)
      lanes.addHeld(pendingOf(["s/other"], "b"), busy)
      // Its stream is held, and when that is free, its lease.
      lanes.add(pendingOf(["s/held"], "a"), "s/held" as StreamId)
      yield* Effect.sleep("300 millis")
      assert.deepStrictEqual(ended, ["s/other"])
      // 15 looks for each of the two lanes, and the two ways there.
      assert.isAbove(calls.length, 8)
      assert.isBelow(calls.length, 40)
      assert.isUndefined(lanes.laneOf(pendingOf(["s/held"], undefined).write))
      free = true
      yield* settled
      assert.strictEqual(ended.length, 153)
      assert.strictEqual(Math.max(...calls.map(({ size }) => size)), 151)
    })
  )

  test(
    "a write whose lease is free and whose stream is held goes to the lane of the stream, and waits there",
    20,
    () =>
      Effect.gen(function* () {
        let turns = 0
        const { calls, ended, lanes, pendingOf, settled } = yield* lanesWith((_, waits) => {
          turns++
          return turns === 1 ? busy : waits ? written : held("s/1" as StreamId)
        })
        lanes.addHeld(pendingOf(["s/1"], "a"), busy)
        yield* settled
        assert.deepStrictEqual(ended, ["s/1"])
        assert.deepStrictEqual(
          calls.map(({ waits }) => waits),
          [false, false, false, true]
        )
      })
  )

  test("after a fault a lane pauses, longer each time; a lock that was not to be had is no fault", 20, () =>
    Effect.gen(function* () {
      let code = "08006"
      let done = false
      const { calls, lanes, pendingOf, settled } = yield* lanesWith(() =>
        done ? written : new PgError("made up", code)
      )
      lanes.add(pendingOf(["s/1"], undefined), undefined)
      yield* Effect.sleep("400 millis")
      // 5, 10, 20, 40, 80, 160, 320 ms.
      assert.isBelow(calls.length, 9)
      code = "55P03"
      yield* Effect.repeat(Effect.sleep("5 millis"), { until: () => calls.length > 100 })
      done = true
      yield* settled
    })
  )
})

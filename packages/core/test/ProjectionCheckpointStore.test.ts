/** Checkpoints of projections: the values and errors, and the store in memory. */
import { assert, describe, it } from "@effect/vitest"
import * as Memory from "@millrace/core/Memory"
import * as MemoryProjectionCheckpointStore from "@millrace/core/MemoryProjectionCheckpointStore"
import { Position } from "@millrace/core/Position"
import {
  CheckpointBehind,
  cursorFor,
  emptyCheckpoint,
  ProjectionMoved
} from "@millrace/core/ProjectionCheckpoint"
import { StreamId } from "@millrace/core/StreamId"
import { StreamVersion } from "@millrace/core/StreamVersion"
import { projectionCheckpointStoreSuite } from "@millrace/testkit/ProjectionCheckpointStoreSuite"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

projectionCheckpointStoreSuite("memory", Memory.layer())
projectionCheckpointStoreSuite("memory, alone", MemoryProjectionCheckpointStore.layer)

const streamId = StreamId.make("account/42")
const [one, two] = [StreamVersion.make(1), StreamVersion.make(2)]
const [from, to] = [Position.make(3), Position.make(4)]

describe("checkpoint", () => {
  it("a stream that a checkpoint does not hold stands at 0", () => {
    assert.strictEqual(cursorFor(emptyCheckpoint, streamId), 0)
    assert.strictEqual(cursorFor({ position: to, cursors: new Map([[streamId, two]]) }, streamId), 2)
  })

  it.effect("its errors survive JSON, and say in one line what is stored", () =>
    Effect.gen(function* () {
      const Errors = Schema.parseJson(Schema.Union(ProjectionMoved, CheckpointBehind))
      const errors = [
        new ProjectionMoved({ name: "totals", expected: from, actual: to, stream: null }),
        new ProjectionMoved({
          name: "totals",
          expected: to,
          actual: to,
          stream: { streamId, expected: one, actual: two }
        }),
        new CheckpointBehind({ name: "totals", given: from, stored: to, stream: null }),
        new CheckpointBehind({
          name: "totals",
          given: to,
          stored: to,
          stream: { streamId, given: one, stored: two }
        })
      ]
      for (const error of errors) {
        const back = yield* Effect.flatMap(Schema.encode(Errors)(error), Schema.decode(Errors))
        assert.strictEqual(back.constructor, error.constructor)
        assert.deepStrictEqual({ ...back }, { ...error })
        assert.strictEqual(back.message, error.message)
        assert.match(error.message, /^[a-z][^\n]* name=totals (expected|given)=\d/)
      }
      assert.match(errors[1]!.message, /streamId=account\/42 expectedVersion=1 actualVersion=2$/)
      assert.match(errors[3]!.message, /streamId=account\/42 givenVersion=1 storedVersion=2$/)
    })
  )
})

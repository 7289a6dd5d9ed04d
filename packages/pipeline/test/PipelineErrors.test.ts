/** The errors travel: each member of the union is encoded to JSON and decoded again as what it was. */
import { assert, it } from "@effect/vitest"
import {
  BarrierLost,
  InputHadEnded,
  OperatorFailed,
  OperatorMissing,
  PipelineError,
  SavepointNotFound,
  SinkCannotRewind,
  StateIncompatible
} from "@millrace/pipeline/PipelineErrors"
import * as Schema from "effect/Schema"

const pipeline = "flights"

const errors = [
  new OperatorFailed({ pipeline, operator: "map", cause: new Error("no such key") }),
  new StateIncompatible({ pipeline, operator: "window", checkpointId: 7, reason: "another form" }),
  new OperatorMissing({ pipeline, operator: "window", checkpointId: 7 }),
  new SinkCannotRewind({ pipeline, sink: "mails", checkpointId: 7, committedId: 8 }),
  new SavepointNotFound({ pipeline, savepoint: "before" }),
  new InputHadEnded({ pipeline, source: "log" }),
  new BarrierLost({ pipeline, checkpointId: 7, timeoutMs: 600_000 })
]

it.each(errors)("$_tag is the same after a journey, and says where and what", (error) => {
  const text = JSON.stringify(Schema.encodeSync(PipelineError)(error))
  const back = Schema.decodeUnknownSync(PipelineError)(JSON.parse(text))
  assert.strictEqual(back._tag, error._tag)
  assert.strictEqual(back.message, error.message)
  assert.include(error.message, `pipeline=${pipeline} `)
})

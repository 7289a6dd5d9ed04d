/** The errors travel: each member of the unions is encoded to JSON and decoded again as what it was. */
import { assert, describe, it } from "@effect/vitest"
import {
  CheckpointConflict,
  CheckpointNotFound,
  CheckpointStoreError,
  Serde
} from "@millrace/core/CheckpointErrors"
import { CheckpointId } from "@millrace/core/CheckpointManifest"
import {
  CursorAheadOfLog,
  EngineError,
  HandlerError,
  ProjectionFailed,
  SerializationError,
  StreamGap,
  UnhandledEvent
} from "@millrace/core/EngineError"
import { describe as describeValue, invalid, InvalidArgument } from "@millrace/core/InvalidArgument"
import { LeaseLost } from "@millrace/core/LeaseLost"
import { Position } from "@millrace/core/Position"
import { StoreUnavailable } from "@millrace/core/StoreUnavailable"
import { InvalidStreamId, StreamId } from "@millrace/core/StreamId"
import { StreamVersion } from "@millrace/core/StreamVersion"
import {
  AppendConditionFailed,
  EventIdConflict,
  EventTooLarge,
  InvalidOriginalVersion,
  MissingData,
  RoutingKeyMismatch,
  StreamDeleted,
  WriteError
} from "@millrace/core/WriteError"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

const streamId = StreamId.make("account/42")
const position = Position.make(7)
const version = StreamVersion.make(3)
const cause = new Error("connection refused")

const shared = [
  invalid("page.first", "an integer of 1 to 10000 rows", 0),
  new InvalidStreamId({ streamId: "account", reason: "has no '/'" }),
  new LeaseLost({ key: "mails", holder: "worker-2" }),
  new StoreUnavailable({ operation: "write", transient: true, cause })
]
const writeErrors = [
  ...shared,
  new InvalidOriginalVersion({ streamId, expected: version, actual: StreamVersion.make(0) }),
  new InvalidOriginalVersion({ streamId, expected: "exists", actual: StreamVersion.make(0) }),
  new AppendConditionFailed({ position }),
  new EventIdConflict({ streamId, id: "01ARZ3NDEKTSV4RRFFQ69G5FAV" }),
  new MissingData({ field: "appends[0].events" }),
  new RoutingKeyMismatch({ streamId, expected: null, actual: "north" }),
  new RoutingKeyMismatch({ streamId, expected: "south", actual: "north" }),
  new EventTooLarge({ streamId, index: 2, bytes: 11, maxBytes: 10 }),
  new StreamDeleted({ streamId })
]
const engineErrors = [
  ...shared,
  new SerializationError({ eventType: "E", streamId, version, position, path: "data.a", reason: "missing" }),
  new HandlerError({ eventType: "E", streamId, position, cause }),
  new UnhandledEvent({ eventType: "E", streamId, position }),
  new StreamGap({ streamId, expected: version, actual: version }),
  new CursorAheadOfLog({ cursor: position, head: Position.make(2) }),
  new ProjectionFailed({ projectionName: "totals", position, cause })
]

const id = { pipeline: "hourly", checkpointId: CheckpointId.make(7) }
const checkpointErrors = [
  ...shared.filter(({ _tag }) => _tag !== "InvalidStreamId"),
  new CheckpointConflict(id),
  new CheckpointNotFound(id),
  new Serde({ ...id, reason: "epoch: is missing" })
]

const members = (union: { readonly members: ReadonlyArray<{ readonly _tag?: string }> }): number =>
  union.members.length

describe("errors", () => {
  for (const [name, union, errors] of [
    ["WriteError", WriteError as Schema.Schema<WriteError, unknown>, writeErrors],
    ["EngineError", EngineError as Schema.Schema<EngineError, unknown>, engineErrors],
    [
      "CheckpointStoreError",
      CheckpointStoreError as Schema.Schema<CheckpointStoreError, unknown>,
      checkpointErrors
    ]
  ] as const) {
    it.effect(`every ${name} survives JSON with its class, its fields and its message`, () =>
      Effect.gen(function* () {
        for (const error of errors) {
          const json = Schema.parseJson(union as Schema.Schema<unknown, unknown>)
          const text = yield* Schema.encode(json)(error)
          const back = yield* Schema.decode(json)(text)
          assert.strictEqual((back as typeof error).constructor, error.constructor)
          const [actual, expected] = [back as typeof error, error]
          assert.strictEqual(actual._tag, expected._tag)
          assert.strictEqual(actual.message, expected.message)
          const fields = ({ cause: _cause, ...rest }: Record<string, unknown>) => rest
          assert.deepStrictEqual(fields({ ...actual }), fields({ ...expected }))
        }
      })
    )
  }

  it("the lists above have every member of the unions", () => {
    const tags = (errors: ReadonlyArray<{ readonly _tag: string }>) =>
      new Set(errors.map(({ _tag }) => _tag)).size
    assert.strictEqual(tags(writeErrors), members(WriteError))
    assert.strictEqual(tags(engineErrors), members(EngineError))
    assert.strictEqual(tags(checkpointErrors), members(CheckpointStoreError))
  })

  it("a message begins in lower case, is one line, and ends with the fields", () => {
    for (const { message } of [...writeErrors, ...engineErrors, ...checkpointErrors]) {
      assert.match(message, /^[a-z][^\n]*\b[a-zA-Z]+=[^\n]+$/)
    }
  })

  it("what was given is described in at most 80 characters, whatever it is", () => {
    const values: ReadonlyArray<readonly [unknown, string]> = [
      ["a\nb", `"a\\nb"`],
      [5, "5"],
      [NaN, "NaN"],
      [null, "null"],
      [undefined, "undefined"],
      [5n, "5n"],
      [[1, 2], "array of 2"],
      [{ secret: 1 }, "object"],
      [Object.create(null), "object"],
      [() => 1, "function"],
      [Symbol("s"), "symbol"]
    ]
    for (const [value, text] of values) assert.strictEqual(describeValue(value), text)
    assert.strictEqual(describeValue("x".repeat(500)).length, 80)
    const error = invalid("field", "something", "x")
    assert.instanceOf(error, InvalidArgument)
    assert.deepStrictEqual(
      { field: error.field, allowed: error.allowed, actual: error.actual },
      {
        field: "field",
        allowed: "something",
        actual: `"x"`
      }
    )
  })
})

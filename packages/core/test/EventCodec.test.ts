import { assert, describe, expect, expectTypeOf, it } from "@effect/vitest"
import { EventStore } from "@millrace/core/EventStore"
import * as EventCodec from "@millrace/core/EventCodec"
import * as EventId from "@millrace/core/EventId"
import { SerializationError } from "@millrace/core/EngineError"
import type { EventMetadata, NewEvent, RecordedEvent } from "@millrace/core/Event"
import { InvalidArgument } from "@millrace/core/InvalidArgument"
import * as Memory from "@millrace/core/Memory"
import * as Page from "@millrace/core/Page"
import type { Position } from "@millrace/core/Position"
import { StreamId } from "@millrace/core/StreamId"
import type { StreamVersion } from "@millrace/core/StreamVersion"
import * as Arbitrary from "effect/Arbitrary"
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import * as DateTimes from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FastCheck from "effect/FastCheck"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"

const Account = EventCodec.category("account", {
  Opened: Schema.Struct({ owner: Schema.String, at: Schema.DateTimeUtc }),
  Deposited: EventCodec.versioned({
    version: 3,
    schema: Schema.Struct({ amountCents: Schema.Int, currency: Schema.String }),
    upcasters: {
      1: (old: { amount: number }) => ({ amountCents: Math.round(old.amount * 100) }),
      2: (old: { amountCents: number }) => ({ ...old, currency: "EUR" })
    },
    aliases: ["MoneyDeposited", "PaidIn"]
  }),
  Closed: Schema.Struct({})
})

const Item = Schema.Struct({ name: Schema.String, price: Schema.NonNegative })
const Order = EventCodec.category("order", {
  Placed: Schema.Struct({
    items: Schema.Array(Item),
    notes: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.Int }))
  }),
  Closed: Schema.Struct({ reason: Schema.String })
})

const codec = EventCodec.make(Account, Order)

/** An event as a store would give it back. */
const recorded = (
  type: string,
  data: unknown,
  options: { streamId?: string; metadata?: EventMetadata; erased?: boolean; position?: number } = {}
): RecordedEvent => ({
  streamId: StreamId.make(options.streamId ?? "account/42"),
  version: 7 as StreamVersion,
  position: (options.position ?? 99) as Position,
  id: EventId.deriveEventId(type),
  type,
  data,
  metadata: options.metadata ?? {},
  tags: [],
  recordedAt: DateTimes.unsafeMake(0),
  correlationId: Option.none(),
  causationId: Option.none(),
  erased: options.erased ?? false
})

/** What the log makes of an event: JSON there and back. */
const stored = (event: NewEvent, streamId: string): RecordedEvent =>
  recorded(event.type, JSON.parse(JSON.stringify(event.data)), {
    streamId,
    metadata: JSON.parse(JSON.stringify(event.metadata ?? {}))
  })

interface AnyDecoder {
  readonly decodeEither: (event: RecordedEvent) => Either.Either<unknown, SerializationError>
}

const failureOf = (event: RecordedEvent, decoder: AnyDecoder = codec): SerializationError => {
  const result = decoder.decodeEither(event)
  if (Either.isRight(result)) throw new Error("decoded, though it should not")
  assert.instanceOf(result.left, SerializationError)
  return result.left
}

const refusal = (build: () => unknown): InvalidArgument => {
  try {
    build()
  } catch (error) {
    assert.instanceOf(error, InvalidArgument)
    return error
  }
  throw new Error("built, though it should not")
}

describe("EventCodec / types", () => {
  it("decoded events are a union told apart by category and type", () => {
    type AccountEvent = typeof Account.Event
    expectTypeOf<AccountEvent["type"]>().toEqualTypeOf<"Opened" | "Deposited" | "Closed">()
    expectTypeOf<Extract<AccountEvent, { type: "Deposited" }>["data"]>().toEqualTypeOf<{
      readonly amountCents: number
      readonly currency: string
    }>()
    expectTypeOf<Extract<AccountEvent, { type: "Opened" }>["data"]["at"]>().toEqualTypeOf<DateTime.Utc>()
    expectTypeOf<AccountEvent["event"]>().toEqualTypeOf<RecordedEvent>()
    type AnyEvent = typeof codec.Event
    expectTypeOf<AnyEvent["category"]>().toEqualTypeOf<"account" | "order">()
    expectTypeOf<Extract<AnyEvent, { category: "order"; type: "Closed" }>["data"]>().toEqualTypeOf<{
      readonly reason: string
    }>()
    const fold = (event: AccountEvent): number => {
      switch (event.type) {
        case "Opened":
          return 0
        case "Deposited":
          return event.data.amountCents
        case "Closed":
          return -1
      }
    }
    expectTypeOf(fold).returns.toBeNumber()
  })

  it("encode takes the type's own data and gives a NewEvent", () => {
    expectTypeOf(Account.encode("Deposited", { amountCents: 1, currency: "EUR" })).toEqualTypeOf<
      Effect.Effect<NewEvent, SerializationError>
    >()
    // @ts-expect-error another type's data
    void Account.encode("Deposited", { owner: "Ada" })
    // @ts-expect-error no such type
    void Account.encode("Lost", {})
    // @ts-expect-error a former name is for decoding only
    void Account.encode("PaidIn", { amountCents: 1, currency: "EUR" })
  })

  it("decodeAll narrows to the types asked for", () => {
    const page = codec.decodeAll([], ["Deposited", "Placed"])
    expectTypeOf<Effect.Effect.Success<typeof page>[number]["type"]>().toEqualTypeOf<"Deposited" | "Placed">()
    expectTypeOf<Effect.Effect.Success<ReturnType<typeof Order.decodeAll>>[number]>().toEqualTypeOf<
      typeof Order.Event
    >()
    // @ts-expect-error no such type
    void codec.decodeAll([], ["Lost"])
    expectTypeOf(codec.decode).returns.toEqualTypeOf<Effect.Effect<typeof codec.Event, SerializationError>>()
  })

  it("schemas that need services are refused by the types", () => {
    class Service extends Context.Tag("Service")<Service, string>() {}
    const schema = Schema.transformOrFail(Schema.String, Schema.String, {
      decode: (value) => Effect.as(Service, value),
      encode: (value) => ParseResult.succeed(value)
    })
    // @ts-expect-error needs Service
    void EventCodec.category("x", { A: schema })
    // @ts-expect-error needs Service
    void EventCodec.versioned({ schema })
    expectTypeOf<Schema.Schema.Context<typeof schema>>().toEqualTypeOf<Service>()
  })
})

describe("EventCodec / encode and decode", () => {
  it.live("what is encoded, appended and read back decodes to the same data", () =>
    Effect.gen(function* () {
      const store = yield* EventStore
      const at = DateTimes.unsafeMake("2001-01-01T00:47:00Z")
      const id = EventId.deriveEventId("opened", "42")
      const opened = yield* Account.encode(
        "Opened",
        { owner: "Ada", at },
        { id, tags: ["vip"], metadata: { correlationId: "c-1" } }
      )
      const deposited = yield* Account.encode("Deposited", { amountCents: 5, currency: "EUR" })
      assert.deepStrictEqual(opened, {
        type: "Opened",
        data: { owner: "Ada", at: "2001-01-01T00:47:00.000Z" },
        id,
        metadata: { correlationId: "c-1" },
        tags: ["vip"]
      })
      assert.deepStrictEqual(deposited.metadata, { schemaVersion: 3 })
      yield* store.write({ streamId: Account.streamId("42"), events: [opened, deposited] })
      const page = Page.nodes(yield* store.read({ filters: Account.filters() }))
      const [first, second] = yield* Account.decodeAll(page)
      assert(first?.type === "Opened" && second?.type === "Deposited")
      assert.strictEqual(first.data.owner, "Ada")
      assert.isTrue(DateTimes.Equivalence(first.data.at, at))
      assert.strictEqual(first.event.id, id)
      assert.deepStrictEqual(first.event.tags, ["vip"])
      assert.deepStrictEqual(second.data, { amountCents: 5, currency: "EUR" })
      assert.strictEqual(second.event.version, 2)
    }).pipe(Effect.provide(Memory.layer()))
  )

  it("the schema version stands in the metadata, and is left out when it is 1", () => {
    const at1 = Order.encodeEither("Closed", { reason: "x" }, { metadata: { schemaVersion: 9, kept: 1 } })
    assert.deepStrictEqual(Either.getOrThrow(at1).metadata, { kept: 1 })
    const at3 = Account.encodeEither(
      "Deposited",
      { amountCents: 1, currency: "EUR" },
      { metadata: { schemaVersion: 9, kept: 1 } }
    )
    assert.deepStrictEqual(Either.getOrThrow(at3).metadata, { schemaVersion: 3, kept: 1 })
    assert.isFalse("metadata" in Either.getOrThrow(Order.encodeEither("Closed", { reason: "x" })))
  })

  it("every event that a schema can describe comes back from JSON as it went in (seed 20260301)", () => {
    const schema = Schema.Struct({
      text: Schema.String,
      integer: Schema.Int,
      at: Schema.DateTimeUtc,
      maybe: Schema.Option(Schema.Number.pipe(Schema.finite())),
      either: Schema.Union(
        Schema.TaggedStruct("Left", { n: Schema.Int }),
        Schema.TaggedStruct("Right", { b: Schema.Boolean })
      ),
      big: Schema.BigInt,
      set: Schema.ReadonlySet(Schema.String),
      optional: Schema.optionalWith(Schema.String, { exact: true }),
      nested: Schema.Array(
        Schema.Struct({
          bytes: Schema.Uint8Array,
          map: Schema.ReadonlyMap({ key: Schema.String, value: Schema.Int })
        })
      )
    })
    const Thing = EventCodec.category("thing", {
      Happened: EventCodec.versioned({ schema, version: 2, upcasters: { 1: (old: unknown) => old } })
    })
    const same = Schema.equivalence(schema)
    const outcome = FastCheck.check(
      FastCheck.property(Arbitrary.make(schema), (data) => {
        const event = Either.getOrThrow(Thing.encodeEither("Happened", data))
        const back = Either.getOrThrow(Thing.decodeEither(stored(event, "thing/1")))
        return same(back.data, data)
      }),
      { numRuns: 300, seed: 20260301 }
    )
    assert.isFalse(outcome.failed, FastCheck.defaultReportMessage(outcome))
  })

  it("an event that the codec gives out is never one that it cannot read (seed 20260302)", () => {
    // Anything at all as data: it is either refused when encoded, or decodes after JSON.
    const Loose = EventCodec.category("loose", { Any: Schema.Unknown, Number: Schema.Number })
    const outcome = FastCheck.check(
      FastCheck.property(
        FastCheck.anything({
          withDate: true,
          withMap: true,
          withSet: true,
          withBigInt: true,
          withTypedArray: true
        }),
        FastCheck.double(),
        (anything, number) => {
          for (const encoded of [Loose.encodeEither("Any", anything), Loose.encodeEither("Number", number)]) {
            if (Either.isLeft(encoded)) continue
            const back = Loose.decodeEither(stored(encoded.right, "loose/1"))
            if (Either.isLeft(back)) return false
            if (back.right.type === "Number" && back.right.data !== number) return false
          }
          return true
        }
      ),
      { numRuns: 1_000, seed: 20260302 }
    )
    assert.isFalse(outcome.failed, FastCheck.defaultReportMessage(outcome))
  })
})

describe("EventCodec / history", () => {
  it.effect("upcasters run one after another from the stored version to the present", () =>
    Effect.gen(function* () {
      const from1 = yield* Account.decode(recorded("Deposited", { amount: 1.25 }))
      const from2 = yield* Account.decode(
        recorded("Deposited", { amountCents: 125 }, { metadata: { schemaVersion: 2 } })
      )
      const from3 = yield* Account.decode(
        recorded("Deposited", { amountCents: 125, currency: "USD" }, { metadata: { schemaVersion: 3 } })
      )
      assert.deepStrictEqual(from1.data, { amountCents: 125, currency: "EUR" })
      assert.deepStrictEqual(from2.data, { amountCents: 125, currency: "EUR" })
      assert.deepStrictEqual(from3.data, { amountCents: 125, currency: "USD" })
      assert.deepStrictEqual(from1.event.data, { amount: 1.25 })
    })
  )

  it("a chain of twenty upcasters is applied in order, from every version", () => {
    const version = 20
    const Chain = EventCodec.category("chain", {
      Step: EventCodec.versioned({
        version,
        schema: Schema.Array(Schema.Int),
        upcasters: Object.fromEntries(
          Array.from({ length: version - 1 }, (_, i) => [
            i + 1,
            (old: ReadonlyArray<number>) => [...old, i + 1]
          ])
        )
      })
    })
    for (let from = 1; from <= version; from++) {
      const event = recorded("Step", [], { streamId: "chain/1", metadata: { schemaVersion: from } })
      const expected = Array.from({ length: version - from }, (_, i) => from + i)
      assert.deepStrictEqual(Either.getOrThrow(Chain.decodeEither(event)).data, expected)
    }
  })

  it("an upcaster sees the event as well as its data", () => {
    const Named = EventCodec.category("named", {
      Made: EventCodec.versioned({
        version: 2,
        schema: Schema.Struct({ id: Schema.String }),
        upcasters: { 1: (_: unknown, event) => ({ id: event.streamId }) }
      })
    })
    const event = recorded("Made", null, { streamId: "named/7" })
    assert.deepStrictEqual(Either.getOrThrow(Named.decodeEither(event)).data, { id: "named/7" })
  })

  it("an alias decodes to the present name and says what was stored", () => {
    for (const alias of ["MoneyDeposited", "PaidIn"]) {
      const event = recorded(alias, { amount: 2 })
      assert.isTrue(Account.handles(event))
      const decoded = Either.getOrThrow(Account.decodeEither(event))
      assert.strictEqual(decoded.type, "Deposited")
      assert.strictEqual(decoded.event.type, alias)
      assert.deepStrictEqual(decoded.data, { amountCents: 200, currency: "EUR" })
    }
  })

  it("filters find a type under every name it ever had", () => {
    assert.deepStrictEqual(Account.filters(), [{ category: "account" }])
    assert.deepStrictEqual(codec.filters(), [{ category: "account" }, { category: "order" }])
    assert.deepStrictEqual(codec.filters(["Deposited", "Closed"]), [
      { category: "account", type: "Deposited" },
      { category: "account", type: "MoneyDeposited" },
      { category: "account", type: "PaidIn" },
      { category: "account", type: "Closed" },
      { category: "order", type: "Closed" }
    ])
  })

  it("an erased event decodes when its replacement fits its own form or the present one", () => {
    const present = recorded("Deposited", { amountCents: 0, currency: "-" }, { erased: true })
    const own = recorded("Deposited", { amount: 0 }, { erased: true })
    assert.deepStrictEqual(Either.getOrThrow(Account.decodeEither(present)).data, {
      amountCents: 0,
      currency: "-"
    })
    assert.deepStrictEqual(Either.getOrThrow(Account.decodeEither(own)).data, {
      amountCents: 0,
      currency: "EUR"
    })
    const neither = failureOf(recorded("Opened", null, { erased: true }))
    assert.include(neither.reason, "data was erased")
  })
})

describe("EventCodec / a page at a time", () => {
  const page = [
    recorded("Opened", { owner: 5 }, { position: 1 }),
    recorded("MoneyDeposited", { amount: 1 }, { position: 2 }),
    recorded("Placed", { items: [] }, { streamId: "order/1", position: 3 }),
    recorded("Unheard", {}, { position: 4 }),
    recorded("Deposited", { amount: 2 }, { streamId: "stranger/1", position: 5 })
  ]

  it.effect("only types that somebody handles are decoded; the others may be broken or unknown", () =>
    Effect.gen(function* () {
      const events = yield* codec.decodeAll(page, ["Deposited", "Placed"])
      assert.deepStrictEqual(
        events.map(({ category, event, type }) => [category, type, event.position]),
        [
          ["account", "Deposited", 2],
          ["order", "Placed", 3]
        ] as Array<unknown>
      )
      assert.deepStrictEqual(yield* codec.decodeAll(page, []), [])
    })
  )

  it.effect("without types the first event that does not decode fails the page and is named", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(codec.decodeAll(page.slice(1)))
      assert.strictEqual(error.position, 4)
      assert.strictEqual(error.eventType, "Unheard")
    })
  )

  it("handles looks at category and type alone", () => {
    assert.deepStrictEqual(page.map(codec.handles), [true, true, true, false, false])
    assert.deepStrictEqual(page.map(Order.handles), [false, false, true, false, false])
    assert.isFalse(Account.handles(recorded("constructor", {})))
  })
})

describe("EventCodec / errors", () => {
  it("a failing decode names event, stream, version, position and the path in the data", () => {
    const error = failureOf(
      recorded(
        "Placed",
        {
          items: [
            { name: "a", price: 1 },
            { name: "b", price: 2 },
            { name: "c", price: "3" }
          ]
        },
        { streamId: "order/9" }
      )
    )
    expect(error).toMatchObject({
      eventType: "Placed",
      streamId: "order/9",
      version: 7,
      position: 99,
      path: "data.items[2].price"
    })
    assert.include(error.reason, "Expected number")
    assert.include(error.message, "path=data.items[2].price")
  })

  it("names that are no identifiers are quoted in the path", () => {
    const error = failureOf(
      recorded("Placed", { items: [], notes: { "to be": "x" } }, { streamId: "order/9" })
    )
    assert.strictEqual(error.path, `data.notes["to be"]`)
  })

  it("data of a wholly different form fails at its root", () => {
    assert.strictEqual(failureOf(recorded("Opened", null)).path, "data")
    assert.strictEqual(failureOf(recorded("Opened", {})).path, "data.owner")
  })

  it("of a union's findings the deepest is named", () => {
    const U = EventCodec.category("u", { A: Schema.Union(Schema.String, Schema.Struct({ a: Schema.Int })) })
    assert.strictEqual(failureOf(recorded("A", { a: "x" }, { streamId: "u/1" }), U).path, "data.a")
  })

  it("an unknown type and an unknown category are refused", () => {
    const type = failureOf(recorded("Placed", { items: [] }))
    assert.strictEqual(type.path, "type")
    assert.include(type.reason, "account")
    const category = failureOf(recorded("Opened", {}, { streamId: "stranger/1" }))
    assert.strictEqual(category.path, "streamId")
    assert.include(category.reason, "stranger")
  })

  it("a version newer than the code knows is refused, not guessed at", () => {
    const error = failureOf(
      recorded("Deposited", { amountCents: 1, currency: "EUR" }, { metadata: { schemaVersion: 4 } })
    )
    assert.strictEqual(error.path, "metadata.schemaVersion")
    assert.include(error.reason, "newer")
  })

  it("a version that is no version is refused", () => {
    for (const schemaVersion of [0, -1, 1.5, Number.NaN, "2", null, {}]) {
      const metadata = { schemaVersion } as unknown as EventMetadata
      const event = recorded("Deposited", { amount: 1 }, { metadata })
      if (schemaVersion === null) assert.isTrue(Either.isRight(Account.decodeEither(event)))
      else assert.strictEqual(failureOf(event).path, "metadata.schemaVersion")
    }
  })

  it("an upcaster that throws is an error of this event", () => {
    const error = failureOf(recorded("Deposited", null))
    assert.strictEqual(error.path, "data")
    assert.include(error.reason, "upcaster from version 1 to 2 threw")
  })

  it("an upcaster whose result does not fit fails with the path in its result", () => {
    const error = failureOf(recorded("Deposited", { amount: "much" }))
    assert.strictEqual(error.path, "data.amountCents")
  })

  it("a schema that throws, or needs to wait, is an error and never a defect", () => {
    const bad = Schema.transform(Schema.String, Schema.String, {
      decode: () => {
        throw new Error("boom")
      },
      encode: () => {
        throw new Error("bang")
      }
    })
    const slow = Schema.transformOrFail(Schema.String, Schema.String, {
      decode: (value) => Effect.as(Effect.sleep("1 millis"), value),
      encode: (value) => Effect.as(Effect.sleep("1 millis"), value)
    })
    const Bad = EventCodec.category("bad", { Throws: bad, Waits: slow })
    assert.include(failureOf(recorded("Throws", "x", { streamId: "bad/1" }), Bad).reason, "boom")
    assert.strictEqual(failureOf(recorded("Waits", "x", { streamId: "bad/1" }), Bad).path, "data")
    assert.include(Option.getOrThrow(Either.getLeft(Bad.encodeEither("Throws", "x"))).reason, "bang")
    assert.isTrue(Either.isLeft(Bad.encodeEither("Waits", "x")))
  })

  it.effect("encoding data that does not fit fails with version and position 0", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Order.encode("Placed", { items: [{ name: "a", price: -1 }] }))
      const { eventType, path, position, streamId, version } = error
      assert.deepStrictEqual({ eventType, path, position, streamId, version }, {
        eventType: "Placed",
        path: "data.items[0].price",
        position: 0,
        streamId: "",
        version: 0
      } as object)
      const unknown = yield* Effect.flip(Order.encode("Lost" as "Closed", { reason: "" }))
      assert.strictEqual(unknown.path, "type")
      const former = yield* Effect.flip(
        Account.encode("PaidIn" as "Deposited", { amountCents: 1, currency: "" })
      )
      assert.strictEqual(former.path, "type")
    })
  )

  it("data that JSON would bend is refused before it is stored", () => {
    const Any = EventCodec.category("any", { A: Schema.Unknown })
    const cycle: Record<string, unknown> = {}
    cycle.self = cycle
    const cases: ReadonlyArray<readonly [unknown, string]> = [
      [{ n: Number.NaN }, "data.n"],
      [{ n: [1, Number.POSITIVE_INFINITY] }, "data.n[1]"],
      [{ at: new Date(0) }, "data.at"],
      [[new Map()], "data[0]"],
      [{ s: new Set([1]) }, "data.s"],
      [{ b: new Uint8Array(2) }, "data.b"],
      [{ e: new Error("x") }, "data.e"],
      [{ o: Option.some(1) }, "data.o"],
      [{ x: 1n }, "data.x"],
      [{ f: () => 1 }, "data.f"],
      [[1, undefined], "data[1]"],
      [undefined, "data"]
    ]
    for (const [data, path] of cases) {
      const result = Any.encodeEither("A", data)
      assert(Either.isLeft(result))
      assert.strictEqual(result.left.path, path)
    }
    assert.isTrue(Either.isLeft(Any.encodeEither("A", cycle)))
    class Point {
      constructor(readonly x: number) {}
    }
    for (const data of [null, 0, "", [], {}, { a: undefined }, Object.create(null), new Point(1)])
      assert.isTrue(Either.isRight(Any.encodeEither("A", data)))
  })

  it("a reason stays short, whatever the data", () => {
    const error = failureOf(recorded("Opened", { owner: "x".repeat(100_000).split("") }))
    assert.isAtMost(error.reason.length, 200)
  })
})

describe("EventCodec / construction", () => {
  const A = Schema.Struct({})
  const B = EventCodec.versioned({ schema: A, aliases: ["X"] })

  it("a category or type without a valid name is refused", () => {
    for (const name of ["", "a/b", "a\u0000", "\ud800", "x".repeat(256)])
      assert.strictEqual(refusal(() => EventCodec.category(name, { A })).field, "category")
    for (const type of ["", "a\u0000", "x".repeat(256)])
      assert.include(refusal(() => EventCodec.category("c", { [type]: A })).field, "c.")
  })

  it("an alias that is another type's name, another's alias, its own type or given twice is refused", () => {
    refusal(() => EventCodec.category("c", { X: A, B }))
    refusal(() => EventCodec.category("c", { B, X: A }))
    refusal(() => EventCodec.category("c", { A: B, B }))
    refusal(() => EventCodec.category("c", { X: B }))
    refusal(() => EventCodec.category("c", { Y: EventCodec.versioned({ schema: A, aliases: ["Z", "Z"] }) }))
    const error = refusal(() => EventCodec.category("c", { X: A, B }))
    assert.strictEqual(error.field, "c.B")
    assert.strictEqual(error.actual, `"X"`)
  })

  it("two categories of one name are refused", () => {
    const error = refusal(() => EventCodec.make(Account, Order, EventCodec.category("order", { A })))
    assert.strictEqual(error.actual, `"order"`)
  })

  it("there must be an upcaster for every version before the present, and for no other", () => {
    const step = (old: unknown) => old
    const build = (version: number, upcasters: Record<number, EventCodec.Upcaster>) =>
      EventCodec.category("c", { A: EventCodec.versioned({ schema: A, version, upcasters }) })
    build(3, { 1: step, 2: step })
    assert.strictEqual(refusal(() => build(3, { 1: step })).field, "c.A.upcasters[2]")
    assert.strictEqual(refusal(() => build(3, { 2: step })).field, "c.A.upcasters[1]")
    assert.strictEqual(refusal(() => build(2, { 1: step, 2: step })).field, "c.A.upcasters")
    assert.strictEqual(refusal(() => build(1, { 0: step })).field, "c.A.upcasters")
    for (const version of [0, -1, 1.5, Number.NaN])
      assert.strictEqual(refusal(() => build(version, {})).field, "c.A.version")
  })

  it("the stream of an id is category/id, and an impossible id throws", () => {
    expect(Account.streamId("42")).toBe("account/42")
    expect(Account.streamId("a/b")).toBe("account/a/b")
    expect(Account.types).toEqual(["Opened", "Deposited", "Closed"])
    expect(() => Account.streamId("")).toThrow("has no id after")
  })
})

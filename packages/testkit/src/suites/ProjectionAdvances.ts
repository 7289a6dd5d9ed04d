/** Advancing: what moved is written, from where the caller stood, by one of those who try. */
import { assert, describe } from "@effect/vitest"
import type { ProjectionCheckpointStore } from "@millrace/core/ProjectionCheckpointStore"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Plain, ProjectionIt, Versions } from "./ProjectionScene.js"
import { checkpoint, plain, projection } from "./ProjectionScene.js"
import { range, refused } from "./Scene.js"

export const projectionAdvances = (it: ProjectionIt): void => {
  describe("advance", () => {
    it.effect("advancing moves the streams of the delta and leaves all others", () =>
      Effect.gen(function* () {
        const { advance, save, stored } = yield* projection
        yield* save(4, { "a/1": 1, "a/2": 2, "a/3": 3 })
        yield* advance([4, { "a/2": 2 }], [9, { "a/2": 5, "b/1": 1 }])
        assert.deepStrictEqual(yield* stored, [9, { "a/1": 1, "a/2": 5, "a/3": 3, "b/1": 1 }])
        yield* advance([9, { "a/1": 1, "a/2": 5 }], [12, { "b/1": 1 }], undefined).pipe((attempt) =>
          refused(attempt, "ProjectionMoved")
        )
        yield* advance([9, { "a/1": 1, "a/2": 5 }], [12, {}])
        assert.deepStrictEqual(yield* stored, [12, { "a/1": 1, "a/2": 5, "a/3": 3, "b/1": 1 }])
      })
    )

    it.effect("whole checkpoints are as good as deltas", () =>
      Effect.gen(function* () {
        const { name, save, store, stored } = yield* projection
        yield* save(4, { "a/1": 1, "a/2": 2, "a/3": 3 })
        const previous = yield* store.loadProjectionCheckpoint(name)
        const current = checkpoint(6, { "a/1": 1, "a/2": 4, "a/3": 3, "a/4": 1 })
        yield* store.advanceProjectionCursors(name, previous, current)
        assert.deepStrictEqual(yield* stored, plain(current))
      })
    )

    it.effect("a projection that nobody knows is advanced from the beginning", () =>
      Effect.gen(function* () {
        const { advance, stored } = yield* projection
        yield* advance([0, {}], [5, { "a/1": 2 }])
        assert.deepStrictEqual(yield* stored, [5, { "a/1": 2 }])
      })
    )

    it.effect("the position may move alone, and so may cursors", () =>
      Effect.gen(function* () {
        const { advance, stored } = yield* projection
        yield* advance([0, {}], [5, {}])
        yield* advance([5, {}], [5, { "a/1": 2 }])
        yield* advance([5, { "a/1": 2 }], [5, { "a/1": 3 }])
        yield* advance([5, {}], [6, {}])
        assert.deepStrictEqual(yield* stored, [6, { "a/1": 3 }])
      })
    )

    it.effect("who starts from another position is told so, and nothing is written", () =>
      Effect.gen(function* () {
        const { advance, name, save, unchanged } = yield* projection
        yield* save(10, { "a/1": 5 })
        for (const from of [0, 9, 11]) {
          const attempt = advance([from, { "a/1": 5 }], [20, { "a/1": 6, "a/2": 1 }])
          const error = yield* unchanged(refused(attempt, "ProjectionMoved"))
          assert.deepStrictEqual({ ...error, _tag: error._tag }, {
            _tag: "ProjectionMoved",
            name,
            expected: from,
            actual: 10,
            stream: null
          } as never)
        }
        const late = advance([9, {}], [9, {}])
        assert.strictEqual((yield* unchanged(refused(late, "ProjectionMoved"))).actual, 10)
      })
    )

    it.effect("who starts from other cursors is told so, and nothing is written", () =>
      Effect.gen(function* () {
        const { advance, save, unchanged } = yield* projection
        yield* save(10, { "a/1": 5, "a/🦄": 3, "a/\uffff": 4 })
        const other = (before: Versions, after: Versions) =>
          Effect.map(
            unchanged(refused(advance([10, before], [20, after]), "ProjectionMoved")),
            ({ actual, stream }) => {
              assert.strictEqual(actual, 10)
              return stream
            }
          )
        const cases: ReadonlyArray<readonly [Versions, Versions, readonly [string, number, number]]> = [
          [{ "a/1": 4 }, { "a/1": 6, "a/2": 1 }, ["a/1", 4, 5]],
          [{ "a/1": 6 }, { "a/1": 7 }, ["a/1", 6, 5]],
          [{}, { "a/1": 6 }, ["a/1", 0, 5]],
          [{ "a/1": 5, "a/2": 1 }, { "a/1": 6, "a/2": 2 }, ["a/2", 1, 0]],
          [{}, { "a/🦄": 4, "a/\uffff": 5 }, ["a/\uffff", 0, 4]]
        ]
        for (const [before, after, [streamId, expected, actual]] of cases)
          assert.deepStrictEqual(yield* other(before, after), { streamId, expected, actual } as never)
      })
    )

    it.effect("a refused step leaves a name that nobody knows unknown", () =>
      Effect.gen(function* () {
        const { advance, info } = yield* projection
        const first = yield* refused(advance([3, {}], [5, { "a/1": 2 }]), "ProjectionMoved")
        assert.deepStrictEqual([first.expected, first.actual], [3, 0] as never)
        const second = yield* refused(advance([0, { "a/1": 1 }], [5, { "a/1": 2 }]), "ProjectionMoved")
        assert.deepStrictEqual(second.stream, { streamId: "a/1", expected: 1, actual: 0 } as never)
        yield* advance([0, {}], [0, {}])
        assert.isTrue(Option.isNone(yield* info))
      })
    )

    it.effect("a step to where the projection stands writes nothing", () =>
      Effect.gen(function* () {
        const { advance, save, unchanged } = yield* projection
        yield* save(10, { "a/1": 5 })
        yield* unchanged(advance([10, { "a/1": 5 }], [10, { "a/1": 5 }]))
        yield* unchanged(advance([10, {}], [10, {}], { revision: 9 }))
      })
    )

    it.effect("a step that was made is refused when it is made again", () =>
      Effect.gen(function* () {
        const { advance, unchanged } = yield* projection
        const step = advance([0, {}], [5, { "a/1": 2 }])
        yield* step
        yield* unchanged(refused(step, "ProjectionMoved"))
      })
    )

    it.effect("a step that goes back is no step", () =>
      Effect.gen(function* () {
        const { advance, save, unchanged } = yield* projection
        yield* save(10, { "a/1": 5 })
        const back = advance([10, {}], [9, {}])
        assert.strictEqual((yield* unchanged(refused(back, "InvalidArgument"))).field, "current.position")
        const lower = advance([10, { "a/1": 5 }], [11, { "a/1": 4, "a/2": 1 }])
        assert.strictEqual(
          (yield* unchanged(refused(lower, "InvalidArgument"))).field,
          `current.cursors["a/1"]`
        )
      })
    )

    // ---- races ----

    it.effect("of many who take the first step at once one wins", () =>
      Effect.gen(function* () {
        const { advance, stored } = yield* projection
        const wins = yield* race(range(1, 12), (n) => advance([0, {}], [n, { [`a/${n}`]: n, "a/all": n }]))
        assert.strictEqual(wins.length, 1)
        assert.deepStrictEqual(yield* stored, [wins[0]!, { [`a/${wins[0]}`]: wins[0]!, "a/all": wins[0]! }])
      })
    )

    it.effect("of many who move one stream at one position one wins", () =>
      Effect.gen(function* () {
        const { advance, save, stored } = yield* projection
        yield* save(5, { "a/1": 1 })
        const wins = yield* race(range(2, 13), (n) =>
          advance([5, { "a/1": 1 }], [5, { "a/1": n, [`b/${n}`]: 1 }])
        )
        assert.strictEqual(wins.length, 1)
        assert.deepStrictEqual(yield* stored, [5, { "a/1": wins[0]!, [`b/${wins[0]}`]: 1 }])
      })
    )

    it.effect(
      "of many who go on from what they loaded each step is one's, and the end is the fold of them",
      () =>
        Effect.gen(function* () {
          const { name, store, stored } = yield* projection
          const steps = 60
          const workers = range(0, 3)
          // None makes its first step before all have loaded: they meet, however fast the store is.
          const loaded = yield* Effect.makeLatch()
          let waiting = workers.length
          const won: Array<readonly [from: number, to: number, moved: Versions]> = []
          let lost = 0
          const worker = (self: number) =>
            Effect.gen(function* () {
              for (;;) {
                const ids = range(0, 4).map((n) => `s/${(self * 3 + n * (won.length + 1)) % 12}`)
                const { position } = yield* store.loadProjectionCheckpoint(name)
                if (position >= steps) return
                const before = yield* store.loadProjectionCursors(name, ids)
                if (--waiting === 0) yield* loaded.open
                yield* loaded.await
                yield* Effect.yieldNow()
                const moved = Object.fromEntries(
                  ids.map((id) => [id, (before.get(id as never) ?? 0) + 1 + self])
                )
                const won1 = yield* step(store, name, [position, before], [position + 1, moved])
                if (won1) won.push([position, position + 1, moved])
                else lost++
              }
            })
          yield* Effect.forEach(workers, worker, { concurrency: "unbounded", discard: true })
          won.sort(([a], [b]) => a - b)
          assert.deepStrictEqual(
            won.map(([from]) => from),
            [...range(0, steps - 1)],
            "one a step"
          )
          const folded = Object.assign({}, ...won.map(([, , moved]) => moved)) as Versions
          const [at, versions] = yield* stored
          assert.strictEqual(at, steps)
          assert.deepStrictEqual({ ...versions }, { ...folded })
          assert.isAbove(lost, 0, "they met")
        })
    )

    it.effect("savers and resetters at once leave one whole checkpoint", () =>
      Effect.gen(function* () {
        const { reset, save, stored } = yield* projection
        const whole = (n: number): Versions => ({ "a/1": n, "a/2": n, [`b/${n}`]: n })
        yield* Effect.forEach(
          range(1, 24),
          (n) => (n % 8 === 0 ? reset() : Effect.ignore(save(n, whole(n)))),
          { concurrency: "unbounded" }
        )
        const [at, versions] = yield* stored
        assert.deepStrictEqual(versions, at === 0 ? {} : whole(at))
      })
    )
  })
}

// ---- internal ----

/** Those whose attempt succeeded; the others must have been told that somebody else was first. */
const race = <A, E extends { readonly _tag: string }>(
  contenders: ReadonlyArray<number>,
  attempt: (contender: number) => Effect.Effect<A, E>
) =>
  Effect.map(
    Effect.forEach(
      contenders,
      (contender) =>
        Effect.matchEffect(attempt(contender), {
          onSuccess: () => Effect.succeed([contender]),
          onFailure: (error) => (error._tag === "ProjectionMoved" ? Effect.succeed([]) : Effect.die(error))
        }),
      { concurrency: "unbounded" }
    ),
    (wins) => wins.flat()
  )

/** Whether the step was made. */
const step = (
  store: ProjectionCheckpointStore["Type"],
  name: string,
  [from, before]: readonly [number, ReadonlyMap<string, number>],
  [to, after]: Plain
) =>
  store
    .advanceProjectionCursors(name, checkpoint(from, Object.fromEntries(before)), checkpoint(to, after))
    .pipe(
      Effect.as(true),
      Effect.catchTag("ProjectionMoved", () => Effect.succeed(false))
    )

/** Names, streams and listings: every text means itself. */
import { assert, describe } from "@effect/vitest"
import type { ProjectionListing } from "@millrace/core/ProjectionCheckpoint"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { oddTexts } from "./OddTexts.js"
import type { ProjectionIt } from "./ProjectionScene.js"
import { checkpoint, epoch, plain, projection, stamped } from "./ProjectionScene.js"

export const projectionNames = (it: ProjectionIt): void => {
  describe("names", () => {
    it.effect("names are compared whole and literally", () =>
      Effect.gen(function* () {
        const { name, store } = yield* projection
        const names = ["a", "a/b", "a/", "ab", "A", "a ", "%", "_", "a%", "*", "a\\"].map(
          (text) => `${name}/${text}`
        )
        for (const [i, each] of names.entries())
          yield* store.saveProjectionCheckpoint(each, checkpoint(i + 1, { "a/1": i + 1 }))
        const at = (each: string) => Effect.map(store.loadProjectionCheckpoint(each), plain)
        for (const [i, each] of names.entries())
          assert.deepStrictEqual(yield* at(each), [i + 1, { "a/1": i + 1 }], each)
        yield* store.resetProjectionCheckpoint(names[0]!)
        yield* store.resetProjectionCheckpoint(names[6]!)
        for (const [i, each] of names.entries()) {
          const kept = i === 0 || i === 6 ? [0, {}] : [i + 1, { "a/1": i + 1 }]
          assert.deepStrictEqual(yield* at(each), kept as never, each)
        }
        const claimed = yield* store.claimProjection(names[1]!, epoch(2))
        assert.deepStrictEqual(stamped(claimed), { position: 2, revision: undefined, epoch: 2 })
        assert.isTrue(Option.isNone(Option.getOrThrow(yield* store.getProjection(names[0]!)).epoch))
      })
    )

    it.effect("odd texts as names come back as they went in", () =>
      Effect.gen(function* () {
        const { name, store } = yield* projection
        const texts = oddTexts.map(([, text]) => `${name}${text}`)
        const long = ["x", "🦄"].map((char) => `${name}${char.repeat(255 - name.length)}`)
        for (const text of [...texts, ...long]) {
          yield* store.advanceProjectionCursors(text, checkpoint(0), checkpoint(1, { "a/1": 1 }))
          yield* store.saveProjectionCheckpoint(text, checkpoint(2, { "a/1": 2 }))
          assert.deepStrictEqual(plain(yield* store.loadProjectionCheckpoint(text)), [2, { "a/1": 2 }])
          const listed = yield* store.listProjections({ prefix: text, limit: 10_000 })
          assert.strictEqual(listed[0]?.name, text)
        }
      })
    )

    it.effect("odd texts as streams come back as they went in", () =>
      Effect.gen(function* () {
        const { advance, name, save, store, stored } = yield* projection
        const long = ["x", "🦄"].map((char) => `a/${char.repeat(253)}`)
        const ids = [...oddTexts.map(([, text]) => `a/${text}`), ...long, "A/1", "a/1", "a/%", "a/_"]
        const versions = Object.fromEntries(ids.map((id, i) => [id, i + 1]))
        const half = Object.fromEntries(ids.filter((_, i) => i % 2 === 0).map((id) => [id, 1]))
        yield* advance([0, {}], [1, half])
        yield* advance([1, half], [2, versions])
        assert.deepStrictEqual(yield* stored, [2, versions])
        yield* save(3, versions)
        assert.deepStrictEqual(yield* stored, [3, versions])
        assert.deepStrictEqual(Object.fromEntries(yield* store.loadProjectionCursors(name, ids)), versions)
        yield* save(4, { "a/%": 1_000 })
        assert.deepStrictEqual(yield* stored, [4, { "a/%": 1_000 }], "and are removed as they are")
      })
    )

    it.effect("projections are listed in the order of their bytes, page by page", () =>
      Effect.gen(function* () {
        const { name, store } = yield* projection
        const ids = ["b", "B", "a", "ä", "aa", "a/", "A", "_", "%", "0", "10", "9", "\uffff", "🦄", "\ue000"]
        const names = ids.map((id) => `${name}/${id}`)
        for (const [i, each] of names.entries())
          yield* store.saveProjectionCheckpoint(each, checkpoint(i + 1, { "a/1": 1 }), { revision: i })
        yield* store.claimProjection(`${name}0`, epoch(3))
        const expected = names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
        const listed = (listing: ProjectionListing) =>
          Effect.map(store.listProjections(listing), (infos) => infos.map((info) => info.name))

        assert.deepStrictEqual(yield* listed({ prefix: `${name}/`, limit: 100 }), expected)
        assert.deepStrictEqual(yield* listed({ prefix: name, limit: 100 }), [...expected, `${name}0`])
        assert.deepStrictEqual(yield* listed({ prefix: `${name}/_`, limit: 100 }), [`${name}/_`])
        assert.deepStrictEqual(yield* listed({ prefix: `${name}/%`, limit: 100 }), [`${name}/%`])
        assert.deepStrictEqual(yield* listed({ prefix: `${name}/x`, limit: 100 }), [])
        for (const limit of [1, 4, expected.length]) {
          const seen: Array<string> = []
          for (let after: string | undefined; ; after = seen.at(-1)) {
            const page: ReadonlyArray<string> = yield* listed({ prefix: `${name}/`, after, limit })
            if (page.length === 0) break
            assert.isAtMost(page.length, limit)
            seen.push(...page)
          }
          assert.deepStrictEqual(seen, expected)
        }
        assert.deepStrictEqual(yield* listed({ after: `${name}/`, limit: 1 }), [expected[0]])
        assert.deepStrictEqual(yield* listed({ after: `${name}/🦄`, prefix: `${name}/`, limit: 1 }), [])

        const infos = yield* store.listProjections({ prefix: name, limit: 100 })
        for (const info of infos) {
          assert.deepStrictEqual(Option.some(info), yield* store.getProjection(info.name))
          const i = names.indexOf(info.name)
          assert.deepStrictEqual(
            stamped(info),
            i < 0
              ? { position: 0, revision: undefined, epoch: 3 }
              : { position: i + 1, revision: i, epoch: undefined }
          )
        }
      })
    )
  })
}

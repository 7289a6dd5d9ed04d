/**
 * A process that follows the log from its beginning with a cursor of its own, woken by `changes` or by
 * polling, until it is told at which position to end. Then it says all that it has seen, in order.
 */
import type { Position } from "@millrace/core/Position"
import * as Page from "@millrace/core/Page"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import type { Line } from "../support/PgLog.js"
import { lineOf, open } from "../support/PgLog.js"
import { chanceOf } from "@millrace/testkit/Seeds"
import { argument, orders, run, say } from "@millrace/testkit/Program"

export interface ReaderArgument {
  readonly url: string
  readonly seed: number
  readonly by: "changes" | "polling"
}

export type ReaderLine =
  | { readonly seen: ReadonlyArray<Line> }
  | { readonly fallen: readonly [number, number] }
  | { readonly up: true }

const { by, seed, url } = argument<ReaderArgument>()
const chance = chanceOf(seed)

run(
  Effect.scoped(
    Effect.gen(function* () {
      const end = yield* Deferred.make<number>()
      let last = Infinity
      orders((order) => {
        last = Number(order)
        Deferred.unsafeDone(end, Effect.succeed(last))
      })
      const { store } = yield* open(Redacted.make(url), { applicationName: `reader by ${by}` })
      const seen: Array<Line> = []
      let cursor = 0 as Position
      let head = 0
      say({ up: true })

      const page = Effect.suspend(() =>
        store.read({ page: Page.forward({ first: chance.int(1, 800), after: cursor }) })
      )
      const drain = Effect.map(page, (page) => {
        for (const { node } of page.edges) seen.push(lineOf(node))
        cursor = page.edges.at(-1)?.cursor ?? cursor
        return page.edges.length
      }).pipe(
        Effect.repeat({ while: (rows) => rows > 0 }),
        Effect.zipRight(store.head),
        Effect.map((now) => {
          if (now < head) say({ fallen: [head, now] })
          head = now
        })
      )
      if (by === "polling") {
        const pause = Effect.suspend(() => Effect.sleep(chance.int(0, 10)))
        yield* Effect.repeat(Effect.zipRight(drain, pause), { while: () => cursor < last })
      } else {
        yield* Stream.merge(store.changes, Stream.fromEffect(Deferred.await(end))).pipe(
          Stream.mapEffect(() => drain),
          Stream.takeUntil(() => cursor >= last),
          Stream.runDrain
        )
      }
      for (let i = 0; i < seen.length; i += 1_000) say({ seen: seen.slice(i, i + 1_000) })
    })
  )
)

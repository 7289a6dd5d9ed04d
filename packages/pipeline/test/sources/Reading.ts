/** Drives a source as the engine does: opens it in a scope of its own, and asks for batches. */
import * as Scoped from "@millrace/core/Scoped"
import type { Source, SourceBatch, SourceContext, SourceOffsets } from "@millrace/core/Source"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** An instance that owns all vnodes. */
export const context: SourceContext = { pipeline: "p", vnodes: { from: 0, to: 255 } }

/** All batches from an offset on, up to `most` of them. */
export const read = <A, E, R>(
  source: Source<A, E, R>,
  offsets: SourceOffsets = {},
  most = Number.POSITIVE_INFINITY,
  instance: SourceContext = context
): Effect.Effect<ReadonlyArray<SourceBatch<A>>, E, Exclude<R, Scope.Scope>> =>
  Scoped.scoped(
    Effect.gen(function* () {
      const reader = yield* source.open(offsets, instance)
      const batches: Array<SourceBatch<A>> = []
      while (batches.length < most) {
        const batch = yield* reader.next
        if (batch === undefined) break
        batches.push(batch)
      }
      return batches
    })
  )

/** The records of batches. */
export const valuesOf = <A>(batches: ReadonlyArray<SourceBatch<A>>): ReadonlyArray<A> =>
  batches.flatMap(({ values }) => values)

/** Reads the rest from behind each batch, and gives what does not agree with the first reading. */
export const resumesEverywhere = <A, E, R>(source: Source<A, E, R>) =>
  Effect.gen(function* () {
    const whole = yield* read(source)
    const wrong: Array<string> = []
    for (let i = 0; i < whole.length; i++) {
      const { offset, partition } = whole[i]!
      const rest = yield* read(source, { [partition]: offset })
      if (JSON.stringify(rest) !== JSON.stringify(whole.slice(i + 1))) wrong.push(offset)
    }
    return { batches: whole.length, wrong }
  })

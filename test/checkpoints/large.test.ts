/** A checkpoint of much state does not need as much memory, neither to be saved nor to be looked at and read. */
import { assert, describe, it } from "@effect/vitest"
import * as Children from "@millrace/testkit/Children"
import { sized } from "@millrace/testkit/Seeds"
import * as Effect from "effect/Effect"
import { newPlace } from "./Places.js"
import type { LargeArgument, LargeLine } from "./programs/large.js"

const mib = 1_048_576
const program = new URL("./programs/large.ts", import.meta.url)
const largeMib = sized(192, 2_048)

describe("large states", () => {
  for (const kind of ["files", "sqlite", "postgres"] as const)
    it.scopedLive(
      `${largeMib} MiB of state in a process that grows by less than 96 MiB: ${kind}`,
      () =>
        Effect.gen(function* () {
          const place = yield* newPlace(kind)
          const child = yield* Children.start(program, {
            place,
            sizes: [16, largeMib]
          } satisfies LargeArgument)
          yield* child.ended
          const [small, large] = child.lines as ReadonlyArray<LargeLine>
          for (const [line, size] of [
            [small!, 16],
            [large!, largeMib]
          ] as const)
            assert.deepStrictEqual([line.bytes, line.valid, line.readBack], [size * mib, true, size * mib])
          assert.isBelow(large!.peak - small!.peak, 96 * mib)
        }),
      sized(60_000, 600_000)
    )
})

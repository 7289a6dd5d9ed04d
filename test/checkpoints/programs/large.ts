/**
 * A process that saves a small checkpoint and then a large one, whose state is made while it is sent, validates it and
 * reads it back. Says how much memory it ever had, after the small one and after the large one. Unit: bytes.
 */
import { manifestOf } from "@millrace/core/CheckpointManifest"
import { CheckpointStorage } from "@millrace/core/CheckpointStore"
import { argument, run, say } from "@millrace/testkit/Program"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { PlaceAddress } from "../Places.js"
import { storageAt } from "../Places.js"

export interface LargeArgument {
  readonly place: PlaceAddress
  /** Sizes of the two states. Unit: MiB. */
  readonly sizes: readonly [small: number, large: number]
}

/** What it says of each state. */
export interface LargeLine {
  readonly bytes: number
  readonly valid: boolean
  readonly readBack: number
  readonly peak: number
}

const { place, sizes } = argument<LargeArgument>()
const tell = (line: LargeLine): void => say(line)
const mib = 1_048_576

/** So many pieces of a quarter of a MiB, none like the one before. */
const stateOf = (sizeMib: number) =>
  Stream.map(Stream.range(0, sizeMib * 4 - 1, 1), (n) => new Uint8Array(mib / 4).fill(n % 251))

const program = Effect.gen(function* () {
  const store = yield* (yield* CheckpointStorage).forPipeline("large")
  for (const [n, size] of sizes.entries()) {
    const saved = yield* store.saveWithState(
      manifestOf({
        checkpointId: n + 1,
        epoch: n + 1,
        timestampMs: 1,
        operatorStates: { all: { _tag: "Sidecar", offset: 0, length: size * mib } }
      }),
      stateOf(size)
    )
    const { chosenId } = yield* store.recoverLatestValidated
    const chunks = Option.getOrThrow(yield* store.loadStateData(n + 1))
    const readBack = yield* Stream.runFold(chunks, 0, (sum, { length }) => sum + length)
    tell({
      bytes: saved.stateLength ?? 0,
      valid: Option.contains(Option.map(chosenId, Number), n + 1),
      readBack,
      // Linux counts in KiB.
      peak: process.resourceUsage().maxRSS * 1_024
    })
  }
})

run(program.pipe(Effect.provide(storageAt(place)), Effect.orDie))

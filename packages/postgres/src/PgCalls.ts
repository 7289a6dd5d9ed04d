/**
 * The calls that the writer makes: one of the fast forms for simple writes to distinct streams, and the general
 * form for everything else, each for any number of writes that wait. When a call is made, and what follows from
 * its answer, is decided in PgWriter and PgLanes.
 */
import { compareStreamIds } from "@millrace/core/StreamId"
import type * as Clock from "effect/Clock"
import {
  appendOutcomes,
  appendStatement,
  appendValues,
  oneStatement,
  oneValues,
  simpleOutcomes,
  simpleStatement,
  simpleValues
} from "./PgAppend.js"
import type { Outcome } from "./PgAppend.js"
import * as PgBinary from "./PgBinary.js"
import { fencesOf } from "./PgFence.js"
import type { PgNames } from "./PgNames.js"
import { streamOf, timeLeft } from "./PgPending.js"
import type { Pending } from "./PgPending.js"
import type { PgPool } from "./PgPool.js"

/** The calls, each on a connection of the pool. They reject with the driver's error. */
export interface PgCalls {
  /**
   * The fast forms. Sorts the writes, and gives their outcomes in that order: `undefined` for one that was not
   * made, and for all of them when a condition holds a bucket. Rejects as a whole when a row is held
   * (`isLockTimeout`) or a lease is lost (`isFenceBroken`). `notifies`: the other processes hear of it with its
   * commit.
   */
  readonly simple: (
    batch: Array<Pending>,
    lockMs: number,
    notifies: boolean
  ) => Promise<ReadonlyArray<Outcome | undefined> | undefined>
  /** The general form. `waits`: for stream rows and buckets that others hold. */
  readonly general: (
    batch: ReadonlyArray<Pending>,
    waits: boolean,
    lockMs: number
  ) => Promise<ReadonlyArray<Outcome>>
}

/**
 * How much longer than the deadline an answer is waited for. The server ends its own waits by the deadline; only
 * when it is silent for so long is a write given up whose outcome is not known. Unit: milliseconds.
 */
const silenceMs = 2_000

/** Builds the calls. */
export const make = (pool: PgPool, names: PgNames, clock: Clock.Clock): PgCalls => {
  const generalForm = appendStatement(names)
  const simpleForm = simpleStatement(names)
  const oneForm = oneStatement(names)

  // Memory of the arguments: taken back when the answer is there, left alone when the call broke off.
  const binaries: Array<PgBinary.BinaryWriter> = []
  const withBinary = async <A>(use: (binary: PgBinary.BinaryWriter) => Promise<A>): Promise<A> => {
    const binary = binaries.pop() ?? PgBinary.make()
    const answer = await use(binary)
    binary.reset()
    binaries.push(binary)
    return answer
  }

  return {
    simple: async (batch, lockMs, notifies) => {
      const answerMs = timeLeft(batch, clock.unsafeCurrentTimeMillis()) + silenceMs
      const single = batch.length === 1 && batch[0]!.write.eventCount === 1
      if (!single) batch.sort((a, b) => compareStreamIds(streamOf(a), streamOf(b)))
      const writes = batch.map((pending) => pending.write)
      const fences = fencesOf(writes)
      const form = single ? oneForm : simpleForm
      const statement = form({ fenced: fences !== undefined, notifies })
      const [row] = single
        ? await pool.query(statement, oneValues(writes[0]!, lockMs, fences), undefined, answerMs)
        : await withBinary((binary) =>
            pool.query(statement, simpleValues(writes, lockMs, fences, binary), undefined, answerMs)
          )
      return simpleOutcomes(writes, row!)
    },
    general: async (batch, waits, lockMs) => {
      const leftMs = timeLeft(batch, clock.unsafeCurrentTimeMillis())
      const writes = batch.map((pending) => pending.write)
      const looksAtIds = batch.some((pending) => pending.looksAtIds)
      // The server gives up before we do, so that what we report as failed does not happen afterwards.
      const mode = { looksAtIds, waits, lockMs: Math.min(lockMs, leftMs), joined: false }
      const [row] = await withBinary((binary) =>
        pool.query(generalForm, appendValues(writes, mode, names, binary), undefined, leftMs + silenceMs)
      )
      return appendOutcomes(writes, row!)
    }
  }
}

/**
 * What a consumer of the log does next, as a pure function: subscribers, projections and rebuilds all follow it,
 * and only what they do with the events of a slice differs. It decides, and a shell around it does what it says
 * and tells it what came of it.
 *
 *     acquire ──▶ read ──▶ handle ──▶ acknowledge ──▶ … ──▶ at the head: wait for a hint ──▶ read ──▶ …
 *                  │          ▲
 *                  └─ one page is read ahead while the one before it is handled
 *
 * Invariants
 *
 *  1. Events are handed out in the order of the log, each once between two acquisitions, one slice at a time.
 *  2. No more than `ackEvery` events are finished and not acknowledged: so many at most are handled again after a
 *     crash, and none out of order.
 *  3. The cursor is moved to what is finished, never beyond: to the end of a page only when all of the page is
 *     done, and then also past events that the consumer did not want, so that they are never looked at again.
 *  4. Reading goes on while there is more, without waiting; at the head nothing is read until a hint came. A hint
 *     that comes while a read is under way leads to another read. One that brings a head farther on than the
 *     known one is taken at its word, and the log is read up to there without asking it for its head again.
 *  5. After a pause, a stop or a lost lease no new slice is begun. What is finished is acknowledged on every way
 *     out but the lost lease, where somebody else moves the cursor.
 *  6. At most two pages are held, and at most one read, one slice and one acknowledgement are under way.
 */
import type { RecordedEvent } from "./Event.js"
import type { LogPage } from "./EventQuery.js"
import type { Position } from "./Position.js"

/** Why a consumer came to its end. */
export type StopReason<Error> =
  /** It was asked to, or its scope was closed. */
  | { readonly _tag: "Shutdown" }
  /** Somebody else has its lease, or it could not be renewed in time. */
  | { readonly _tag: "LostOwnership" }
  /** It was paused. */
  | { readonly _tag: "Paused" }
  /** It has seen everything up to the head that it was to drain to. */
  | { readonly _tag: "Drained" }
  /** An event could not be handled and the policy says to stop, or storage failed for good. */
  | { readonly _tag: "Failed"; readonly error: Error }

/** The bounds of one consumer. */
export interface ConsumerBounds {
  /** Most events that are finished and not acknowledged. */
  readonly ackEvery: number
  /** Where it ends by itself; undefined = it goes on for good. */
  readonly drainTo: Position | undefined
}

/** What happened. */
export type ConsumerInput<Error> =
  | { readonly _tag: "Acquired"; readonly cursor: Position; readonly paused: boolean }
  | { readonly _tag: "PageRead"; readonly page: LogPage }
  /** All events of the slice are finished. */
  | { readonly _tag: "Handled" }
  /** `finished` events of the slice are finished, the next one cannot be. */
  | { readonly _tag: "Broken"; readonly finished: number; readonly error: Error }
  /** The slice was interrupted after `finished` of its events. */
  | { readonly _tag: "Interrupted"; readonly finished: number }
  | { readonly _tag: "Acknowledged" }
  /** The cursor could not be stored, and will not be tried again. */
  | { readonly _tag: "AcknowledgeFailed"; readonly error: Error }
  /** There may be something new; `head`: where the head was when it was said. */
  | { readonly _tag: "Hinted"; readonly head?: Position | undefined }
  /** Somebody asked for something to be done between two slices. */
  | { readonly _tag: "ChoreAsked" }
  | { readonly _tag: "ChoreDone" }
  | { readonly _tag: "Paused" }
  | { readonly _tag: "Stopped" }
  | { readonly _tag: "LeaseLost" }
  | { readonly _tag: "Failed"; readonly error: Error }

/** What is to be done. */
export type ConsumerCommand<Error> =
  | { readonly _tag: "Acquire" }
  | { readonly _tag: "Read"; readonly after: Position; readonly head: Position | undefined }
  | { readonly _tag: "Handle"; readonly events: ReadonlyArray<RecordedEvent> }
  | { readonly _tag: "Acknowledge"; readonly cursor: Position; readonly head: Position }
  | { readonly _tag: "DoChore" }
  /** Interrupt the slice or the chore that is under way; it answers `Interrupted`, or what it would have answered anyway. */
  | { readonly _tag: "Interrupt" }
  | { readonly _tag: "End"; readonly reason: StopReason<Error> }

/** Where a consumer stands. */
export interface ConsumerState<Error> {
  readonly phase: "new" | "acquiring" | "running" | "ended"
  /** Everything up to here is finished. */
  readonly cursor: Position
  /** The cursor that the store has. */
  readonly acknowledged: Position
  /** The cursor that the store is being told. */
  readonly acknowledging: Position | undefined
  /** Events finished since the cursor that the store has. */
  readonly unacknowledged: number
  /** Of them, those past the cursor that the store is being told. */
  readonly unacknowledgedBeyond: number
  /** The page whose events are being handled, from `offset` on, and the one that was read ahead. */
  readonly page: LogPage | undefined
  readonly offset: number
  readonly ahead: LogPage | undefined
  /** Where the next read begins. */
  readonly after: Position
  /** The newest head that was seen; undefined before the first read. */
  readonly head: Position | undefined
  readonly reading: boolean
  /** Number of events in the slice that is being handled; 0 when none is. */
  readonly handling: number
  readonly hinted: boolean
  readonly chore: "none" | "asked" | "doing"
  /** Whether the store still takes the cursor. */
  readonly storable: boolean
  /** Why it is to end, once everything that is under way has ended. */
  readonly ending: StopReason<Error> | undefined
}

/** Before the first step. */
export const initial: ConsumerState<never> = {
  phase: "new",
  cursor: 0 as Position,
  acknowledged: 0 as Position,
  acknowledging: undefined,
  unacknowledged: 0,
  unacknowledgedBeyond: 0,
  page: undefined,
  offset: 0,
  ahead: undefined,
  after: 0 as Position,
  head: undefined,
  reading: false,
  handling: 0,
  hinted: false,
  chore: "none",
  storable: true,
  ending: undefined
}

/** The first step of all. */
export const begin = <Error>(): Step<Error> => ({
  state: { ...initial, phase: "acquiring" },
  commands: [{ _tag: "Acquire" }]
})

/** The state after an input, and what is to be done now. */
export interface Step<Error> {
  readonly state: ConsumerState<Error>
  readonly commands: ReadonlyArray<ConsumerCommand<Error>>
}

/** Takes an input in. After the end nothing changes any more. */
export function step<Error>(
  state: ConsumerState<Error>,
  input: ConsumerInput<Error>,
  bounds: ConsumerBounds
): Step<Error> {
  if (state.phase === "ended") return { state, commands: [] }
  const next: Draft<Error> = { ...state }
  const commands: Array<ConsumerCommand<Error>> = []
  take(next, input, commands)
  advance(next, bounds, commands)
  return { state: next, commands }
}

// ---- internal ----

type Draft<Error> = { -readonly [Field in keyof ConsumerState<Error>]: ConsumerState<Error>[Field] }

/** What an input changes by itself. */
function take<Error>(
  state: Draft<Error>,
  input: ConsumerInput<Error>,
  commands: Array<ConsumerCommand<Error>>
): void {
  switch (input._tag) {
    case "Acquired":
      state.phase = "running"
      state.cursor = state.acknowledged = state.after = input.cursor
      if (input.paused) end(state, { _tag: "Paused" }, commands)
      return
    case "PageRead":
      state.reading = false
      state.after = input.page.through
      if (state.head === undefined || input.page.head > state.head) state.head = input.page.head
      if (state.page === undefined) state.page = input.page
      else state.ahead = input.page
      return
    case "Handled":
      return finish(state, state.handling)
    case "Broken":
      finish(state, input.finished)
      return end(state, { _tag: "Failed", error: input.error }, commands)
    case "Interrupted":
      return finish(state, input.finished)
    case "AcknowledgeFailed":
      state.acknowledging = undefined
      state.storable = false
      return end(state, { _tag: "Failed", error: input.error }, commands)
    case "Acknowledged":
      state.acknowledged = state.acknowledging ?? state.acknowledged
      state.acknowledging = undefined
      state.unacknowledged = state.unacknowledgedBeyond
      return
    case "Hinted":
      if (state.head !== undefined && input.head !== undefined && input.head > state.head)
        state.head = input.head
      else state.hinted = true
      return
    case "ChoreAsked":
      if (state.chore === "none") state.chore = "asked"
      return
    case "ChoreDone":
      state.chore = "none"
      return
    case "Paused":
      return end(state, { _tag: "Paused" }, commands)
    case "Stopped":
      return end(state, { _tag: "Shutdown" }, commands)
    case "LeaseLost":
      state.acknowledging = undefined
      state.storable = false
      return end(state, { _tag: "LostOwnership" }, commands)
    case "Failed":
      return end(state, { _tag: "Failed", error: input.error }, commands)
  }
}

/** Counts events of the slice as finished. The cursor follows; the end of the page is `advance`'s. */
function finish<Error>(state: Draft<Error>, events: number): void {
  state.handling = 0
  if (events === 0 || state.page === undefined) return
  state.offset += events
  state.cursor = state.page.events[state.offset - 1]!.position
  state.unacknowledged += events
  state.unacknowledgedBeyond += events
}

/** The first reason counts, but that a lost lease overrules it: then nothing may be acknowledged any more. */
function end<Error>(
  state: Draft<Error>,
  reason: StopReason<Error>,
  commands: Array<ConsumerCommand<Error>>
): void {
  const isLoss = reason._tag === "LostOwnership"
  if (state.ending !== undefined && !(isLoss && state.ending._tag !== "LostOwnership")) return
  state.ending = reason
  // What a paused consumer has in hand it finishes; who stops or lost the lease does not wait for it.
  if ((state.handling > 0 || state.chore === "doing") && reason._tag !== "Paused")
    commands.push({ _tag: "Interrupt" })
}

/** Everything that can be begun now. */
function advance<Error>(
  state: Draft<Error>,
  bounds: ConsumerBounds,
  commands: Array<ConsumerCommand<Error>>
): void {
  if (state.phase === "acquiring") {
    if (state.ending !== undefined) conclude(state, state.ending, commands)
    return
  }
  turnPage(state)
  if (state.ending === undefined && isDrained(state, bounds)) state.ending = { _tag: "Drained" }
  if (state.ending !== undefined) return leave(state, state.ending, commands)

  if (state.handling === 0 && state.chore !== "doing") {
    if (state.chore === "asked") {
      state.chore = "doing"
      commands.push({ _tag: "DoChore" })
    } else if (state.page !== undefined) {
      const room = bounds.ackEvery - state.unacknowledged
      const left = state.page.events.length - state.offset
      if (room > 0) {
        const slice = Math.min(room, left)
        state.handling = slice
        const whole = state.offset === 0 && slice === state.page.events.length
        commands.push({
          _tag: "Handle",
          events: whole ? state.page.events : state.page.events.slice(state.offset, state.offset + slice)
        })
      }
    }
  }
  const more = state.head === undefined || state.after < state.head || state.hinted
  const limit = bounds.drainTo
  if (!state.reading && state.ahead === undefined && more && !(limit !== undefined && state.after >= limit)) {
    state.reading = true
    // A known head is not asked for again until it is reached.
    const known = state.head !== undefined && state.after < state.head
    if (!known) state.hinted = false
    commands.push({ _tag: "Read", after: state.after, head: known ? state.head : undefined })
  }
  const atRest = state.handling === 0 && state.page === undefined && !state.reading
  if (
    state.acknowledging === undefined &&
    state.cursor > state.acknowledged &&
    (atRest || state.unacknowledged >= bounds.ackEvery || state.cursor - state.acknowledged >= unseenMax)
  )
    acknowledge(state, commands)
}

/** Positions without a single wanted event after which the cursor is stored all the same. */
const unseenMax = 1_000_000

/** A page whose events are all finished, or that has none, moves the cursor to its end. */
function turnPage<Error>(state: Draft<Error>): void {
  while (state.page !== undefined && state.handling === 0 && state.offset >= state.page.events.length) {
    state.cursor = state.page.through
    state.page = state.ahead
    state.ahead = undefined
    state.offset = 0
  }
}

const isDrained = <Error>(state: Draft<Error>, { drainTo }: ConsumerBounds): boolean =>
  drainTo !== undefined && state.cursor >= drainTo && state.handling === 0

function acknowledge<Error>(state: Draft<Error>, commands: Array<ConsumerCommand<Error>>): void {
  state.acknowledging = state.cursor
  state.unacknowledgedBeyond = 0
  commands.push({ _tag: "Acknowledge", cursor: state.cursor, head: state.head ?? state.cursor })
}

/** Ends when nothing is under way any more and what is finished is acknowledged. A read is left to itself. */
function leave<Error>(
  state: Draft<Error>,
  reason: StopReason<Error>,
  commands: Array<ConsumerCommand<Error>>
): void {
  if (state.handling > 0 || state.chore === "doing" || state.acknowledging !== undefined) return
  if (state.storable && state.cursor > state.acknowledged) acknowledge(state, commands)
  else conclude(state, reason, commands)
}

function conclude<Error>(
  state: Draft<Error>,
  reason: StopReason<Error>,
  commands: Array<ConsumerCommand<Error>>
): void {
  state.phase = "ended"
  state.page = state.ahead = undefined
  commands.push({ _tag: "End", reason })
}

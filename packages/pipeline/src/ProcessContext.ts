/** What the functions of a `process` are called with. */
import type { Key } from "./Records.js"
import type { SideOutput } from "./SideOutput.js"
import type { HandleOf, ListState, MapState, ValueState } from "./State.js"

/** States by name, as they are declared. */
export type States = Readonly<Record<string, AnyState>>

/** Any state. */
// The handles are found from the declared types; here they only have to be told apart from other things.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type AnyState = ValueState<any> | ListState<any> | MapState<any>

/** What a function knows beside the record. Only to be used until it returns. */
export interface ProcessContext<K extends Key, S extends States> {
  readonly key: K
  /** When the record happened, or for when the timer was set. Unit: milliseconds since 1970. */
  readonly timeMs: number
  /** Everything that happened before has come. -Infinity before the first. Unit: milliseconds since 1970. */
  readonly watermarkMs: number
  /** The states of this key. */
  readonly state: { readonly [Name in keyof S]: HandleOf<S[Name]> }
  readonly timers: Timers
  /** Gives a record by a side output. */
  readonly side: <B>(side: SideOutput<B>, value: B) => void
}

/** Timers of a key. Each has a name and one time; to set one again moves it. */
export interface Timers {
  /** Due when the watermark has come to the time; at once, if it has already. Part of the checkpoint. */
  readonly at: (name: string, timeMs: number) => void
  /** Due when the machine's clock has come to the time. Part of the checkpoint. */
  readonly atClock: (name: string, timeMs: number) => void
  readonly cancel: (name: string) => void
}

/** A timer that is due. */
export interface Timer {
  readonly name: string
  /** For when it was set. */
  readonly timeMs: number
  readonly kind: "event" | "clock"
}

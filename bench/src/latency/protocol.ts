/** What the listening process and the one that starts it say to each other. */

/** A way from one process to another; the module of a contestant exports it as `way`. */
export interface Way {
  /** Makes the database at `url` ready. Once, before either end is opened. */
  readonly prepare: (url: string) => Promise<void>
  readonly sender: (url: string) => Promise<Sender>
  /** Calls `handled` with the number of every event that comes. Resolves when it listens. */
  readonly listener: (url: string, handled: (sequence: number) => void) => Promise<Closable>
}

export interface Closable {
  readonly close: () => Promise<void>
}

export interface Sender extends Closable {
  /** Resolves when the event is stored. */
  readonly send: (sequence: number) => Promise<void>
}

export interface ListenRequest {
  readonly module: string
  readonly url: string
}

/** `atNs`: `process.hrtime.bigint()` as text, which all processes of a machine share. */
export type ListenAnswer =
  | { readonly kind: "listening" }
  | { readonly kind: "handled"; readonly sequence: number; readonly atNs: string }
  | { readonly kind: "failed"; readonly error: string }

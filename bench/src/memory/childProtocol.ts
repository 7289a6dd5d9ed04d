/** What the measuring process and the one that starts it say to each other. */

/** A reader of a whole log whose memory is measured; the module that the child loads exports it as `reader`. */
export interface MemoryReader {
  /** `target`: what `load` gave, a url or a path. */
  readonly open: (target: string) => Promise<OpenReader>
}

export interface OpenReader {
  /** Reads the log from its beginning, `seen` after every page (or event), and stops after `eventsMax`. */
  readonly read: (eventsMax: number, seen: (events: number) => void) => Promise<void>
  readonly close: () => Promise<void>
}

export interface MemoryRequest {
  readonly module: string
  readonly target: string
  readonly events: number
}

/** Bytes over the idle process. */
export interface MemoryReport {
  readonly events: number
  /** Resident size at its highest: the figure of the case. Garbage that V8 has not collected yet is in it. */
  readonly peakRssBytes: number
  /** Heap in use at its highest, garbage included. */
  readonly peakHeapBytes: number
  /** Heap and buffers after a full collection at the end: what is really held. A leak shows here. */
  readonly retainedBytes: number
}

export type MemoryAnswer =
  { readonly ok: true; readonly report: MemoryReport } | { readonly ok: false; readonly error: string }

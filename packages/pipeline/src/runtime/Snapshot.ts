/** What an operator remembers at a barrier, before it is bytes. */
import type { VnodeSnapshot } from "./KeyedState.js"

/** Keyed state, by vnode; or one small piece of plain data. */
export type Snapshot =
  | {
      readonly _tag: "Keyed"
      /** Those that changed since the snapshot before, ascending. */
      readonly changed: ReadonlyArray<VnodeSnapshot>
      /** Those with any entries now. The others have none, whatever former checkpoints have of them. */
      readonly occupied: ReadonlyArray<number>
    }
  | { readonly _tag: "Plain"; readonly data: unknown }

/**
 * A cache of folded state, so that a long stream need not be read from its first event. A snapshot is never
 * the truth: whatever is wrong with one (missing, of another revision, no longer decodable, storage down) is
 * a miss and never a reason to fail; the caller then folds the events.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type { InvalidArgument } from "./InvalidArgument.js"
import type { StreamId } from "./StreamId.js"
import type { StreamVersion } from "./StreamVersion.js"

/** Which snapshot: what was folded (`name`), in which form (`revision`), of which stream. */
export interface SnapshotKey {
  /** What folded it, for example the aggregate or the view. 1 to 255 code points, compared whole. */
  readonly name: string
  /** Raise it whenever the shape or the meaning of the state changes. Integer, 0 to 2^53 − 1. */
  readonly revision: number
  readonly streamId: StreamId | string
}

/** A state, and how far its stream was folded into it. */
export interface Snapshot<State> {
  readonly state: State
  /** The version of the stream that the state is the fold of. Go on with the events after it. */
  readonly version: StreamVersion
}

/** The service. Ready-made layers: `Memory.layer`, `Sqlite.layer`, `Postgres.layer`. */
export class SnapshotStore extends Context.Tag("@millrace/core/SnapshotStore")<
  SnapshotStore,
  {
    /**
     * The newest snapshot, or none: also when it has another name or revision, when it does not decode with
     * `schema` any more, and when storage fails (which is logged).
     */
    readonly getSnapshot: <State, Encoded>(
      key: SnapshotKey & { readonly schema: Schema.Schema<State, Encoded> }
    ) => Effect.Effect<Option.Option<Snapshot<State>>, InvalidArgument>

    /**
     * Keeps the state, one snapshot a name and stream: it replaces one of a lower revision, and one of the
     * same revision whose version is not greater. A state that does not encode and a failing storage are
     * logged, and nothing is kept.
     */
    readonly saveSnapshot: <State, Encoded>(
      snapshot: SnapshotKey & {
        readonly schema: Schema.Schema<State, Encoded>
        readonly version: StreamVersion
        readonly state: State
      }
    ) => Effect.Effect<void, InvalidArgument>

    /** Removes the snapshot of a name and stream, whatever its revision; none is as good. */
    readonly deleteSnapshot: (key: Omit<SnapshotKey, "revision">) => Effect.Effect<void, InvalidArgument>
  }
>() {}

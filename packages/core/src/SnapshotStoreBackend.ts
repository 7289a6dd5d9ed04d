/**
 * The thin seam beneath {@link SnapshotStore}: a backend keeps rows of JSON text; revisions, schemas and the
 * rule that a snapshot is never a reason to fail are written here once.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { InvalidArgument } from "./InvalidArgument.js"
import { invalid } from "./InvalidArgument.js"
import { textFault } from "./Text.js"
import { SnapshotStore } from "./SnapshotStore.js"
import type { SnapshotKey } from "./SnapshotStore.js"
import type { StoreUnavailable } from "./StoreUnavailable.js"
import { streamIdFault } from "./StreamId.js"
import type { StreamVersion } from "./StreamVersion.js"

/** Longest name of a snapshot. Unit: code points. */
export const snapshotNameCodePointsMax = 255

/** A snapshot as a backend keeps it. */
export interface SnapshotRow {
  readonly revision: number
  readonly version: number
  /** JSON text. */
  readonly state: string
}

/** What a database must supply. There is at most one row for each name and stream. */
export interface SnapshotStoreBackend {
  readonly get: (name: string, streamId: string) => Effect.Effect<SnapshotRow | undefined, StoreUnavailable>
  /** Inserts the row, or replaces one whose (revision, version) is not greater. */
  readonly save: (name: string, streamId: string, row: SnapshotRow) => Effect.Effect<void, StoreUnavailable>
  readonly delete: (name: string, streamId: string) => Effect.Effect<void, StoreUnavailable>
}

/** Builds the store from a backend. */
export const make = (backend: SnapshotStoreBackend): SnapshotStore["Type"] =>
  SnapshotStore.of({
    getSnapshot: ({ name, revision, schema, streamId }) =>
      checked({ name, revision, streamId }, () =>
        backend.get(name, streamId).pipe(
          Effect.flatMap((row) => {
            if (row === undefined || row.revision !== revision) return Effect.succeedNone
            return Effect.map(Schema.decode(Schema.parseJson(schema))(row.state), (state) =>
              Option.some({ state, version: row.version as StreamVersion })
            )
          }),
          Effect.catchAll((error) =>
            Effect.as(
              Effect.logWarning("snapshot is not usable, the events are folded instead", {
                name,
                streamId,
                error
              }),
              Option.none()
            )
          )
        )
      ),
    saveSnapshot: ({ name, revision, schema, state, streamId, version }) =>
      checked({ name, revision, streamId, version }, () =>
        Schema.encode(Schema.parseJson(schema))(state).pipe(
          Effect.flatMap((text) => backend.save(name, streamId, { revision, version, state: text })),
          Effect.catchAll((error) =>
            Effect.logWarning("snapshot was not saved", { name, streamId, reason: reasonOf(error) })
          )
        )
      ),
    deleteSnapshot: ({ name, streamId }) =>
      checked({ name, revision: 0, streamId }, () =>
        Effect.catchAll(backend.delete(name, streamId), (error) =>
          Effect.logWarning("snapshot was not deleted", { name, streamId, reason: reasonOf(error) })
        )
      )
  })

// ---- internal ----

const checked = <A>(
  key: SnapshotKey & { readonly version?: number },
  use: () => Effect.Effect<A>
): Effect.Effect<A, InvalidArgument> => {
  const fault = keyFault(key)
  return fault === undefined ? use() : Effect.fail(fault)
}

function keyFault({
  name,
  revision,
  streamId,
  version
}: SnapshotKey & { readonly version?: number }): InvalidArgument | undefined {
  const nameFault = textFault(name, snapshotNameCodePointsMax)
  if (nameFault !== undefined)
    return invalid("name", `1 to ${snapshotNameCodePointsMax} characters; this one ${nameFault}`, name)
  if (!Number.isSafeInteger(revision) || revision < 0)
    return invalid("revision", "an integer of 0 to 2^53 - 1", revision)
  const idFault = streamIdFault(streamId)
  if (idFault !== undefined) return invalid("streamId", `category/id; this one ${idFault}`, streamId)
  if (version !== undefined && (!Number.isSafeInteger(version) || version < 0))
    return invalid("version", "a version of 0 to 2^53 - 1", version)
  return undefined
}

/** Why, without what: the message of a schema's error quotes the state, which may be nobody's business. */
const reasonOf = (error: { readonly _tag: string }): string =>
  error._tag === "ParseError" ? "the state does not fit its schema" : String(error)
